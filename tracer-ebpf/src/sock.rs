//! How the kernel's memory is read. The only file that does.
//!
//! A [`Sock`] comes from a `tp_btf` argument: the verifier knows its type, and a plain load at a
//! constant offset inside `struct sock` is checked and costs nothing. Everything else is read with
//! `bpf_probe_read_kernel`, which yields zero where nothing is mapped.

use aya_ebpf::helpers::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel,
    bpf_probe_read_kernel_buf, bpf_probe_read_kernel_str_bytes, bpf_probe_read_user,
    bpf_task_pt_regs, generated,
};
use tracer_common::{
    conn::{Address, Tuple},
    record::ARGS,
    tcp::{AF_INET, AF_INET6, IPPROTO_TCP, state},
};

use crate::maps::{config, field};

/// Bytes 10 and 11 of an IPv4-mapped address, as they stand in the second word.
const MAPPED: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);

/// `THREAD_SIZE` of x86-64 without KASAN, `arch/x86/include/asm/page_64_types.h`.
const THREAD_SIZE: u64 = 16_384;
/// Size of `struct pt_regs` on x86-64.
const PT_REGS: u64 = 168;

/// A socket that the verifier trusts.
#[derive(Clone, Copy)]
pub(crate) struct Sock(*const u8);

impl Sock {
    /// From argument `n` of a `tp_btf` program; `None` when the kernel passed NULL.
    #[inline(always)]
    pub(crate) fn from_arg(sk: *const u8) -> Option<Self> {
        if sk.is_null() { None } else { Some(Self(sk)) }
    }

    /// Its address, the key of the map `CONNS`.
    #[inline(always)]
    pub(crate) fn addr(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: u32) -> T {
        // SAFETY: the verifier checks type and bounds of this load.
        unsafe { core::ptr::read_volatile(self.0.add(offset as usize).cast()) }
    }

    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        self.load::<u16>(field!(protocol)) == IPPROTO_TCP
    }

    #[inline(always)]
    pub(crate) fn state(self) -> u8 {
        self.load(field!(state))
    }

    /// `sk_err`, positive.
    #[inline(always)]
    pub(crate) fn err(self) -> i32 {
        self.load(field!(err))
    }

    /// Whether a `struct socket`, so a descriptor, still stands for it.
    #[inline(always)]
    pub(crate) fn has_socket(self) -> bool {
        probe::<u64>(self.addr(), field!(socket)) != 0
    }

    /// Whether both directions are shut down, as close does first of all.
    #[inline(always)]
    pub(crate) fn is_shut_down(self) -> bool {
        self.load::<u8>(field!(shutdown)) & 3 == 3
    }

    /// Whether the peer's FIN was received: `SOCK_DONE`, bit 1 of `enum sock_flags`, set by
    /// `net/ipv4/tcp_input.c: tcp_fin`.
    #[inline(always)]
    pub(crate) fn fin_received(self) -> bool {
        self.load::<u64>(field!(flags)) & 2 != 0
    }

    /// Local port, 0 when unbound.
    #[inline(always)]
    pub(crate) fn num(self) -> u16 {
        self.load(field!(num))
    }

    /// Hash in the table of established sockets.
    #[inline(always)]
    pub(crate) fn hash(self) -> u32 {
        self.load(field!(hash))
    }

    /// `struct net *`.
    #[inline(always)]
    pub(crate) fn net(self) -> u64 {
        probe(self.addr(), field!(net))
    }

    /// Address of this socket's bucket in the table of established sockets.
    #[inline(always)]
    pub(crate) fn bucket(self) -> u64 {
        let info: u64 = probe(self.net(), field!(hashinfo));
        let mask: u32 = probe(info, field!(ehash_mask));
        probe::<u64>(info, field!(ehash)) + u64::from(self.hash() & mask) * 8
    }

    /// The ends, into `tuple`. The kernel clears `skc_num` before it says CLOSE: `inet_sport` is kept.
    #[inline(always)]
    pub(crate) fn read_tuple(self, tuple: &mut Tuple) {
        self.read_ends(tuple);
        if tuple.lport == 0 {
            tuple.lport = sport(self.addr());
        }
    }

    /// As above, for a socket that has no port yet, or has one that is not cleared.
    #[inline(always)]
    pub(crate) fn read_ends(self, tuple: &mut Tuple) {
        tuple.netns = probe(self.net(), field!(netns_inum));
        tuple.lport = self.num();
        tuple.rport = u16::from_be(self.load(field!(dport)));
        if self.load::<u16>(field!(family)) == AF_INET {
            tuple.laddr = mapped(self.load(field!(rcv_saddr)));
            tuple.raddr = mapped(self.load(field!(daddr)));
        } else {
            tuple.laddr = self.load(field!(v6_rcv_saddr));
            tuple.raddr = self.load(field!(v6_daddr));
        }
    }
}

/// The beginning of a socket or of what stands for one, read in one go: `struct sock_common` up to its
/// addresses. The verifier checks that the fields lie inside.
pub(crate) struct SockCommon([u64; 11]);

impl SockCommon {
    #[inline(always)]
    pub(crate) fn read(at: u64) -> Self {
        Self(probe(at, 0))
    }

    #[inline(always)]
    fn load<T: Copy>(&self, offset: u32) -> T {
        // SAFETY: the verifier checks the bounds of this load from the stack.
        unsafe { core::ptr::read_volatile(self.0.as_ptr().byte_add(offset as usize).cast()) }
    }

    /// Whether this is the time-wait socket that took the place of `sk`, whose ends are `tuple`.
    #[inline(always)]
    pub(crate) fn is_time_wait_of(&self, sk: Sock, tuple: &Tuple) -> bool {
        if self.load::<u32>(field!(hash)) != sk.hash()
            || self.load::<u8>(field!(state)) != state::TIME_WAIT
            || self.load::<u64>(field!(net)) != sk.net()
            || self.load::<u16>(field!(num)) != tuple.lport
            || u16::from_be(self.load(field!(dport))) != tuple.rport
        {
            return false;
        }
        if self.load::<u16>(field!(family)) == AF_INET {
            mapped(self.load(field!(rcv_saddr))) == tuple.laddr
                && mapped(self.load(field!(daddr))) == tuple.raddr
        } else {
            self.load::<Address>(field!(v6_rcv_saddr)) == tuple.laddr
                && self.load::<Address>(field!(v6_daddr)) == tuple.raddr
        }
    }
}

/// An IPv4 address, as the kernel holds it, in its IPv6-mapped form.
#[inline(always)]
pub(crate) const fn mapped(addr: u32) -> Address {
    [0, ((addr as u64) << 32) | MAPPED]
}

/// Whether an address is of that form.
#[inline(always)]
pub(crate) const fn is_mapped(addr: &Address) -> bool {
    addr[0] == 0 && addr[1] & 0xffff_ffff == MAPPED
}

/// Loads through a pointer whose type the verifier knows.
///
/// # Safety
///
/// The verifier checks that `from` is of a known type and that the load is inside it.
#[inline(always)]
unsafe fn follow<T: Copy>(from: *const u8, offset: u32) -> T {
    // SAFETY: guaranteed by the verifier.
    unsafe { core::ptr::read_volatile(from.add(offset as usize).cast()) }
}

/// Reads `T` at `base + offset`, zero where that fails or `base` is NULL.
#[inline(always)]
pub(crate) fn probe<T: Copy + Default>(base: u64, offset: u32) -> T {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.unwrap_or_default()
}

/// Fills `to` from the kernel's memory; zeros where that fails.
#[inline(always)]
pub(crate) fn probe_bytes(at: u64, to: &mut [u8]) -> bool {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel_buf(at as *const u8, to) }.is_ok()
}

/// Copies a NUL-terminated string.
#[inline(always)]
pub(crate) fn probe_str(at: u64, to: &mut [u8]) {
    // SAFETY: the helper checks the address.
    if unsafe { bpf_probe_read_kernel_str_bytes(at as *const u8, to) }.is_err() {
        to[0] = 0;
    }
}

/// Fills `to` from the current process's memory; tells whether that went well.
#[inline(always)]
pub(crate) fn probe_user<T: Copy>(at: u64, to: &mut T) -> bool {
    // SAFETY: the helper checks the address, and writes what `T` takes.
    match unsafe { bpf_probe_read_user(at as *const T) } {
        Ok(value) => {
            *to = value;
            true
        }
        Err(_) => false,
    }
}

/// As above, the first `len` bytes in place, of at most [`ARGS`]: for what is too large for the stack.
#[inline(always)]
pub(crate) fn probe_user_into(at: u64, len: u32, to: &mut [u8; ARGS]) -> bool {
    if len > ARGS as u32 {
        return false;
    }
    // SAFETY: the helper checks the address, the verifier that there is room.
    unsafe { generated::bpf_probe_read_user(to.as_mut_ptr().cast(), len, at as *const _) == 0 }
}

/// Local port, host order, of a socket given by address. `inet_sport` outlives `skc_num`.
#[inline(always)]
pub(crate) fn sport(sk: u64) -> u16 {
    u16::from_be(probe(sk, field!(sport)))
}

/// The ends of a socket (or request socket) given by address, into `tuple`.
#[inline(always)]
pub(crate) fn probe_tuple(sk: u64, tuple: &mut Tuple) {
    let net: u64 = probe(sk, field!(net));
    tuple.netns = probe(net, field!(netns_inum));
    tuple.lport = probe(sk, field!(num));
    tuple.rport = u16::from_be(probe(sk, field!(dport)));
    if probe::<u16>(sk, field!(family)) == AF_INET {
        tuple.laddr = mapped(probe(sk, field!(rcv_saddr)));
        tuple.raddr = mapped(probe(sk, field!(daddr)));
    } else {
        tuple.laddr = probe(sk, field!(v6_rcv_saddr));
        tuple.raddr = probe(sk, field!(v6_daddr));
    }
}

/// `task_struct.flags` of the current task.
#[inline(always)]
pub(crate) fn current_flags() -> u32 {
    if config!(task_btf, u32) == 1 {
        // SAFETY: the verifier knows the pointer's type.
        unsafe { follow(bpf_get_current_task_btf().cast(), field!(task_flags)) }
    } else {
        // SAFETY: no argument, no precondition.
        probe(unsafe { bpf_get_current_task() }, field!(task_flags))
    }
}

/// Leader of the current thread group, and when it started.
#[inline(always)]
pub(crate) fn current_leader() -> (u64, u64) {
    if config!(task_btf, u32) == 1 {
        // SAFETY: the verifier knows the pointers' types.
        unsafe {
            let task: *const u8 = bpf_get_current_task_btf().cast();
            let leader: *const u8 = follow(task, field!(group_leader));
            (leader as u64, follow(leader, field!(start_boottime)))
        }
    } else {
        // SAFETY: no argument, no precondition.
        let leader: u64 = probe(unsafe { bpf_get_current_task() }, field!(group_leader));
        (leader, probe(leader, field!(start_boottime)))
    }
}

/// Number of the system call that the current task runs; nonsense in a kernel thread.
#[inline(always)]
pub(crate) fn current_call() -> i32 {
    probe::<i64>(registers(), field!(regs_orig_ax)) as i32
}

/// The registers that the current task's system call was entered with.
#[inline(always)]
pub(crate) fn registers() -> u64 {
    if config!(task_pt_regs, u32) == 1 {
        // SAFETY: the verifier checks both calls.
        unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
    } else {
        // SAFETY: no argument, no precondition.
        probe::<u64>(unsafe { bpf_get_current_task() }, field!(stack)) + THREAD_SIZE - PT_REGS
    }
}

/// The file behind a descriptor that the current task was just given.
#[inline(always)]
fn current_file(fd: u32) -> u64 {
    let slots: u64 = if config!(task_btf, u32) == 1 {
        // SAFETY: the verifier knows the pointers' types.
        unsafe {
            let task: *const u8 = bpf_get_current_task_btf().cast();
            let files: *const u8 = follow(task, field!(files));
            let table: *const u8 = follow(files, field!(fdt));
            follow(table, field!(fd))
        }
    } else {
        // SAFETY: no argument, no precondition.
        let files: u64 = probe(unsafe { bpf_get_current_task() }, field!(files));
        let table: u64 = probe(files, field!(fdt));
        probe(table, field!(fd))
    };
    probe(slots + u64::from(fd) * 8, 0)
}

/// The socket, of whatever protocol, behind an open file, or 0. That the `struct socket` points back
/// at the file proves that it is one.
#[inline(always)]
pub(crate) fn socket_of_file(file: u64) -> u64 {
    let socket: u64 = probe(file, field!(private_data));
    if socket == 0 || probe::<u64>(socket, field!(socket_file)) != file {
        return 0;
    }
    probe(socket, field!(socket_sk))
}

/// The TCP socket behind an open file, or 0.
#[inline(always)]
pub(crate) fn tcp_of_file(file: u64) -> u64 {
    let sk = socket_of_file(file);
    if sk != 0 && is_tcp(sk) { sk } else { 0 }
}

/// The socket, of whatever protocol, behind a descriptor that the current task has, or 0.
#[inline(always)]
pub(crate) fn socket_of_current(fd: u32) -> u64 {
    socket_of_file(current_file(fd))
}

/// Whether a socket given by address is one of TCP.
#[inline(always)]
pub(crate) fn is_tcp(sk: u64) -> bool {
    let family: u16 = probe(sk, field!(family));
    probe::<u16>(sk, field!(protocol)) == IPPROTO_TCP && (family == AF_INET || family == AF_INET6)
}
