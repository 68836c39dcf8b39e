//! What must hold, and whether it does.

use serde::Serialize;

use super::{
    load::Work,
    measure::Cost,
    results::Results,
    spread::Spread,
    variant::{ALL, JSON, KEYS, LINES, RECORD, REPORT, REPORT_ALL, SCREEN},
};

/// A bar and what was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) what: &'static str,
    pub(crate) bar: &'static str,
    pub(crate) measured: String,
    /// Null where this run did not measure it.
    pub(crate) is_met: Option<bool>,
}

/// All bars.
pub(crate) fn of(results: &Results) -> Vec<Bar> {
    let first_event = Spread::of(results.startup_seconds.iter().copied());
    vec![
        throughput(
            results,
            "churn on one thread, default depth",
            LINES,
            ">= 0.93",
            0.93,
        ),
        throughput(
            results,
            "the same with every transition streamed",
            ALL,
            ">= 0.85",
            0.85,
        ),
        lost(
            results,
            "lost in the ring buffer at that rate, default depth",
            LINES,
        ),
        lost(results, "the same as JSON", JSON),
        lost(results, "the same as JSON with every transition", ALL),
        bar(
            "user CPU per event, ring buffer to aggregate",
            "<= 200 ns",
            results.cost("churn", REPORT, |_, cost| cost.user_ns_per_event()),
            |ns| format!("{:.0} ns ({:.0} to {:.0})", ns.median, ns.low, ns.high),
            |ns| ns.median <= 200.0,
        ),
        bar(
            "an unrelated system call",
            "<= 15 ns more",
            results.compared(
                "syscall",
                LINES,
                |work| work.p50_us,
                |it, base| (it - base) * 1e3,
            ),
            |more| {
                format!(
                    "{:.1} ns more ({:.1} to {:.1})",
                    more.median, more.low, more.high
                )
            },
            |more| more.median <= 15.0,
        ),
        bar(
            "resident at 100,000 connections (200,000 sockets), without the rings",
            "<= 64 MiB",
            results.cost("idle", LINES, |_, cost| {
                Some(cost.memory.resident as f64 / f64::from(1 << 20))
            }),
            |mib| format!("{mib:.1} MiB"),
            |mib| mib.high <= 64.0,
        ),
        bar(
            "start to first event",
            "<= 0.5 s",
            first_event,
            |seconds| format!("{seconds:.2} s"),
            |seconds| seconds.median <= 0.5,
        ),
        bar(
            "trace file of the churn",
            "<= 12 bytes/event",
            results.cost("churn", RECORD, |_, cost| cost.bytes_per_event()),
            |bytes| format!("{bytes:.1} bytes/event"),
            |bytes| bytes.median <= 12.0,
        ),
        bar(
            "decode and aggregate that file, start and end of the program included",
            ">= 2,000,000 events/s",
            results.cost("churn", RECORD, |_, cost| cost.events_per_second()),
            |rate| format!("{rate:.0} events/s"),
            |rate| rate.median >= 2e6,
        ),
        bar(
            "what the screen takes beside adding up, of a processor at 500,000 events/s",
            "<= 5 %",
            results.share_more_at(500_000.0, ["trickle", "churn"], SCREEN, REPORT_ALL),
            |share| {
                let [median, low, high] = [share.median, share.low, share.high].map(|it| it * 1e2);
                format!("{median:.1} % ({low:.1} to {high:.1})")
            },
            |share| share.median <= 0.05,
        ),
        bar(
            "from a key to what it shows while the churn floods the screen, the slowest",
            "<= 100 ms",
            results.cost("churn", KEYS, |_, cost| Some(slowest(cost)? * 1e3)),
            |ms| format!("{:.0} ms", ms.high),
            |ms| ms.high <= 100.0,
        ),
    ]
}

fn slowest(cost: &Cost) -> Option<f64> {
    cost.key_seconds.iter().copied().reduce(f64::max)
}

fn bar<T: Copy>(
    what: &'static str,
    bar: &'static str,
    measured: Option<T>,
    show: impl Fn(T) -> String,
    is_met: impl Fn(T) -> bool,
) -> Bar {
    Bar {
        what,
        bar,
        measured: measured.map_or_else(|| "-".to_owned(), show),
        is_met: measured.map(is_met),
    }
}

/// By the load's processor time, which other work of the machine does not change; by the clock is shown beside it.
fn throughput(
    results: &Results,
    what: &'static str,
    variant: &str,
    text: &'static str,
    least: f64,
) -> Bar {
    let of = |rate: fn(&Work) -> Option<f64>| {
        results.compared("churn", variant, rate, |it, base| it / base)
    };
    bar(
        what,
        text,
        of(Work::rate_by_cpu).zip(of(Work::rate)),
        |(cpu, wall)| format!("{cpu:.3} by CPU time, {wall:.3} by the clock"),
        |(cpu, _)| cpu.median >= least,
    )
}

fn lost(results: &Results, what: &'static str, variant: &str) -> Bar {
    let lost = results.most("churn", variant, |cost| {
        Some(cost.summary.as_ref()?.lost.ring_full)
    });
    bar(what, "0", lost, |lost| lost.to_string(), |lost| lost == 0)
}
