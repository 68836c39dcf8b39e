//! Why the kernel drops packets: a program of its own that is attached only while loss is looked into, as it
//! runs for every packet that is dropped.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, tp_btf::BtfTracePointLinkId},
};
use tracer_common::{conn::Address, drops::DropKey};

use super::{btf::KernelTypes, known, ladder::Attach, session::Session, tables::entries};

/// The program, and the tracepoint that it is for.
const PROGRAM: &str = known::KFREE_SKB.name;
/// How it is attached.
pub const HOOK: Attach = Attach::TpBtf(known::KFREE_SKB);
/// The enum of reasons, and what its names begin with.
const REASON: &str = "skb_drop_reason";
const PREFIX: &str = "SKB_DROP_REASON_";

/// The program's state.
pub(super) struct Drops {
    reasons: BTreeMap<u32, String>,
    link: Option<BtfTracePointLinkId>,
}

/// Packets that were dropped between two addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Network namespace of the device that they came in by; 0 for those on their way out.
    pub(super) netns: u32,
    /// The kernel's reason, `NETFILTER_DROP`.
    pub(super) reason: String,
    /// Whence.
    pub(super) source: IpAddr,
    /// Whither.
    pub(super) destination: IpAddr,
    /// How many so far.
    pub(super) count: u64,
}

impl Drops {
    /// Loads the program; `None` where the kernel gives no reasons (before 5.17) or refuses it.
    pub(super) fn load(ebpf: &mut Ebpf, btf: &Btf, types: &KernelTypes) -> Option<Self> {
        let prototype = types.prototype_of_tracepoint(PROGRAM)?;
        if !known::begins(known::DROP_WITH_REASON, &prototype) {
            return None;
        }
        if let Err(error) = program(ebpf)?.load(PROGRAM, btf) {
            log::warn!("reasons of dropped packets can't be watched: {error}");
            return None;
        }
        Some(Self {
            reasons: types.names_of(REASON),
            link: None,
        })
    }
}

fn program(ebpf: &mut Ebpf) -> Option<&mut BtfTracePoint> {
    ebpf.program_mut(PROGRAM)?.try_into().ok()
}

impl Session {
    /// Has the program run, or not any more; returns whether it runs.
    pub(super) fn watch_drops(&mut self, is_wanted: bool) -> bool {
        let Some(drops) = &mut self.drops else {
            return false;
        };
        let Some(program) = program(&mut self.ebpf) else {
            return false;
        };
        match (drops.link.take(), is_wanted) {
            (None, true) => match program.attach() {
                Ok(link) => drops.link = Some(link),
                Err(error) => log::warn!("reasons of dropped packets can't be watched: {error}"),
            },
            (Some(link), false) => {
                if let Err(error) = program.detach(link) {
                    log::warn!("reasons of dropped packets are still watched: {error}");
                }
            }
            (link, _) => drops.link = link,
        }
        drops.link.is_some()
    }

    /// What was dropped while it ran.
    pub(super) fn dropped(&mut self) -> Vec<Dropped> {
        let Some(drops) = &self.drops else {
            return Vec::new();
        };
        let reasons = &drops.reasons;
        let counted: Vec<(DropKey, u64)> = entries(&mut self.ebpf, "DROPS").unwrap_or_default();
        counted
            .into_iter()
            .filter_map(|(key, count)| {
                Some(Dropped {
                    netns: key.netns,
                    reason: reasons
                        .get(&key.reason)?
                        .trim_start_matches(PREFIX)
                        .to_owned(),
                    source: shown(key.source),
                    destination: shown(key.destination),
                    count,
                })
            })
            .collect()
    }
}

fn shown(address: Address) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(bytemuck::cast::<_, [u8; 16]>(address))).to_canonical()
}
