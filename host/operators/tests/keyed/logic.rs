//! A small interpreter: a row is (key, what to do, a number). It touches each kind of table and timer.

use wasmill_core::column::Scalar;
use wasmill_core::keyed::{KeyedDescription, TableDescription, TableKind, TimeDomain, TimerKind, Ttl};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Micros;
use wasmill_core::transform::{OutputDescription, Requirement};
use wasmill_testkit::keyed::{Event, Key, Refusal};

/// Columns of the inputs.
pub(crate) const COLUMNS: [(&str, DataType); 3] = [
    ("key", DataType::Int64),
    ("what", DataType::Int64),
    ("number", DataType::Int64),
];

/// Tables.
pub(crate) const COUNT: usize = 0;
pub(crate) const RECENT: usize = 1;
pub(crate) const LARGE: usize = 2;
pub(crate) const LIST: usize = 3;
pub(crate) const MAP: usize = 4;
pub(crate) const RECENT_LIST: usize = 5;

/// After its key's last row the tables `RECENT` and `RECENT_LIST` are kept so long.
pub(crate) const RECENT_AFTER: u64 = 12;
pub(crate) const RECENT_LIST_AFTER: u64 = 25;

/// What rows do.
pub(crate) const ADD: i64 = 0;
pub(crate) const SET_TIMER: i64 = 1;
pub(crate) const CANCEL_TIMER: i64 = 2;
pub(crate) const REMEMBER: i64 = 8;
pub(crate) const FAIL: i64 = 12;
pub(crate) const REJECT_ROW: i64 = 13;
/// What rows do in properties: all but what fails.
pub(crate) const ALL: std::ops::Range<i64> = 0..12;
pub(crate) const ALL_AND_FAILING: std::ops::Range<i64> = 0..14;

fn schema(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(
        columns
            .iter()
            .map(|&(name, data_type)| Field::nullable(name, data_type))
            .collect(),
    )
    .expect("the names differ")
}

fn table(name: &str, kind: TableKind, columns: &[(&str, DataType)], initial: Vec<Scalar>) -> TableDescription {
    TableDescription {
        name: name.into(),
        kind,
        sort_key: usize::from(kind == TableKind::Map),
        schema: schema(columns),
        initial,
        ttl: None,
        version: 1,
        migrates_from: Vec::new(),
    }
}

fn with_ttl(table: TableDescription, after: u64, domain: TimeDomain) -> TableDescription {
    TableDescription {
        ttl: Some(Ttl {
            after: Micros(after),
            domain,
        }),
        ..table
    }
}

pub(crate) fn description(inputs: usize, ttl: TimeDomain) -> KeyedDescription {
    use DataType::{Int64, Utf8};
    let int = Scalar::Int64;
    let requirement = Requirement {
        columns: vec![0, 1, 2],
        event_times: true,
        changelog: false,
    };
    let port = |name: &str, columns: &[(&str, DataType)]| OutputDescription {
        name: name.into(),
        schema: schema(columns),
        changelog: false,
    };
    let recent = table("recent", TableKind::Value, &[("last", Int64)], vec![Scalar::Null]);
    let recent_list = table("recent-list", TableKind::List, &[("number", Int64)], Vec::new());
    KeyedDescription {
        inputs: vec![requirement; inputs],
        outputs: vec![
            port("main", &[("key", Int64), ("a", Int64), ("b", Int64)]),
            port("echo", &[("key", Int64), ("a", Int64), ("number", Int64)]),
        ],
        tables: vec![
            table(
                "count",
                TableKind::Value,
                &[("count", Int64), ("sum", Int64)],
                vec![int(0), int(1_000)],
            ),
            with_ttl(recent, RECENT_AFTER, ttl),
            table(
                "large",
                TableKind::ValueOnDemand,
                &[("text", Utf8)],
                vec![Scalar::Utf8("-".into())],
            ),
            table(
                "list",
                TableKind::List,
                &[("number", Int64), ("text", Utf8)],
                Vec::new(),
            ),
            table("map", TableKind::Map, &[("at", Int64), ("number", Int64)], Vec::new()),
            with_ttl(recent_list, RECENT_LIST_AFTER, ttl),
        ],
        timers: vec![
            TimerKind {
                name: "wake".into(),
                domain: TimeDomain::Event,
            },
            TimerKind {
                name: "other".into(),
                domain: TimeDomain::Event,
            },
            TimerKind {
                name: "clock".into(),
                domain: TimeDomain::Processing,
            },
        ],
    }
}

fn int(value: &Scalar) -> i64 {
    match value {
        Scalar::Int64(value) => *value,
        Scalar::Null => -1,
        value => panic!("{value:?}"),
    }
}

fn add(key: &mut dyn Key, by: i64) -> (i64, i64) {
    let row = key.value(COUNT);
    let (count, sum) = (int(&row[0]) + 1, int(&row[1]) + by);
    key.set(COUNT, vec![Scalar::Int64(count), Scalar::Int64(sum)]);
    (count, sum)
}

fn emit(key: &mut dyn Key, a: i64, b: i64) {
    key.emit(0, vec![Scalar::Int64(a), Scalar::Int64(b)]);
}

fn sum_of(rows: &[Vec<Scalar>], column: usize) -> i64 {
    rows.iter()
        .enumerate()
        .map(|(at, row)| (at as i64 + 1) * int(&row[column]))
        .sum()
}

pub(crate) fn logic(event: &Event<'_>, key: &mut dyn Key) -> Result<(), Refusal> {
    match *event {
        Event::Row(values) => row(int(&values[1]), int(&values[2]), key),
        Event::Timer(kind, tag) => {
            timer(kind, tag, key);
            Ok(())
        }
    }
}

fn row(what: i64, number: i64, key: &mut dyn Key) -> Result<(), Refusal> {
    match what {
        ADD => {
            let (count, sum) = add(key, number);
            emit(key, count, sum);
        }
        // In the past, at once, and later.
        SET_TIMER => key.set_timer((number % 2) as u32, number % 3, key.time() + number % 40 - 8),
        CANCEL_TIMER => key.cancel_timer((number % 2) as u32, number % 3),
        3 => {
            key.append(
                LIST,
                vec![Scalar::Int64(number), Scalar::Utf8("x".repeat(number as usize % 5))],
            );
            let rows = key.list(LIST);
            emit(key, rows.len() as i64, sum_of(&rows, 0));
        }
        4 => key.truncate(LIST, (number % 3) as u64),
        5 => {
            let at = number % 6;
            let before = key.lookup(MAP, at).map_or(0, |row| int(&row[1]));
            key.put(MAP, vec![Scalar::Int64(at), Scalar::Int64(before + number)]);
            emit(key, at, before);
        }
        6 => {
            let removed = key.remove(MAP, number % 4, number % 4 + 2);
            let rows = key.last_of(MAP, 0, 5, 2);
            emit(key, removed as i64, sum_of(&rows, 1));
        }
        7 => {
            let Scalar::Utf8(mut text) = key.value(LARGE)[0].clone() else {
                panic!("text")
            };
            text.push(char::from(b'a' + (number % 26) as u8));
            emit(key, text.len() as i64, text.bytes().map(i64::from).sum());
            key.set(LARGE, vec![Scalar::Utf8(text)]);
        }
        REMEMBER => {
            let before = int(&key.value(RECENT)[0]);
            key.set(RECENT, vec![Scalar::Int64(number)]);
            let rows = key.list(RECENT_LIST);
            key.append(RECENT_LIST, vec![Scalar::Int64(number)]);
            emit(key, before, sum_of(&rows, 0));
        }
        9 => {
            key.emit(1, vec![Scalar::Int64(1), Scalar::Int64(number)]);
            emit(key, 0, 0);
            key.emit(1, vec![Scalar::Int64(2), Scalar::Int64(number)]);
        }
        10 => key.clear(COUNT),
        11 => {
            key.set_timer(0, 0, key.time() + 3);
            key.set_timer(0, 1, key.time() + 3);
            key.set_timer(1, 2, key.time() + 3);
        }
        FAIL => {
            let (count, _) = add(key, number);
            key.append(LIST, vec![Scalar::Int64(-1), Scalar::Null]);
            key.set_timer(0, 0, key.time());
            emit(key, -1, -1);
            if number % 3 > 0 || count % 2 == 0 {
                return Err(Refusal::Failed(format!("failed with {number}")));
            }
        }
        REJECT_ROW => {
            emit(key, -2, number);
            return Err(Refusal::Invalid(format!("invalid {number}")));
        }
        14 => key.set_timer(2, number, key.time() + number),
        what => panic!("{what}"),
    }
    Ok(())
}

fn timer(kind: u32, tag: i64, key: &mut dyn Key) {
    let (count, sum) = add(key, 100);
    let recent = int(&key.value(RECENT)[0]);
    key.set(RECENT, vec![Scalar::Int64(-9)]);
    let recent_rows = key.list(RECENT_LIST).len() as i64;
    key.append(RECENT_LIST, vec![Scalar::Int64(5)]);
    emit(key, count * 1_000 + tag, recent * 100 + recent_rows);
    match (kind, tag) {
        // A timer that sets itself again, though not for ever.
        (0, 0) if count < 60 => key.set_timer(0, 0, key.time() + 7),
        (0, 1) => {
            key.set_timer(0, 2, key.time());
            key.cancel_timer(1, 2);
        }
        (1, 1) => key.set_timer(1, 0, key.time() - 10),
        (1, 2) => {
            key.put(MAP, vec![Scalar::Int64(3), Scalar::Int64(sum)]);
            emit(key, 7, 7);
        }
        _ => {}
    }
}

/// As [`logic`], where timers fail too.
pub(crate) fn failing_timers(event: &Event<'_>, key: &mut dyn Key) -> Result<(), Refusal> {
    logic(event, key)?;
    match event {
        Event::Timer(kind, 2) => Err(Refusal::Failed(format!("timer {kind} failed"))),
        _ => Ok(()),
    }
}
