//! What the end-to-end tests build on: a second namespace behind a veth pair, a rule that drops packets there, and the
//! kernel's own numbers about it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Program and arguments, split at spaces. The kernel modules for each are in place.
const STEPS: &[&str] = &[
    "ip netns add far",
    "ip link add near type veth peer name far netns far",
    "ip address add 10.99.0.1/24 dev near",
    "ip link set near up",
    "ip -netns far address add 10.99.0.2/24 dev far",
    "ip -netns far link set far up",
    "ip netns exec far nft add table inet loss",
    "ip netns exec far nft add chain inet loss input { type filter hook input priority 0 ; }",
    "ip netns exec far nft add rule inet loss input tcp dport 4 numgen random mod 100 < 5 counter drop",
    "ip netns exec far nft list ruleset",
    "ip netns exec far nft flush ruleset",
    "ss -tin",
    "nstat -az TcpRetransSegs",
    "ip netns delete far",
];

pub(super) fn run() -> Result<()> {
    for step in STEPS {
        let mut words = step.split(' ');
        let program = words.next().context("an empty step")?;
        let output = Command::new(program)
            .args(words)
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{step}` failed: {}", said.trim());
    }
    Ok(())
}
