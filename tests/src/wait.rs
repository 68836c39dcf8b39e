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

/// Asks `condition` again and again until it holds, and says whether it did in time: for what must not fail, such as the end of a test.
pub fn holds_within(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Asks `condition` again and again until it gives a value.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let mut value = None;
    holds_within(*DEADLINE, || {
        value = condition();
        value.is_some()
    });
    value.unwrap_or_else(|| panic!("{what}: not within {:?}", *DEADLINE))
}

/// Waits until `condition` holds.
pub fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}
