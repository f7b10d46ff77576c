//! Windows on their way out: results and corrections in slices.

use wasmill_core::aggregate::{Builtin, Groups};
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder};
use wasmill_core::fault::Fault;
use wasmill_core::id::NodeId;
use wasmill_core::operator::Step;
use wasmill_core::order::{Order, derived_place};
use wasmill_core::plan::{AggregateFunction, Stream, WindowNode};
use wasmill_core::schema::{DataType, Schema};
use wasmill_core::time::Micros;
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::{Assigner, PaneNumber};

use super::panes::{Panes, Wanted};
use super::part::{Part, Scratch};
use super::plugin::{Plugin, Rejects};
use crate::keys::{KeyId, Keys};

/// The port of results.
const RESULTS_PORT: usize = 0;

/// What firing works with.
pub(crate) struct Context<'a> {
    pub(crate) keys: &'a mut Keys,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) rejects: Rejects<'a>,
}

/// A window of which some rows may have been emitted.
#[derive(Debug)]
pub(crate) struct Firing {
    bounds: Bounds,
    /// The pane whose main part is read, where there is no part of the window's own.
    pane: PaneNumber,
    part: Option<Part>,
    /// The keys in order.
    ids: Vec<KeyId>,
    emitted: usize,
}

/// A window, and which of its results.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    start: i64,
    end: i64,
    watermark: i64,
    /// 0: the result. 1: the correction.
    index: u32,
}

impl Firing {
    pub(super) fn new(
        wanted: Wanted,
        assigner: &Assigner,
        allowed: Micros,
        pane: PaneNumber,
        part: Option<Part>,
        ids: Vec<KeyId>,
    ) -> Self {
        let (start, end) = (assigner.start(wanted.window), assigner.end(wanted.window));
        let due = if wanted.correction {
            end.saturating_add_unsigned(allowed.0)
        } else {
            end
        };
        Self {
            bounds: Bounds {
                start,
                end,
                watermark: due.saturating_sub(1),
                index: u32::from(wanted.correction),
            },
            pane,
            part,
            ids,
            emitted: 0,
        }
    }
}

impl Panes {
    /// Emits what is due at watermark `to`, at most `slice_rows` rows of it.
    pub(crate) fn fire(
        &mut self,
        to: i64,
        slice_rows: usize,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Result<Step, Fault> {
        let mut room = slice_rows;
        let step = loop {
            if let Some(mut firing) = self.firing.take() {
                let from = firing.emitted;
                let ids = &firing.ids[from..firing.ids.len().min(from + room)];
                let (main, plugins) = match &firing.part {
                    Some(part) => (part, &mut self.blueprint.plugins[..]),
                    None => self.main_and_plugins(firing.pane),
                };
                output.push(main, ids, firing.bounds, plugins, cx.keys)?;
                room -= ids.len();
                firing.emitted += ids.len();
                if firing.emitted < firing.ids.len() {
                    self.firing = Some(firing);
                    break Step::More;
                }
                self.close(to, cx.keys);
            } else {
                match self.due(to) {
                    None => {
                        self.close(to, cx.keys);
                        break Step::Done;
                    }
                    Some(_) if room == 0 => break Step::More,
                    Some(wanted) => self.begin(wanted, cx)?,
                }
            }
        };
        if let Some(batch) = output.flush() {
            cx.rejects.counters.rows_out += batch.rows() as u64;
            cx.rejects.out.emit(RESULTS_PORT, batch);
        }
        Ok(step)
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
    /// A built-in aggregate, by its number in a part.
    Builtin(usize),
    /// A Wasm aggregate, by its number, and the number of its column.
    Plugin(usize, usize),
    /// Nobody reads it.
    Absent,
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
            Source::Rows => Self::Ints(Vec::new()),
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
            plugins,
        };
        output.columns = output.new_columns();
        output
    }

    /// Of each aggregate, whether somebody reads a column of it.
    pub(crate) fn live_aggregates(&self) -> Vec<bool> {
        self.live_aggregates.clone()
    }

    fn new_columns(&self) -> Vec<Building> {
        let sources = self.sources.iter().zip(self.schema.fields());
        sources
            .map(|(source, field)| Building::of(*source, field.data_type))
            .collect()
    }

    /// Appends the results of keys in a window.
    fn push(
        &mut self,
        part: &Part,
        ids: &[KeyId],
        bounds: Bounds,
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
        let results = self.plugin_results(part, &groups, ids, bounds, plugins, keys)?;
        for (source, column) in self.sources.iter().zip(&mut self.columns) {
            match *source {
                Source::Absent => {}
                Source::Key(key) => keys.push_values(key, ids, column.values()),
                Source::Start => column.numbers().extend(ids.iter().map(|_| bounds.start)),
                Source::End => column.numbers().extend(ids.iter().map(|_| bounds.end)),
                Source::Rows => column
                    .numbers()
                    .extend(groups.iter().map(|&group| part.rows(group) as i64)),
                Source::Builtin(index) => part.builtin(index).finish(&groups, column.values())?,
                Source::Plugin(plugin, result) => {
                    let result = &results[plugin][result];
                    (0..result.len()).for_each(|row| column.values().push(result.value(row)));
                }
            }
        }
        self.times
            .resize(self.times.len() + ids.len(), bounds.end.saturating_sub(1));
        self.watermarks
            .resize(self.watermarks.len() + ids.len(), bounds.watermark);
        if let Some(places) = &mut self.places {
            for &id in ids {
                places.key.clear();
                keys.encode(id, &mut places.key);
                derived_place(&self.node, &places.key, bounds.end, bounds.index, &mut places.bytes);
                places.ends.push(places.bytes.len());
            }
        }
        Ok(())
    }

    fn plugin_results(
        &self,
        part: &Part,
        groups: &[u32],
        ids: &[KeyId],
        bounds: Bounds,
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
    fn flush(&mut self) -> Option<Batch> {
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
            kinds: None,
        };
        Some(Batch::new(slots.collect(), hidden))
    }
}
