//! Healthy programs, of which nothing may be found: the end-to-end tests of `finding_none`, all at once, for longer.

use std::time::Duration;

use anyhow::Result;

use crate::{
    setup::{self, Scope},
    test, watch,
};

/// How long they look for trouble; read by the tests.
const SECONDS: &str = "TCPTRACE_HEALTHY_SECONDS";
/// More than there are tests.
const AT_ONCE: &str = "--test-threads=16";

/// Runs them for so long; any finding fails one.
pub(super) fn run(duration: Duration) -> Result<()> {
    setup::ensure(Scope::Test)?;
    let tcptrace = watch::build()?;
    let mut tests = test::end_to_end(&tcptrace, &["--test", "finding_none"])?;
    tests
        .args(["--", AT_ONCE])
        .env(SECONDS, duration.as_secs().to_string());
    test::run_tests(&mut tests)
}
