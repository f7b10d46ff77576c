//! Results of windows with aggregates: cells in, rows of the main port out.

use wasmill_core::aggregate::{Aggregate, Builtin, Groups};
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::Fault;
use wasmill_core::kind::Kind;
use wasmill_core::operator::Emit;
use wasmill_core::order::Order;
use wasmill_core::plan::{AggregateFunction, Stream, WindowNode};
use wasmill_core::schema::{DataType, Schema};
use wasmill_core::watermark::RowWatermarks;
use wasmill_state::{Page, RowCodec};

use super::base::Base;
use super::cells::{Aggregates, Cells};
use super::parts::Whole;
use super::rows::{Building, Head, Range, head, tell};

/// The port of results.
const RESULTS_PORT: usize = 0;
/// Kept rows that a plugin gets in one call at most.
const CALL_ROWS_MAX: usize = 4_096;

/// A window that fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Firing {
    pub(crate) key: Vec<u8>,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Event time and W of what comes of it.
    pub(crate) time: i64,
    pub(crate) watermark: i64,
    /// The number of the window's result.
    pub(crate) pane: u32,
    /// The place of the result, or the start of the places of several.
    pub(crate) place: Vec<u8>,
    /// The rows in it.
    pub(crate) rows: u64,
}

/// The kept rows of a firing.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) range: Range,
    /// Only rows of these; `None`: all.
    pub(crate) before: Option<Before>,
    /// Whether the rows stay for another result.
    pub(crate) stay: bool,
}

/// Which rows count for a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    /// Those that were judged by less than this,
    pub(crate) judged: i64,
    /// whose own watermark is less than this, where there is such a bound.
    pub(crate) watermark: Option<i64>,
}

impl Before {
    pub(crate) fn holds(self, row: &Head<'_>) -> bool {
        row.judged < self.judged && self.watermark.is_none_or(|bound| row.watermark < bound)
    }
}

/// Where a column of the results comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Key(usize),
    Start,
    End,
    /// `count()`.
    Rows,
    Builtin(usize),
    /// A Wasm aggregate, by its number, and the number of its column.
    Plugin(usize, usize),
    Pane,
    /// Nobody reads it.
    Absent,
}

/// Collects results.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) aggregates: Aggregates,
    pub(crate) retracting: bool,
    sources: Vec<Source>,
    schema: Schema,
    places: bool,
    pending: Vec<Firing>,
    cells: Cells,
    kept: Building,
    kept_groups: Vec<u32>,
    /// Where kept rows that stay stand; empty for others.
    kept_at: Vec<Vec<u8>>,
    codec: RowCodec,
    changes: Vec<Change>,
}

/// A row of a changelog.
#[derive(Debug)]
struct Change {
    kind: Kind,
    bytes: Vec<u8>,
    time: i64,
    watermark: i64,
    place: Vec<u8>,
}

impl Results {
    pub(crate) fn new(
        plan: &WindowNode,
        input: &Stream,
        output: &Stream,
        guests: Vec<Box<dyn Aggregate>>,
        ordered: bool,
        kept: Building,
    ) -> Self {
        let keys = (0..plan.frame.key.len()).map(Source::Key);
        let mut sources: Vec<Source> = keys.chain([Source::Start, Source::End]).collect();
        let mut lives = Vec::new();
        let (mut builtins, mut plugins) = (0, 0);
        for aggregate in &plan.aggregates {
            let columns = sources.len()..sources.len() + aggregate.outputs.len();
            let live = output.live[columns].contains(&true);
            lives.push(live);
            match &aggregate.function {
                AggregateFunction::Builtin(Builtin::Count(None)) => sources.push(Source::Rows),
                AggregateFunction::Builtin(_) => {
                    sources.push(Source::Builtin(builtins));
                    builtins += usize::from(live);
                }
                AggregateFunction::Plugin(_) => {
                    sources.extend((0..aggregate.outputs.len()).map(|column| Source::Plugin(plugins, column)));
                    plugins += 1;
                }
            }
        }
        if plan.frame.pane {
            sources.push(Source::Pane);
        }
        for (source, live) in sources.iter_mut().zip(&output.live) {
            if !live {
                *source = Source::Absent;
            }
        }
        let aggregates = Aggregates::new(plan, &input.schema, &lives, guests, ordered);
        let live = output.schema.fields().iter().zip(&output.live);
        Self {
            cells: aggregates.cells(),
            aggregates,
            retracting: plan.frame.early.is_some_and(|early| early.retracting),
            sources,
            codec: RowCodec::new(live.filter(|(_, live)| **live).map(|(field, _)| field.data_type)),
            schema: output.schema.clone(),
            places: output.order,
            pending: Vec::new(),
            kept,
            kept_groups: Vec::new(),
            kept_at: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// The rows that wait for [`Self::flush`].
    pub(crate) fn len(&self) -> usize {
        self.pending.len() + self.changes.len()
    }

    /// Takes the result of a window.
    pub(crate) fn add(
        &mut self,
        firing: Firing,
        whole: Whole<'_>,
        content: Content,
        base: &mut Base,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let group = self.pending.len() as u32;
        self.pending.push(firing);
        self.aggregates.grow(&mut self.cells, self.pending.len());
        whole.put_into(&mut self.aggregates, &mut self.cells, group, &base.store)?;
        if !self.aggregates.keep_rows() {
            return Ok(());
        }
        let Content {
            mut range,
            before,
            stay,
        } = content;
        let mut page = Page::default();
        loop {
            let more = range.next(&base.store, &mut page)?;
            for (at, value) in page.iter() {
                let row = head(value)?;
                if before.is_some_and(|before| !before.holds(&row)) {
                    continue;
                }
                self.kept.push(&row)?;
                self.kept_groups.push(group);
                self.kept_at.push(if stay { at.to_vec() } else { Vec::new() });
                if self.kept.len() == CALL_ROWS_MAX {
                    self.accumulate(base, out)?;
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn accumulate(&mut self, base: &mut Base, out: &mut dyn Emit) -> Result<(), Fault> {
        if self.kept.len() == 0 {
            return Ok(());
        }
        let batch = self.kept.finish();
        let groups = std::mem::take(&mut self.kept_groups);
        let at = std::mem::take(&mut self.kept_at);
        let letters = &base.letters;
        let mut rejects = crate::window::plugin::Rejects {
            letters,
            schema: &base.schema,
            counters: &mut base.counters,
            out,
        };
        let store = std::cell::RefCell::new(&mut base.store);
        let failed = std::cell::RefCell::new(None);
        let is_untold = |row: u32| {
            let at = &at[row as usize];
            at.is_empty()
                || tell(&mut store.borrow_mut(), at).unwrap_or_else(|fault| {
                    failed.replace(Some(fault));
                    false
                })
        };
        self.aggregates
            .update_kept(&mut self.cells, &batch, &groups, is_untold, &mut rejects)?;
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// Ends the result that was added last: what it says takes back what `before` says. The row's bytes.
    pub(crate) fn retract(
        &mut self,
        before: &[Vec<u8>],
        places: &mut dyn FnMut() -> Vec<u8>,
        base: &mut Base,
        out: &mut dyn Emit,
    ) -> Result<Vec<u8>, Fault> {
        let columns = self.finish_pending(base, out)?;
        let firing = self.pending.pop().expect("a result was added");
        self.cells = self.aggregates.cells();
        let mut bytes = Vec::new();
        let live: Vec<Column> = columns.into_iter().flatten().collect();
        self.codec.encode(&live, 0, &mut bytes);
        let mut change = |kind, bytes: &[u8]| {
            self.changes.push(Change {
                kind,
                bytes: bytes.to_vec(),
                time: firing.time,
                watermark: firing.watermark,
                place: places(),
            });
        };
        match before.split_first() {
            None => change(Kind::Insert, &bytes),
            Some((first, others)) => {
                for other in others {
                    change(Kind::Delete, other);
                }
                change(Kind::UpdateBefore, first);
                change(Kind::UpdateAfter, &bytes);
            }
        }
        Ok(bytes)
    }

    /// The columns of what is pending, in the order of the schema; none where nobody reads it.
    fn finish_pending(&mut self, base: &mut Base, out: &mut dyn Emit) -> Result<Vec<Option<Column>>, Fault> {
        self.accumulate(base, out)?;
        let Self {
            aggregates,
            cells,
            pending,
            ..
        } = self;
        let groups: Vec<u32> = (0..pending.len() as u32).collect();
        let keys = base.key_columns(pending.iter().map(|firing| &firing.key[..]));
        let starts: Vec<i64> = pending.iter().map(|firing| firing.start).collect();
        let ends: Vec<i64> = pending.iter().map(|firing| firing.end).collect();
        let bounds = Groups {
            keys: &keys,
            starts: &starts,
            ends: &ends,
        };
        let plugins = aggregates.finish_plugins(cells, &groups, &bounds)?;
        let numbers = |number: fn(&Firing) -> i64| {
            let numbers: Vec<i64> = pending.iter().map(number).collect();
            Column::Int64(numbers.into())
        };
        let sources = self.sources.iter().zip(self.schema.fields());
        let column = |(source, field): (&Source, &wasmill_core::schema::Field)| {
            Ok(Some(match *source {
                Source::Absent => return Ok(None),
                Source::Key(key) => keys[key].clone(),
                Source::Start => Column::Timestamp(starts.clone().into()),
                Source::End => Column::Timestamp(ends.clone().into()),
                Source::Rows => numbers(|firing| firing.rows as i64),
                Source::Pane => numbers(|firing| i64::from(firing.pane)),
                Source::Builtin(builtin) => Aggregates::finish_builtin(cells, builtin, &groups, field.data_type)?,
                Source::Plugin(plugin, column) => plugins[plugin][column].clone(),
            }))
        };
        sources.map(column).collect()
    }

    /// Emits what was added.
    pub(crate) fn flush(&mut self, base: &mut Base, out: &mut dyn Emit) -> Result<(), Fault> {
        if !self.pending.is_empty() {
            let columns = self.finish_pending(base, out)?;
            self.cells = self.aggregates.cells();
            let pending = std::mem::take(&mut self.pending);
            let slots = columns
                .into_iter()
                .map(|column| column.map_or(Slot::Absent, Slot::Base))
                .collect();
            let rows: Vec<HiddenRow<'_>> = pending
                .iter()
                .map(|firing| HiddenRow {
                    time: firing.time,
                    watermark: firing.watermark,
                    place: &firing.place,
                    kind: Kind::Insert,
                })
                .collect();
            base.counters.rows_out += rows.len() as u64;
            out.emit(RESULTS_PORT, Batch::new(slots, hidden(&rows, self.places, false)));
        }
        if !self.changes.is_empty() {
            let changes = std::mem::take(&mut self.changes);
            let mut builders = self.codec.builders(changes.len());
            for change in &changes {
                self.codec.decode_into(&mut &change.bytes[..], &mut builders)?;
            }
            let mut columns = builders.into_iter().map(ColumnBuilder::finish);
            let slots = self.sources.iter().map(|source| match source {
                Source::Absent => Slot::Absent,
                _ => columns.next().map_or(Slot::Absent, Slot::Base),
            });
            let rows: Vec<HiddenRow<'_>> = changes
                .iter()
                .map(|change| HiddenRow {
                    time: change.time,
                    watermark: change.watermark,
                    place: &change.place,
                    kind: change.kind,
                })
                .collect();
            base.counters.rows_out += rows.len() as u64;
            out.emit(
                RESULTS_PORT,
                Batch::new(slots.collect(), hidden(&rows, self.places, true)),
            );
        }
        Ok(())
    }
}

/// The hidden columns of a row that comes out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HiddenRow<'a> {
    pub(crate) time: i64,
    pub(crate) watermark: i64,
    pub(crate) place: &'a [u8],
    pub(crate) kind: Kind,
}

/// The hidden columns of rows.
pub(crate) fn hidden(rows: &[HiddenRow<'_>], places: bool, changelog: bool) -> Hidden {
    let watermarks: Vec<i64> = rows.iter().map(|row| row.watermark).collect();
    let order = places.then(|| {
        let mut places = ColumnBuilder::new(DataType::Binary, rows.len());
        for row in rows {
            places.push(Value::Binary(row.place));
        }
        match places.finish() {
            Column::Binary(places) => Order::Places(places),
            _ => unreachable!("a builder of binary values makes a binary column"),
        }
    });
    Hidden {
        times: rows.iter().map(|row| row.time).collect(),
        watermarks: RowWatermarks::from_values(&watermarks),
        order,
        kinds: changelog.then(|| rows.iter().map(|row| row.kind.byte()).collect()),
    }
}
