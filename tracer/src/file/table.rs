//! The columns of a trace file: one table for writing, reading and documenting them.
//!
//! Kinds: `time` is nanoseconds since 1970 (UTC), `number` a 64-bit and `u32`, `u16`, `u8`, `i32` a
//! shorter number, `flag` a truth value, `name` a text that is stored once a batch.

/// Hands the table to another macro.
macro_rules! columns {
    ($then:ident) => {
        $then! {
            /// The kind of row, see [rows](#rows)
            event: name,
            /// When
            ts: time,
            /// As in JSON
            conn_id: number,
            /// As in JSON
            pid: u32,
            /// As in JSON
            pid_start: time,
            /// As in JSON
            uid: u32,
            /// As in JSON
            comm: name,
            /// The owner's parent, its process id
            ppid: u32,
            /// The owner's command line, arguments joined by spaces
            cmdline: name,
            /// As in JSON
            owner_source: name,
            /// As in JSON
            cgroup: name,
            /// `container.runtime` of JSON
            container_runtime: name,
            /// `container.id` of JSON
            container_id: name,
            /// `container.pod_uid` of JSON
            container_pod_uid: name,
            /// As in JSON
            unit: name,
            /// As in JSON; of a fact, its subject's
            netns: u32,
            /// As in JSON
            family: name,
            /// As in JSON
            laddr: name,
            /// As in JSON
            lport: u16,
            /// As in JSON
            raddr: name,
            /// As in JSON
            rport: u16,
            /// `state`
            old: name,
            /// `state`
            new: name,
            /// `state`
            in_old_us: number,
            /// `connection`
            role: name,
            /// `connection`, `end`
            duration_us: number,
            /// `connection`, `connect_failed`
            connect_us: number,
            /// `connection`
            bytes_sent: number,
            /// `connection`
            bytes_received: number,
            /// `connection`
            segs_out: u32,
            /// `connection`
            segs_retrans: u32,
            /// `connection`, `retransmit`
            srtt_us: u32,
            /// `connection`
            end: name,
            /// `connection`, `connect_failed`, `fd_exhausted`
            errno: name,
            /// `connection`: `us_in_state.ESTABLISHED` of JSON
            us_in_state_established: number,
            /// `us_in_state.SYN_SENT`
            us_in_state_syn_sent: number,
            /// `us_in_state.SYN_RECV`
            us_in_state_syn_recv: number,
            /// `us_in_state.FIN_WAIT1`
            us_in_state_fin_wait1: number,
            /// `us_in_state.FIN_WAIT2`
            us_in_state_fin_wait2: number,
            /// `us_in_state.TIME_WAIT`
            us_in_state_time_wait: number,
            /// `us_in_state.CLOSE`
            us_in_state_close: number,
            /// `us_in_state.CLOSE_WAIT`
            us_in_state_close_wait: number,
            /// `us_in_state.LAST_ACK`
            us_in_state_last_ack: number,
            /// `us_in_state.LISTEN`
            us_in_state_listen: number,
            /// `us_in_state.CLOSING`
            us_in_state_closing: number,
            /// `retransmit`
            cause: name,
            /// `retransmit`
            segs: u32,
            /// `retransmit`
            seq: u32,
            /// `retransmit`
            backoff: u8,
            /// `retransmit`
            rto_us: number,
            /// `retransmit`
            unacked_bytes: u32,
            /// `retransmit`
            notsent_bytes: u32,
            /// `retransmit`
            err: i32,
            /// `reset`
            direction: name,
            /// `reset`, `lost`
            reason: name,
            /// `connect_failed`
            syn_sent: flag,
            /// `time_wait_overflow`
            tw_count: u32,
            /// `time_wait_overflow`
            tw_max: u32,
            /// `time_wait_overflow`
            inferred: flag,
            /// `time_wait_overflow`, `fd_exhausted`, `lost`
            count: number,
            /// `fd_exhausted`
            syscall: name,
            /// `fd_exhausted`
            open_fds: u32,
            /// `fd_exhausted`
            limit_soft: number,
            /// `fd_exhausted`
            limit_hard: number,
            /// `lost`, `attached`, `hook`
            hook: name,
            /// `attached`, `hook`: the way it is attached
            rung: name,
            /// `hook`: `hooks[].entered` of JSON's `end`
            entered: number,
            /// `hook`
            skipped: number,
            /// `hook`: of those skipped, what probes missed
            missed: number,
            /// `hook`
            emitted: number,
            /// `hook`
            filtered: number,
            /// `hook`
            aggregated: number,
            /// `hook`: `hooks[].lost.ring_full`
            lost_ring_full: number,
            /// `hook`: `hooks[].lost.map_full`
            lost_map_full: number,
            /// `process`: `processes[].sockets` of JSON's `end`
            sockets: number,
            /// `process`
            connections: number,
            /// `process`
            connect_failed: number,
            /// `process`
            retransmit_segs: number,
            /// `process`
            resets_sent: number,
            /// `process`
            resets_received: number,
            /// `process`
            time_wait_overflow: number,
            /// `process`
            fd_exhausted: number,
            /// `process`
            lost: number,
            /// `fact`: what it is of: `machine`, `namespace` (`netns`), `process` (`pid`, `pid_start`), `listener` (`netns`, `laddr`, `lport`), `connection` (`netns`, both ends)
            fact: name,
            /// `fact`: its name
            name: name,
            /// `fact`: its value, of a number
            value: number,
            /// `fact`: its value, of a text; `filter`: the filter as it was given
            text: name,
            /// `start`
            host: name,
            /// `start`
            kernel: name,
            /// `start`: tcptrace's version
            version: name,
            /// `start`: the version of `docs/schema.md`
            schema: u32,
        }
    };
}

pub(super) use columns;

/// Columns of [`crate::event::UsInState`], as `(column, number of the state)`.
macro_rules! us_in_state {
    ($then:ident) => {
        $then! {
            us_in_state_established: ESTABLISHED,
            us_in_state_syn_sent: SYN_SENT,
            us_in_state_syn_recv: SYN_RECV,
            us_in_state_fin_wait1: FIN_WAIT1,
            us_in_state_fin_wait2: FIN_WAIT2,
            us_in_state_time_wait: TIME_WAIT,
            us_in_state_close: CLOSE,
            us_in_state_close_wait: CLOSE_WAIT,
            us_in_state_last_ack: LAST_ACK,
            us_in_state_listen: LISTEN,
            us_in_state_closing: CLOSING,
        }
    };
}

pub(super) use us_in_state;

macro_rules! table {
    ($($(#[doc = $meaning:literal])+ $column:ident: $kind:ident,)*) => {
        /// Name, kind and meaning of each column, in order.
        pub const COLUMNS: &[(&str, &str, &str)] = &[
            $((stringify!($column), stringify!($kind), concat!($($meaning),+)),)*
        ];
    };
}
columns!(table);
