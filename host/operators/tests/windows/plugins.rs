//! Wasm aggregates in windows, played by native ones.

use proptest::prelude::*;
use wasmill_core::aggregate::{Accumulated, Accumulator, Aggregate, AggregateDescription, Builtin, Groups};
use wasmill_core::batch::Batch;
use wasmill_core::column::{Column, ColumnBuilder, Scalar, Value};
use wasmill_core::fault::{Domain, Fault, GuestDetail, GuestFault};
use wasmill_core::plan::{AggregatePlugin, OnFault};
use wasmill_core::plugin::{Limits, PluginRef};
use wasmill_core::schema::{DataType, Field};
use wasmill_core::transform::{Reject, Requirement};
use wasmill_testkit::Row;
use wasmill_testkit::partitions::read;

use super::harness::{Case, Cuts, Emitted, INT, KEY_TEXT, PluginCase, run};
use super::properties::{check_moves, choose, coin, owned, partitions, windows};

/// Values that the guests refuse, and those that they fail on.
fn is_refused(value: i64) -> bool {
    value % 5 == 0
}

fn is_fatal(value: i64) -> bool {
    value % 7 == 0
}

fn check_rows(batch: &Batch) -> Result<Vec<Option<i64>>, Fault> {
    let column = batch.column(0);
    let values = (0..batch.rows()).map(|row| match column.value(row) {
        Value::Int64(v) => Some(v),
        _ => None,
    });
    let values: Vec<Option<i64>> = values.collect();
    if values.iter().flatten().any(|&v| is_fatal(v)) {
        let mut fault = Fault::fatal(Domain::User, "trapped");
        fault.guest = Some(Box::new(GuestDetail {
            kind: GuestFault::Trap,
            plugin: "p.wasm".into(),
            function: "accumulate",
            row: None,
            rows: batch.rows() as u32,
            backtrace: Vec::new(),
        }));
        return Err(fault);
    }
    Ok(values)
}

fn refused(values: &[Option<i64>]) -> Vec<Reject> {
    let refused = values.iter().enumerate().filter(|(_, v)| v.is_some_and(is_refused));
    refused
        .map(|(row, _)| Reject {
            row: row as u32,
            message: "a multiple of five".into(),
        })
        .collect()
}

/// Writes values one after the other, and how panes were merged as parentheses: nothing about it is commutative or
/// associative.
struct Spell;

fn spell(value: i64) -> String {
    format!("{value},")
}

impl Aggregate for Spell {
    fn accumulate(
        &mut self,
        batch: &Batch,
        group_of_row: &[u32],
        accumulators: &[Column],
    ) -> Result<Accumulated, Fault> {
        let values = check_rows(batch)?;
        let mut texts: Vec<String> = (0..accumulators[0].len())
            .map(|group| text(&accumulators[0], group))
            .collect();
        for (value, &group) in values.iter().zip(group_of_row) {
            if let Some(value) = value.filter(|&v| !is_refused(v)) {
                texts[group as usize] += &spell(value);
            }
        }
        Ok(Accumulated {
            accumulators: vec![texts_column(&texts)],
            rejects: refused(&values),
        })
    }

    fn merge(&mut self, earlier: &[Column], later: &[Column]) -> Result<Vec<Column>, Fault> {
        let merged = (0..earlier[0].len()).map(|i| format!("({}|{})", text(&earlier[0], i), text(&later[0], i)));
        Ok(vec![texts_column(&merged.collect::<Vec<_>>())])
    }

    fn finish(&mut self, groups: &Groups<'_>, accumulators: &[Column]) -> Result<Vec<Column>, Fault> {
        assert_eq!((groups.keys.len(), groups.keys[0].len()), (1, groups.starts.len()));
        Ok(accumulators.to_vec())
    }
}

fn text(column: &Column, row: usize) -> String {
    match column.value(row) {
        Value::Utf8(v) => v.to_owned(),
        value => panic!("{value:?}"),
    }
}

fn texts_column(texts: &[String]) -> Column {
    let mut builder = ColumnBuilder::new(DataType::Utf8, texts.len());
    for text in texts {
        builder.push(Value::Utf8(text));
    }
    builder.finish()
}

/// Sums values, and counts them.
struct Add;

impl Aggregate for Add {
    fn accumulate(
        &mut self,
        batch: &Batch,
        group_of_row: &[u32],
        accumulators: &[Column],
    ) -> Result<Accumulated, Fault> {
        let values = check_rows(batch)?;
        let mut sums = ints(&accumulators[0]);
        for (value, &group) in values.iter().zip(group_of_row) {
            sums[group as usize] += value.filter(|&v| !is_refused(v)).unwrap_or(0);
        }
        Ok(Accumulated {
            accumulators: vec![Column::Int64(sums.into())],
            rejects: refused(&values),
        })
    }

    fn merge(&mut self, earlier: &[Column], later: &[Column]) -> Result<Vec<Column>, Fault> {
        let sums = ints(&earlier[0]).into_iter().zip(ints(&later[0])).map(|(a, b)| a + b);
        Ok(vec![Column::Int64(sums.collect::<Vec<_>>().into())])
    }

    fn finish(&mut self, _groups: &Groups<'_>, accumulators: &[Column]) -> Result<Vec<Column>, Fault> {
        let negated: Vec<i64> = ints(&accumulators[0]).into_iter().map(|v| -v).collect();
        Ok(vec![accumulators[0].clone(), Column::Int64(negated.into())])
    }
}

fn ints(column: &Column) -> Vec<i64> {
    let int = |row| match column.value(row) {
        Value::Int64(v) => v,
        value => panic!("{value:?}"),
    };
    (0..column.len()).map(int).collect()
}

fn plugin(initial: Scalar, data_type: DataType, results: &[&str], commutative: bool) -> AggregatePlugin {
    AggregatePlugin {
        plugin: PluginRef {
            path: "p.wasm".into(),
            digest: [0; 32],
        },
        config: "{}".into(),
        description: AggregateDescription {
            input: Requirement {
                columns: vec![0],
                event_times: false,
                changelog: false,
            },
            accumulators: vec![Accumulator {
                field: Field::required("a", data_type),
                initial,
            }],
            results: results.iter().map(|&name| Field::required(name, data_type)).collect(),
            commutative,
            version: 1,
        },
        input: vec![INT],
        limits: Limits::default(),
    }
}

pub(super) fn case(windows: wasmill_testkit::windows::Windows) -> Case {
    let mut case = Case::new(windows, &[KEY_TEXT], &[Builtin::Count(None)]);
    case.plugins = vec![
        PluginCase {
            plan: plugin(Scalar::Utf8(String::new()), DataType::Utf8, &["spelt"], false),
            make: || Box::new(Spell),
        },
        PluginCase {
            plan: plugin(Scalar::Int64(0), DataType::Int64, &["sum", "negated"], true),
            make: || Box::new(Add),
        },
    ];
    case.on_fault = OnFault::DeadLetter;
    case.dead_letters = true;
    case
}

/// Values that count, in event-time order.
fn good(rows: &[Row], numbers: &[usize]) -> Vec<i64> {
    let values = numbers.iter().filter_map(|&number| match rows[number].values[INT] {
        Scalar::Int64(v) => Some(v),
        _ => None,
    });
    values.filter(|&v| !is_refused(v) && !is_fatal(v)).collect()
}

pub(super) fn sorted(mut rows: Vec<Emitted>) -> Vec<Emitted> {
    rows.sort_by(|a, b| {
        let key = |e: &Emitted| (e.watermark, e.time, e.place.clone(), format!("{:?}", e.values));
        key(a).cmp(&key(b))
    });
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_plugin_gets_each_groups_rows_in_event_time_order(
        parts in partitions(1), windows in windows(), order in proptest::collection::vec(0..8_usize, 1..60),
        batch in proptest::collection::vec(any::<bool>(), 1..30), filtered in any::<bool>(),
    ) {
        let case = case(windows);
        let (rows, events) = read(&parts, choose(&order));
        let outcome = case.windows.evaluate(&rows, &case.key);
        let mut cuts = Cuts { batch: &mut coin(&batch), watermark: &mut || true, filtered: &mut || filtered };
        let found = run(&case, &rows, &events, &mut cuts).expect("no fault");
        prop_assert_eq!(found.results.len(), outcome.results.len());
        for (result, expect) in found.results.iter().zip(&outcome.results) {
            let values = good(&rows, &expect.rows);
            let [.., Scalar::Int64(count), Scalar::Utf8(spelt), Scalar::Int64(sum), Scalar::Int64(negated)] = &result.values[..] else {
                panic!("{result:?}");
            };
            let spelt: String = spelt.chars().filter(|c| !"(|)".contains(*c)).collect();
            prop_assert_eq!(spelt, values.iter().map(|&v| spell(v)).collect::<Vec<_>>().concat());
            prop_assert_eq!((*sum, *negated), (values.iter().sum::<i64>(), -values.iter().sum::<i64>()));
            prop_assert_eq!(*count as usize, expect.rows.len());
        }
        // Each row that a guest refused or failed on is a dead letter once for each of the two.
        let bad = |row: &Row| matches!(row.values[INT], Scalar::Int64(v) if is_refused(v) || is_fatal(v));
        let in_a_window = |number: &usize| outcome.results.iter().any(|result| result.rows.contains(number));
        let expect = (0..rows.len()).filter(|n| bad(&rows[*n])).filter(in_a_window).count();
        prop_assert_eq!(found.letters.len(), 2 * expect);
        prop_assert_eq!(found.keys_left, 0);
    }

    #[test]
    fn how_panes_are_merged_does_not_depend_on_cuts_or_other_keys(
        parts in partitions(1), windows in windows(), order in proptest::collection::vec(0..8_usize, 1..60),
        other_order in proptest::collection::vec(0..8_usize, 1..60),
        batch in proptest::collection::vec(any::<bool>(), 1..30), workers in 1..4_u64,
    ) {
        let case = case(windows);
        let (rows, events) = read(&parts, choose(&order));
        let mut all = Cuts { batch: &mut || false, watermark: &mut || true, filtered: &mut || false };
        let whole = run(&case, &rows, &events, &mut all).expect("no fault");
        let (rows, events) = read(&parts, choose(&other_order));
        let (mut results, mut letters) = (Vec::new(), Vec::new());
        for worker in 0..workers {
            let mine = owned(&case, &rows, &events, worker, workers);
            let mut cuts = Cuts { batch: &mut coin(&batch), watermark: &mut || worker == 0, filtered: &mut || true };
            let found = run(&case, &rows, &mine, &mut cuts).expect("no fault");
            results.extend(found.results);
            letters.extend(found.letters);
        }
        prop_assert_eq!(sorted(results), sorted(whole.results));
        prop_assert_eq!(sorted(letters), sorted(whole.letters));
    }
}

proptest! {
    #[test]
    fn accumulators_and_kept_rows_move_with_the_state(
        parts in partitions(1), windows in windows(), order in proptest::collection::vec(0..8_usize, 1..60),
        batch in proptest::collection::vec(any::<bool>(), 1..30), moves in proptest::collection::vec(0..5_u32, 1..30),
    ) {
        check_moves(&case(windows), &parts, &order, &batch, &moves);
    }
}

#[test]
fn a_plugins_fault_ends_the_generation_where_the_policy_says_so() {
    let mut case = case(wasmill_testkit::windows::Windows {
        size: 10,
        every: 10,
        offset: 0,
        time_zone: None,
        allowed: 0,
        cumulative: false,
    });
    case.on_fault = OnFault::Fail;
    let values = vec![
        Scalar::Null,
        Scalar::Utf8("a".into()),
        Scalar::Null,
        Scalar::Int64(14),
        Scalar::Null,
        Scalar::Null,
    ];
    let part = wasmill_testkit::partitions::Partition {
        rows: vec![(1, values)],
        delay: 0,
    };
    let (rows, events) = read(&[part], |_| 0);
    let mut cuts = Cuts {
        batch: &mut || true,
        watermark: &mut || true,
        filtered: &mut || false,
    };
    let fault = run(&case, &rows, &events, &mut cuts).expect_err("14 is fatal");
    assert!(
        fault
            .to_string()
            .starts_with("window: trapped (plugin p.wasm, accumulate"),
        "{fault}"
    );
}

/// Panes of few keys among many are kept in another form than panes of most keys; the forms change as rows come.
#[test]
fn panes_of_few_and_of_many_keys_follow_one_another() {
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut rows = Vec::new();
    // By pane: how many rows, of how many keys.
    for (pane, (count, keys)) in [
        (9_000, 8_000),
        (60, 40),
        (2_500, 2_000),
        (30, 30),
        (10, 3),
        (6_000, 9_000),
        (50, 9_000),
    ]
    .into_iter()
    .enumerate()
    {
        for _ in 0..count {
            let time = (10 * pane as u64 + random(10)) as i64 - random(20) as i64;
            let values = vec![
                Scalar::Null,
                Scalar::Utf8(format!("key {}", random(keys))),
                Scalar::Null,
                Scalar::Int64(random(100) as i64),
                Scalar::Null,
                Scalar::Null,
            ];
            rows.push((time, values));
        }
    }
    let part = wasmill_testkit::partitions::Partition { rows, delay: 8 };
    let (rows, events) = read(&[part], |_| 0);
    for (size, every, allowed) in [(10, 10, 0), (10, 10, 7), (30, 10, 0), (25, 10, 12)] {
        let mut case = case(wasmill_testkit::windows::Windows {
            size,
            every,
            offset: 0,
            time_zone: None,
            allowed,
            cumulative: false,
        });
        case.aggregates = vec![
            Builtin::Count(None),
            Builtin::Sum(INT),
            Builtin::Last(INT),
            Builtin::TopK(INT, 3),
        ];
        case.slice_rows = 1_000;
        let plugins = std::mem::take(&mut case.plugins);
        for with_plugins in [Vec::new(), plugins] {
            case.plugins = with_plugins;
            let (results, late) = super::harness::expected(&case, &rows);
            let mut row = 0;
            let mut cuts = Cuts {
                batch: &mut || {
                    row += 1;
                    row % 61 == 0
                },
                watermark: &mut || true,
                filtered: &mut || false,
            };
            let mut found = run(&case, &rows, &events, &mut cuts).expect("no fault");
            if !case.plugins.is_empty() {
                // What the guests say is checked by the properties above; here that each result has its own rows.
                let outcome = case.windows.evaluate(&rows, &case.key);
                for (result, expect) in found.results.iter_mut().zip(&outcome.results) {
                    let values = good(&rows, &expect.rows);
                    let said = result.values.split_off(result.values.len() - 3);
                    let Scalar::Utf8(spelt) = &said[0] else {
                        panic!("{said:?}")
                    };
                    let spelt: String = spelt.chars().filter(|c| !"(|)".contains(*c)).collect();
                    assert_eq!(spelt, values.iter().map(|&v| spell(v)).collect::<Vec<_>>().concat());
                    assert_eq!(said[1], Scalar::Int64(values.iter().sum()));
                }
            }
            super::harness::assert_same(&found.results, &results);
            assert_eq!(found.late, late);
        }
    }
}
