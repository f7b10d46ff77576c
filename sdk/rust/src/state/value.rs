//! Value tables: one row a key, which comes with the call and goes back where it changed.

use std::fmt;

use super::{Effects, Given, StateRow, StateTable, TableDescription, fields};
use crate::{bindings::state_types as wit, buffer, fault::Failure};

/// The rows of a value table in one call, and what changes in them.
pub struct ValueCall<'a, R: StateRow> {
    table: u32,
    keys: usize,
    views: R::Views<'a>,
    initial: R,
    /// Which columns of the key at hand differ.
    differing: Vec<bool>,
    /// Which columns differ for some key that is updated.
    changed: Vec<bool>,
    updated: Vec<u8>,
    builders: R::Builders,
    cleared: Vec<u8>,
}

impl<R: StateRow> fmt::Debug for ValueCall<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueCall")
            .field("table", &self.table)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl<R: StateRow> ValueCall<'_, R> {
    fn keys(&self, numbers: Vec<u8>) -> wit::Keys {
        if numbers.len() == self.keys * size_of::<u32>() {
            wit::Keys::All
        } else {
            wit::Keys::Some(numbers)
        }
    }
}

impl<R: StateRow> StateTable for R {
    /// `None` where the table has no columns, and so is none.
    type Loaded<'a> = Option<ValueCall<'a, R>>;

    fn describe(name: &'static str) -> TableDescription {
        TableDescription {
            name,
            kind: wit::TableKind::Value,
            sort_key: 0,
            fields: fields::<R>("value"),
            initial: R::default().scalars(),
            options: R::OPTIONS,
        }
    }

    fn create(_number: u32) -> Self {
        Self::default()
    }

    fn begin<'a>(number: u32, given: &mut Given<'a>) -> Result<Self::Loaded<'a>, Failure> {
        if R::COLUMNS.is_empty() {
            return Ok(None);
        }
        let batch = given.next()?;
        Ok(Some(ValueCall {
            table: number,
            keys: batch.rows(),
            views: R::views(batch, 0)?,
            initial: R::default(),
            differing: vec![false; R::COLUMNS.len()],
            changed: vec![false; R::COLUMNS.len()],
            updated: Vec::new(),
            builders: R::Builders::default(),
            cleared: Vec::new(),
        }))
    }

    #[inline]
    fn enter(&mut self, loaded: &Self::Loaded<'_>, key: u32) {
        if let Some(call) = loaded {
            self.load(&call.views, key as usize);
        }
    }

    #[inline]
    fn leave(&mut self, loaded: &mut Self::Loaded<'_>, key: u32) {
        let Some(call) = loaded else { return };
        if !self.differs(&call.views, key as usize, &mut call.differing) {
            return;
        }
        if self.same(&call.initial) {
            buffer::push(&mut call.cleared, key);
            return;
        }
        if call.updated.is_empty() {
            call.updated.reserve((call.keys - key as usize) * size_of::<u32>());
        }
        buffer::push(&mut call.updated, key);
        self.store(&mut call.builders);
        for (changed, differs) in call.changed.iter_mut().zip(&call.differing) {
            *changed |= differs;
        }
    }

    fn end(&mut self, loaded: Self::Loaded<'_>, effects: &mut Effects) {
        let Some(mut call) = loaded else { return };
        let cleared = std::mem::take(&mut call.cleared);
        if !cleared.is_empty() {
            effects.clears.push(wit::Clear {
                table: call.table,
                keys: call.keys(cleared),
            });
        }
        let updated = std::mem::take(&mut call.updated);
        if updated.is_empty() {
            return;
        }
        let keys = call.keys(updated);
        let columns = (0..).zip(R::finish(call.builders)).zip(call.changed);
        effects.updates.push(wit::Update {
            table: call.table,
            keys,
            columns: columns
                .filter_map(|(column, changed)| changed.then_some(column))
                .collect(),
        });
    }
}
