//! What a trace comes to, on stderr at its end.

use std::io::{self, Write};

use super::Sink;
use crate::{
    event::Event,
    trace::frame::{End, Start},
};

/// Processes that are named.
const NAMED: usize = 10;

/// Writes the summary when a trace ends.
pub struct Summary<W>(pub W);

impl<W: Write> Sink for Summary<W> {
    fn start(&mut self, _: &Start) -> io::Result<()> {
        Ok(())
    }

    fn event(&mut self, _: &Event) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        write(&mut self.0, end)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the summary: events, losses, and the processes with most trouble.
///
/// # Errors
///
/// When the output can't be written.
pub fn write(to: &mut impl Write, end: &End) -> io::Result<()> {
    writeln!(to, "\n{:.1} s", end.duration_us as f64 / 1e6)?;
    if end.events.is_empty() {
        writeln!(to, "no events")?;
    }
    for (event, count) in &end.events {
        writeln!(to, "  {count:>10} {event}")?;
    }
    let bad = end
        .hooks
        .iter()
        .filter(|row| row.lost.ring_full + row.lost.map_full + row.skipped > 0);
    let mut is_clean = true;
    for row in bad {
        is_clean = false;
        writeln!(
            to,
            "lost at {}: {} ring full, {} map full; {} skipped by the kernel (of {})",
            row.hook.name(),
            row.lost.ring_full,
            row.lost.map_full,
            row.skipped,
            row.entered + row.skipped
        )?;
    }
    if is_clean {
        writeln!(to, "nothing lost, nothing skipped")?;
    }
    let troubled = end.processes.iter().filter(|row| row.totals.trouble() > 0);
    for (place, row) in troubled.take(NAMED).enumerate() {
        if place == 0 {
            writeln!(to, "processes with most trouble:")?;
        }
        let name = match &row.who {
            Some(who) => format!("{}[{}]", who.comm.escape_debug(), who.id()),
            None => String::from("(owner unknown)"),
        };
        let terms = [
            (row.totals.retransmit_segs, "segs retransmitted"),
            (row.totals.connect_failed, "connects failed"),
            (row.totals.resets_received, "resets received"),
            (row.totals.resets_sent, "resets sent"),
            (row.totals.fd_exhausted, "out of descriptors"),
            (row.totals.time_wait_overflow, "time-wait overflows"),
            (row.totals.lost, "records lost"),
        ];
        let told: Vec<String> = terms
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        writeln!(to, "  {name:<24} {}", told.join(", "))?;
    }
    Ok(())
}
