//! The names of facts. `docs/schema.md` lists them, and a test compares the two.

/// What a fact of a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The machine.
    Machine,
    /// A network namespace.
    Namespace,
    /// A process.
    Process,
    /// A listener.
    Listener,
    /// A connection.
    Connection,
}

impl Of {
    /// The name in `docs/schema.md`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Namespace => "namespace",
            Self::Process => "process",
            Self::Listener => "listener",
            Self::Connection => "connection",
        }
    }
}

macro_rules! names {
    ($($of:ident { $($(#[doc = $doc:literal])+ $name:ident = $text:literal),* $(,)? })*) => {
        $($($(#[doc = $doc])+ pub const $name: &str = $text;)*)*

        /// All of them: what each is of, its name, and what it says. A name that ends in `*` is a family.
        pub const NAMES: &[(Of, &str, &str)] = &[$($((Of::$of, $text, concat!($($doc),+)),)*)*];
    };
}

names! {
    Machine {
        /// jiffies in a second
        HZ = "HZ",
        /// open files of the whole machine
        FILE_NR = "fs.file-nr",
        /// the most open files of the whole machine
        FILE_MAX = "fs.file-max",
        /// the most descriptors that a hard limit may allow a process
        NR_OPEN = "fs.nr_open",
        /// the most inotify instances of a user
        INOTIFY_MAX = "fs.inotify.max_user_instances",
        /// inode number of the user namespace that tcptrace runs in
        OWN_USER_NAMESPACE = "user_namespace",
        /// 1 while the kernel's reasons for dropped packets are watched, 0 when they are not or can't be; none where nothing was lost
        DROPS_WATCHED = "drops_watched",
    }
    Namespace {
        /// sysctls of TCP in the namespace, by their names
        SYSCTL = "net.ipv4.*",
        /// the most that a listener's backlog can be
        SOMAXCONN = "net.core.somaxconn",
        /// sockets of the namespace, as in `/proc/net/sockstat`: `inuse`, `orphan`, `tw`, `alloc`, `mem` (pages)
        SOCKSTAT = "sockstat.TCP.*",
        /// the namespace's counters in `/proc/net/snmp` since it was made
        TCP = "Tcp.*",
        /// as above, in `/proc/net/netstat`
        TCP_EXT = "TcpExt.*",
        /// as above, in `/proc/net/snmp`: packets of any protocol that did not go out or come in
        IP = "Ip.*",
        /// packets of TCP that the kernel dropped while loss was looked into: `drop.REASON SOURCE DESTINATION`; of namespace 0 those on their way out
        DROP = "drop.*",
        /// 1 when its sockets could not be listed, else 0; none where they always could
        SOCKETS_UNREAD = "sockets_unread",
        /// 1 when nothing of it was found any more, else 0; none where it was always there
        NAMESPACE_ENDED = "ended",
    }
    Process {
        /// its name
        COMM = "comm",
        /// its command line
        CMDLINE = "cmdline",
        /// its user id
        UID = "uid",
        /// its systemd unit
        UNIT = "unit",
        /// process id of its parent
        PARENT = "parent",
        /// when its parent started, ns since 1970
        PARENT_START = "parent_start",
        /// RLIMIT_NOFILE that is in force
        LIMIT_SOFT = "limit_nofile_soft",
        /// up to where it may raise its own RLIMIT_NOFILE
        LIMIT_HARD = "limit_nofile_hard",
        /// descriptors that it has open
        OPEN_FDS = "open_fds",
        /// of those, sockets
        FDS_SOCKET = "fds.socket",
        /// of those, inotify instances
        FDS_INOTIFY = "fds.inotify",
        /// inotify instances of all processes of its user
        INOTIFY_OF_USER = "inotify_instances_of_user",
        /// inode number of its user namespace
        USER_NAMESPACE = "user_namespace",
        /// `minfds` of a supervisord, from its arguments or its configuration file
        MINFDS = "minfds",
        /// 1 when it was found to have ended
        ENDED = "ended",
    }
    Listener {
        /// `LISTEN`, and `CLOSE` when nobody listens there any more
        LISTENER_STATE = "state",
        /// connections that wait to be accepted
        BACKLOG = "backlog",
        /// how many may wait
        BACKLOG_MAX = "backlog_max",
        /// connections that waited when its queue was found full
        BACKLOG_FULL = "backlog_full",
        /// half-open requests, which wait for the third part of a handshake, when it turned some away
        SYN_RECV = "syn_recv",
        /// process that holds it; of several the one whose queue is fullest
        LISTENER_PID = "pid",
        /// when that process started, ns since 1970
        LISTENER_PID_START = "pid_start",
    }
    Connection {
        /// its state
        STATE = "state",
        /// the timer that runs: `retransmit`, `keepalive`, `probe` (the peer's window is closed) or `none`
        TIMER = "timer",
        /// when the timer expires, ms from the reading
        EXPIRES_MS = "expires_ms",
        /// timeouts since the last acknowledgement
        RETRANSMITS = "retransmits",
        /// window probes that were not answered
        PROBES = "probes",
        /// how often the timer has doubled
        BACKOFF = "backoff",
        /// the retransmission timeout now
        RTO_US = "rto_us",
        /// the smoothed round-trip time
        SRTT_US = "srtt_us",
        /// its variation
        RTTVAR_US = "rttvar_us",
        /// segments sent and not acknowledged
        UNACKED = "unacked",
        /// bytes written by the process and not sent yet
        NOTSENT_BYTES = "notsent_bytes",
        /// bytes written by the process and not acknowledged
        SEND_QUEUE = "send_queue",
        /// bytes received and not read by the process
        RECV_QUEUE = "recv_queue",
        /// since data was last sent, ms
        LAST_DATA_SENT_MS = "last_data_sent_ms",
        /// since data was last received, ms
        LAST_DATA_RECV_MS = "last_data_recv_ms",
        /// since an acknowledgement was last received, ms
        LAST_ACK_RECV_MS = "last_ack_recv_ms",
        /// time with data to send
        BUSY_US = "busy_us",
        /// of that, time in which the peer's window held it back
        RWND_LIMITED_US = "rwnd_limited_us",
        /// segments sent again
        TOTAL_RETRANS = "total_retrans",
        /// its TCP_USER_TIMEOUT, ms; 0 for none
        USER_TIMEOUT_MS = "user_timeout_ms",
        /// 1 when SO_KEEPALIVE is set, else 0
        KEEPALIVE = "keepalive",
        /// 1 when its process has closed it and the kernel finishes it, else 0
        ORPHAN = "orphan",
        /// 1 when the peer's link address is known, 0 when nobody answers for it; for IPv4 peers on a local link
        NEIGHBOUR = "neighbour",
        /// process that holds it
        CONNECTION_PID = "pid",
        /// when that process started, ns since 1970
        CONNECTION_PID_START = "pid_start",
        /// when it was opened, ns since 1970; not of one that was there before the trace
        BORN = "born",
        /// 1 when it came after its peer had refused others; no such fact of others
        ANSWERED = "answered",
    }
}

/// Whether a name stands in the table for what it is of.
#[must_use]
pub fn is_known(of: Of, name: &str) -> bool {
    NAMES.iter().any(|(known_of, known, _)| {
        *known_of == of
            && match known.strip_suffix('*') {
                Some(family) => name.starts_with(family),
                None => *known == name,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_lists_every_name_and_no_other() {
        let page = include_str!("../../../docs/schema.md");
        let section = page.split("\n## facts\n").nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let documented: Vec<&str> = section
            .lines()
            .filter(|line| line.starts_with("| ") && line.contains('`'))
            .collect();
        let expected: Vec<String> = NAMES
            .iter()
            .map(|(of, name, meaning)| format!("| {} | `{name}` | {} |", of.name(), meaning.trim()))
            .collect();
        assert_eq!(documented, expected);
    }

    #[test]
    fn a_family_has_its_members() {
        assert!(is_known(Of::Namespace, "TcpExt.TCPTimeWaitOverflow"));
        assert!(is_known(Of::Process, "open_fds"));
        assert!(!is_known(Of::Machine, "open_fds"));
    }
}
