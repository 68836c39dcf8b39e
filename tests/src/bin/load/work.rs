//! What a load did, how long each piece took, and the processor time it cost.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::{
    sys::resource::{UsageWho, getrusage},
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use serde_json::{Value, json};

/// Work of one kind, again and again.
pub(crate) trait Load {
    /// Works for about `time`.
    fn run(&mut self, time: Duration) -> Work;

    /// Other processes whose processor time belongs to the load; children that have ended are counted anyway.
    fn servers(&self) -> Vec<Pid> {
        vec![]
    }
}

/// What was done.
pub(crate) struct Work {
    /// Pieces of work.
    pub(crate) done: u64,
    /// How long each took, ns.
    pub(crate) latency: Latency,
}

/// How long pieces of work took.
pub(crate) enum Latency {
    /// Each was timed.
    Timed(Histogram<u64>),
    /// The 50th, 99th and 99.9th percentile, us, as another program reports them.
    Reported([f64; 3]),
    /// A piece is not an answer that anybody waits for.
    None,
}

/// A histogram of nanoseconds up to a minute, exact to a thousandth.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("three digits are allowed")
}

/// Does `piece` until `time` is over, and times each.
pub(crate) fn repeat(time: Duration, mut piece: impl FnMut()) -> Histogram<u64> {
    let mut latency = histogram();
    let end = Instant::now() + time;
    let mut before = Instant::now();
    while before < end {
        piece();
        let now = Instant::now();
        latency.saturating_record((now - before).as_nanos() as u64);
        before = now;
    }
    latency
}

impl From<Histogram<u64>> for Work {
    fn from(latency: Histogram<u64>) -> Self {
        Self {
            done: latency.len(),
            latency: Latency::Timed(latency),
        }
    }
}

/// Measures wall-clock and processor time.
pub(crate) struct Meter {
    wall: Instant,
    servers: Vec<Pid>,
    cpu: Duration,
}

impl Meter {
    pub(crate) fn start(servers: Vec<Pid>) -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu(&servers),
            servers,
        }
    }

    /// The answer to `run`.
    pub(crate) fn stop(self, work: &Work) -> Value {
        let percentiles = match &work.latency {
            Latency::Timed(times) => {
                Some([50.0, 99.0, 99.9].map(|at| times.value_at_percentile(at) as f64 / 1e3))
            }
            Latency::Reported(percentiles) => Some(*percentiles),
            Latency::None => None,
        };
        json!({
            "done": work.done,
            "seconds": self.wall.elapsed().as_secs_f64(),
            "cpu_seconds": (cpu(&self.servers) - self.cpu).as_secs_f64(),
            "p50_us": percentiles.map(|at| at[0]),
            "p99_us": percentiles.map(|at| at[1]),
            "p999_us": percentiles.map(|at| at[2]),
        })
    }
}

/// Processor time of this process, of its children that have ended, and of the servers.
fn cpu(servers: &[Pid]) -> Duration {
    let children = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    let ended = [children.user_time(), children.system_time()].map(|time| {
        Duration::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64)
    });
    let of = |clock: ClockId| Duration::from(clock_gettime(clock).expect("a clock"));
    let servers = servers
        .iter()
        .map(|pid| of(clock_getcpuclockid(*pid).expect("the server lives")));
    of(ClockId::CLOCK_PROCESS_CPUTIME_ID) + ended.into_iter().sum::<Duration>() + servers.sum()
}
