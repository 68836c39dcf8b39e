//! Rows on their way into the file: what an event, a fact or a sum puts into which column.

mod event;
mod owner;

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc};

use arrow_array::{
    RecordBatch,
    types::{Int32Type, UInt8Type, UInt16Type, UInt32Type},
};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use rustc_hash::FxHashMap;

use self::owner::Owner;
use super::{
    column::{Column, Counts, Flags, Names, Numbers, ROWS, Times},
    table::columns,
};
use crate::{
    event::Ends,
    fact::{Fact, Subject, Value},
    identity::Identity,
    kernel::counters::HookRow,
    time::Time,
    trace::frame::{End, ProcessRow, Start, Sums},
};

macro_rules! column_type {
    (time) => { Times };
    (number) => { Counts };
    (u32) => { Numbers<UInt32Type> };
    (u16) => { Numbers<UInt16Type> };
    (u8) => { Numbers<UInt8Type> };
    (i32) => { Numbers<Int32Type> };
    (flag) => { Flags };
    (name) => { Names };
}

macro_rules! define {
    ($($(#[$doc:meta])+ $column:ident: $kind:ident,)*) => {
        #[derive(Default)]
        struct Columns {
            $($column: column_type!($kind),)*
        }

        impl Columns {
            fn fields() -> Vec<Field> {
                vec![$(Field::new(
                    stringify!($column),
                    <column_type!($kind) as Column>::data_type(),
                    true,
                ),)*]
            }

            fn finish(
                &mut self,
                schema: SchemaRef,
                rows: usize,
            ) -> Result<RecordBatch, ArrowError> {
                RecordBatch::try_new(schema, vec![$(self.$column.finish(rows)?,)*])
            }
        }
    };
}
columns!(define);

/// Gives each row the batch that it belongs into.
pub(crate) trait Batches {
    /// A batch with room for a row of this time.
    fn at(&mut self, ts: Time) -> io::Result<&mut Batch>;

    /// The trace begins.
    fn put_start(&mut self, start: &Start) -> io::Result<()> {
        self.at(start.ts)?.start(start);
        for filter in &start.filters {
            self.at(start.ts)?.filter(start.ts, filter);
        }
        for hook in &start.hooks {
            let batch = self.at(start.ts)?;
            batch.attached(start.ts, &hook.hook, &hook.rung);
        }
        Ok(())
    }

    /// Processes and hooks so far.
    fn put_sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.put_rows(sums.ts, &sums.processes, &sums.hooks)
    }

    /// The trace ends.
    fn put_end(&mut self, end: &End) -> io::Result<()> {
        self.put_rows(end.ts, &end.processes, &end.hooks)?;
        self.at(end.ts)?.end(end);
        Ok(())
    }

    /// Rows of processes and hooks.
    fn put_rows(
        &mut self,
        ts: Time,
        processes: &[ProcessRow],
        hooks: &[HookRow],
    ) -> io::Result<()> {
        for row in processes {
            self.at(ts)?.process(ts, row);
        }
        for row in hooks {
            self.at(ts)?.hook(ts, row);
        }
        Ok(())
    }
}

/// A batch that is being filled.
pub(crate) struct Batch {
    schema: SchemaRef,
    columns: Columns,
    rows: usize,
    /// The owners so far, by where they stand in memory.
    owners: FxHashMap<*const Identity, Owner>,
}

impl Batch {
    /// `metadata` is the table's own.
    pub(crate) fn new<const N: usize>(metadata: [(String, String); N]) -> Self {
        let schema = Schema::new(Columns::fields()).with_metadata(HashMap::from(metadata));
        Self {
            schema: Arc::new(schema),
            columns: Columns::default(),
            rows: 0,
            owners: FxHashMap::default(),
        }
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.rows >= ROWS
    }

    /// Takes the rows; `None` when there are none.
    pub(crate) fn take(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let rows = std::mem::take(&mut self.rows);
        self.owners.clear();
        self.columns
            .finish(Arc::clone(&self.schema), rows)
            .map(Some)
    }

    /// A new row of a kind.
    fn row(&mut self, event: &str, ts: Time) -> usize {
        let row = self.rows;
        self.rows += 1;
        self.columns.event.put(row, event);
        self.columns.ts.put(row, ts);
        row
    }

    fn start(&mut self, start: &Start) {
        let row = self.row("start", start.ts);
        self.columns.host.put(row, &start.host);
        self.columns.kernel.put(row, &start.kernel);
        self.columns.version.put(row, &start.version);
        self.columns.schema.put(row, start.schema);
    }

    fn filter(&mut self, ts: Time, filter: &str) {
        let row = self.row("filter", ts);
        self.columns.text.put(row, filter);
    }

    fn attached(&mut self, ts: Time, hook: &str, rung: &str) {
        let row = self.row("attached", ts);
        self.columns.hook.put(row, hook);
        self.columns.rung.put(row, rung);
    }

    fn end(&mut self, end: &End) {
        let row = self.row("end", end.ts);
        self.columns.duration_us.put(row, end.duration_us);
    }

    fn process(&mut self, ts: Time, process: &ProcessRow) {
        let row = self.row("process", ts);
        if let Some(who) = &process.who {
            self.owner(row, who);
        }
        let (columns, totals) = (&mut self.columns, &process.totals);
        columns.sockets.put(row, process.sockets);
        columns.connections.put(row, totals.connections);
        columns.connect_failed.put(row, totals.connect_failed);
        columns.retransmit_segs.put(row, totals.retransmit_segs);
        columns.resets_sent.put(row, totals.resets_sent);
        columns.resets_received.put(row, totals.resets_received);
        columns
            .time_wait_overflow
            .put(row, totals.time_wait_overflow);
        columns.fd_exhausted.put(row, totals.fd_exhausted);
        columns.lost.put(row, totals.lost);
    }

    fn hook(&mut self, ts: Time, hook: &HookRow) {
        let row = self.row("hook", ts);
        let columns = &mut self.columns;
        columns.hook.put(row, hook.hook.name());
        columns.rung.put_some(row, hook.rung.as_deref());
        columns.entered.put(row, hook.entered);
        columns.skipped.put(row, hook.skipped);
        columns.missed.put(row, hook.missed);
        columns.emitted.put(row, hook.emitted);
        columns.filtered.put(row, hook.filtered);
        columns.aggregated.put(row, hook.aggregated);
        columns.lost_ring_full.put(row, hook.lost.ring_full);
        columns.lost_map_full.put(row, hook.lost.map_full);
    }

    pub(crate) fn fact(&mut self, fact: &Fact) {
        let row = self.row("fact", fact.ts);
        match fact.subject {
            Subject::Machine => self.columns.fact.put(row, "machine"),
            Subject::Namespace(netns) => {
                self.columns.fact.put(row, "namespace");
                self.columns.netns.put(row, netns);
            }
            Subject::Process(process) => {
                self.columns.fact.put(row, "process");
                self.columns.pid.put(row, process.pid);
                self.columns.pid_start.put(row, process.start);
            }
            Subject::Listener { netns, local } => {
                self.columns.fact.put(row, "listener");
                self.columns.netns.put(row, netns);
                self.local(row, local);
            }
            Subject::Connection { netns, ends } => {
                self.columns.fact.put(row, "connection");
                self.columns.netns.put(row, netns);
                self.ends(row, &ends);
            }
        }
        self.columns.name.put(row, &fact.name);
        match &fact.value {
            Value::Number(value) => self.columns.value.put_signed(row, *value),
            Value::Text(text) => self.columns.text.put(row, text),
        }
    }

    fn local(&mut self, row: usize, local: SocketAddr) {
        let family = if local.is_ipv4() { "ipv4" } else { "ipv6" };
        self.columns.family.put(row, family);
        self.columns.laddr.put_address(row, local.ip());
        self.columns.lport.put(row, local.port());
    }

    fn ends(&mut self, row: usize, ends: &Ends) {
        self.local(row, ends.local);
        if let Some(remote) = ends.remote {
            self.columns.raddr.put_address(row, remote.ip());
            self.columns.rport.put(row, remote.port());
        }
    }
}
