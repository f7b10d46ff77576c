//! Value tables: one row a key, which comes with the call and goes back where it changed.

use std::fmt;

use super::{Effects, Given, StateRow, StateTable, TableDescription, fields};
use crate::{bindings::state_types as wit, buffer, fault::Failure, kept::bit_of};

/// The rows of a value table in one call, and what changes in them.
pub struct ValueCall<'a, R: StateRow> {
    table: u32,
    keys: usize,
    views: R::Views<'a>,
    initial: R,
    /// Which columns differ for some key that is updated.
    changed: u64,
    updated: Numbers,
    builders: R::Builders,
    cleared: Numbers,
}

/// Keys in their order; no list is made as long as they are the first ones.
#[derive(Default)]
struct Numbers {
    count: u32,
    listed: Option<Vec<u8>>,
}

impl Numbers {
    #[inline]
    fn push(&mut self, key: u32) {
        if key != self.count || self.listed.is_some() {
            self.list(key);
        }
        self.count += 1;
    }

    #[cold]
    fn start(&self) -> Vec<u8> {
        let mut listed = Vec::new();
        (0..self.count).for_each(|key| buffer::push(&mut listed, key));
        listed
    }

    fn list(&mut self, key: u32) {
        if self.listed.is_none() {
            self.listed = Some(self.start());
        }
        if let Some(listed) = &mut self.listed {
            buffer::push(listed, key);
        }
    }

    /// Those of a call of so many keys.
    fn into_wit(self, keys: usize) -> wit::Keys {
        if self.count as usize == keys {
            return wit::Keys::All;
        }
        wit::Keys::Some(self.listed.unwrap_or_else(|| {
            let listed = 0..self.count;
            buffer::filled(listed.len(), |numbers: &mut [u32]| {
                numbers.iter_mut().zip(listed).for_each(|(number, key)| *number = key);
            })
        }))
    }
}

impl<R: StateRow> fmt::Debug for ValueCall<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueCall")
            .field("table", &self.table)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
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
            changed: 0,
            updated: Numbers::default(),
            builders: R::Builders::default(),
            cleared: Numbers::default(),
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
        let differing = self.differs(&call.views, key as usize);
        if differing == 0 {
            return;
        }
        if self.same(&call.initial) {
            call.cleared.push(key);
            return;
        }
        if call.updated.count == 0 {
            R::reserve(&mut call.builders, &call.views, call.keys - key as usize);
        }
        call.updated.push(key);
        self.store(&mut call.builders);
        call.changed |= differing;
    }

    fn end(&mut self, loaded: Self::Loaded<'_>, effects: &mut Effects) {
        let Some(call) = loaded else { return };
        if call.cleared.count > 0 {
            effects.clears.push(wit::Clear {
                table: call.table,
                keys: call.cleared.into_wit(call.keys),
            });
        }
        if call.updated.count == 0 {
            return;
        }
        let columns = (0..).zip(R::finish(call.builders));
        effects.updates.push(wit::Update {
            table: call.table,
            keys: call.updated.into_wit(call.keys),
            columns: columns
                .filter(|(column, _)| call.changed >> bit_of(*column as usize) & 1 == 1)
                .collect(),
        });
    }
}
