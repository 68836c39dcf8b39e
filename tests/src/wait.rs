//! Waiting for a condition, with a deadline that only a failure meets.

use std::{
    env,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

/// How long a condition may take before the test fails. A machine that is emulated sets more.
pub static DEADLINE: LazyLock<Duration> = LazyLock::new(|| {
    let seconds = env::var("TCPTRACE_TEST_DEADLINE").ok();
    Duration::from_secs(seconds.map_or(30, |text| text.parse().expect("whole seconds")))
});

/// Asks `condition` again and again until it gives a value.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + *DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {:?}",
            *DEADLINE
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `condition` holds.
pub fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}
