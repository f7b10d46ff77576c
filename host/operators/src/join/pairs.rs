//! A join's output: which columns come from where, and the places of its rows.

use wasmill_core::batch::Batch;
use wasmill_core::column::Value;
use wasmill_core::fault::Fault;
use wasmill_core::key::sortable_int;
use wasmill_core::kind::Kind;
use wasmill_core::plan::{JoinBound, JoinColumn, JoinNode, Stream};

use super::{Context, LEFT, RIGHT, Row};
use crate::stored::building::{Building, Facts};
use crate::stored::{Kept, value_of};

/// How many columns stand before those of the sides.
pub(super) fn window_columns(plan: &JoinNode) -> usize {
    match plan.bound {
        JoinBound::Window(_) => 2,
        JoinBound::Within { .. } | JoinBound::AsOf { .. } => 0,
    }
}

/// Joined rows in the making.
#[derive(Debug)]
pub(super) struct Pairs {
    pub(super) building: Building,
    sides: [Side; 2],
    has_window: bool,
}

/// How a side's columns come out.
#[derive(Debug, Default)]
struct Side {
    /// The columns that are kept, by place in the input's schema.
    fields: Vec<usize>,
    /// Where each goes to.
    targets: Vec<Vec<Target>>,
    /// What is null where the side is missing.
    own: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    column: usize,
    /// Only where there is no left row.
    alone: bool,
}

/// A row of a side, as it came or as it was kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Half<'a> {
    place: &'a [u8],
    values: Values<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Values<'a> {
    Row(&'a Batch, usize),
    Kept(&'a [u8]),
}

impl<'a> From<Row<'a>> for Half<'a> {
    fn from(row: Row<'a>) -> Self {
        Self {
            place: row.place,
            values: Values::Row(row.batch, row.row),
        }
    }
}

impl<'a> From<Kept<'a>> for Half<'a> {
    fn from(kept: Kept<'a>) -> Self {
        Self {
            place: kept.place,
            values: Values::Kept(kept.values),
        }
    }
}

/// When a joined row is, and in which window.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) time: i64,
    pub(super) watermark: i64,
    pub(super) window: Option<(i64, i64)>,
}

impl Pairs {
    pub(super) fn new(plan: &JoinNode, output: &Stream, slice_rows: usize) -> Self {
        let building = Building::new(output, slice_rows);
        let before = window_columns(plan);
        let mut sides = [Side::default(), Side::default()];
        for (place, column) in plan.columns.iter().enumerate() {
            let output = before + place;
            if !building.is_live(output) {
                continue;
            }
            match *column {
                JoinColumn::Left(column) => sides[LEFT].own(column, output),
                JoinColumn::Right(column) => sides[RIGHT].own(column, output),
                JoinColumn::On(pair) => {
                    sides[LEFT].add(plan.key[LEFT][pair], output, false);
                    sides[RIGHT].add(plan.key[RIGHT][pair], output, true);
                }
            }
        }
        Self {
            building,
            sides,
            has_window: before > 0,
        }
    }

    /// The columns of a side that are kept.
    pub(super) fn fields(&self, side: usize) -> &[usize] {
        &self.sides[side].fields
    }
}

impl Side {
    fn own(&mut self, column: usize, output: usize) {
        self.add(column, output, false);
        self.own.push(output);
    }

    fn add(&mut self, column: usize, output: usize, alone: bool) {
        let field = self.fields.iter().position(|&field| field == column);
        let field = field.unwrap_or_else(|| {
            self.fields.push(column);
            self.targets.push(Vec::new());
            self.fields.len() - 1
        });
        self.targets[field].push(Target { column: output, alone });
    }
}

impl Context<'_> {
    /// Adds a joined row. A half that is not there is null.
    pub(super) fn push(&mut self, halves: [Option<Half<'_>>; 2], when: When) -> Result<(), Fault> {
        let Pairs {
            building,
            sides,
            has_window,
        } = &mut *self.pairs;
        let alone = halves[LEFT].is_none();
        for (half, (side, input)) in halves.iter().zip(sides.iter().zip(self.inputs)) {
            let mut put = |field: usize, value: Value<'_>| {
                for target in &side.targets[field] {
                    if alone || !target.alone {
                        building.value(target.column, value);
                    }
                }
            };
            match half.map(|half| half.values) {
                Some(Values::Row(batch, row)) => {
                    for (field, &column) in side.fields.iter().enumerate() {
                        put(field, value_of(batch, column, row));
                    }
                }
                Some(Values::Kept(mut bytes)) => input.codec.decode(&mut bytes, put)?,
                None => {
                    for &column in &side.own {
                        building.value(column, Value::Null);
                    }
                }
            }
        }
        if let (true, Some((start, end))) = (*has_window, when.window) {
            building.value(0, Value::Timestamp(start));
            building.value(1, Value::Timestamp(end));
        }
        let facts = Facts {
            time: when.time,
            watermark: when.watermark,
            kind: Kind::Insert,
        };
        let place = |out: &mut Vec<u8>| {
            for half in halves.iter().flatten() {
                out.extend_from_slice(half.place);
            }
            if let Some((start, end)) = when.window {
                out.extend(sortable_int(start));
                out.extend(sortable_int(end));
            }
        };
        building.end_row(facts, place, self.counters, self.out);
        Ok(())
    }

    /// Adds a row of a side alone.
    pub(super) fn push_alone(&mut self, side: usize, half: Half<'_>, when: When) -> Result<(), Fault> {
        let halves = if side == LEFT {
            [Some(half), None]
        } else {
            [None, Some(half)]
        };
        self.push(halves, when)
    }

    /// Adds a pair of a row of `side` and one of the other.
    pub(super) fn push_pair(&mut self, side: usize, half: Half<'_>, other: Half<'_>, when: When) -> Result<(), Fault> {
        let halves = if side == LEFT { [half, other] } else { [other, half] };
        self.push(halves.map(Some), when)
    }
}
