//! A system call that has nothing to do with sockets or descriptors.

use std::time::Duration;

use crate::work::{Latency, Load, Work, repeat};

/// Calls that are timed together: reading the clock takes as long as one call.
const TOGETHER: u64 = 1_000;

/// `getppid` in a loop.
pub(crate) struct Syscall;

impl Load for Syscall {
    fn run(&mut self, time: Duration) -> Work {
        let together = repeat(time, || {
            for _ in 0..TOGETHER {
                let _ = std::os::unix::process::parent_id();
            }
        });
        Work {
            done: together.len() * TOGETHER,
            // The mean of those timed together, which tells a nanosecond.
            latency: Latency::Reported(
                [50.0, 99.0, 99.9]
                    .map(|at| together.value_at_percentile(at) as f64 / 1e3 / TOGETHER as f64),
            ),
        }
    }
}
