//! The maps, and the read-only globals that user space sets before loading.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf},
};
use tracer_common::{
    config::Config,
    conn::{Address, Conn, Listener, ListenerKey},
    drops::DropKey,
    fields::Fields,
    hook::{Counters, Hook},
    process::{Process, ProcessKey},
    storm::{FdKey, Storm, TwKey},
};

/// State changes and connections: what a flood brings.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Everything else: a flood of connections cannot push it out.
#[map]
pub(crate) static RARE: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// Sockets by address; the entry is renewed at each birth and removed when the socket is freed.
#[map]
pub(crate) static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(131_072, 0);

/// Listeners by address and port, for what a child inherits.
#[map]
pub(crate) static LISTENERS: HashMap<ListenerKey, Listener> = HashMap::with_max_entries(16_384, 0);

/// Who holds a socket, by the socket's cookie: filled by user space on the rung `sock_diag`, one entry
/// long on others.
#[map]
pub(crate) static COOKIES: HashMap<u64, ProcessKey> = HashMap::with_max_entries(1, 0);

/// Processes that own, or owned, sockets. User space removes those that ended.
#[map]
pub(crate) static PROCESSES: HashMap<ProcessKey, Process> = HashMap::with_max_entries(16_384, 0);

/// Failures for want of a descriptor.
#[map]
pub(crate) static FD_STORMS: HashMap<FdKey, Storm> = HashMap::with_max_entries(8_192, 0);

/// Time-wait overflows.
#[map]
pub(crate) static TW_STORMS: HashMap<TwKey, Storm> = HashMap::with_max_entries(8_192, 0);

/// Packets of TCP that the kernel dropped, while loss is looked into.
#[map]
pub(crate) static DROPS: HashMap<DropKey, u64> = HashMap::with_max_entries(4_096, 0);

/// One row per [`Hook`].
#[map]
pub(crate) static COUNTERS: PerCpuArray<Counters> =
    PerCpuArray::with_max_entries(Hook::COUNT as u32, 0);

/// 1 where a function tells of each time-wait socket, so nothing needs to be inferred. Set once the
/// rung is known.
#[map]
pub(crate) static TW_EXACT: Array<u32> = Array::with_max_entries(1, 0);

/// How many connections were accepted unseen so far: when it changes, a walk may find who holds them.
#[map]
pub(crate) static UNSEEN: Array<u64> = Array::with_max_entries(1, 0);

/// Arguments of functions that are running, for the probes at their return: by task and CPU, and by
/// function.
#[map]
pub(crate) static CALLS: HashMap<[u64; 2], [u64; 2]> = HashMap::with_max_entries(4_096, 0);

/// `--pid`
#[map]
pub(crate) static PIDS: HashMap<u32, u64> = HashMap::with_max_entries(1_024, 0);

/// `--comm`
#[map]
pub(crate) static COMMS: HashMap<[u8; 16], u8> = HashMap::with_max_entries(256, 0);

/// `--port`
#[map]
pub(crate) static PORTS: HashMap<u16, u8> = HashMap::with_max_entries(1_024, 0);

/// `--cidr`, IPv4 mapped.
#[map]
pub(crate) static CIDRS: LpmTrie<Address, u8> = LpmTrie::with_max_entries(1_024, 1);

/// `--netns`
#[map]
pub(crate) static NETNS: HashMap<u32, u8> = HashMap::with_max_entries(256, 0);

#[unsafe(no_mangle)]
static FIELDS: Fields = Fields::NONE;

#[unsafe(no_mangle)]
static CONFIG: Config = Config {
    events: 0,
    filters: 0,
    ring_mark: 0,
    rare_mark: 0,
    task_pt_regs: 0,
    task_btf: 0,
    guarded: 0,
    retransmit_err: 0,
    reset_reason: 0,
    sock_diag: 0,
    cgroup: 0,
};

/// The offset of a field of the kernel; the verifier sees a constant.
macro_rules! field {
    ($name:ident) => {
        $crate::maps::field_at(core::mem::offset_of!(tracer_common::fields::Fields, $name))
    };
}
pub(crate) use field;

/// A setting; the verifier sees a constant.
macro_rules! config {
    ($name:ident, $type:ty) => {
        $crate::maps::config_at::<$type>(core::mem::offset_of!(
            tracer_common::config::Config,
            $name
        ))
    };
}
pub(crate) use config;

/// What [`field!`] expands to.
#[inline(always)]
pub(crate) fn field_at(place: usize) -> u32 {
    // SAFETY: `place` is a member of the struct. Volatile, since the compiler must not take the
    // initial value for the final one.
    unsafe { core::ptr::read_volatile((&raw const FIELDS).byte_add(place).cast()) }
}

/// What [`config!`] expands to.
#[inline(always)]
pub(crate) fn config_at<T: Copy>(place: usize) -> T {
    // SAFETY: as above; `T` is the member's type where the result is used.
    unsafe { core::ptr::read_volatile((&raw const CONFIG).byte_add(place).cast()) }
}
