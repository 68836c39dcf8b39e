//! Packets that the kernel drops, and why. Attached only while loss is looked into.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_common::{conn::Tuple, drops::DropKey};

use crate::{
    account,
    maps::{DROPS, field},
    reset::answered,
    sock::probe,
};

/// `IPPROTO_TCP`
const TCP: u8 = 6;
/// `skb->network_header` that nobody has set.
const NO_HEADER: u16 = u16::MAX;

/// `net/core/skbuff.c: kfree_skb_reason`. Prototype: 5.10 `(struct sk_buff *, void *)`, from 5.17 also
/// the reason, from 6.12 also the receiving socket. Without the reason the program is refused.
#[btf_tracepoint(function = "kfree_skb")]
pub(crate) fn kfree_skb(ctx: BtfTracePointContext) -> i32 {
    dropped(ctx.arg::<*const u8>(0) as u64, ctx.arg::<u32>(2));
    0
}

#[inline(always)]
fn dropped(skb: u64, reason: u32) {
    let header: u16 = probe(skb, field!(network_header));
    if header == NO_HEADER {
        return;
    }
    let ip = probe::<u64>(skb, field!(skb_head)) + u64::from(header);
    // Extension headers of IPv6 before that of TCP are passed over.
    let protocol: u8 = match probe::<u8>(ip, 0) >> 4 {
        4 => probe(ip, 9),
        6 => probe(ip, 6),
        _ => return,
    };
    if protocol != TCP {
        return;
    }
    // The packet as its receiver sees it: what came from afar is `raddr`.
    let mut tuple = Tuple::default();
    answered(skb, &mut tuple);
    let key = DropKey {
        source: tuple.raddr,
        destination: tuple.laddr,
        netns: tuple.netns,
        reason,
    };
    if DROPS.get_ptr_mut(&key).is_none() {
        // Another CPU may have been first, or there is no room.
        let _ = DROPS.insert(&key, &0, 1);
    }
    if let Some(count) = DROPS.get_ptr_mut(&key) {
        // SAFETY: `count` points into the map.
        unsafe { account::add(count, 1) };
    }
}
