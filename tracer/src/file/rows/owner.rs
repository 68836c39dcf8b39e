//! The owners that rows name: each is one in memory, from batch to batch.

use std::{borrow::Cow, rc::Rc};

use rustc_hash::FxHashMap;

use super::super::decode::{Names, Table};
use crate::{
    identity::{
        Identity, Pid,
        cgroup::{Container, Place},
    },
    time::Time,
};

/// Owners that are kept though nothing refers to them.
const KNOWN: usize = 1 << 16;

/// What names an owner within a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct OwnerKey {
    pid: u32,
    start: u64,
    uid: Option<u32>,
    ppid: u32,
    comm: Option<usize>,
    cmdline: Option<usize>,
    cgroup: Option<usize>,
}

/// Owners so far.
#[derive(Default)]
pub(super) struct Owners {
    /// Those of the present batch.
    here: FxHashMap<OwnerKey, Rc<Identity>>,
    last: Option<(OwnerKey, Rc<Identity>)>,
    /// All, so that one is the same from batch to batch.
    known: FxHashMap<Pid, Vec<Rc<Identity>>>,
}

impl Owners {
    /// A new batch begins: texts have other keys.
    pub(super) fn begin(&mut self) {
        self.here.clear();
        self.last = None;
        if self.known.len() > KNOWN {
            self.known
                .retain(|_, same| same.iter().any(|who| Rc::strong_count(who) > 1));
        }
    }

    /// The owner in a row.
    pub(super) fn of(&mut self, table: &Table, row: usize) -> Option<Rc<Identity>> {
        let key = OwnerKey {
            pid: table.pid.get(row)?,
            start: table.pid_start.get(row).unwrap_or_default(),
            uid: table.uid.get(row),
            ppid: table.ppid.get(row).unwrap_or_default(),
            comm: table.comm.key(row),
            cmdline: table.cmdline.key(row),
            cgroup: table.cgroup.key(row),
        };
        if let Some((last, who)) = &self.last
            && *last == key
        {
            return Some(Rc::clone(who));
        }
        let who = match self.here.get(&key) {
            Some(who) => Rc::clone(who),
            None => {
                let who = self.identity(table, row, &key);
                self.here.insert(key, Rc::clone(&who));
                who
            }
        };
        self.last = Some((key, Rc::clone(&who)));
        Some(who)
    }

    /// The owner in a row, the same as in earlier batches if nothing of it has changed.
    fn identity(&mut self, table: &Table, row: usize, key: &OwnerKey) -> Rc<Identity> {
        let text = |column: &Names| column.get(row).map(str::to_owned);
        let runtime = text(&table.container_runtime);
        let who = Identity {
            pid: key.pid,
            start: Time(key.start),
            uid: key.uid,
            ppid: key.ppid,
            comm: text(&table.comm).unwrap_or_default(),
            args: text(&table.cmdline).into_iter().collect(),
            place: Place {
                path: text(&table.cgroup),
                container: runtime
                    .zip(text(&table.container_id))
                    .map(|(runtime, id)| Container {
                        runtime: Cow::Owned(runtime),
                        id,
                        pod_uid: text(&table.container_pod_uid),
                    }),
                unit: text(&table.unit),
            },
        };
        let same = self.known.entry(who.id()).or_default();
        match same.iter().find(|known| ***known == who) {
            Some(known) => Rc::clone(known),
            None => {
                let who = Rc::new(who);
                same.push(Rc::clone(&who));
                who
            }
        }
    }
}
