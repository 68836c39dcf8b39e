//! One line a event, for people.

use std::{
    fmt::Write as _,
    io::{self, Write},
    net::SocketAddr,
};

use super::Sink;
use crate::{
    document::{number::time, text::printable},
    event::{Detail, Errno, Event},
    trace::frame::{End, Start},
};

/// Writes aligned lines.
pub struct Lines<W>(pub W);

impl<W: Write> Sink for Lines<W> {
    fn start(&mut self, _: &Start) -> io::Result<()> {
        writeln!(
            self.0,
            "{:<15} {:<18} {:<24} {:<9} {:<21}    {:<21} DETAIL",
            "TIME (UTC)", "EVENT", "PROCESS", "OWNER BY", "LOCAL", "REMOTE"
        )?;
        self.0.flush()
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        writeln!(self.0, "{}", line(event))
    }

    fn end(&mut self, _: &End) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An event as a line.
#[must_use]
pub fn line(event: &Event) -> String {
    let ts = event.ts.to_string();
    // 2026-11-23T16:02:11.123456789Z: the time of day to the microsecond.
    let time = ts.get(11..26).unwrap_or(&ts);
    let process = match &event.owner {
        Some(owner) => format!("{}[{}]", printable(&owner.comm), owner.pid),
        None => String::from("-"),
    };
    let mut line = format!(
        "{time} {:<18} {process:<24} {:<9} {:<21} -> {:<21} ",
        event.detail.kind(),
        event.owner_source.name(),
        end(event.ends.map(|ends| ends.local)),
        end(event.ends.and_then(|ends| ends.remote)),
    );
    detail(&mut line, &event.detail);
    line.truncate(line.trim_end().len());
    line
}

fn end(end: Option<SocketAddr>) -> String {
    end.map_or_else(|| String::from("-"), |end| end.to_string())
}

/// What is particular to an event, in words.
pub fn detail(to: &mut String, detail: &Detail) {
    // Writing to a string does not fail.
    let _ = match detail {
        Detail::State {
            old,
            new,
            in_old_us,
        } => {
            let _ = write!(to, "{old} -> {new}");
            optional(to, " after ", in_old_us.map(time));
            Ok(())
        }
        Detail::Connection {
            duration_us,
            bytes_sent,
            bytes_received,
            segs_retrans,
            srtt_us,
            end,
            errno,
            ..
        } => {
            let _ = write!(to, "{}", end.name());
            optional(to, " ", *errno);
            optional(to, " after ", duration_us.map(time));
            let _ = write!(to, ", sent {bytes_sent} B, received {bytes_received} B");
            if *segs_retrans > 0 {
                let _ = write!(to, ", {segs_retrans} segs retransmitted");
            }
            optional(to, ", srtt ", srtt_us.map(|us| time(us.into())));
            Ok(())
        }
        Detail::Retransmit {
            cause,
            segs,
            seq,
            backoff,
            rto_us,
            srtt_us,
            unacked_bytes,
            notsent_bytes,
            err,
        } => {
            let _ = write!(
                to,
                "{}, {segs} seg, seq {seq}, backoff {backoff}",
                cause.name()
            );
            optional(to, ", rto ", rto_us.map(time));
            optional(to, ", srtt ", srtt_us.map(|us| time(us.into())));
            let _ = write!(
                to,
                ", unacked {unacked_bytes} B, not sent {notsent_bytes} B"
            );
            optional(to, ", refused locally: ", (*err != 0).then(|| Errno(-err)));
            Ok(())
        }
        Detail::Reset { direction, reason } => {
            let _ = write!(to, "{}", direction.name());
            optional(to, ", reason ", reason.as_deref());
            Ok(())
        }
        Detail::ConnectFailed {
            errno,
            syn_sent,
            connect_us,
        } => {
            let _ = write!(to, "{errno}");
            optional(to, " after ", connect_us.map(time));
            if *syn_sent {
                Ok(())
            } else {
                write!(to, ", no SYN sent")
            }
        }
        Detail::TimeWaitOverflow {
            tw_count,
            tw_max,
            count,
            ..
        } => {
            let _ = write!(to, "{count} sockets found no room");
            optional(
                to,
                ", table ",
                tw_count
                    .zip(*tw_max)
                    .map(|(count, max)| format!("{count} of {max}")),
            );
            Ok(())
        }
        Detail::FdExhausted {
            errno,
            syscall,
            count,
            open_fds,
            limit_soft,
            ..
        } => {
            let _ = write!(to, "{count} x {errno}");
            optional(to, " from ", *syscall);
            optional(to, ", open ", open_fds.map(|open| open.to_string()));
            optional(to, " of ", limit_soft.map(|limit| limit.to_string()));
            Ok(())
        }
        Detail::Lost {
            hook,
            reason,
            count,
        } => write!(to, "{count} at {}: {}", hook.name(), reason.name()),
    };
}

fn optional(to: &mut String, before: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        let _ = write!(to, "{before}{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_reach_the_terminal_as_a_control_sequence() {
        assert_eq!(printable("\u{1b}[2Jx"), "?[2Jx");
    }
}
