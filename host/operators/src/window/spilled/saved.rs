//! The state in the store as saved entries: those that a window in memory writes.

use std::ops::ControlFlow;

use wasmill_core::fault::Fault;
use wasmill_core::id::KeyGroup;
use wasmill_core::key::{self, sortable_int};
use wasmill_core::operator::Save;
use wasmill_core::schema::Schema;
use wasmill_state::{Direction, Span};

use super::{Spilled, keeps_rows, layout};
use crate::aggregate::CELLS_VERSION;
use crate::codec::{damaged, put_signed};
use crate::keys::Keys;
use crate::window::KeyGroups;
use crate::window::panes::Panes;
use crate::window::part::Blueprint;
use crate::window::saved::{PANE, RESULTS, check_version, put_class, take_class};

impl Spilled {
    /// Hands out all panes and what is known of results.
    pub(in crate::window) fn save(
        &mut self,
        panes: &mut Panes,
        keys: &mut Keys,
        schema: &Schema,
        groups: KeyGroups,
        out: &mut dyn Save,
    ) -> Result<(), Fault> {
        self.evict(panes, keys)?;
        let group_of = |encoded: &[u8]| {
            if keys.types().is_empty() {
                KeyGroup(0)
            } else {
                key::group(key::hash(encoded), groups.all)
            }
        };
        let ordered = keeps_rows(&panes.blueprint.plugins);
        let mut entry = Vec::new();
        let mut whole = Whole {
            blueprint: &panes.blueprint,
            keys,
            schema,
            value: Vec::new(),
        };
        let cells = Span::Prefix(&[layout::CELLS]);
        self.store.scan(cells, Direction::Forwards, |at, value| {
            let rest = &mut &at[1..];
            let (first, after) = rest.split_first_chunk().ok_or_else(|| damaged("a pane is cut off"))?;
            let first = (u64::from_be_bytes(*first) ^ 1 << 63).cast_signed();
            *rest = after;
            let bounds = panes.assigner.pane(first);
            let (has_class, after) = rest.split_first().ok_or_else(|| damaged("a class is cut off"))?;
            *rest = after;
            let class = if *has_class == 0 {
                None
            } else {
                take_class(&bounds, rest)?
            };
            let encoded = *rest;
            entry.clear();
            entry.push(PANE);
            entry.extend_from_slice(encoded);
            entry.extend(sortable_int(first));
            put_class(&bounds, class, &mut entry);
            let value = if ordered {
                self.with_rows(at, encoded, value, &mut whole)?;
                &whole.value
            } else {
                value
            };
            out.entry(group_of(encoded), &entry, value)?;
            Ok(ControlFlow::Continue(()))
        })?;
        let results = Span::Prefix(&[layout::RESULTS]);
        self.store.scan(results, Direction::Forwards, |at, value| {
            let (window, encoded) = layout::read_window(&at[1..])?;
            entry.clear();
            entry.push(RESULTS);
            entry.extend_from_slice(encoded);
            put_signed(window, &mut entry);
            out.entry(group_of(encoded), &entry, value)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// The cells at `at` with the kept rows of their key.
    fn with_rows(&self, at: &[u8], encoded: &[u8], mut cells: &[u8], whole: &mut Whole<'_>) -> Result<(), Fault> {
        let Whole {
            blueprint,
            keys,
            schema,
            value,
        } = whole;
        let mut keys = keys.emptied();
        let id = keys.intern_canonical(encoded);
        let mut part = blueprint.part(&keys, 1);
        check_version(&mut cells)?;
        part.decode(id, &blueprint.plugins, schema, &mut keys, &mut cells)?;
        let mut rows_at = at.to_vec();
        rows_at[0] = layout::ROWS;
        self.store
            .scan(Span::Prefix(&rows_at), Direction::Forwards, |_, mut rows| {
                part.decode_kept(id, &blueprint.plugins, schema, &mut rows)?;
                Ok(ControlFlow::Continue(()))
            })?;
        value.clear();
        value.push(CELLS_VERSION);
        part.encode(id, &blueprint.plugins, Some(&part.kept_by_key()), value);
        Ok(())
    }
}

/// Cells and kept rows, put together.
struct Whole<'a> {
    blueprint: &'a Blueprint,
    keys: &'a Keys,
    schema: &'a Schema,
    value: Vec<u8>,
}
