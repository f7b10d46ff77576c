//! What windows of every type have in common here: the key, the store, and what becomes of late rows.

use wasmill_core::batch::Batch;
use wasmill_core::column::{Column, ColumnBuilder};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::key;
use wasmill_core::operator::Emit;
use wasmill_core::plan::{Lateness, Stream, WindowFrame};
use wasmill_core::schema::{DataType, Schema};
use wasmill_core::time::Timestamp;
use wasmill_core::window::Late;
use wasmill_state::{Store, layout};

use super::rows::{Opened, Rows};
use crate::counters::Counters;
use crate::dead_letters::DeadLetters;
use crate::waiting::late::Refusal;
use crate::window::KeyGroups;
use crate::window::plugin::Rejects;

/// What windows of every type work with.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) schema: Schema,
    pub(crate) key: Vec<usize>,
    pub(crate) types: Vec<DataType>,
    pub(crate) key_groups: u16,
    groups: KeyGroups,
    pub(crate) allowed: u64,
    pub(crate) best_effort: bool,
    pub(crate) letters: DeadLetters,
    pub(crate) counters: Counters,
    pub(crate) store: Store,
    pub(crate) rows: Rows,
    /// The merged watermark; not the end of the input.
    pub(crate) watermark: i64,
    /// The least merged watermark that was loaded.
    loaded: Option<i64>,
    late: Late,
    late_port: usize,
}

impl Base {
    pub(crate) fn new(
        frame: &WindowFrame,
        input: &Stream,
        letters: DeadLetters,
        late_port: usize,
        store: Store,
        groups: KeyGroups,
    ) -> Self {
        let fields = input.schema.fields();
        Self {
            key: frame.key.clone(),
            types: frame.key.iter().map(|&column| fields[column].data_type).collect(),
            key_groups: groups.all,
            groups,
            allowed: frame.allowed_lateness.0,
            best_effort: frame.lateness == Lateness::BestEffort,
            letters,
            counters: Counters::default(),
            store,
            rows: Rows::new(input),
            watermark: i64::MIN,
            loaded: None,
            late: frame.late,
            late_port,
            schema: input.schema.clone(),
        }
    }

    /// The key groups with which the subtask saves the merged watermark. Without a key all state is in one group, of the one
    /// subtask that has any.
    pub(crate) fn saved_groups(&self) -> Result<Vec<KeyGroup>, Fault> {
        let KeyGroups { all, first, last } = self.groups;
        if !self.key.is_empty() {
            return Ok((first..=last).map(KeyGroup).collect());
        }
        let only = key::group(key::hash(&[]), all);
        Ok(if self.store.is_empty()? { Vec::new() } else { vec![only] })
    }

    /// Takes the merged watermark at which a key group was saved: the least of all that are loaded.
    pub(crate) fn load_watermark(&mut self, saved: i64) {
        self.watermark = self.loaded.map_or(saved, |least| least.min(saved));
        self.loaded = Some(self.watermark);
    }

    pub(crate) fn node(&self) -> &NodeId {
        &self.letters.node
    }

    /// Refuses a batch that comes after what its rows may be late for.
    pub(crate) fn check(&self, batch: &Batch) -> Result<(), Fault> {
        if batch.watermark_min() >= self.watermark {
            return Ok(());
        }
        let message = format!(
            "a batch came with watermark {} after the merged watermark reached {}",
            Timestamp(batch.watermark_min()),
            Timestamp(self.watermark)
        );
        Err(Fault::fatal(Domain::Internal, message))
    }

    /// The watermark by which a row is judged.
    pub(crate) fn judged(&self, opened: &Opened<'_>, row: usize) -> i64 {
        if self.best_effort {
            self.watermark
        } else {
            opened.watermark(row)
        }
    }

    /// Where the entries of a key in a table begin.
    pub(crate) fn at(&self, table: u8, key: &[u8]) -> Vec<u8> {
        let mut at = Vec::with_capacity(layout::HEAD_BYTES + key.len() + 16);
        layout::of_key(self.key_groups, table, key, &mut at);
        at
    }

    /// The start of a key's entries in a table that was loaded with `group`.
    pub(crate) fn loaded_at(group: KeyGroup, entry: &[u8]) -> Vec<u8> {
        [&layout::of_group(group)[..], entry].concat()
    }

    /// The key columns of encoded keys.
    pub(crate) fn key_columns<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<Column> {
        let mut builders: Vec<ColumnBuilder> = self
            .types
            .iter()
            .map(|&data_type| ColumnBuilder::new(data_type, 0))
            .collect();
        for mut encoded in keys {
            for (builder, &data_type) in builders.iter_mut().zip(&self.types) {
                key::decode(data_type, &mut encoded, |value| builder.push(value));
            }
        }
        builders.into_iter().map(ColumnBuilder::finish).collect()
    }

    pub(crate) fn rejects<'a>(&'a mut self, out: &'a mut dyn Emit) -> Rejects<'a> {
        Rejects {
            letters: &self.letters,
            schema: &self.schema,
            counters: &mut self.counters,
            out,
        }
    }

    /// Deals with rows that came too late for every window.
    pub(crate) fn refuse_late(&mut self, batch: &Batch, late: &[u32], out: &mut dyn Emit) -> Result<(), Fault> {
        let refusal = Refusal {
            late: self.late,
            port: self.late_port,
            letters: &self.letters,
            schema: &self.schema,
        };
        refusal.refuse(batch, late, &mut self.counters, out)
    }
}

/// The encoded key of each row of a batch.
#[derive(Debug, Default)]
pub(crate) struct BatchKeys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl BatchKeys {
    pub(crate) fn of(batch: &Batch, key: &[usize]) -> Self {
        let columns: Vec<_> = key.iter().map(|&column| batch.column(column)).collect();
        let mut keys = Self::default();
        for row in 0..batch.rows() {
            for column in &columns {
                key::encode(column.value(row), &mut keys.bytes);
            }
            keys.ends.push(keys.bytes.len());
        }
        keys
    }

    pub(crate) fn get(&self, row: usize) -> &[u8] {
        let from = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[from..self.ends[row]]
    }
}
