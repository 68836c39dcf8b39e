//! `struct tcp_info`, as sock_diag hands it out: `include/uapi/linux/tcp.h`. It only ever grows at its
//! end, so offsets hold on every kernel, and what an older kernel lacks is `None`.

/// What is used of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpInfo {
    /// Timeouts since the last acknowledgement.
    pub(super) retransmits: u8,
    /// Unanswered probes of a closed window or of keepalive.
    pub(super) probes: u8,
    /// How often the timer has doubled.
    pub(super) backoff: u8,
    /// The retransmission timeout now, us.
    pub(super) rto_us: u32,
    /// Segments that are not acknowledged.
    pub(super) unacked: u32,
    /// Since data was sent, ms.
    pub(super) last_data_sent_ms: u32,
    /// Since data was received, ms.
    pub(super) last_data_recv_ms: u32,
    /// Since an acknowledgement was received, ms.
    pub(super) last_ack_recv_ms: u32,
    /// Smoothed round-trip time, us.
    pub(super) srtt_us: u32,
    /// Its variation, us.
    pub(super) rttvar_us: u32,
    /// Segments sent again.
    pub(super) total_retrans: u32,
    /// Bytes that were not sent yet, from 4.6.
    pub(super) notsent_bytes: Option<u32>,
    /// Time with data to send, us, from 4.10.
    pub(super) busy_us: Option<u64>,
    /// Of that, time held back by the peer's window, us, from 4.10.
    pub(super) rwnd_limited_us: Option<u64>,
}

impl TcpInfo {
    /// From the attribute's bytes; `None` where it is shorter than any kernel's.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let byte = |at: usize| bytes.get(at).copied();
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            retransmits: byte(2)?,
            probes: byte(3)?,
            backoff: byte(4)?,
            rto_us: word(8)?,
            unacked: word(24)?,
            last_data_sent_ms: word(44)?,
            last_data_recv_ms: word(52)?,
            last_ack_recv_ms: word(56)?,
            srtt_us: word(68)?,
            rttvar_us: word(72)?,
            total_retrans: word(100)?,
            notsent_bytes: word(144),
            busy_us: long(168),
            rwnd_limited_us: long(176),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn offsets_are_those_of_the_system_header() {
        let mut bytes = [0_u8; 192];
        let mut put =
            |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        put(offset_of!(libc::tcp_info, tcpi_rto), 1);
        put(offset_of!(libc::tcp_info, tcpi_unacked), 2);
        put(offset_of!(libc::tcp_info, tcpi_last_data_sent), 3);
        put(offset_of!(libc::tcp_info, tcpi_last_data_recv), 4);
        put(offset_of!(libc::tcp_info, tcpi_last_ack_recv), 5);
        put(offset_of!(libc::tcp_info, tcpi_rtt), 6);
        put(offset_of!(libc::tcp_info, tcpi_rttvar), 7);
        put(offset_of!(libc::tcp_info, tcpi_total_retrans), 8);
        bytes[offset_of!(libc::tcp_info, tcpi_retransmits)] = 9;
        bytes[offset_of!(libc::tcp_info, tcpi_probes)] = 10;
        bytes[offset_of!(libc::tcp_info, tcpi_backoff)] = 11;
        let expected = TcpInfo {
            retransmits: 9,
            probes: 10,
            backoff: 11,
            rto_us: 1,
            unacked: 2,
            last_data_sent_ms: 3,
            last_data_recv_ms: 4,
            last_ack_recv_ms: 5,
            srtt_us: 6,
            rttvar_us: 7,
            total_retrans: 8,
            notsent_bytes: Some(0),
            busy_us: Some(0),
            rwnd_limited_us: Some(0),
        };
        assert_eq!(TcpInfo::parse(&bytes), Some(expected));
        let old = TcpInfo::parse(&bytes[..104]).unwrap();
        assert_eq!((old.notsent_bytes, old.busy_us), (None, None));
        assert_eq!(TcpInfo::parse(&bytes[..50]), None);
    }
}
