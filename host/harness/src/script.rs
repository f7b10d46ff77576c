//! A test's steps as actions on a simulation: rows with their times, their W and their places.

use std::collections::BTreeMap;

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::Value as Cell;
use wasmill_core::id::{NodeIndex, PartitionName};
use wasmill_core::order::{Order, source_origin};
use wasmill_core::plan::{Node, SourceNode, SourceTime, WatermarkStrategy};
use wasmill_core::time::Timestamp;
use wasmill_core::watermark::RowWatermarks;
use wasmill_topology::codes;
use wasmill_topology::reading::{Item, Problems, Value, Word};

use crate::rows::{Columns, Files, Given, wrong_rows};
use crate::spec::{StepSpec, TestSpec};
use crate::subject::{Tested, unknown};
use crate::value;

/// The partition of a step that names none.
const PARTITION: &str = "rows";
/// The greatest W of a row: [`Timestamp::MAX`] is the end.
const LAST: i64 = i64::MAX - 1;

/// What a test does.
#[derive(Debug)]
pub(crate) struct Script {
    /// The partitions that are there from the beginning.
    pub(crate) partitions: Vec<(NodeIndex, String)>,
    pub(crate) steps: Vec<Vec<Action>>,
}

/// Something that happens to what is tested.
#[derive(Debug)]
pub(crate) enum Action {
    /// Processing time comes to a point.
    Clock(Timestamp),
    /// A source gives rows.
    Rows(NodeIndex, Box<Batch>),
    /// The watermark of a partition rises.
    Watermark(NodeIndex, String, Timestamp),
    /// Every input ends.
    End,
    /// All state is saved, and taken up by operators that have seen nothing.
    Restore,
}

/// Makes the script of a test. What is wrong with it is in `problems`.
pub(crate) fn write(test: &TestSpec, tested: &Tested, files: &Files<'_>, problems: &Problems) -> Script {
    let mut writer = Writer {
        tested,
        files,
        problems,
        by_source: test.by_source,
        partitions: BTreeMap::new(),
        now: test.start.unwrap_or(Timestamp(0)),
        ended: false,
    };
    writer.name_partitions(test);
    let partitions = writer.partitions.keys().cloned().collect();
    let mut steps: Vec<Vec<Action>> = test.steps.iter().map(|step| writer.step(step)).collect();
    if let (Some(start), Some(first)) = (test.start, steps.first_mut()) {
        first.insert(0, Action::Clock(start));
    }
    Script { partitions, steps }
}

/// How far a partition has come.
#[derive(Clone, Debug)]
struct Partition {
    watermark: i64,
    greatest: i64,
    position: u64,
}

struct Writer<'a> {
    tested: &'a Tested,
    files: &'a Files<'a>,
    problems: &'a Problems,
    by_source: bool,
    partitions: BTreeMap<(NodeIndex, String), Partition>,
    now: Timestamp,
    ended: bool,
}

impl Writer<'_> {
    /// All partitions that some step names are there from the beginning; a source of which none is named has one.
    fn name_partitions(&mut self, test: &TestSpec) {
        for (source, ..) in self.tested.sources() {
            let mut names: Vec<&str> = Vec::new();
            for step in &test.steps {
                let rows = step.rows.as_ref().is_some_and(|item| self.mentions(item, source));
                let watermark = step.watermark.as_ref().is_some_and(|item| self.mentions(item, source));
                match &step.partition {
                    Some(partition) if rows || watermark => names.push(&partition.text),
                    None if rows => names.push(PARTITION),
                    _ => {}
                }
            }
            if names.is_empty() {
                names.push(PARTITION);
            }
            for name in names {
                let partition = Partition {
                    watermark: i64::MIN,
                    greatest: i64::MIN,
                    position: 0,
                };
                self.partitions.insert((source, name.to_owned()), partition);
            }
        }
    }

    /// Whether rows or a watermark are those of a source.
    fn mentions(&self, item: &Item, source: NodeIndex) -> bool {
        match &item.value {
            Value::Table(table) => table.entry(self.tested.plan.node(source).id.as_str()).is_some(),
            _ => true,
        }
    }

    fn step(&mut self, step: &StepSpec) -> Vec<Action> {
        let mut actions = Vec::new();
        let does = step.rows.is_some() || step.watermark.is_some() || step.end;
        if self.ended && does {
            self.problems.push(
                wasmill_core::diagnostic::Diagnostic::error(codes::POINTLESS_KEY, "nothing comes after the end")
                    .label(step.span.clone(), "an earlier step has `end = true`")
                    .help("move the end behind this step"),
            );
        }
        if let Some(now) = step.processing_time {
            self.now = now;
            actions.push(Action::Clock(now));
            self.follow_clock(&mut actions);
        }
        if let Some(item) = &step.rows {
            for (source, item) in self.by_source(item, "rows", wrong_rows) {
                self.rows(source, step.partition.as_ref(), &item, &mut actions);
            }
        }
        if let Some(item) = &step.watermark {
            for (source, item) in self.by_source(item, "watermark", wrong_watermark) {
                self.watermark(source, step.partition.as_ref(), &item, &mut actions);
            }
        }
        if step.end {
            self.ended = true;
            actions.push(Action::End);
        }
        if step.restore {
            actions.push(Action::Restore);
        }
        actions
    }

    /// What a key of a step says of each source: of the only one, or by name.
    fn by_source(&self, item: &Item, key: &str, wrong: fn(&Item, &Problems)) -> Vec<(NodeIndex, Item)> {
        let sources: Vec<_> = self.tested.sources().map(|(index, node, _)| (index, node)).collect();
        let names = || sources.iter().map(|(_, node)| node.id.to_string()).collect::<Vec<_>>();
        match (&item.value, sources.as_slice()) {
            (Value::Table(table), _) => table
                .entries
                .iter()
                .filter_map(|entry| {
                    let found = sources.iter().find(|(_, node)| node.id.as_str() == entry.key);
                    if found.is_none() {
                        let word = Word {
                            text: entry.key.clone(),
                            place: entry.place.clone(),
                        };
                        unknown(
                            self.problems,
                            &word,
                            if self.tested.is_operator { "input" } else { "source" },
                            &names(),
                        );
                    }
                    found.map(|&(index, _)| (index, entry.item.clone()))
                })
                .collect(),
            (_, [(only, _)]) => vec![(*only, item.clone())],
            // One watermark is that of all.
            _ if key == "watermark" => sources.iter().map(|&(index, _)| (index, item.clone())).collect(),
            _ => {
                wrong(item, self.problems);
                Vec::new()
            }
        }
    }

    fn rows(&mut self, index: NodeIndex, partition: Option<&Word>, item: &Item, actions: &mut Vec<Action>) {
        let tested = self.tested;
        let Some((_, node, source)) = tested.sources().find(|(found, ..)| *found == index) else {
            return;
        };
        let given = given(tested, node, source);
        let Some((rows, columns)) = given.read(item, self.files, self.problems) else {
            return;
        };
        let name = partition.map_or(PARTITION, |word| word.text.as_str());
        let mut state = self.partitions[&(index, name.to_owned())].clone();
        if let Some(batch) = self.stamp(&mut state, name, rows, columns, node, source, item) {
            actions.push(Action::Rows(index, Box::new(batch)));
            if self.by_source && state.watermark > i64::MIN {
                actions.push(Action::Watermark(index, name.to_owned(), Timestamp(state.watermark)));
            }
        }
        self.partitions.insert((index, name.to_owned()), state);
    }

    /// Gives rows what a source gives them. `None` for no rows, and after a problem.
    #[expect(clippy::too_many_arguments, reason = "what a source knows of its rows")]
    fn stamp(
        &self,
        state: &mut Partition,
        partition: &str,
        rows: usize,
        columns: Columns,
        node: &Node,
        source: &SourceNode,
        item: &Item,
    ) -> Option<Batch> {
        let at = |column: usize, row: usize| match columns[column].as_ref().map(|column| column.value(row)) {
            Some(Cell::Timestamp(micros)) => Some(micros),
            _ => None,
        };
        let mut times = Vec::with_capacity(rows);
        let mut watermarks = Vec::with_capacity(rows);
        for row in 0..rows {
            let time = match source.time {
                SourceTime::Event(column) => at(column, row),
                SourceTime::Ingestion | SourceTime::Processing => Some(self.now.0),
            };
            let Some(time) = time else {
                self.problems.error(
                    codes::TEST_ROW,
                    format!("row {} has no event time", row + 1),
                    &item.place,
                    "a source refuses such a row before any operator sees it; leave it out",
                );
                return None;
            };
            times.push(time);
            watermarks.push(state.watermark.min(LAST));
            if !self.by_source {
                continue;
            }
            state.greatest = state.greatest.max(time);
            let mark = match source.watermark.strategy {
                WatermarkStrategy::BoundedOutOfOrderness { delay } => Some(Timestamp(state.greatest).before(delay).0),
                WatermarkStrategy::Column(column) => at(column, row),
                WatermarkStrategy::Clock { delay } => Some(self.now.before(delay).0),
            };
            state.watermark = state.watermark.max(mark.unwrap_or(i64::MIN));
        }
        let origin = source_origin(&node.id, &PartitionName::new(partition));
        let positions: Vec<u64> = (state.position..state.position + rows as u64).collect();
        state.position += rows as u64;
        let stream = self.tested.plan.stream(node.outputs[0]);
        let slots = columns
            .into_iter()
            .zip(&stream.live)
            .map(|(column, live)| match column {
                Some(column) if *live => Slot::Base(column),
                _ => Slot::Absent,
            });
        let hidden = Hidden {
            times: times.into(),
            watermarks: RowWatermarks::from_values(&watermarks),
            order: stream.order.then(|| Order::Positions {
                origin,
                positions: positions.into(),
            }),
            kinds: None,
        };
        (rows > 0).then(|| Batch::new(slots.collect(), hidden))
    }

    fn watermark(&mut self, source: NodeIndex, partition: Option<&Word>, item: &Item, actions: &mut Vec<Action>) {
        let is_end = matches!(&item.value, Value::String(text) if text.value == "end");
        let to = if is_end {
            Some(Timestamp::MAX)
        } else {
            value::time(item)
        };
        let Some(to) = to else {
            wrong_watermark(item, self.problems);
            return;
        };
        for ((of, name), state) in &mut self.partitions {
            if *of == source && partition.is_none_or(|word| word.text == *name) {
                if state.watermark > to.0 {
                    let message = format!("the watermark of {name} was {} already", Timestamp(state.watermark));
                    let help = "a watermark never falls; give a later one, or leave it out";
                    self.problems.error(codes::INVALID_VALUE, message, &item.place, help);
                }
                state.watermark = state.watermark.max(to.0);
                actions.push(Action::Watermark(source, name.clone(), to));
            }
        }
    }

    /// Watermarks that follow the clock, where they follow their sources.
    fn follow_clock(&mut self, actions: &mut Vec<Action>) {
        if !self.by_source {
            return;
        }
        for (source, _, node) in self.tested.sources() {
            let WatermarkStrategy::Clock { delay } = node.watermark.strategy else {
                continue;
            };
            let to = self.now.before(delay);
            for ((of, name), state) in &mut self.partitions {
                if *of == source && state.watermark < to.0 {
                    state.watermark = to.0;
                    actions.push(Action::Watermark(source, name.clone(), to));
                }
            }
        }
    }
}

/// What rows of a source are.
fn given<'a>(tested: &'a Tested, node: &'a Node, source: &'a SourceNode) -> Given<'a> {
    let stream = tested.plan.stream(node.outputs[0]);
    let mut needed = stream.live.clone();
    if let SourceTime::Event(column) = source.time {
        needed[column] = true;
    }
    if let WatermarkStrategy::Column(column) = source.watermark.strategy {
        needed[column] = true;
    }
    let kind = if tested.is_operator { "input" } else { "source" };
    Given {
        name: format!("{kind} `{}`", node.id),
        schema: &stream.schema,
        columns: &source.columns,
        metadata: &source.metadata,
        needed,
        format: source
            .format
            .as_ref()
            .map(|format| (format.name.as_str(), &format.config)),
    }
}

fn wrong_watermark(item: &Item, problems: &Problems) {
    problems.error(
        codes::WRONG_TYPE,
        "`watermark` must be a time",
        &item.place,
        "write `watermark = \"2013-01-01T10:15:00Z\"`, or \"end\"; of one input `watermark.NAME = ...`",
    );
}
