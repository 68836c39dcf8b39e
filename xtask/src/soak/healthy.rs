//! Healthy programs, of which nothing may be found: the end-to-end tests of `finding_none`, all at once, for longer.

use std::time::Duration;

use anyhow::Result;

use crate::{
    build,
    setup::{self, Scope},
    test,
};

/// How long they look for trouble; read by the tests.
const SECONDS: &str = "TCPTRACE_HEALTHY_SECONDS";
/// More than there are tests.
const AT_ONCE: &str = "--test-threads=16";

/// Runs them for so long; any finding fails one.
pub(super) fn run(duration: Duration) -> Result<()> {
    setup::ensure(Scope::Test)?;
    let tcptrace = build::tcptrace()?;
    let mut tests = build::end_to_end(tcptrace.as_os_str(), &["--test", "finding_none"])?;
    tests
        .args(["--", AT_ONCE])
        .env(SECONDS, duration.as_secs().to_string());
    test::run_tests(&mut tests)
}
