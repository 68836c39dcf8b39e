//! A socket as the kernel programs know it: the value of the map `CONNS`.

use crate::{process::ProcessKey, tcp::state};

/// How the owner of a socket is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum OwnerSource {
    /// Not known.
    Unknown,
    /// It called connect.
    Connect,
    /// Its accept returned the socket.
    Accept,
    /// It called listen.
    Listen,
    /// It held the socket when descriptors were walked, or closed one that was accepted unseen.
    Iter,
    /// The socket was never accepted: this is the owner of the listener it waits at.
    Inherited,
    /// The process itself did what the event tells.
    Current,
}

impl OwnerSource {
    /// From the byte in a record.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Unknown,
            1 => Self::Connect,
            2 => Self::Accept,
            3 => Self::Listen,
            4 => Self::Iter,
            5 => Self::Inherited,
            6 => Self::Current,
            _ => return None,
        })
    }

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Connect => "connect",
            Self::Accept => "accept",
            Self::Listen => "listen",
            Self::Iter => "iter",
            Self::Inherited => "inherited",
            Self::Current => "current",
        }
    }
}

/// Sixteen bytes in network order, as two words: copied, compared and hashed by words.
pub type Address = [u64; 2];

/// The two ends of a connection and where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Tuple {
    /// Local address, IPv4 mapped.
    pub laddr: Address,
    /// Remote address, IPv4 mapped.
    pub raddr: Address,
    /// Network namespace: inode number of `/proc/PID/ns/net`.
    pub netns: u32,
    /// Local port, host order.
    pub lport: u16,
    /// Remote port, host order.
    pub rport: u16,
}

/// What is kept of a socket from connect, listen or SYN until it is freed. What each change of state needs
/// stands first, and so in few cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Conn {
    /// When it entered its present state, ns.
    pub since: u64,
    /// [`OwnerSource`].
    pub owner_source: u8,
    /// Present state.
    pub state: u8,
    /// See [`flag`].
    pub flags: u16,
    /// Padding.
    pub pad: [u8; 4],
    /// Time spent in each state, ns.
    pub in_state: [u64; state::COUNT],
    /// When it was established, ns; 0 when it was not, or before the trace.
    pub established: u64,
    /// When it left CLOSE (or was found), ns.
    pub born: u64,
    /// Number of the connection in this trace.
    pub id: u64,
    /// Who owns it.
    pub owner: ProcessKey,
    /// The ends.
    pub tuple: Tuple,
    /// `tcp_sock.total_retrans` up to which segments are counted.
    pub retrans_counted: u32,
    /// Segments sent again since it is known.
    pub segs_retrans: u32,
}

impl Conn {
    /// Nothing known yet.
    pub const EMPTY: Self = Self {
        since: 0,
        owner_source: 0,
        state: 0,
        flags: 0,
        pad: [0; 4],
        in_state: [0; state::COUNT],
        established: 0,
        born: 0,
        id: 0,
        owner: ProcessKey::UNKNOWN,
        tuple: Tuple {
            laddr: [0; 2],
            raddr: [0; 2],
            netns: 0,
            lport: 0,
            rport: 0,
        },
        retrans_counted: 0,
        segs_retrans: 0,
    };
}

/// Bits of [`Conn::flags`].
pub mod flag {
    /// It existed before the trace: no birth, no handshake seen.
    pub const FOUND: u16 = 1;
    /// Opened by connect.
    pub const ACTIVE: u16 = 2;
    /// Opened by a peer's SYN.
    pub const PASSIVE: u16 = 4;
    /// Our FIN went first.
    pub const CLOSED_LOCAL: u16 = 8;
    /// The peer's FIN came first.
    pub const CLOSED_REMOTE: u16 = 16;
    /// A reset was received.
    pub const RESET_RECEIVED: u16 = 32;
    /// SYN_SENT to CLOSE without an error: connect fails before a SYN left, or the socket was closed.
    pub const FAILED_SILENTLY: u16 = 64;
    /// Its failed connect has been reported.
    pub const FAILURE_REPORTED: u16 = 128;
    /// A time-wait socket was made for it.
    pub const TIME_WAIT: u16 = 256;
    /// None was made: the table was full.
    pub const TIME_WAIT_REFUSED: u16 = 512;
    /// A descriptor stands, or stood, for it, and whose is not known: it was accepted unseen.
    pub const UNSEEN: u16 = 1024;
    /// Its owner is not known, and it was made in the cgroup that is traced.
    pub const OF_GROUP: u16 = 2048;
}

/// Names a listener: the key of the map `LISTENERS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ListenerKey {
    /// Address it is bound to, IPv4 mapped.
    pub laddr: Address,
    /// Network namespace.
    pub netns: u32,
    /// Port, host order.
    pub lport: u16,
    /// Zero: keys are compared as bytes.
    pub pad: u16,
}

/// Who listens there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Listener {
    /// The owner.
    pub owner: ProcessKey,
    /// Sockets that share the address (SO_REUSEPORT).
    pub sockets: u32,
    /// 1 when they belong, or belonged, to several processes: children inherit nobody.
    pub shared: u32,
}

const _: () = assert!(size_of::<Tuple>() == 40);
const _: () = assert!(size_of::<Conn>() == 8 + 16 + 40 + 24 + 128 + 16);
const _: () = assert!(size_of::<ListenerKey>() == 24);
const _: () = assert!(size_of::<Listener>() == 24);

// SAFETY: `repr(C)`, only integers, no implicit padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ListenerKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Conn {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Listener {}
