//! What an event puts into which column.

use tracer_common::{
    record::NO_TIME,
    tcp::state::{
        CLOSE, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, LISTEN, SYN_RECV,
        SYN_SENT, TIME_WAIT,
    },
};

use super::{super::table::us_in_state, Batch, Columns};
use crate::event::{Detail, Event, UsInState};

impl Batch {
    pub(crate) fn event(&mut self, event: &Event) {
        let row = self.row(event.detail.kind(), event.ts);
        self.columns.conn_id.put_some(row, event.conn_id);
        self.columns
            .owner_source
            .put(row, event.owner_source.name());
        self.columns.netns.put_some(row, event.netns);
        if let Some(who) = &event.owner {
            self.owner(row, who);
        }
        if let Some(ends) = &event.ends {
            self.ends(row, ends);
        }
        self.detail(row, &event.detail);
    }

    fn detail(&mut self, row: usize, detail: &Detail) {
        let columns = &mut self.columns;
        match detail {
            Detail::State {
                old,
                new,
                in_old_us,
            } => {
                columns.old.put(row, old.name());
                columns.new.put(row, new.name());
                columns.in_old_us.put_some(row, *in_old_us);
            }
            Detail::Connection {
                duration_us,
                connect_us,
                bytes_sent,
                bytes_received,
                segs_out,
                segs_retrans,
                srtt_us,
                end,
                errno,
                role,
                us_in_state,
            } => {
                columns.duration_us.put_some(row, *duration_us);
                columns.connect_us.put_some(row, *connect_us);
                columns.bytes_sent.put(row, *bytes_sent);
                columns.bytes_received.put(row, *bytes_received);
                columns.segs_out.put_some(row, *segs_out);
                columns.segs_retrans.put(row, *segs_retrans);
                columns.srtt_us.put_some(row, *srtt_us);
                columns.end.put(row, end.name());
                if let Some(errno) = errno {
                    columns.errno.put(row, &errno.to_string());
                }
                columns.role.put_some(row, role.map(|role| role.name()));
                columns.us_in_state(row, us_in_state);
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
                columns.cause.put(row, cause.name());
                columns.segs.put(row, *segs);
                columns.seq.put(row, *seq);
                columns.backoff.put(row, *backoff);
                columns.rto_us.put_some(row, *rto_us);
                columns.srtt_us.put_some(row, *srtt_us);
                columns.unacked_bytes.put(row, *unacked_bytes);
                columns.notsent_bytes.put(row, *notsent_bytes);
                columns.err.put(row, *err);
            }
            Detail::Reset { direction, reason } => {
                columns.direction.put(row, direction.name());
                columns.reason.put_some(row, reason.as_deref());
            }
            Detail::ConnectFailed {
                errno,
                syn_sent,
                connect_us,
            } => {
                columns.errno.put(row, &errno.to_string());
                columns.syn_sent.put(row, *syn_sent);
                columns.connect_us.put_some(row, *connect_us);
            }
            Detail::TimeWaitOverflow {
                tw_count,
                tw_max,
                inferred,
                count,
            } => {
                columns.tw_count.put_some(row, *tw_count);
                columns.tw_max.put_some(row, *tw_max);
                columns.inferred.put(row, *inferred);
                columns.count.put(row, *count);
            }
            Detail::FdExhausted {
                errno,
                syscall,
                count,
                open_fds,
                limit_soft,
                limit_hard,
            } => {
                columns.errno.put(row, &errno.to_string());
                if let Some(syscall) = syscall {
                    columns.syscall.put(row, &syscall.to_string());
                }
                columns.count.put(row, *count);
                columns.open_fds.put_some(row, *open_fds);
                columns.limit_soft.put_some(row, *limit_soft);
                columns.limit_hard.put_some(row, *limit_hard);
            }
            Detail::Lost {
                hook,
                reason,
                count,
            } => {
                columns.hook.put(row, hook.name());
                columns.reason.put(row, reason.name());
                columns.count.put(row, *count);
            }
        }
    }
}

macro_rules! put_us_in_state {
    ($($column:ident: $state:ident,)*) => {
        impl Columns {
            fn us_in_state(&mut self, row: usize, us: &UsInState) {
                $(
                    let us_in = us.0[$state as usize];
                    if us_in != NO_TIME {
                        self.$column.put(row, us_in);
                    }
                )*
            }
        }
    };
}
us_in_state!(put_us_in_state);
