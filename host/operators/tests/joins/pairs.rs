//! Every join type and kind against the oracle.

use proptest::prelude::*;
use wasmill_core::column::Scalar;
use wasmill_core::id::NodeId;
use wasmill_core::key::sortable_int;
use wasmill_core::kind::Kind as RowKind;
use wasmill_core::operator::Operator;
use wasmill_core::plan::{JoinBound, JoinColumn, JoinKind, JoinNode};
use wasmill_core::schema::{DataType, Field};
use wasmill_core::time::Micros;
use wasmill_core::window::{Alignment, Late, WindowSpec, Windows};
use wasmill_operators::{Join, LATE_LEFT_PORT, Subtask};
use wasmill_state::Store;
use wasmill_testkit::Row;
use wasmill_testkit::joins::{Bound, Joined, Joins, Kind};
use wasmill_testkit::partitions::Event;
use wasmill_testkit::windows;

use super::harness::{
    Cuts, Emitted, GROUPS, KEY_INT, KEY_TEXT, Setup, TEXT, VALUE, assert_same, cuts, fields, late, partitions, place,
    reading, run, stream,
};

pub(crate) fn span(length: i64) -> Micros {
    Micros(length.unsigned_abs())
}

/// The plan of a join of the oracle.
fn plan(joins: &Joins) -> JoinNode {
    let kind = match joins.kind {
        Kind::Inner => JoinKind::Inner,
        Kind::Left => JoinKind::Left,
        Kind::Right => JoinKind::Right,
        Kind::Full => JoinKind::Full,
        Kind::Semi => JoinKind::Semi,
        Kind::Anti => JoinKind::Anti,
    };
    let aligned = |spec: WindowSpec| JoinBound::Window(Windows::Aligned(spec));
    let alignment = Alignment::default();
    let bound = match &joins.bound {
        Bound::Within { before, after } => JoinBound::Within {
            before: span(*before),
            after: span(*after),
        },
        Bound::AsOf { within } => JoinBound::AsOf {
            within: within.map(span),
        },
        Bound::Window(of) if of.size == of.every => aligned(WindowSpec::Tumbling {
            size: span(of.size),
            alignment: Alignment {
                offset: span(of.offset),
                time_zone: None,
            },
        }),
        Bound::Window(of) => aligned(WindowSpec::Sliding {
            size: span(of.size),
            every: span(of.every),
            alignment: Alignment {
                offset: span(of.offset),
                time_zone: None,
            },
        }),
        Bound::Cumulative { size, step } => aligned(WindowSpec::Cumulative {
            size: span(*size),
            step: span(*step),
            alignment,
        }),
        Bound::Session { gap } => JoinBound::Window(Windows::Session { gap: span(*gap) }),
    };
    JoinNode {
        key: joins.key.clone(),
        kind,
        bound,
        late: Late::Port,
        columns: columns(joins),
    }
}

fn columns(joins: &Joins) -> Vec<JoinColumn> {
    use JoinColumn::{Left, On, Right};
    let mut columns: Vec<JoinColumn> = (0..joins.key[0].len()).map(On).collect();
    columns.extend([Left(TEXT), Left(VALUE)]);
    if !matches!(joins.kind, Kind::Semi | Kind::Anti) {
        columns.extend([Right(VALUE), Right(TEXT)]);
    }
    columns
}

fn has_window(joins: &Joins) -> bool {
    !matches!(joins.bound, Bound::Within { .. } | Bound::AsOf { .. })
}

fn output(joins: &Joins) -> Vec<Field> {
    let mut out = Vec::new();
    if has_window(joins) {
        out.push(Field::required("window_start", DataType::Timestamp));
        out.push(Field::required("window_end", DataType::Timestamp));
    }
    for (at, column) in columns(joins).into_iter().enumerate() {
        let of = match column {
            JoinColumn::Left(column) | JoinColumn::Right(column) => column,
            JoinColumn::On(pair) => joins.key[0][pair],
        };
        out.push(Field::nullable(format!("c{at}"), fields()[of].data_type));
    }
    out
}

/// What the oracle says, as it comes out.
fn expected(joins: &Joins, rows: &[Row], twins: bool, kind: &dyn Fn(&Row) -> RowKind, changelog: bool) -> Vec<Emitted> {
    let outcome = joins.evaluate(rows, |row| kind(row).adds());
    let of_joined = |joined: &Joined| {
        let (left, right) = (joined.left.map(|row| &rows[row]), joined.right.map(|row| &rows[row]));
        let mut values = Vec::new();
        let mut whole_place = Vec::new();
        for row in left.iter().chain(&right) {
            whole_place.extend(place(row, twins));
        }
        if let Some((start, end)) = joined.window {
            values.extend([Scalar::Timestamp(start), Scalar::Timestamp(end)]);
            whole_place.extend(sortable_int(start));
            whole_place.extend(sortable_int(end));
        }
        let value = |row: Option<&Row>, column: usize| row.map_or(Scalar::Null, |row| row.values[column].clone());
        values.extend(columns(joins).into_iter().map(|column| match column {
            JoinColumn::Left(column) => value(left, column),
            JoinColumn::Right(column) => value(right, column),
            JoinColumn::On(pair) if left.is_some() => value(left, joins.key[0][pair]),
            JoinColumn::On(pair) => value(right, joins.key[1][pair]),
        }));
        Emitted {
            port: 0,
            time: joined.time,
            watermark: joined.watermark,
            place: whole_place,
            kind: RowKind::Insert,
            values,
        }
    };
    let of_late = |number: &usize| {
        let row = &rows[*number];
        let kind = if changelog { kind(row) } else { RowKind::Insert };
        late(row, LATE_LEFT_PORT + joins.side(row), kind, twins)
    };
    let joined = outcome.joined.iter().map(of_joined);
    joined.chain(outcome.late.iter().map(of_late)).collect()
}

/// How a case is run.
#[derive(Clone, Debug)]
struct How {
    cuts: Cuts,
    slice_rows: usize,
    memory_bytes: usize,
    twins: bool,
}

fn how() -> impl Strategy<Value = How> {
    let memory = prop_oneof![3 => Just(usize::MAX), 1 => 0..800_usize];
    (cuts(), 1..6_usize, memory, any::<bool>()).prop_map(|(cuts, slice_rows, memory_bytes, twins)| How {
        cuts,
        slice_rows,
        memory_bytes,
        twins,
    })
}

fn check(joins: &Joins, rows: &[Row], events: &[Event], how: &How) {
    check_changelog(joins, rows, events, how, None);
}

fn check_changelog(joins: &Joins, rows: &[Row], events: &[Event], how: &How, kind: Option<&dyn Fn(&Row) -> RowKind>) {
    let plan = plan(joins);
    assert_eq!(Join::check(plan.kind, &plan.bound), Ok(()));
    assert_eq!(Join::lag(&plan), span(joins.lag()));
    let inputs = [stream(fields(), kind.is_some()), stream(fields(), kind.is_some())];
    let output = stream(output(joins), false);
    let make = |store: Store| -> Box<dyn Operator> {
        let subtask = Subtask {
            store,
            memory_bytes: how.memory_bytes,
            slice_rows: how.slice_rows,
            ..Subtask::in_memory(NodeId::new("join"), GROUPS)
        };
        let join = Join::new(subtask, &plan, [&inputs[0], &inputs[1]], &output);
        Box::new(join.expect("a known time zone"))
    };
    let input = |row: &Row| joins.side(row);
    let setup = Setup {
        make: &make,
        key: joins.key.to_vec(),
        input: &input,
        kind,
        slice_rows: how.slice_rows,
        lag: joins.lag(),
        twins: how.twins,
        ends_empty: true,
    };
    let found = run(&setup, rows, events, &how.cuts);
    let insert = |_: &Row| RowKind::Insert;
    let expect = expected(joins, rows, how.twins, kind.unwrap_or(&insert), kind.is_some());
    assert_same(found, expect);
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Inner,
        Kind::Left,
        Kind::Right,
        Kind::Full,
        Kind::Semi,
        Kind::Anti,
    ])
}

fn keys() -> impl Strategy<Value = [Vec<usize>; 2]> {
    prop::sample::select(vec![
        [vec![KEY_INT], vec![KEY_INT]],
        [vec![KEY_TEXT], vec![KEY_TEXT]],
        [vec![KEY_TEXT], vec![TEXT]],
        [vec![KEY_TEXT, KEY_INT], vec![KEY_TEXT, KEY_INT]],
        [vec![], vec![]],
    ])
}

fn window() -> impl Strategy<Value = Bound> {
    prop_oneof![
        (1..14_i64, 1..9_i64, 0..9_i64, any::<bool>()).prop_map(|(size, every, offset, tumbling)| {
            Bound::Window(windows::Windows {
                size,
                every: if tumbling { size } else { every },
                offset,
                time_zone: None,
                allowed: 0,
                cumulative: false,
            })
        }),
        (1..5_i64, 1..5_i64).prop_map(|(step, steps)| Bound::Cumulative {
            size: step * steps,
            step,
        }),
        (1..9_i64).prop_map(|gap| Bound::Session { gap }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn an_interval_join_is_what_its_definition_says(
        parts in partitions(2..5),
        reading in reading(),
        (before, after) in (0..8_i64, prop_oneof![Just(0_i64), 0..8_i64]),
        kind in kinds(),
        key in keys(),
        how in how(),
    ) {
        let (rows, events) = reading.read(&parts);
        let joins = Joins { kind, bound: Bound::Within { before, after }, key, left_partitions: parts.len() / 2 };
        check(&joins, &rows, &events, &how);
    }

    #[test]
    fn a_window_join_is_what_its_definition_says(
        parts in partitions(2..5),
        reading in reading(),
        bound in window(),
        kind in kinds(),
        key in keys(),
        how in how(),
    ) {
        let (rows, events) = reading.read(&parts);
        let joins = Joins { kind, bound, key, left_partitions: parts.len() / 2 };
        check(&joins, &rows, &events, &how);
    }

    #[test]
    fn a_temporal_join_is_what_its_definition_says(
        parts in partitions(2..5),
        reading in reading(),
        within in prop_oneof![Just(None), (0..9_i64).prop_map(Some)],
        kind in prop::sample::select(vec![Kind::Inner, Kind::Left, Kind::Semi, Kind::Anti]),
        key in keys(),
        how in how(),
        changelog in any::<bool>(),
    ) {
        let (rows, events) = reading.read(&parts);
        let joins = Joins { kind, bound: Bound::AsOf { within }, key, left_partitions: parts.len() / 2 };
        // Which of two versions of one time and place is the last, nothing says.
        let how = How { twins: false, ..how };
        let deletes = |row: &Row| match row.position % 5 {
            1 if row.partition >= joins.left_partitions => RowKind::Delete,
            3 if row.partition >= joins.left_partitions => RowKind::UpdateAfter,
            _ => RowKind::Insert,
        };
        check_changelog(&joins, &rows, &events, &how, changelog.then_some(&deletes));
    }
}
