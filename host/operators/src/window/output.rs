//! Results as columns: where each comes from, and the hidden columns of derived rows.

use wasmill_core::aggregate::{Builtin, Groups};
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder, Scalar, Value};
use wasmill_core::fault::Fault;
use wasmill_core::id::NodeId;
use wasmill_core::kind::Kind;
use wasmill_core::order::{Order, derived_place};
use wasmill_core::plan::{AggregateFunction, Stream, WindowNode};
use wasmill_core::schema::{DataType, Schema};
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::WindowNumber;

use super::part::Part;
use super::plugin::Plugin;
use super::results::Results;
use crate::keys::{KeyId, Keys};

/// A window, and which of its results.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) window: WindowNumber,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) watermark: i64,
    /// Where results are not counted by key. 0: the result. 1: the correction.
    pub(super) index: u32,
    /// What tells its places from those of other windows with this end.
    pub(super) tie: Option<[u8; 16]>,
}

/// Which results of their keys' window rows are.
#[derive(Debug)]
pub(super) enum Numbers<'a> {
    /// Of each key; `None`: the first of every key.
    Known(Option<&'a [u32]>),
    /// The next ones by what is known of the window.
    Counted(&'a mut Results),
}

/// Where a column of the results comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Key(usize),
    Start,
    End,
    /// `count()`.
    Rows,
    /// A built-in aggregate, by its number in a part.
    Builtin(usize),
    /// A Wasm aggregate, by its number, and the number of its column.
    Plugin(usize, usize),
    /// Which result of its key's window it is.
    Pane,
    /// Nobody reads it.
    Absent,
}

impl Source {
    /// Whether it is an aggregate's.
    fn is_value(self) -> bool {
        matches!(self, Self::Rows | Self::Builtin(_) | Self::Plugin(..))
    }
}

/// What aggregates give for keys.
struct Values<'a> {
    part: &'a Part,
    groups: &'a [u32],
    of_plugins: &'a [Vec<Column>],
}

impl Values<'_> {
    fn rows(&self) -> impl Iterator<Item = i64> {
        self.groups.iter().map(|&group| self.part.rows(group) as i64)
    }
}

/// The place of a counted result: the even ones are those of the rows that take it back.
fn place_of(number: u32) -> u32 {
    number.saturating_mul(2).saturating_add(1)
}

/// Collects results into batches.
#[derive(Debug)]
pub(crate) struct Output {
    node: NodeId,
    schema: Schema,
    sources: Vec<Source>,
    live_aggregates: Vec<bool>,
    columns: Vec<Building>,
    times: Vec<i64>,
    watermarks: Vec<i64>,
    places: Option<Places>,
    /// What each row does, where results are taken back.
    kinds: Option<Vec<u8>>,
    plugins: usize,
}

/// A column of results in the making. Most are numbers without nulls.
#[derive(Debug)]
enum Building {
    Ints(Vec<i64>),
    Timestamps(Vec<i64>),
    Values(ColumnBuilder),
}

impl Building {
    fn of(source: Source, data_type: DataType) -> Self {
        match source {
            Source::Start | Source::End => Self::Timestamps(Vec::new()),
            Source::Rows | Source::Pane => Self::Ints(Vec::new()),
            _ => Self::Values(ColumnBuilder::new(data_type, 0)),
        }
    }

    fn numbers(&mut self) -> &mut Vec<i64> {
        match self {
            Self::Ints(numbers) | Self::Timestamps(numbers) => numbers,
            Self::Values(_) => unreachable!("the source gives numbers without nulls"),
        }
    }

    fn values(&mut self) -> &mut ColumnBuilder {
        match self {
            Self::Values(values) => values,
            Self::Ints(_) | Self::Timestamps(_) => unreachable!("the source gives values"),
        }
    }

    fn finish(self) -> Column {
        match self {
            Self::Ints(numbers) => Column::Int64(numbers.into()),
            Self::Timestamps(numbers) => Column::Timestamp(numbers.into()),
            Self::Values(values) => values.finish(),
        }
    }
}

#[derive(Debug, Default)]
struct Places {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    key: Vec<u8>,
}

impl Output {
    pub(crate) fn new(node: NodeId, plan: &WindowNode, stream: &Stream) -> Self {
        let keys = (0..plan.frame.key.len()).map(Source::Key);
        let mut sources: Vec<Source> = keys.chain([Source::Start, Source::End]).collect();
        let mut live_aggregates = Vec::new();
        let (mut builtins, mut plugins) = (0, 0);
        for aggregate in &plan.aggregates {
            let columns = sources.len()..sources.len() + aggregate.outputs.len();
            let live = stream.live[columns].contains(&true);
            live_aggregates.push(live);
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
        for (source, live) in sources.iter_mut().zip(&stream.live) {
            if !live {
                *source = Source::Absent;
            }
        }
        let mut output = Self {
            node,
            schema: stream.schema.clone(),
            sources,
            live_aggregates,
            columns: Vec::new(),
            times: Vec::new(),
            watermarks: Vec::new(),
            places: stream.order.then(Places::default),
            kinds: plan.frame.early.is_some_and(|early| early.retracting).then(Vec::new),
            plugins,
        };
        output.columns = output.new_columns();
        output
    }

    /// Of each aggregate, whether somebody reads a column of it.
    pub(crate) fn live_aggregates(&self) -> Vec<bool> {
        self.live_aggregates.clone()
    }

    /// Whether somebody reads which result a row is.
    pub(super) fn is_numbered(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::Pane))
    }

    /// The types of the aggregates' columns that somebody reads.
    pub(super) fn value_types(&self) -> Vec<DataType> {
        let sources = self.sources.iter().zip(self.schema.fields());
        let values = sources.filter(|(source, _)| source.is_value());
        values.map(|(_, field)| field.data_type).collect()
    }

    /// How many rows were collected.
    pub(super) fn rows(&self) -> usize {
        self.times.len()
    }

    fn new_columns(&self) -> Vec<Building> {
        let sources = self.sources.iter().zip(self.schema.fields());
        sources
            .map(|(source, field)| Building::of(*source, field.data_type))
            .collect()
    }

    /// Appends the results of keys in a window.
    pub(super) fn push(
        &mut self,
        part: &Part,
        ids: &[KeyId],
        bounds: &Bounds,
        numbers: Numbers<'_>,
        plugins: &mut [Plugin],
        keys: &Keys,
    ) -> Result<(), Fault> {
        if ids.is_empty() {
            return Ok(());
        }
        let groups: Vec<u32> = ids
            .iter()
            .map(|&id| part.group_of(id).expect("a key that fires has rows"))
            .collect();
        let of_plugins = self.plugin_results(part, &groups, ids, bounds, plugins, keys)?;
        let values = Values {
            part,
            groups: &groups,
            of_plugins: &of_plugins,
        };
        match numbers {
            Numbers::Counted(results) if self.kinds.is_some() => self.push_updates(&values, ids, bounds, results, keys),
            Numbers::Counted(results) => {
                let next = |&id: &KeyId| {
                    let record = results.record((bounds.window, id));
                    record.results = record.results.saturating_add(1);
                    record.results - 1
                };
                let numbers: Vec<u32> = ids.iter().map(next).collect();
                self.push_columns(&values, ids, bounds, Some(&numbers), keys)?;
                self.push_hidden(ids, bounds, |row| place_of(numbers[row]), keys);
                Ok(())
            }
            Numbers::Known(numbers) => {
                self.push_columns(&values, ids, bounds, numbers, keys)?;
                self.push_hidden(ids, bounds, |_| bounds.index, keys);
                Ok(())
            }
        }
    }

    fn push_columns(
        &mut self,
        values: &Values<'_>,
        ids: &[KeyId],
        bounds: &Bounds,
        numbers: Option<&[u32]>,
        keys: &Keys,
    ) -> Result<(), Fault> {
        for (source, column) in self.sources.iter().zip(&mut self.columns) {
            match *source {
                Source::Absent => {}
                Source::Key(key) => keys.push_values(key, ids, column.values()),
                Source::Start => column.numbers().extend(ids.iter().map(|_| bounds.start)),
                Source::End => column.numbers().extend(ids.iter().map(|_| bounds.end)),
                Source::Pane => match numbers {
                    None => column.numbers().extend(ids.iter().map(|_| 0)),
                    Some(numbers) => column.numbers().extend(numbers.iter().map(|&number| i64::from(number))),
                },
                Source::Rows => column.numbers().extend(values.rows()),
                Source::Builtin(index) => values.part.builtin(index).finish(values.groups, column.values())?,
                Source::Plugin(plugin, result) => {
                    let result = &values.of_plugins[plugin][result];
                    (0..result.len()).for_each(|row| column.values().push(result.value(row)));
                }
            }
        }
        Ok(())
    }

    /// Appends results that take back the ones before them.
    fn push_updates(
        &mut self,
        values: &Values<'_>,
        ids: &[KeyId],
        bounds: &Bounds,
        results: &mut Results,
        keys: &Keys,
    ) -> Result<(), Fault> {
        let mut columns = Vec::new();
        for (source, field) in self.sources.iter().zip(self.schema.fields()) {
            match *source {
                Source::Rows => columns.push(Column::Int64(values.rows().collect::<Vec<_>>().into())),
                Source::Builtin(index) => {
                    let mut column = ColumnBuilder::new(field.data_type, ids.len());
                    values.part.builtin(index).finish(values.groups, &mut column)?;
                    columns.push(column.finish());
                }
                Source::Plugin(plugin, result) => columns.push(values.of_plugins[plugin][result].clone()),
                _ => {}
            }
        }
        for (row, &id) in ids.iter().enumerate() {
            let record = results.record((bounds.window, id));
            let number = record.results;
            record.results = number.saturating_add(1);
            let values: Box<[Scalar]> = columns.iter().map(|column| column.value(row).into()).collect();
            let before = record.last.replace(values.clone());
            if let Some(before) = &before {
                let index = place_of(number).saturating_sub(1);
                self.push_row(
                    id,
                    bounds,
                    Kind::UpdateBefore,
                    (number.saturating_sub(1), index),
                    before,
                    keys,
                );
            }
            let kind = if before.is_some() {
                Kind::UpdateAfter
            } else {
                Kind::Insert
            };
            self.push_row(id, bounds, kind, (number, place_of(number)), &values, keys);
        }
        Ok(())
    }

    fn push_row(
        &mut self,
        id: KeyId,
        bounds: &Bounds,
        kind: Kind,
        (number, index): (u32, u32),
        values: &[Scalar],
        keys: &Keys,
    ) {
        let mut values = values.iter();
        for (source, column) in self.sources.iter().zip(&mut self.columns) {
            match *source {
                Source::Absent => {}
                Source::Key(key) => keys.push_values(key, &[id], column.values()),
                Source::Start => column.numbers().push(bounds.start),
                Source::End => column.numbers().push(bounds.end),
                Source::Pane => column.numbers().push(number.into()),
                Source::Rows | Source::Builtin(_) | Source::Plugin(..) => {
                    let value = values.next().map_or(Value::Null, Scalar::as_value);
                    match (column, value) {
                        (Building::Ints(numbers), Value::Int64(number)) => numbers.push(number),
                        (column, value) => column.values().push(value),
                    }
                }
            }
        }
        self.push_hidden(&[id], bounds, |_| index, keys);
        if let Some(last) = self.kinds.as_mut().and_then(|kinds| kinds.last_mut()) {
            *last = kind.byte();
        }
    }

    fn push_hidden(&mut self, ids: &[KeyId], bounds: &Bounds, index: impl Fn(usize) -> u32, keys: &Keys) {
        let rows = self.times.len() + ids.len();
        self.times.resize(rows, bounds.end.saturating_sub(1));
        self.watermarks.resize(rows, bounds.watermark);
        if let Some(kinds) = &mut self.kinds {
            kinds.resize(rows, Kind::Insert.byte());
        }
        if let Some(places) = &mut self.places {
            for (row, &id) in ids.iter().enumerate() {
                places.key.clear();
                keys.encode(id, &mut places.key);
                derived_place(&self.node, &places.key, bounds.end, index(row), &mut places.bytes);
                places.bytes.extend(bounds.tie.iter().flatten());
                places.ends.push(places.bytes.len());
            }
        }
    }

    fn plugin_results(
        &self,
        part: &Part,
        groups: &[u32],
        ids: &[KeyId],
        bounds: &Bounds,
        plugins: &mut [Plugin],
        keys: &Keys,
    ) -> Result<Vec<Vec<Column>>, Fault> {
        if self.plugins == 0 {
            return Ok(Vec::new());
        }
        let key_columns = keys.columns(ids);
        let (starts, ends) = (vec![bounds.start; ids.len()], vec![bounds.end; ids.len()]);
        let of_groups = Groups {
            keys: &key_columns,
            starts: &starts,
            ends: &ends,
        };
        let results = plugins.iter_mut().zip(&part.plugins);
        results
            .map(|(plugin, cells)| plugin.finish(cells, groups, &of_groups))
            .collect()
    }

    /// What was collected, where there is something.
    pub(super) fn flush(&mut self) -> Option<Batch> {
        if self.times.is_empty() {
            return None;
        }
        let fresh = self.new_columns();
        let columns = std::mem::replace(&mut self.columns, fresh).into_iter();
        let slots = columns.zip(&self.sources).map(|(column, source)| match source {
            Source::Absent => Slot::Absent,
            _ => Slot::Base(column.finish()),
        });
        let order = self.places.as_mut().map(|places| {
            let starts = std::iter::once(0).chain(places.ends.iter().copied());
            let rows: Vec<&[u8]> = starts
                .zip(&places.ends)
                .map(|(from, &to)| &places.bytes[from..to])
                .collect();
            let order = Order::from_places(rows.into_iter());
            places.bytes.clear();
            places.ends.clear();
            order
        });
        let hidden = Hidden {
            times: std::mem::take(&mut self.times).into(),
            watermarks: RowWatermarks::from_values(&std::mem::take(&mut self.watermarks)),
            order,
            kinds: self.kinds.as_mut().map(|kinds| std::mem::take(kinds).into()),
        };
        Some(Batch::new(slots.collect(), hidden))
    }
}
