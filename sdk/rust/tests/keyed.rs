//! The world `keyed`: what an operator says of itself, in which order its rows and timers come, and what it may keep.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use proptest::{collection::vec, prelude::*};
use wasmill_sdk::{
    metrics::Counter,
    prelude::*,
    testing::{KeyedTest, Table},
};

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

/// What a row tells the operator to do. The timer is `kind * 10 + tag`.
#[derive(InputRow)]
struct Step<'a> {
    what: &'a str,
    timer: i64,
    due: Timestamp,
}

#[derive(Timers)]
enum Timer {
    First(i64),
    Second(i64),
    #[timer(processing, name = "by-clock")]
    Clock,
}

impl Timer {
    fn of(number: i64) -> Self {
        match number / 10 {
            0 => Self::First(number % 10),
            1 => Self::Second(number % 10),
            _ => Self::Clock,
        }
    }
}

#[derive(State, Default)]
struct Trace {
    trace: String,
}

#[derive(OutputRow)]
struct Seen {
    what: String,
}

/// Does what its rows say, and tells what happens in which order.
#[keyed]
struct Script;

impl Script {
    fn note(state: &mut Trace, what: String, cx: &mut Context<Self>) {
        state.trace.push_str(&what);
        state.trace.push(' ');
        cx.emit(Seen { what });
    }
}

impl Keyed for Script {
    type Key<'a> = (i64,);
    type Input<'a> = Step<'a>;
    type State = Trace;
    type Timer = Timer;
    type Output = WithKey<Seen>;

    fn row(&self, _: &(i64,), state: &mut Trace, step: Step<'_>, cx: &mut Context<Self>) -> Result<(), Reject> {
        match step.what {
            "set" => cx.set_timer(Timer::of(step.timer), step.due),
            "cancel" => cx.cancel_timer(Timer::of(step.timer)),
            other => return Err(Reject::new(format!("`{other}` is no step"))),
        }
        Self::note(state, format!("{}{}", step.what, step.timer), cx);
        Ok(())
    }

    fn timer(&self, _: &(i64,), state: &mut Trace, timer: Timer, cx: &mut Context<Self>) {
        let number = match timer {
            Timer::First(tag) => tag,
            Timer::Second(tag) => 10 + tag,
            Timer::Clock => 20,
        };
        Self::note(state, format!("t{number}"), cx);
        // A timer with an odd tag sets the next one, a second later.
        if number % 2 == 1 {
            cx.set_timer(Timer::of(number + 1), cx.event_time().saturating_add_micros(1_000_000));
        }
    }
}

/// Rows: when, what, which timer, due when.
fn steps(key: i64, rows: &[(i64, &str, i64, i64)]) -> Table {
    Table::new()
        .with("id", rows.iter().map(|_| key))
        .with("what", rows.iter().map(|row| row.1))
        .with("timer", rows.iter().map(|row| row.2))
        .with("due", rows.iter().map(|row| at(row.3)))
        .with_event_times(rows.iter().map(|row| at(row.0)))
}

fn script(rows: &Table) -> KeyedTest<Script> {
    KeyedTest::open("{}", &["id"], &[rows]).expect("the steps fit")
}

fn check_trace(rows: &[(i64, &str, i64, i64)], watermark: i64, expect: &str) {
    let rows = steps(1, rows);
    let mut test = script(&rows);
    test.push(&rows);
    test.watermark(at(watermark)).expect("the script does not fail");
    assert_eq!(
        test.table("state"),
        Table::new().with("id", [1]).with("trace", [expect])
    );
    KeyedTest::<Script>::check_cuts("{}", &["id"], &[&rows]).expect("the script does not fail");
}

#[test]
fn a_timer_fires_between_the_rows_of_one_call() {
    check_trace(&[(10, "set", 0, 15), (20, "set", 2, 99)], 50, "set0 t0 set2 ");
}

#[test]
fn a_timer_comes_before_rows_of_its_time() {
    check_trace(&[(10, "set", 0, 20), (20, "set", 2, 99)], 50, "set0 t0 set2 ");
}

#[test]
fn timers_of_one_time_come_by_kind_and_tag() {
    check_trace(
        &[(1, "set", 12, 5), (2, "set", 4, 5), (3, "set", 2, 5)],
        50,
        "set12 set4 set2 t2 t4 t12 ",
    );
}

#[test]
fn a_timer_is_replaced_and_cancelled_by_its_tag() {
    check_trace(
        &[(1, "set", 2, 5), (2, "set", 2, 8), (6, "set", 4, 60)],
        9,
        "set2 set2 set4 t2 ",
    );
    check_trace(
        &[(1, "set", 2, 5), (2, "cancel", 2, 0), (6, "set", 4, 60)],
        9,
        "set2 cancel2 set4 ",
    );
}

#[test]
fn a_timer_in_the_past_is_due_at_once_and_at_the_time_of_the_row() {
    let rows = steps(1, &[(10, "set", 2, 3), (10, "set", 4, 99)]);
    let mut test = script(&rows);
    test.push(&rows);
    test.watermark(at(11)).unwrap();
    let seen = Table::new().with("id", [1, 1, 1]).with("what", ["set2", "t2", "set4"]);
    assert_eq!(test.take("out"), seen.with_event_times([10, 10, 10].map(at)));
}

#[test]
fn a_timer_that_a_timer_sets_fires_in_its_place_too() {
    check_trace(&[(1, "set", 1, 4), (5, "set", 4, 99)], 50, "set1 t1 t2 set4 ");
    check_trace(&[(1, "set", 1, 4), (6, "set", 4, 99)], 50, "set1 t1 t2 set4 ");
}

#[test]
fn a_due_timer_of_the_host_is_void_when_a_row_before_it_cancels_or_moves_it() {
    for (what, trace) in [("cancel", "set2 cancel2 "), ("set", "set2 set2 ")] {
        let rows = steps(1, &[(1, "set", 2, 20)]);
        let mut test = script(&rows);
        test.push(&rows);
        test.watermark(at(5)).unwrap();
        assert_eq!(test.timers().rows(), 1, "the host has the timer");
        test.push(&steps(1, &[(10, what, 2, 99)]));
        test.watermark(at(30)).unwrap();
        assert_eq!(test.table("state"), Table::new().with("id", [1]).with("trace", [trace]));
        assert_eq!(test.timers().rows(), usize::from(what == "set"));
    }
}

#[test]
fn a_timer_that_is_moved_back_into_the_call_is_gone_at_the_host() {
    let rows = steps(1, &[(1, "set", 2, 90)]);
    let mut test = script(&rows);
    test.push(&rows);
    test.watermark(at(5)).unwrap();
    test.push(&steps(1, &[(10, "set", 2, 12)]));
    test.watermark(at(30)).unwrap();
    assert_eq!(test.timers().rows(), 0);
}

#[test]
fn a_timer_of_processing_time_fires_by_the_clock_only() {
    let rows = steps(1, &[(1, "set", 20, 5)]);
    let mut test = script(&rows);
    test.push(&rows);
    test.watermark(at(100)).unwrap();
    let timers = Table::new()
        .with("id", [1])
        .with("timer", ["by-clock"])
        .with("tag", [0]);
    assert_eq!(test.timers(), timers.with("due", [at(5)]));
    test.processing_time(at(4)).unwrap();
    assert_eq!(test.timers().rows(), 1);
    test.processing_time(at(5)).unwrap();
    assert_eq!(test.timers().rows(), 0);
    let seen = Table::new().with("id", [1, 1]).with("what", ["set20", "t20"]);
    assert_eq!(test.take("out"), seen.with_event_times([1, 5].map(at)));
}

#[test]
fn at_the_end_each_timer_fires_once_and_what_is_set_then_is_discarded() {
    let rows = steps(1, &[(1, "set", 1, 50), (2, "set", 20, 60)]);
    let mut test = script(&rows);
    test.push(&rows);
    test.end().unwrap();
    let trace = Table::new().with("id", [1]).with("trace", ["set1 set20 t1 t20 "]);
    assert_eq!(test.table("state"), trace);
    assert_eq!(test.timers().rows(), 0);
}

#[test]
fn a_rejected_row_is_named_with_its_message() {
    let rows = steps(1, &[(1, "jump", 0, 0), (2, "set", 2, 9)]);
    let mut test = script(&rows);
    test.push(&rows);
    test.watermark(at(3)).unwrap();
    assert_eq!(test.rejects(), [(at(1), "`jump` is no step".to_owned())]);
    assert_eq!(test.take("out").rows(), 1);
}

#[test]
fn a_late_row_is_not_handed_on() {
    let rows = steps(1, &[(1, "set", 2, 9), (8, "set", 2, 9)]);
    let mut test = script(&rows);
    test.watermark(at(5)).unwrap();
    test.push(&rows);
    test.end().unwrap();
    assert_eq!(test.late(), 1);
}

/// The script as one key at a time would do it, with nothing but a sorted set of timers.
fn oracle(rows: &[(i64, &str, i64, i64)], until: i64) -> (String, BTreeMap<i64, i64>) {
    let mut trace = String::new();
    let mut timers: BTreeMap<i64, i64> = BTreeMap::new();
    let fire = |before: i64, trace: &mut String, timers: &mut BTreeMap<i64, i64>| {
        while let Some((due, number)) = timers.iter().map(|(number, due)| (*due, *number)).min()
            && due <= before
        {
            timers.remove(&number);
            write!(trace, "t{number} ").expect("a string takes what is written to it");
            if number % 2 == 1 {
                timers.insert(number + 1, due + 1);
            }
        }
    };
    for (time, what, number, due) in rows.iter().filter(|row| row.0 < until) {
        fire(*time, &mut trace, &mut timers);
        write!(trace, "{what}{number} ").expect("a string takes what is written to it");
        if *what == "set" {
            timers.insert(*number, *due.max(time));
        } else {
            timers.remove(number);
        }
    }
    fire(until, &mut trace, &mut timers);
    (trace, timers)
}

proptest! {
    #[test]
    fn events_give_the_same_wherever_they_are_cut(
        rows in vec((0_i64..30, any::<bool>(), 0_i64..14, 0_i64..40), 1..25),
        cuts in vec(0_i64..45, 0..12),
    ) {
        let mut rows: Vec<(i64, &str, i64, i64)> = rows
            .into_iter()
            .map(|(time, set, number, due)| (time, if set { "set" } else { "cancel" }, number, due))
            .collect();
        rows.sort_by_key(|row| row.0);
        let table = steps(1, &rows);
        let mut cuts = cuts;
        cuts.sort_unstable();
        cuts.push(45);
        let mut whole = script(&table);
        whole.push(&table);
        whole.watermark(at(45)).unwrap();
        let mut cut = script(&table);
        cut.push(&table);
        for to in cuts {
            cut.watermark(at(to)).unwrap();
        }
        let (trace, timers) = oracle(&rows, 45);
        let expect = Table::new().with("id", [1]).with("trace", [trace.as_str()]);
        prop_assert_eq!(&whole.table("state"), &expect);
        prop_assert_eq!(&cut.table("state"), &expect);
        prop_assert_eq!(whole.timers().rows(), timers.len());
        prop_assert_eq!(whole.timers(), cut.timers());
        prop_assert_eq!(whole.take("out"), cut.take("out"));
    }
}

#[derive(InputRow)]
struct Reading {
    value: i64,
}

#[derive(InputRow)]
struct Limit {
    limit: Option<i64>,
}

#[derive(Inputs)]
enum Event {
    Reading(Reading),
    Limit(Limit),
}

#[derive(Tables)]
struct Memory {
    limit: Option<i64>,
    #[table(name = "beyond", ttl = "10s", version = 3)]
    count: i64,
    #[table(processing_ttl = "1m")]
    last_values: List<(Timestamp, i64)>,
    by_value: Map<i64, Seconds>,
    notes: OnDemand<Notes>,
}

#[derive(State, Default, Clone)]
struct Seconds {
    #[column(name = "at")]
    seen: Timestamp,
}

#[derive(State, Default)]
struct Notes {
    text: String,
    lines: i64,
}

#[derive(OutputRow)]
struct Beyond {
    by: i64,
    count: i64,
}

#[derive(Outputs)]
struct Ports {
    all: Keep,
    beyond: WithKey<Beyond>,
    limits: Changelog<WithKey<NewLimit>>,
}

#[derive(OutputRow)]
struct NewLimit {
    limit: i64,
}

/// Compares readings with the limit of their sensor.
#[keyed]
struct Limits {
    #[serde(default)]
    keep_seconds: Option<u64>,
    #[serde(skip)]
    rows: Counter,
}

#[derive(InputRow)]
struct Sensor<'a> {
    sensor: &'a str,
}

impl Keyed for Limits {
    type Key<'a> = Sensor<'a>;
    type Input<'a> = Event;
    type State = Memory;
    type Timer = NoTimers;
    type Output = Ports;

    fn tables(&self, tables: &mut TableSettings) {
        if let Some(seconds) = self.keep_seconds {
            tables.ttl("limit", Ttl::event(Duration::from_secs(seconds)));
        }
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.rows = Counter::declare("rows", "rows");
        Ok(())
    }

    fn row(&self, key: &Sensor<'_>, memory: &mut Memory, event: Event, cx: &mut Context<Self>) -> Result<(), Reject> {
        self.rows.add(1.0);
        cx.out.all.keep();
        let value = match event {
            Event::Reading(reading) => reading.value,
            Event::Limit(Limit { limit }) => {
                let row = |limit| NewLimit { limit };
                match (memory.limit, limit) {
                    (None, Some(limit)) => cx.out.limits.insert(row(limit)),
                    (Some(before), Some(limit)) => cx.out.limits.update(row(before), row(limit)),
                    (Some(before), None) => cx.out.limits.delete(row(before)),
                    (None, None) => {}
                }
                memory.limit = limit;
                return Ok(());
            }
        };
        memory.last_values.push((cx.event_time(), value));
        if memory.last_values.iter().count() > 2 {
            memory.last_values.truncate_front(1);
        }
        memory.by_value.insert(value, Seconds { seen: cx.event_time() });
        if let Some(limit) = memory.limit
            && value > limit
        {
            memory.count += 1;
            let notes = memory.notes.get_mut();
            notes.text.push_str(key.sensor);
            notes.lines += 1;
            cx.out.beyond.emit(Beyond {
                by: value - limit,
                count: memory.count,
            });
        } else {
            memory.by_value.remove_range(..value);
        }
        Ok(())
    }
}

fn readings(rows: &[(i64, &str, i64)]) -> Table {
    Table::new()
        .with("sensor", rows.iter().map(|row| row.1))
        .with("value", rows.iter().map(|row| row.2))
        .with_event_times(rows.iter().map(|row| at(row.0)))
}

fn limits(rows: &[(i64, &str, Option<i64>)]) -> Table {
    Table::new()
        .with("sensor", rows.iter().map(|row| row.1))
        .with("limit", rows.iter().map(|row| row.2))
        .with_event_times(rows.iter().map(|row| at(row.0)))
}

#[test]
fn inputs_with_different_columns_cannot_pass_through() {
    let failure = KeyedTest::<Limits>::open("{}", &["sensor"], &[&readings(&[]), &limits(&[])]).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "inputs `input-0` and `input-1` have different columns, and the operator passes them on: `sensor` utf8, `value` \
         int64 against `sensor` utf8, `limit` int64. Give both the same schema"
    );
}

#[test]
fn an_operator_of_two_inputs_needs_two() {
    let failure = KeyedTest::<Limits>::open("{}", &["sensor"], &[&readings(&[])]).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "the operator reads 2 different inputs, and is given 1: name them in their order, `input = [...]`"
    );
}

/// Both inputs with all columns, so that they can pass through.
fn wide(rows: &[(i64, &str, i64, Option<i64>)]) -> Table {
    Table::new()
        .with("sensor", rows.iter().map(|row| row.1))
        .with("value", rows.iter().map(|row| row.2))
        .with("limit", rows.iter().map(|row| row.3))
        .with_event_times(rows.iter().map(|row| at(row.0)))
}

#[test]
fn tables_of_every_kind_keep_what_they_are_given() {
    let values = wide(&[
        (2, "a", 5, None),
        (3, "b", 9, None),
        (4, "a", 20, None),
        (5, "a", 30, None),
    ]);
    let limits = wide(&[(1, "a", 0, Some(10)), (5, "a", 0, Some(12)), (6, "b", 0, None)]);
    let mut test = KeyedTest::<Limits>::open("{}", &["sensor"], &[&values, &limits]).unwrap();
    test.push_to(0, &values);
    test.push_to(1, &limits);
    test.watermark(at(7)).unwrap();
    assert_eq!(test.metric("rows"), Some(7.0));
    assert_eq!(
        test.table("limit"),
        Table::new().with("sensor", ["a"]).with("value", [Some(12)])
    );
    assert_eq!(
        test.table("beyond"),
        Table::new().with("sensor", ["a"]).with("value", [2])
    );
    let last = Table::new()
        .with("sensor", ["a", "a", "b"])
        .with("value_0", [4, 5, 3].map(at))
        .with("value_1", [20, 30, 9]);
    assert_eq!(test.table("last-values"), last);
    let by_value = Table::new()
        .with("sensor", ["a", "a", "a", "b"])
        .with("key", [5, 20, 30, 9])
        .with("at", [2, 4, 5, 3].map(at));
    assert_eq!(test.table("by-value"), by_value);
    let notes = Table::new()
        .with("sensor", ["a"])
        .with("text", ["aa"])
        .with("lines", [2]);
    assert_eq!(test.table("notes"), notes);
    let beyond = Table::new()
        .with("sensor", ["a", "a"])
        .with("by", [10, 20])
        .with("count", [1, 2]);
    assert_eq!(test.take("beyond"), beyond.with_event_times([4, 5].map(at)));
    let all = wide(&[
        (1, "a", 0, Some(10)),
        (2, "a", 5, None),
        (3, "b", 9, None),
        (4, "a", 20, None),
        (5, "a", 30, None),
        (5, "a", 0, Some(12)),
        (6, "b", 0, None),
    ]);
    assert_eq!(test.take("all"), all);
    let changes = Table::new()
        .with("sensor", ["a", "a", "a"])
        .with("limit", [10, 10, 12])
        .with_kinds([Kind::Insert, Kind::UpdateBefore, Kind::UpdateAfter]);
    assert_eq!(test.take("limits"), changes.with_event_times([1, 5, 5].map(at)));
    KeyedTest::<Limits>::check_cuts("{}", &["sensor"], &[&values, &limits]).unwrap();
}

#[test]
fn state_goes_when_its_key_had_no_row_for_so_long() {
    let values = wide(&[(2, "a", 50, None), (11, "a", 51, None), (21, "a", 52, None)]);
    let limits = wide(&[(1, "a", 0, Some(10))]);
    let mut test = KeyedTest::<Limits>::open("{}", &["sensor"], &[&values, &limits]).unwrap();
    test.push_to(0, &values);
    test.push_to(1, &limits);
    test.watermark(at(30)).unwrap();
    let beyond = Table::new()
        .with("sensor", ["a", "a", "a"])
        .with("by", [40, 41, 42])
        .with("count", [1, 2, 1]);
    assert_eq!(test.take("beyond"), beyond.with_event_times([2, 11, 21].map(at)));
    assert_eq!(test.table("beyond").rows(), 1);
    test.watermark(at(31)).unwrap();
    assert_eq!(test.table("beyond").rows(), 0);
    assert_eq!(test.table("limit").rows(), 1, "it has no TTL");
}

#[test]
fn a_ttl_can_follow_from_the_configuration() {
    let values = wide(&[(2, "a", 50, None), (9, "a", 51, None)]);
    let limits = wide(&[(1, "a", 0, Some(10))]);
    let config = r#"{"keep-seconds":5}"#;
    let mut test = KeyedTest::<Limits>::open(config, &["sensor"], &[&values, &limits]).unwrap();
    test.push_to(0, &values);
    test.push_to(1, &limits);
    test.watermark(at(30)).unwrap();
    assert_eq!(test.take("beyond").rows(), 1);
}

#[test]
fn a_key_that_does_not_fit_is_told() {
    let check = |key: &[&str], message: &str| {
        let rows = steps(1, &[]);
        let failure = KeyedTest::<Script>::open("{}", key, &[&rows]).unwrap_err();
        assert_eq!(failure.to_string(), message);
    };
    check(
        &["id", "what"],
        "the operator reads a key of 1 column, and the key is `id` int64, `what` utf8",
    );
    check(
        &["what"],
        "column `what` of the key is utf8, and the operator reads it as int64. Change its type in the topology, or read \
         it as `&str` in the operator",
    );
    let values = readings(&[]).with("unit", Vec::<&str>::new());
    let failure = KeyedTest::<Limits>::open("{}", &["unit"], &[&values, &limits(&[])]).unwrap_err();
    assert!(
        failure.to_string().contains("`sensor`") || failure.to_string().contains("`unit`"),
        "{failure}"
    );
}

/// Emits by a timer what only a row can give.
#[keyed]
struct NoRow;

impl Keyed for NoRow {
    type Key<'a> = ();
    type Input<'a> = Reading;
    type State = ();
    type Timer = Timer;
    type Output = Keep;

    fn row(&self, (): &(), (): &mut (), row: Reading, cx: &mut Context<Self>) -> Result<(), Reject> {
        cx.out.keep();
        cx.set_timer(Timer::First(row.value), cx.event_time());
        Ok(())
    }

    fn timer(&self, (): &(), (): &mut (), _timer: Timer, cx: &mut Context<Self>) {
        cx.out.keep();
    }
}

#[test]
fn a_timer_has_no_columns_of_an_input_row_to_pass_on() {
    let rows = readings(&[(1, "a", 1)]);
    let mut test = KeyedTest::<NoRow>::open("{}", &["sensor"], &[&rows]).unwrap();
    test.push(&rows);
    let failure = test.watermark(at(2)).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "a timer emitted a row to port `out`, which gives the columns of the input row, and a timer has none: make the \
         port `WithKey` or `Only`, or emit timers' rows to another"
    );
}

/// Keeps a sorted map and asks it everything.
#[keyed]
struct Sorted;

#[derive(InputRow)]
struct Put<'a> {
    name: &'a str,
    number: i64,
}

#[derive(OutputRow)]
struct Told {
    told: String,
}

impl Keyed for Sorted {
    type Key<'a> = ();
    type Input<'a> = Put<'a>;
    type State = Map<(String, i64), ()>;
    type Timer = NoTimers;
    type Output = Only<Told>;

    fn row(&self, (): &(), map: &mut Self::State, put: Put<'_>, cx: &mut Context<Self>) -> Result<(), Reject> {
        let at = (put.name.to_owned(), put.number);
        if put.number < 0 {
            map.remove(&(put.name.to_owned(), -put.number));
        } else {
            map.insert(at.clone(), ());
        }
        let all: Vec<_> = map.iter().map(|(at, ())| at).collect();
        let mut back: Vec<_> = map.range(..).rev().map(|(at, ())| at).collect();
        back.reverse();
        assert_eq!(all, back, "both ends give the same");
        let mut both = map.iter();
        let mut met = Vec::new();
        let mut from_back = Vec::new();
        while let Some((at, ())) = both.next() {
            met.push(at);
            from_back.extend(both.next_back().map(|(at, ())| at));
        }
        met.extend(from_back.into_iter().rev());
        assert_eq!(all, met, "the ends meet");
        assert_eq!(map.first_key_value().map(|(at, ())| at), all.first().cloned());
        assert_eq!(map.last_key_value().map(|(at, ())| at), all.last().cloned());
        assert_eq!(map.contains_key(&at), put.number >= 0);
        cx.emit(Told {
            told: format!("{}", map.range(at..).count()),
        });
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_map_is_a_sorted_map(puts in vec(("[ab]{0,2}", -5_i64..5), 1..30)) {
        let table = Table::new()
            .with("name", puts.iter().map(|put| put.0.as_str()))
            .with("number", puts.iter().map(|put| put.1))
            .with_event_times((0..puts.len() as i64).map(at));
        let mut expect = std::collections::BTreeSet::new();
        let mut told = Vec::new();
        for (name, number) in &puts {
            if *number < 0 {
                expect.remove(&(name.clone(), -number));
            } else {
                expect.insert((name.clone(), *number));
            }
            told.push(expect.range((name.clone(), *number)..).count().to_string());
        }
        let mut test = KeyedTest::<Sorted>::open("{}", &[], &[&table]).unwrap();
        test.push(&table);
        test.watermark(at(100)).unwrap();
        let kept = Table::new()
            .with("key_0", expect.iter().map(|(name, _)| name.as_str()))
            .with("key_1", expect.iter().map(|(_, number)| *number));
        let answers = Table::new().with("told", told.iter().map(String::as_str));
        prop_assert_eq!(test.take("out"), answers.with_event_times((0..puts.len() as i64).map(at)));
        prop_assert_eq!(test.table("state"), kept);
    }
}
