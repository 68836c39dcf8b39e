//! The kernel's fields that are read, and where they are on the running kernel.
//!
//! rustc emits no CO-RE relocations, so user space looks every offset up in the running kernel's BTF
//! and hands this struct to the programs before they are loaded.

/// The offset of a field that this kernel does not have.
pub const MISSING: u32 = u32::MAX;

/// A field to look up.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Where its offset goes, in [`Fields`].
    pub name: &'static str,
    /// The kernel's struct.
    pub of: &'static str,
    /// Paths inside it, the first that exists counts: fields get renamed.
    pub paths: &'static [&'static str],
    /// What is switched off without it; `None` when nothing works without it.
    pub switches_off: Option<&'static str>,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $of:literal $($path:literal)|+ $(, without: $off:literal)?;)*) => {
        /// Byte offsets, [`MISSING`] where the kernel has no such field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Fields {
            $($(#[$doc])* pub $name: u32,)*
        }

        impl Fields {
            /// What to look up, in the order of the struct's fields.
            pub const ALL: &[Field] = &[$(Field {
                name: stringify!($name),
                of: $of,
                paths: &[$($path),+],
                switches_off: fields!(@off $($off)?),
            }),*];

            /// From offsets in the order of [`Self::ALL`].
            #[must_use]
            pub const fn from_offsets(offsets: [u32; Self::ALL.len()]) -> Self {
                let mut rest: &[u32] = &offsets;
                $(let $name = match rest.split_first() {
                    Some((first, others)) => { rest = others; *first }
                    None => MISSING,
                };)*
                let _ = rest;
                Self { $($name),* }
            }
        }
    };
    (@off) => { None };
    (@off $off:literal) => { Some($off) };
}

fields! {
    /// `u16`
    family = "sock_common" "skc_family";
    /// `u8`
    state = "sock_common" "skc_state";
    /// Local port, host order, `u16`; 0 when unbound.
    num = "sock_common" "skc_num";
    /// Remote port, network order, `u16`.
    dport = "sock_common" "skc_dport";
    /// Local IPv4 address.
    rcv_saddr = "sock_common" "skc_rcv_saddr";
    /// Remote IPv4 address.
    daddr = "sock_common" "skc_daddr";
    /// Local IPv6 address.
    v6_rcv_saddr = "sock_common" "skc_v6_rcv_saddr";
    /// Remote IPv6 address.
    v6_daddr = "sock_common" "skc_v6_daddr";
    /// `struct net *`
    net = "sock_common" "skc_net";
    /// `atomic64_t`, 0 until somebody asks for it.
    cookie = "sock_common" "skc_cookie";
    /// Hash of the tuple, `u32`.
    hash = "sock_common" "skc_hash", without: "time-wait overflow on the inferred rung";
    /// Link in the table of established and time-wait sockets.
    nulls_node = "sock_common" "skc_nulls_node", without: "time-wait overflow on the inferred rung";
    /// `u16`
    protocol = "sock" "sk_protocol";
    /// `int`
    err = "sock" "sk_err";
    /// `struct socket *`
    socket = "sock" "sk_socket";
    /// `u8`
    shutdown = "sock" "sk_shutdown";
    /// `unsigned long`, bits of `enum sock_flags`.
    flags = "sock_common" "skc_flags";
    /// Local port, network order, `u16`; kept after `num` is cleared.
    sport = "inet_sock" "inet_sport";
    /// 5-bit `icsk_ca_state` and flags, `u8`.
    ca_state = "inet_connection_sock" "icsk_ca_state", without: "the cause of a retransmit";
    /// `u8`
    retransmits = "inet_connection_sock" "icsk_retransmits", without: "the cause of a retransmit";
    /// Which timer is armed, `u8`.
    pending = "inet_connection_sock" "icsk_pending", without: "the cause of a retransmit";
    /// `u8`
    backoff = "inet_connection_sock" "icsk_backoff";
    /// Jiffies, `u32`.
    rto = "inet_connection_sock" "icsk_rto";
    /// `u32`
    snd_una = "tcp_sock" "snd_una";
    /// `u32`
    snd_nxt = "tcp_sock" "snd_nxt";
    /// `u32`
    write_seq = "tcp_sock" "write_seq";
    /// Eighths of a microsecond, `u32`.
    srtt_us = "tcp_sock" "srtt_us";
    /// Segments, `u32`.
    total_retrans = "tcp_sock" "total_retrans";
    /// `u64`
    bytes_sent = "tcp_sock" "bytes_sent";
    /// `u64`
    bytes_retrans = "tcp_sock" "bytes_retrans";
    /// `u64`
    bytes_received = "tcp_sock" "bytes_received";
    /// Segments, `u32`.
    segs_out = "tcp_sock" "segs_out";
    /// `u32`
    undo_marker = "tcp_sock" "undo_marker", without: "the retransmit cause pmtu";
    /// `u32`
    prior_ssthresh = "tcp_sock" "prior_ssthresh", without: "the retransmit cause pmtu";
    /// `u32`
    netns_inum = "net" "ns.inum";
    /// `refcount_t`, one more than there are sockets.
    tw_refcount = "net" "ipv4.tcp_death_row.tw_refcount", without: "";
    /// `atomic_t`, before 5.17.
    tw_count = "net" "ipv4.tcp_death_row.tw_count", without: "";
    /// `int`
    tw_max = "net" "ipv4.tcp_death_row.sysctl_max_tw_buckets", without: "time-wait overflow on the inferred rung";
    /// `struct inet_hashinfo *`
    hashinfo = "net" "ipv4.tcp_death_row.hashinfo", without: "time-wait overflow on the inferred rung";
    /// `struct inet_ehash_bucket *`
    ehash = "inet_hashinfo" "ehash", without: "time-wait overflow on the inferred rung";
    /// `unsigned int`
    ehash_mask = "inet_hashinfo" "ehash_mask", without: "time-wait overflow on the inferred rung";
    /// 7-bit `num_timeout` above one bit `syncookie`, `u8`.
    num_timeout = "request_sock" "num_timeout", without: "the back-off of a SYN-ACK";
    /// `u32`
    snt_isn = "tcp_request_sock" "snt_isn";
    /// `struct task_struct *`
    group_leader = "task_struct" "group_leader";
    /// `pid_t`
    tgid = "task_struct" "tgid";
    /// ns, `u64`.
    start_boottime = "task_struct" "start_boottime";
    /// `char[16]`
    comm = "task_struct" "comm";
    /// `struct files_struct *`
    files = "task_struct" "files";
    /// `struct signal_struct *`
    signal = "task_struct" "signal";
    /// `struct css_set *`
    cgroups = "task_struct" "cgroups";
    /// `struct nsproxy *`
    nsproxy = "task_struct" "nsproxy";
    /// `PF_*`, `unsigned int`
    task_flags = "task_struct" "flags";
    /// `struct mm_struct *`
    mm = "task_struct" "mm";
    /// `struct task_struct *`
    real_parent = "task_struct" "real_parent";
    /// `struct cred *`
    cred = "task_struct" "cred";
    /// Kernel stack, `void *`.
    stack = "task_struct" "stack";
    /// `kuid_t`
    uid = "cred" "uid";
    /// Live threads, `atomic_t`.
    live = "signal_struct" "live";
    /// `RLIMIT_NOFILE`, two `unsigned long`: soft, hard.
    rlim_nofile = "signal_struct" "rlim[7]";
    /// `struct fdtable *`
    fdt = "files_struct" "fdt";
    /// `unsigned int`
    max_fds = "fdtable" "max_fds";
    /// `struct file **`
    fd = "fdtable" "fd";
    /// `unsigned long *`
    open_fds = "fdtable" "open_fds";
    /// `void *`
    private_data = "file" "private_data";
    /// `struct file *`
    socket_file = "socket" "file";
    /// `struct sock *`
    socket_sk = "socket" "sk";
    /// `struct net *`
    net_ns = "nsproxy" "net_ns";
    /// `struct cgroup *`
    dfl_cgrp = "css_set" "dfl_cgrp";
    /// `struct cgroup *`, up to 5.14 with flags in its low bits.
    sk_cgrp_data = "sock" "sk_cgrp_data", without: "of `record -- COMMAND` and `--cgroup`, connections without a known owner";
    /// `struct kernfs_node *`
    kn = "cgroup" "kn";
    /// `u64`
    kn_id = "kernfs_node" "id";
    /// `const char *`
    kn_name = "kernfs_node" "name";
    /// `struct kernfs_node *`
    kn_parent = "kernfs_node" "__parent" | "parent";
    /// `unsigned long`
    arg_start = "mm_struct" "arg_start";
    /// `unsigned long`
    arg_end = "mm_struct" "arg_end";
    /// `char[48]`
    cb = "sk_buff" "cb";
    /// `unsigned char *`
    skb_head = "sk_buff" "head";
    /// `u16`
    network_header = "sk_buff" "network_header";
    /// `u16`
    transport_header = "sk_buff" "transport_header";
    /// `struct net_device *`
    skb_dev = "sk_buff" "dev";
    /// `struct net *`
    dev_net = "net_device" "nd_net";
    /// `u32`
    cb_seq = "tcp_skb_cb" "seq";
    /// Segments of the buffer, `u16`.
    cb_gso_segs = "tcp_skb_cb" "tcp_gso_segs";
    /// First argument of a system call (x86-64).
    regs_di = "pt_regs" "di";
    /// Second argument of a system call (x86-64).
    regs_si = "pt_regs" "si";
    /// Number of the system call (x86-64).
    regs_orig_ax = "pt_regs" "orig_ax";
}

impl Fields {
    /// All missing.
    pub const NONE: Self = Self::from_offsets([MISSING; Self::ALL.len()]);
}

// SAFETY: `repr(C)`, only `u32`, no padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Fields {}
