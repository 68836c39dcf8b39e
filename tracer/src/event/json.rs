//! An event as a JSON object, flat.

use serde::{Serialize, Serializer};
use tracer_common::{conn::OwnerSource, hook::Hook};

use super::{Detail, Event, UsInState};
use crate::{identity::cgroup::Container, time::Time};

#[derive(Serialize)]
struct Line<'a> {
    ts: Time,
    event: &'static str,
    conn_id: Option<u64>,
    pid: Option<u32>,
    pid_start: Option<Time>,
    uid: Option<u32>,
    comm: Option<&'a str>,
    owner_source: OwnerSource,
    cgroup: Option<&'a str>,
    container: Option<&'a Container>,
    unit: Option<&'a str>,
    netns: Option<u32>,
    family: Option<&'static str>,
    laddr: Option<std::net::IpAddr>,
    lport: Option<u16>,
    raddr: Option<std::net::IpAddr>,
    rport: Option<u16>,
    #[serde(flatten)]
    detail: &'a Detail,
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let owner = self.owner.as_deref();
        let place = owner.map(|owner| &owner.place);
        let local = self.ends.map(|ends| ends.local);
        let remote = self.ends.and_then(|ends| ends.remote);
        Line {
            ts: self.ts,
            event: self.detail.kind(),
            conn_id: self.conn_id,
            pid: owner.map(|owner| owner.pid),
            pid_start: owner.map(|owner| owner.start),
            uid: owner.and_then(|owner| owner.uid),
            comm: owner.map(|owner| owner.comm.as_str()),
            owner_source: self.owner_source,
            cgroup: place.and_then(|place| place.path.as_deref()),
            container: place.and_then(|place| place.container.as_ref()),
            unit: place.and_then(|place| place.unit.as_deref()),
            netns: self.netns,
            family: self.ends.map(|ends| ends.family()),
            laddr: local.map(|end| end.ip()),
            lport: local.map(|end| end.port()),
            raddr: remote.map(|end| end.ip()),
            rport: remote.map(|end| end.port()),
            detail: &self.detail,
        }
        .serialize(to)
    }
}

impl Serialize for UsInState {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
pub(super) fn hook<S: Serializer>(hook: &Hook, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(hook.name())
}
