//! The import `state`: what reaches who keeps the state, what comes back, and what is refused before.

use std::cell::RefCell;
use std::rc::Rc;

use wasmill_component::Settings;
use wasmill_core::column::{Column, Scalar, Value};
use wasmill_core::fault::{Domain, Fault, GuestFault};
use wasmill_core::keyed::{Bound, KeyedColumn, KeyedOutputs, Lookup, MapRange, Page, StateAccess};
use wasmill_core::plugin::Limits;
use wasmill_core::schema::DataType;
use wasmill_core::time::Micros;

use crate::guest::{Guest, Image, constant, words};
use crate::keyed_guest::{AnswerText, Opening, call, int64_bytes, texts};
use crate::{Bench, column, ints, settings};

/// Keeps what it is told as text. Its maps have the rows (i, 10 i) and its lists the rows `line i`, for i from 0 on.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) log: Vec<String>,
    map_rows: i64,
    list_rows: u64,
    /// What reading fails with.
    broken: Option<Fault>,
}

impl Recorder {
    pub(crate) fn shared() -> Rc<RefCell<Self>> {
        Rc::default()
    }

    fn note(&mut self, what: String) {
        self.log.push(what);
    }
}

fn shown(columns: &[Column]) -> String {
    let rows = |column: &Column| {
        (0..column.len())
            .map(|row| format!("{:?}", column.value(row)))
            .collect::<Vec<_>>()
    };
    let columns: Vec<String> = columns.iter().map(|column| rows(column).join(" ")).collect();
    columns.join(" | ")
}

fn days(days: &[i64]) -> Column {
    let days: Vec<Value<'_>> = days.iter().map(|&day| Value::Timestamp(day)).collect();
    column(DataType::Timestamp, &days)
}

/// The day at a bound, and whether it belongs to the range.
fn day(bound: &Bound) -> Option<(i64, bool)> {
    match bound {
        Bound::Unbounded => None,
        Bound::Included(values) | Bound::Excluded(values) => {
            let [Scalar::Timestamp(day)] = values[..] else {
                panic!("one day")
            };
            Some((day, matches!(bound, Bound::Included(_))))
        }
    }
}

impl StateAccess for Recorder {
    fn begin(&mut self) {
        self.note("begin".to_owned());
    }

    fn get(&mut self, table: usize, keys: &[u32], columns: &[usize]) -> Result<Vec<Column>, Fault> {
        if let Some(fault) = &self.broken {
            return Err(fault.clone());
        }
        self.note(format!("get {table} {keys:?} {columns:?}"));
        let v: Vec<Value<'_>> = keys.iter().map(|&key| Value::Float64(f64::from(key) + 0.5)).collect();
        let w: Vec<Value<'_>> = keys
            .iter()
            .map(|&key| {
                if key == 1 {
                    Value::Null
                } else {
                    Value::Int64(i64::from(key) * 10)
                }
            })
            .collect();
        let all = [column(DataType::Float64, &v), column(DataType::Int64, &w)];
        Ok(columns.iter().map(|&place| all[place].clone()).collect())
    }

    fn put(&mut self, table: usize, keys: &[u32], columns: &[(usize, Column)]) -> Result<(), Fault> {
        let values: Vec<String> = columns
            .iter()
            .map(|(place, column)| format!("{place}: {}", shown(std::slice::from_ref(column))))
            .collect();
        self.note(format!("put {table} {keys:?} {}", values.join(" | ")));
        Ok(())
    }

    fn map_get(&mut self, table: usize, keys: &[u32], at: &[Column]) -> Result<Lookup, Fault> {
        self.note(format!("map_get {table} {keys:?} {}", shown(at)));
        let numbers: Vec<i64> = keys.iter().map(|&key| i64::from(key)).collect();
        Ok(Lookup {
            found: keys.iter().map(|key| key % 2 == 0).collect(),
            columns: vec![at[0].clone(), ints(&numbers)],
        })
    }

    fn map_put(&mut self, table: usize, keys: &[u32], rows: &[Column]) -> Result<(), Fault> {
        self.note(format!("map_put {table} {keys:?} {}", shown(rows)));
        Ok(())
    }

    fn map_remove(&mut self, table: usize, keys: &[u32], at: &[Column]) -> Result<(), Fault> {
        self.note(format!("map_remove {table} {keys:?} {}", shown(at)));
        Ok(())
    }

    fn append(&mut self, table: usize, keys: &[u32], rows: &[Column]) -> Result<(), Fault> {
        self.note(format!("append {table} {keys:?} {}", shown(rows)));
        Ok(())
    }

    fn scan(&mut self, table: usize, key: u32, range: &MapRange) -> Result<Page, Fault> {
        self.note(format!(
            "scan {table} {key} {:?} {:?} {}",
            day(&range.lower),
            day(&range.upper),
            range.limit
        ));
        let from = day(&range.lower).map_or(0, |(day, included)| day + i64::from(!included));
        let to = day(&range.upper).map_or(self.map_rows, |(day, included)| day + i64::from(included));
        let mut found: Vec<i64> = (from..to.min(self.map_rows)).collect();
        if range.descending {
            found.reverse();
        }
        let more = found.len() > range.limit as usize;
        found.truncate(range.limit as usize);
        let numbers: Vec<i64> = found.iter().map(|day| day * 10).collect();
        Ok(Page {
            columns: vec![days(&found), ints(&numbers)],
            more,
        })
    }

    fn scan_list(&mut self, table: usize, key: u32, skip: u64, limit: u32) -> Result<Page, Fault> {
        self.note(format!("scan_list {table} {key} {skip} {limit}"));
        let end = self.list_rows.min(skip + u64::from(limit));
        let lines: Vec<String> = (skip..end).map(|i| format!("line {i}")).collect();
        let lines: Vec<Option<&str>> = lines.iter().map(|line| Some(line.as_str())).collect();
        Ok(Page {
            columns: vec![texts(&lines)],
            more: end < self.list_rows,
        })
    }

    fn remove_range(&mut self, table: usize, key: u32, range: &MapRange) -> Result<u64, Fault> {
        if self.log.len() < 100 {
            self.note(format!("remove_range {table} {key} {}", range.limit));
        }
        let gone = self.map_rows.min(i64::from(range.limit));
        self.map_rows -= gone;
        Ok(gone as u64)
    }

    fn truncate(&mut self, table: usize, key: u32, first: u64) -> Result<(), Fault> {
        self.note(format!("truncate {table} {key} {first}"));
        self.list_rows = self.list_rows.saturating_sub(first);
        Ok(())
    }
}

/// All functions of `state`.
const IMPORTS: [(&str, &str); 10] = [
    ("get", "(param i32 i32 i32 i32 i32 i32)"),
    ("put", "(param i32 i32 i32 i32 i32)"),
    ("map-get", "(param i32 i32 i32 i32 i32 i32)"),
    ("map-put", "(param i32 i32 i32 i32 i32)"),
    ("map-remove", "(param i32 i32 i32 i32 i32)"),
    ("append", "(param i32 i32 i32 i32 i32)"),
    ("scan", "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)"),
    ("scan-list", "(param i32 i32 i64 i32 i32)"),
    (
        "remove-range",
        "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i64)",
    ),
    ("truncate", "(param i32 i32 i64)"),
];

fn import(guest: &mut Guest) {
    for (name, signature) in IMPORTS {
        guest.import(&format!(
            "(import \"wasmill:operator/state@0.1.0\" \"{name}\" (func ${name} {signature}))\n"
        ));
    }
}

/// Arguments: each word of these bytes.
fn args(bytes: &[u8]) -> String {
    let (words, _) = bytes.as_chunks::<4>();
    let constant = |word: &[u8; 4]| format!("(i32.const {})", u32::from_le_bytes(*word).cast_signed());
    let constants: Vec<String> = words.iter().map(constant).collect();
    format!(" {}", constants.join(" "))
}

/// The arguments (table, keys, a list of records).
fn of_keys(image: &mut Image, table: u32, keys: &[u32], records: &[Vec<u8>]) -> String {
    let bytes = [words(&[table]), image.buffer(&words(keys)), image.records(records)].concat();
    args(&bytes)
}

fn numbered(number: u32, column: Vec<u8>) -> Vec<u8> {
    [words(&[number]), column].concat()
}

/// A bound: 0 none, 1 included, 2 excluded.
fn bound(image: &mut Image, case: u32, day: i64) -> Vec<u8> {
    if case == 0 {
        return words(&[0, 0, 0]);
    }
    let scalar = [words(&[6, 0]), day.to_le_bytes().to_vec()].concat();
    [words(&[case]), image.records(&[scalar])].concat()
}

/// What a guest that calls functions of `state` got, and the log of who keeps it.
fn run(
    state: Recorder,
    limits: Limits,
    calls: impl FnOnce(&mut Image, u32) -> String,
    paths: &[&[u32]],
) -> (Result<KeyedOutputs, Fault>, Vec<String>) {
    let bench = Bench::with(Settings {
        purity_check_every: None,
        ..settings()
    });
    let mut guest = Guest::asking(calls, paths);
    import(&mut guest);
    let state = Rc::new(RefCell::new(state));
    let mut opening = Opening::new(&state);
    opening.limits = limits;
    let mut keyed = opening.keyed(&bench, &guest.build()).unwrap();
    let outputs = keyed.process(&call());
    let log = state.borrow().log.clone();
    (outputs, log)
}

fn check(calls: impl FnOnce(&mut Image, u32) -> String, paths: &[&[u32]], got: &[&[u8]], log: &[&str]) {
    let state = Recorder {
        map_rows: 5,
        list_rows: 3,
        ..Recorder::default()
    };
    let (outputs, logged) = run(state, Limits::default(), calls, paths);
    let mut outputs = outputs.unwrap().outputs;
    if !got.is_empty() {
        let KeyedColumn::Computed(Column::Binary(bytes)) = &outputs.remove(0).columns[0] else {
            panic!("bytes")
        };
        let bytes: Vec<&[u8]> = bytes.iter().map(Option::unwrap).collect();
        assert_eq!(bytes, got);
    }
    assert_eq!(logged[0], "begin");
    assert_eq!(&logged[1..], log);
}

#[test]
fn rows_on_demand_are_got_and_put() {
    check(
        |image, given| {
            let keys = image.buffer(&words(&[2, 1]));
            let columns = image.list(2, &words(&[1, 0]));
            format!(
                "(call $get{})",
                args(&[words(&[1]), keys, columns, words(&[given])].concat())
            )
        },
        &[&[0, 4], &[0, 20], &[0, 48]],
        &[
            &[0b01],
            &int64_bytes(&[20, 0]),
            &[2.5_f64.to_le_bytes(), 1.5_f64.to_le_bytes()].concat(),
        ],
        &["get 1 [2, 1] [1, 0]"],
    );
    check(
        |image, _| {
            let nan = image.column(None, &[], &[0xFF; 8]);
            let null = image.column(Some(&[0]), &[], &[0; 8]);
            let values = [numbered(0, nan), numbered(1, null)];
            format!("(call $put{})", of_keys(image, 1, &[0], &values))
        },
        &[],
        &[],
        &["put 1 [0] 0: Float64(NaN) | 1: Null"],
    );
}

#[test]
fn rows_of_maps_are_looked_up_written_and_removed() {
    check(
        |image, given| {
            let at = image.int64s(&[70, 80]);
            let call = of_keys(image, 3, &[0, 1], &[at]);
            format!("(call $map-get{call} (i32.const {given}))")
        },
        &[&[0], &[8, 20], &[8, 48]],
        &[&[0b01], &int64_bytes(&[70, 80]), &int64_bytes(&[0, 1])],
        &["map_get 3 [0, 1] Timestamp(70) Timestamp(80)"],
    );
    check(
        |image, _| {
            let rows = [image.int64s(&[7, 7]), image.int64s(&[1, 2])];
            let put = of_keys(image, 3, &[1, 1], &rows);
            let at = image.int64s(&[5]);
            let remove = of_keys(image, 3, &[2], &[at]);
            format!("(call $map-put{put}) (call $map-remove{remove})")
        },
        &[],
        &[],
        &[
            "map_put 3 [1, 1] Timestamp(7) Timestamp(7) | Int64(1) Int64(2)",
            "map_remove 3 [2] Timestamp(5)",
        ],
    );
}

#[test]
fn ranges_of_maps_are_scanned_and_removed() {
    let scan = |lower: (u32, i64), upper: (u32, i64), descending: u32, limit: u32| {
        move |image: &mut Image, given: u32| {
            let range = [
                words(&[3, 2]),
                bound(image, lower.0, lower.1),
                bound(image, upper.0, upper.1),
                words(&[descending, limit, given]),
            ];
            format!("(call $scan{})", args(&range.concat()))
        }
    };
    check(
        scan((1, 1), (2, 4), 0, 2),
        &[&[4, 20], &[4, 48]],
        &[&int64_bytes(&[1, 2]), &int64_bytes(&[10, 20])],
        &["scan 3 2 Some((1, true)) Some((4, false)) 2"],
    );
    check(
        scan((0, 0), (0, 0), 1, 100),
        &[&[4, 20]],
        &[&int64_bytes(&[4, 3, 2, 1, 0])],
        &["scan 3 2 None None 100"],
    );
    check(
        |image, given| {
            let range = [words(&[3, 0]), bound(image, 0, 0), bound(image, 1, 3), words(&[0, 4])];
            // The number that was removed goes into a buffer of its own: its address and length are given.
            format!(
                "(i64.store (i32.const {}) (call $remove-range{}))
                 (i32.store (i32.const {given}) (i32.const {})) (i32.store (i32.const {}) (i32.const 8))",
                given + 16,
                args(&range.concat()),
                given + 16,
                given + 4
            )
        },
        &[&[0]],
        &[&int64_bytes(&[4])],
        &["remove_range 3 0 4"],
    );
}

#[test]
fn lists_are_appended_to_scanned_and_truncated() {
    check(
        |image, given| {
            let lines = image.column(None, &[0, 1, 3], b"abc");
            let append = of_keys(image, 2, &[2, 0], &[lines]);
            format!(
                "(call $append{append})
                 (call $scan-list (i32.const 2) (i32.const 1) (i64.const 1) (i32.const 9) (i32.const {given}))
                 (call $truncate (i32.const 2) (i32.const 1) (i64.const 2))"
            )
        },
        &[&[4, 12], &[4, 20]],
        &[&words(&[0, 6, 12]), b"line 1line 2"],
        &[
            "append 2 [2, 0] Utf8(\"a\") Utf8(\"bc\")",
            "scan_list 2 1 1 9",
            "truncate 2 1 2",
        ],
    );
}

#[test]
fn what_is_long_is_done_in_steps() {
    let rows = |map_rows, list_rows| Recorder {
        map_rows,
        list_rows,
        ..Recorder::default()
    };
    let scan = |image: &mut Image, given: u32, descending: u32| {
        let range = [
            words(&[3, 0]),
            bound(image, 0, 0),
            bound(image, 0, 0),
            words(&[descending, u32::MAX, given]),
        ];
        format!("(call $scan{})", args(&range.concat()))
    };
    for (descending, second) in [
        (0, "scan 3 0 Some((1023, false)) None 1024"),
        (1, "scan 3 0 None Some((476, false)) 1024"),
    ] {
        let (outputs, log) = run(
            rows(1500, 0),
            Limits::default(),
            |image, given| scan(image, given, descending),
            &[&[4, 20]],
        );
        let KeyedColumn::Computed(Column::Binary(bytes)) = &outputs.unwrap().outputs[0].columns[0] else {
            panic!("bytes")
        };
        let mut expect: Vec<i64> = (0..1500).collect();
        if descending == 1 {
            expect.reverse();
        }
        assert_eq!(bytes.value(0), int64_bytes(&expect));
        assert_eq!(log, ["begin", "scan 3 0 None None 1024", second]);
    }
    // A page is full with 16,384 rows.
    let (_, log) = run(
        rows(20_000, 0),
        Limits::default(),
        |image, given| scan(image, given, 0),
        &[],
    );
    assert_eq!(log.len(), 1 + 16);

    let (outputs, log) = run(
        rows(2500, 2500),
        Limits::default(),
        |image, _| {
            let range = [
                words(&[3, 0]),
                bound(image, 0, 0),
                bound(image, 0, 0),
                words(&[0, u32::MAX]),
            ];
            format!(
                "(drop (call $remove-range{})) (call $truncate (i32.const 2) (i32.const 1) (i64.const -1))",
                args(&range.concat())
            )
        },
        &[],
    );
    outputs.unwrap();
    let removed = ["remove_range 3 0 1024"; 3];
    let truncated = ["truncate 2 1 1024", "scan_list 2 1 0 1"];
    assert_eq!(
        log,
        [&["begin"][..], &removed, &truncated, &truncated, &truncated].concat()
    );
}

#[test]
fn time_inside_of_the_host_counts() {
    let endless = Recorder {
        map_rows: i64::MAX,
        ..Recorder::default()
    };
    let limits = Limits {
        deadline: Micros::from_millis(20),
        ..Limits::default()
    };
    let (outputs, _) = run(
        endless,
        limits,
        |image, _| {
            let range = [
                words(&[3, 0]),
                bound(image, 0, 0),
                bound(image, 0, 0),
                words(&[0, u32::MAX]),
            ];
            format!(
                "(loop $again (drop (call $remove-range{})) (br $again))",
                args(&range.concat())
            )
        },
        &[],
    );
    let fault = outputs.unwrap_err();
    assert_eq!(fault.message, "the call ran longer than its deadline of 20ms");
    assert_eq!(fault.guest.unwrap().kind, GuestFault::Deadline);
}

#[test]
fn a_fault_of_the_state_ends_the_call_as_it_is() {
    let broken = Fault::transient("the disk is full");
    let state = Recorder {
        broken: Some(broken.clone()),
        ..Recorder::default()
    };
    let (outputs, log) = run(
        state,
        Limits::default(),
        |image, given| {
            let keys = image.buffer(&words(&[0]));
            let columns = image.list(1, &words(&[0]));
            format!(
                "(call $get{})",
                args(&[words(&[1]), keys, columns, words(&[given])].concat())
            )
        },
        &[],
    );
    let fault = outputs.unwrap_err();
    assert_eq!(
        (fault.domain, fault.message.as_str()),
        (Domain::External, "the disk is full")
    );
    assert_eq!(fault, broken.at(&wasmill_core::id::NodeId::new("op")));
    assert_eq!(log, ["begin", "begin"], "nothing of the call stays");
}

#[test]
fn every_attempt_begins_anew_and_the_writes_of_the_last_stay() {
    let put = |image: &mut Image| {
        let value = image.column(None, &[], &[0; 8]);
        format!("(call $put{})", of_keys(image, 1, &[0], &[numbered(0, value)]))
    };
    let log = |more: &str| {
        let mut guest = Guest::asking(|image, _| put(image) + more, &[]);
        import(&mut guest);
        let state = Recorder::shared();
        let mut keyed = Opening::new(&state).keyed(&Bench::new(), &guest.build()).unwrap();
        let result = keyed.process(&call()).map(|_| ());
        let log = state.borrow().log.clone();
        (result, log)
    };
    let written = "put 1 [0] 0: Float64(0.0)";
    let (result, twice) = log("");
    result.unwrap();
    assert_eq!(
        twice,
        ["begin", written, "begin", written],
        "the call is repeated to see whether it is pure"
    );
    let (result, undone) = log("(unreachable)");
    result.unwrap_err();
    assert_eq!(undone, ["begin", written, "begin"]);
}

/// What is refused, before anybody is asked.
fn refused(message: &str, calls: impl FnOnce(&mut Image, u32) -> String) {
    let (outputs, log) = run(Recorder::default(), Limits::default(), calls, &[]);
    let fault = outputs.unwrap_err();
    assert_eq!(fault.message, format!("the plugin broke the contract: {message}"));
    let detail = fault.guest.unwrap();
    assert_eq!((detail.kind, detail.function), (GuestFault::Contract, "process"));
    assert_eq!(log, ["begin", "begin"]);
}

#[test]
fn tables_and_their_kinds_are_checked() {
    refused("`state.truncate` of table 4, but it described 4 tables", |_, _| {
        "(call $truncate (i32.const 4) (i32.const 0) (i64.const 1))".to_owned()
    });
    refused(
        "`state.truncate` of table \"days\", which is of the kind `ordered`, not `appended`",
        |_, _| "(call $truncate (i32.const 3) (i32.const 0) (i64.const 1))".to_owned(),
    );
    refused(
        "`state.scan-list` of table \"latest\", which is of the kind `value-on-demand`, not `appended`",
        |_, given| {
            format!("(call $scan-list (i32.const 1) (i32.const 0) (i64.const 0) (i32.const 1) (i32.const {given}))")
        },
    );
    refused(
        "`state.put` of table \"total\", which is of the kind `value`, not `value-on-demand`",
        |image, _| format!("(call $put{})", of_keys(image, 0, &[0], &[])),
    );
    refused(
        "`state.map-put` of table \"lines\", which is of the kind `appended`, not `ordered`",
        |image, _| format!("(call $map-put{})", of_keys(image, 2, &[0], &[])),
    );
}

#[test]
fn keys_are_those_of_the_call() {
    refused("`state.truncate` of table \"lines\": key 3, but there are 3", |_, _| {
        "(call $truncate (i32.const 2) (i32.const 3) (i64.const 1))".to_owned()
    });
    refused(
        "`state.append` of table \"lines\": key 7, but there are 3",
        |image, _| {
            let lines = image.column(None, &[0, 0, 0], b"");
            format!("(call $append{})", of_keys(image, 2, &[0, 7], &[lines]))
        },
    );
    refused(
        "`state.append` of table \"lines\": numbers of a key in 3 bytes, which is no multiple of 4",
        |image, _| {
            let bytes = [words(&[2]), image.buffer(&[0; 3]), image.records(&[])].concat();
            format!("(call $append{})", args(&bytes))
        },
    );
}

#[test]
fn columns_are_those_of_the_table() {
    refused("`state.put` of table \"latest\": column 2, but it has 2", |image, _| {
        let value = image.int64s(&[0]);
        format!("(call $put{})", of_keys(image, 1, &[0], &[numbered(2, value)]))
    });
    refused("`state.put` of table \"latest\": column 0 twice", |image, _| {
        let value = image.int64s(&[0]);
        let twice = [numbered(0, value.clone()), numbered(0, value)];
        format!("(call $put{})", of_keys(image, 1, &[0], &twice))
    });
    refused(
        "`state.put` of table \"latest\": column \"v\": null in a column that is not nullable (row 0)",
        |image, _| {
            let null = image.column(Some(&[0]), &[], &[0; 8]);
            format!("(call $put{})", of_keys(image, 1, &[0], &[numbered(0, null)]))
        },
    );
    refused(
        "`state.map-put` of table \"days\": 1 columns instead of 2",
        |image, _| {
            let day = image.int64s(&[0]);
            format!("(call $map-put{})", of_keys(image, 3, &[0], &[day]))
        },
    );
    refused(
        "`state.map-get` of table \"days\": column \"day\": data of 16 bytes where 1 rows take 8",
        |image, given| {
            let day = image.int64s(&[0, 1]);
            format!("(call $map-get{} (i32.const {given}))", of_keys(image, 3, &[0], &[day]))
        },
    );
    refused(
        "`state.append` of table \"lines\": column \"line\": a value that is not UTF-8 (row 0)",
        |image, _| {
            let line = image.column(None, &[0, 1], b"\xFF");
            format!("(call $append{})", of_keys(image, 2, &[0], &[line]))
        },
    );
}

#[test]
fn bounds_are_values_of_the_sort_key() {
    let scan = |image: &mut Image, given: u32, values: &[Vec<u8>]| {
        let range = [words(&[3, 0, 1]), image.records(values), words(&[0, 0, 0, 0, 1, given])];
        format!("(call $scan{})", args(&range.concat()))
    };
    let scalar = |case: u32| words(&[case, 0, 5, 0]);
    refused(
        "`state.scan` of table \"days\": a bound of 2 values; its sort key has 1",
        |image, given| scan(image, given, &[scalar(6), scalar(6)]),
    );
    refused(
        "`state.scan` of table \"days\": a bound of 0 values; its sort key has 1",
        |image, given| scan(image, given, &[]),
    );
    refused(
        "`state.scan` of table \"days\": a bound that is no value of column \"day: timestamp\"",
        |image, given| scan(image, given, &[scalar(2)]),
    );
}

#[test]
fn state_is_reached_while_rows_are_processed_only() {
    let mut guest = Guest::new("keyed", "keyed-operator");
    let image = &mut guest.image;
    let inputs = [image.requirement(&["a"], false)];
    let ports = [image.port("out", &[], false)];
    let table = image.table(crate::keyed_guest::TABLES[2]);
    let description = image.keyed_description(&inputs, &ports, &[table], &[]);
    let done = image.done();
    let answer = image.keyed_answer(&AnswerText::default());
    import(&mut guest);
    let early = "(call $truncate (i32.const 0) (i32.const 0) (i64.const 1))";
    guest
        .function("describe", 6, &constant(description))
        .function("open", 6, &format!("{early} {}", constant(done)))
        .function("process", 1, &constant(answer));
    let state = Recorder::shared();
    let fault = Opening::new(&state).keyed(&Bench::new(), &guest.build()).err().unwrap();
    assert_eq!(
        fault.message,
        "the plugin broke the contract: `state.truncate` is called in `process` only"
    );
    assert!(state.borrow().log.is_empty());
}
