//! How the kernel's memory is read. The only file that does.
//!
//! A [`Sock`] comes from a `tp_btf` argument: the verifier knows its type, and a plain load at a
//! constant offset inside `struct sock` is checked and costs nothing. Everything else is read with
//! `bpf_probe_read_kernel`, which yields zero where nothing is mapped.

use aya_ebpf::helpers::{
    bpf_probe_read_kernel, bpf_probe_read_kernel_buf, bpf_probe_read_kernel_str_bytes,
    bpf_probe_read_user_buf,
};
use tracer_common::{
    conn::Tuple,
    tcp::{AF_INET, AF_INET6, IPPROTO_TCP},
};

use crate::maps::field;

/// Bytes 10 and 11 of an IPv4-mapped address.
const MAPPED: u8 = 0xff;

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
        self.load::<u64>(field!(socket)) != 0
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

    /// `struct net *` as a number.
    #[inline(always)]
    pub(crate) fn net(self) -> u64 {
        self.load(field!(net))
    }

    #[inline(always)]
    fn netns(self) -> u32 {
        let net: *const u8 = self.load(field!(net));
        // SAFETY: the verifier knows the pointer's type and checks the load.
        unsafe { core::ptr::read_volatile(net.add(field!(netns_inum) as usize).cast()) }
    }

    /// The ends, into `tuple`. The local port is taken from `inet_sport` where `skc_num` is cleared.
    #[inline(always)]
    pub(crate) fn read_tuple(self, tuple: &mut Tuple) {
        tuple.netns = self.netns();
        let num = self.num();
        tuple.lport = if num == 0 { sport(self.addr()) } else { num };
        tuple.rport = u16::from_be(self.load(field!(dport)));
        if self.load::<u16>(field!(family)) == AF_INET {
            map_v4(&mut tuple.laddr, self.load(field!(rcv_saddr)));
            map_v4(&mut tuple.raddr, self.load(field!(daddr)));
        } else {
            store_v6(&mut tuple.laddr, self.load(field!(v6_rcv_saddr)));
            store_v6(&mut tuple.raddr, self.load(field!(v6_daddr)));
        }
    }
}

/// Writes an address as the kernel holds it into its IPv6-mapped form.
#[inline(always)]
pub(crate) fn map_v4(to: &mut [u8; 16], addr: u32) {
    let halves: [u64; 2] = [
        0,
        (u64::from(addr) << 32) | (u64::from(u16::from_ne_bytes([MAPPED; 2])) << 16),
    ];
    store_v6(to, halves);
}

#[inline(always)]
fn store_v6(to: &mut [u8; 16], halves: [u64; 2]) {
    // SAFETY: sixteen bytes into sixteen; no alignment is assumed.
    unsafe { core::ptr::write_unaligned(core::ptr::from_mut(to).cast(), halves) }
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

/// Fills `to` from the current process's memory.
#[inline(always)]
pub(crate) fn probe_user(at: u64, to: &mut [u8]) -> bool {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user_buf(at as *const u8, to) }.is_ok()
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
        map_v4(&mut tuple.laddr, probe(sk, field!(rcv_saddr)));
        map_v4(&mut tuple.raddr, probe(sk, field!(daddr)));
    } else {
        store_v6(&mut tuple.laddr, probe(sk, field!(v6_rcv_saddr)));
        store_v6(&mut tuple.raddr, probe(sk, field!(v6_daddr)));
    }
}

/// The TCP socket behind an open file, or 0. That the `struct socket` points back at the file proves
/// that it is one.
#[inline(always)]
pub(crate) fn tcp_of_file(file: u64) -> u64 {
    let socket: u64 = probe(file, field!(private_data));
    if socket == 0 || probe::<u64>(socket, field!(socket_file)) != file {
        return 0;
    }
    let sk: u64 = probe(socket, field!(socket_sk));
    if sk == 0 || probe::<u16>(sk, field!(protocol)) != IPPROTO_TCP {
        return 0;
    }
    let family: u16 = probe(sk, field!(family));
    if family != AF_INET && family != AF_INET6 {
        return 0;
    }
    sk
}

/// The TCP socket behind a descriptor of a task, or 0.
#[inline(always)]
pub(crate) fn tcp_of_fd(task: u64, fd: u32) -> u64 {
    let files: u64 = probe(task, field!(files));
    let table: u64 = probe(files, field!(fdt));
    if fd >= probe::<u32>(table, field!(max_fds)) {
        return 0;
    }
    let slots: u64 = probe(table, field!(fd));
    let file: u64 = probe(slots + u64::from(fd) * 8, 0);
    tcp_of_file(file)
}
