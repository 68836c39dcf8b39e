//! Boots one machine in QEMU without KVM and follows its console to the end.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use vm_init::plan::Plan;

use super::{
    apt,
    console::{Console, Ending},
    emulator::Emulator,
};
use crate::setup::ebpf_toolchain::find_program;

/// An oops ends the machine at once, and its messages are not hidden by `quiet`.
const KERNEL_LINE: &str = "console=ttyS0 quiet loglevel=5 oops=panic panic=-1 mitigations=off";

/// From power-on to the init, and on top of each test's own limit.
const PATIENCE: Duration = Duration::from_secs(90);

/// What came of a boot.
pub(super) struct Run {
    pub(super) console: Console,
    pub(super) ending: Ending,
    pub(super) took: Duration,
}

/// Installs what unpacking kernels needs, where it is missing.
pub(super) fn ensure_installed() -> Result<()> {
    let needs = [("/sbin/depmod", "kmod"), ("xz", "xz-utils")];
    let there = |program: &str| Path::new(program).is_file() || find_program(program).is_some();
    let missing: Vec<&str> = needs
        .iter()
        .filter(|(program, _)| !there(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        apt::install(&missing)
    }
}

/// Boots the kernel and returns when the machine is off, or when it has to be ended.
pub(super) fn boot(
    emulator: &Emulator,
    image: &Path,
    initrd: &Path,
    plan: &Plan,
    log: &Path,
) -> Result<Run> {
    let start = Instant::now();
    let mut child = Guard(
        command(emulator, image, initrd)
            .spawn()
            .context("cannot run QEMU")?,
    );
    let stdout = child.0.stdout.take().context("QEMU has no output")?;
    let mut log = File::create(log).with_context(|| format!("writing {}", log.display()))?;

    let (sender, lines) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            if sender
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                return;
            }
            line.clear();
        }
    });

    let longest = plan
        .tests
        .iter()
        .map(|test| test.timeout)
        .max()
        .unwrap_or_default();
    let mut console = Console::default();
    let mut deadline = start + PATIENCE;
    let ending = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                log.write_all(line.as_bytes())
                    .context("writing the console's log")?;
                // Only the report counts as getting on: a kernel that hangs can complain forever.
                if console.take(&line) {
                    deadline = Instant::now() + longest + PATIENCE;
                }
            }
            Err(RecvTimeoutError::Timeout) => break Ending::Hung,
            Err(RecvTimeoutError::Disconnected) if console.done => break Ending::Done,
            Err(RecvTimeoutError::Disconnected) => break Ending::Stopped,
        }
    };
    Ok(Run {
        console,
        ending,
        took: start.elapsed(),
    })
}

/// `thread=single`: with a thread per processor some kernels oops when a probe's breakpoint is set.
fn command(emulator: &Emulator, image: &Path, initrd: &Path) -> Command {
    let mut command = emulator.command();
    command
        .args([
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "1024",
        ])
        .args([
            "-display",
            "none",
            "-monitor",
            "none",
            "-nic",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", KERNEL_LINE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Ends the machine however this program goes on.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
