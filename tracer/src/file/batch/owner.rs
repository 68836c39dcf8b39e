//! What an owner puts into which column: its texts are looked up once in a batch.

use std::rc::Rc;

use super::{super::column::Key, Batch};
use crate::identity::Identity;

/// An owner's texts. It is kept so that no other can take its place in memory.
pub(super) struct Owner {
    who: Rc<Identity>,
    comm: Key,
    cmdline: Option<Key>,
    cgroup: Option<Key>,
    container: Option<(Key, Key, Option<Key>)>,
    unit: Option<Key>,
}

impl Batch {
    pub(super) fn owner(&mut self, row: usize, who: &Rc<Identity>) {
        let columns = &mut self.columns;
        let owner = self.owners.entry(Rc::as_ptr(who)).or_insert_with(|| Owner {
            comm: columns.comm.key(&who.comm),
            cmdline: who.cmdline().map(|cmdline| columns.cmdline.key(&cmdline)),
            cgroup: who
                .place
                .path
                .as_deref()
                .map(|path| columns.cgroup.key(path)),
            container: who.place.container.as_ref().map(|container| {
                let pod_uid = container.pod_uid.as_deref();
                (
                    columns.container_runtime.key(&container.runtime),
                    columns.container_id.key(&container.id),
                    pod_uid.map(|pod_uid| columns.container_pod_uid.key(pod_uid)),
                )
            }),
            unit: who.place.unit.as_deref().map(|unit| columns.unit.key(unit)),
            who: Rc::clone(who),
        });
        columns.pid.put(row, owner.who.pid);
        columns.pid_start.put(row, owner.who.start);
        columns.uid.put_some(row, owner.who.uid);
        columns.ppid.put(row, owner.who.ppid);
        columns.comm.put_key(row, owner.comm);
        if let Some(cmdline) = owner.cmdline {
            columns.cmdline.put_key(row, cmdline);
        }
        if let Some(cgroup) = owner.cgroup {
            columns.cgroup.put_key(row, cgroup);
        }
        if let Some((runtime, id, pod_uid)) = owner.container {
            columns.container_runtime.put_key(row, runtime);
            columns.container_id.put_key(row, id);
            if let Some(pod_uid) = pod_uid {
                columns.container_pod_uid.put_key(row, pod_uid);
            }
        }
        if let Some(unit) = owner.unit {
            columns.unit.put_key(row, unit);
        }
    }
}
