//! The kernel's own numbers for TCP: states, congestion states, timers, errors.

/// TCP states, `include/net/tcp_states.h`.
pub mod state {
    /// Data can flow.
    pub const ESTABLISHED: u8 = 1;
    /// Active open, SYN sent (or about to be).
    pub const SYN_SENT: u8 = 2;
    /// Passive open, third ACK awaited.
    pub const SYN_RECV: u8 = 3;
    /// FIN sent, not acknowledged.
    pub const FIN_WAIT1: u8 = 4;
    /// FIN acknowledged, the peer's FIN awaited.
    pub const FIN_WAIT2: u8 = 5;
    /// In the time-wait table. The kernel's tracepoint never says so; we do.
    pub const TIME_WAIT: u8 = 6;
    /// Closed.
    pub const CLOSE: u8 = 7;
    /// The peer has closed, we have not.
    pub const CLOSE_WAIT: u8 = 8;
    /// Both have closed, our FIN is not acknowledged.
    pub const LAST_ACK: u8 = 9;
    /// Listener.
    pub const LISTEN: u8 = 10;
    /// Both closed at once.
    pub const CLOSING: u8 = 11;
    /// Length of tables by state: a power of two, so that a masked state is always inside.
    pub const COUNT: usize = 16;

    /// The kernel's name of a state, or `None` for a number it does not have.
    #[must_use]
    pub const fn name(state: u8) -> Option<&'static str> {
        Some(match state {
            ESTABLISHED => "ESTABLISHED",
            SYN_SENT => "SYN_SENT",
            SYN_RECV => "SYN_RECV",
            FIN_WAIT1 => "FIN_WAIT1",
            FIN_WAIT2 => "FIN_WAIT2",
            TIME_WAIT => "TIME_WAIT",
            CLOSE => "CLOSE",
            CLOSE_WAIT => "CLOSE_WAIT",
            LAST_ACK => "LAST_ACK",
            LISTEN => "LISTEN",
            CLOSING => "CLOSING",
            _ => return None,
        })
    }
}

/// `IPPROTO_TCP`.
pub const IPPROTO_TCP: u16 = 6;
/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// Congestion states, `include/net/tcp.h: enum tcp_ca_state`.
pub mod ca {
    /// Lost segments are retransmitted without a timeout.
    pub const RECOVERY: u8 = 3;
    /// A timeout (or a smaller path MTU) declared everything lost.
    pub const LOSS: u8 = 4;
}

/// `icsk_pending` of a tail-loss probe, `include/net/inet_connection_sock.h: ICSK_TIME_LOSS_PROBE`.
pub const ICSK_TIME_LOSS_PROBE: u8 = 5;

/// Error numbers that decide how a connection ended.
pub mod errno {
    /// Refused by a firewall of this machine.
    pub const EPERM: i32 = 1;
    /// No such file table entry left in the whole system.
    pub const ENFILE: i32 = 23;
    /// The process's descriptor table is at its limit.
    pub const EMFILE: i32 = 24;
    /// Reset while the peer had already closed.
    pub const EPIPE: i32 = 32;
    /// Reset by the peer.
    pub const ECONNRESET: i32 = 104;
    /// No room in a queue.
    pub const ENOBUFS: i32 = 105;
    /// Gave up waiting.
    pub const ETIMEDOUT: i32 = 110;
    /// Reset in answer to a SYN.
    pub const ECONNREFUSED: i32 = 111;
    /// A non-blocking connect goes on.
    pub const EINPROGRESS: i32 = 115;
}
