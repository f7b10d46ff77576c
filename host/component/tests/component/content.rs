//! Operators over the whole content of windows: what crosses, what comes back, and what must not.

use wasmill_component::{Isolation, Placement};
use wasmill_core::content::{Content, ContentColumn, ContentOutput, ContentOutputs, Firings};
use wasmill_core::fault::{Fault, GuestFault};
use wasmill_core::id::NodeId;
use wasmill_core::plugin::{Describer, Limits};
use wasmill_core::schema::{DataType, Field};
use wasmill_core::transform::Reject;

use crate::guest::{Bytes, FieldText, Guest, Image, computed, constant, input as input_column, words};
use crate::keyed_guest::{in_schema, int64_bytes, rows, texts};
use crate::{Bench, input, ints};

/// `ok(description)` of a window operator that needs `a`.
pub(crate) fn description(image: &mut Image, fields: &[FieldText<'_>], changelog: bool) -> u32 {
    let input = image.requirement(&["a"], true);
    let ports = [
        image.port("out", fields, changelog),
        image.port("strict", &[("s", "utf8", false)], false),
    ];
    let answer = [words(&[0]), input, image.records(&ports)].concat();
    image.put(&answer)
}

const OUT: [FieldText<'static>; 2] = [("a", "int64", false), ("n", "int64", false)];

fn guest() -> Guest {
    let mut guest = Guest::new("window", "window-operator");
    let description = description(&mut guest.image, &OUT, false);
    let done = guest.image.done();
    guest
        .function("describe", 9, &constant(description))
        .function("open", 9, &constant(done));
    guest
}

fn output(image: &mut Image, port: u32, firing: &[u32], rows: Option<&[u32]>, columns: &[Bytes]) -> Bytes {
    let rows = match rows {
        None => words(&[0, 0, 0]),
        Some(rows) => [words(&[1]), image.buffer(&words(rows))].concat(),
    };
    [
        words(&[port]),
        image.buffer(&words(firing)),
        rows,
        image.records(columns),
    ]
    .concat()
}

fn answer(image: &mut Image, outputs: &[Bytes], carry: &[&[u8]], rejects: &[Bytes]) -> u32 {
    let carry: Vec<Bytes> = carry.iter().map(|part| image.buffer(part)).collect();
    let answer = [
        words(&[0]),
        image.records(outputs),
        image.records(&carry),
        image.records(rejects),
    ]
    .concat();
    image.put(&answer)
}

fn open(wasm: &[u8], live: &[Vec<bool>], limits: &Limits) -> Box<dyn Content> {
    let bench = Bench::new();
    let plugin = bench.load(wasm).unwrap();
    let (input, key) = (input(&in_schema()), [Field::nullable("k", DataType::Utf8)]);
    let describer: &dyn Describer = &bench.host;
    let description = describer.content(&plugin, "{}", &input, &key, limits).unwrap();
    let placement = Placement {
        node: &NodeId::new("w"),
        plugin: &plugin,
        config: "{}",
        limits,
        fault_may_blame_rows: false,
        isolation: Isolation::Instance,
    };
    bench
        .host
        .content(&placement, &input, &key, &description, live)
        .unwrap()
}

fn all_live() -> Vec<Vec<bool>> {
    vec![vec![true; 2], vec![true]]
}

/// Two windows: the end of one of `x` with rows 0 and 1, and the beginning of one of `y` with rows 2 and 3.
fn firings() -> Firings {
    Firings {
        keys: vec![texts(&[Some("x"), Some("y")])],
        starts: vec![1000, 2000],
        ends: vec![2000, 3000],
        panes: vec![0, 5],
        offsets: vec![0, 2, 4],
        first: vec![false, true],
        last: vec![true, false],
        carry: vec![b"so far".to_vec(), Vec::new()],
    }
}

#[test]
fn firings_cross_as_the_contract_says() {
    // Each buffer of the call comes back as what the next part of the second window gets.
    let buffers: [(&str, &[u32], Bytes); 13] = [
        ("texts of the keys", &[0, 20], b"xy".to_vec()),
        ("starts", &[8], int64_bytes(&[1000, 2000])),
        ("ends", &[16], int64_bytes(&[2000, 3000])),
        ("panes", &[24], words(&[0, 5])),
        ("offsets", &[32], words(&[0, 2, 4])),
        ("which begin", &[40], vec![0b10]),
        ("which end", &[48], vec![0b01]),
        ("carry of the first", &[56, 0], b"so far".to_vec()),
        ("carry of the second", &[56, 8], Vec::new()),
        ("event times", &[68], int64_bytes(&[1000, 1001, 1002, 1003])),
        ("kinds", &[76], Vec::new()),
        ("column a", &[84, 20], int64_bytes(&[1, 2, 3, 4])),
        ("its validity", &[84, 0], Vec::new()),
    ];
    for (what, path, expect) in buffers {
        let (last, through) = path.split_last().unwrap();
        let base = through.iter().fold("(local.get $0)".to_owned(), |at, offset| {
            format!("(i32.load offset={offset} {at})")
        });
        let mut guest = Guest::new("window", "window-operator");
        let description = description(&mut guest.image, &OUT, false);
        let done = guest.image.done();
        let carry = guest.image.put(&[0; 16]);
        let bytes = [words(&[0, 0, 0, carry, 2]), words(&[0, 0])].concat();
        let answer = guest.image.put(&bytes);
        guest
            .function("describe", 9, &constant(description))
            .function("open", 9, &constant(done))
            .function(
                "process",
                1,
                &format!(
                    "(i32.store (i32.const {}) (i32.load offset={last} {base}))
                     (i32.store (i32.const {}) (i32.load offset={} {base}))
                     (i32.const {answer})",
                    carry + 8,
                    carry + 12,
                    last + 4
                ),
            );
        let mut content = open(&guest.build(), &all_live(), &Limits::default());
        let outputs = content.process(&firings(), &rows()).unwrap();
        assert_eq!(outputs.carry, [Vec::new(), expect], "{what}");
    }
}

/// An answer with everything in it, and what it means.
fn full_answer() -> (Vec<u8>, ContentOutputs) {
    let mut guest = guest();
    let image = &mut guest.image;
    let sums = image.int64s(&[7, 8]);
    let by_row = output(image, 0, &[1, 0], Some(&[3, 0]), &[input_column(0), computed(sums)]);
    let (a, n) = (image.int64s(&[1]), image.int64s(&[2]));
    let without_rows = output(image, 0, &[0], None, &[computed(a), computed(n)]);
    let nothing = output(image, 1, &[], Some(&[]), &[input_column(1)]);
    let reject = image.reject(2, "odd");
    let answer = answer(image, &[by_row, without_rows, nothing], &[b"", b"more"], &[reject]);
    guest.function("process", 1, &constant(answer));
    let expect = ContentOutputs {
        outputs: vec![
            ContentOutput {
                port: 0,
                firing: vec![1, 0],
                rows: Some(vec![3, 0]),
                columns: vec![ContentColumn::Input(0), ContentColumn::Computed(ints(&[7, 8]))],
            },
            ContentOutput {
                port: 0,
                firing: vec![0],
                rows: None,
                columns: vec![ContentColumn::Computed(ints(&[1])), ContentColumn::Computed(ints(&[2]))],
            },
        ],
        carry: vec![Vec::new(), b"more".to_vec()],
        rejects: vec![Reject {
            row: 2,
            message: "odd".to_owned(),
        }],
    };
    (guest.build(), expect)
}

#[test]
fn an_answer_is_taken_as_the_guest_means_it() {
    let (wasm, expect) = full_answer();
    let mut content = open(&wasm, &all_live(), &Limits::default());
    assert_eq!(content.process(&firings(), &rows()).unwrap(), expect);
}

#[test]
fn columns_that_nobody_reads_are_absent() {
    let (wasm, mut expect) = full_answer();
    for output in &mut expect.outputs {
        output.columns[0] = ContentColumn::Absent;
    }
    let mut content = open(&wasm, &[vec![false, true], vec![false]], &Limits::default());
    assert_eq!(content.process(&firings(), &rows()).unwrap(), expect);
}

#[test]
fn a_window_in_parts_goes_on_with_what_it_carried() {
    // Carries the sum of column a; where the window ends, it is the result.
    let mut guest = guest();
    let image = &mut guest.image;
    let sum = image.put(&[0; 8]);
    let carry = image.put(&[0; 8]);
    let firing = image.buffer(&words(&[0]));
    let column = [words(&[0, 0, 0, 0, 0]), words(&[sum, 8])].concat();
    let columns = image.records(&[computed(column.clone()), computed(column)]);
    let result = [words(&[0]), firing, words(&[0, 0, 0]), columns].concat();
    let outputs = image.put(&result);
    let parts = [
        words(&[0, outputs, 0, carry, 1, 0, 0]),
        words(&[0, outputs, 1, carry, 1, 0, 0]),
    ]
    .map(|answer| image.put(&answer));
    let is_last = "(i32.load8_u (i32.load offset=48 (local.get $0)))";
    guest.function(
        "process",
        1,
        &format!(
            "(i64.store (i32.const {sum}) (i64.const 0))
             (if (i32.load offset=4 (i32.load offset=56 (local.get $0)))
               (then (i64.store (i32.const {sum}) (i64.load (i32.load (i32.load offset=56 (local.get $0)))))))
             (block $done (loop $next
               (br_if $done (i32.ge_u (local.get $i) (i32.load offset=64 (local.get $0))))
               (i64.store (i32.const {sum}) (i64.add (i64.load (i32.const {sum})) (i64.load (i32.add
                 (i32.load offset=20 (i32.load offset=84 (local.get $0)))
                 (i32.mul (local.get $i) (i32.const 8))))))
               (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br $next)))
             (i32.store (i32.const {carry}) (i32.const {sum}))
             (i32.store (i32.const {}) (select (i32.const 0) (i32.const 8) {is_last}))
             (select (i32.const {}) (i32.const {}) {is_last})",
            carry + 4,
            parts[1],
            parts[0]
        ),
    );
    let mut content = open(&guest.build(), &all_live(), &Limits::default());
    let mut carried = Vec::new();
    for (from, len, first, last) in [(0, 2, true, false), (2, 1, false, false), (3, 1, false, true)] {
        let part = Firings {
            keys: vec![texts(&[Some("x")])],
            starts: vec![0],
            ends: vec![9000],
            panes: vec![0],
            offsets: vec![0, len],
            first: vec![first],
            last: vec![last],
            carry: vec![std::mem::take(&mut carried)],
        };
        let rows = rows().select(&(from..from + len).collect::<Vec<_>>());
        let mut answer = content.process(&part, &rows).unwrap();
        if last {
            let column = ContentColumn::Computed(ints(&[1 + 2 + 3 + 4]));
            assert_eq!(answer.outputs[0].columns[0], column);
        } else {
            assert!(answer.outputs.is_empty());
        }
        carried = answer.carry.remove(0);
    }
    assert!(carried.is_empty());
}

fn fault_of(limits: &Limits, lay: impl FnOnce(&mut Image) -> u32) -> Fault {
    let mut guest = guest();
    let answer = lay(&mut guest.image);
    guest.function("process", 1, &constant(answer));
    let mut content = open(&guest.build(), &all_live(), limits);
    content.process(&firings(), &rows()).expect_err("the guest misbehaves")
}

fn check(message: &str, row: Option<u32>, lay: impl FnOnce(&mut Image) -> u32) {
    let fault = fault_of(&Limits::default(), lay);
    assert_eq!(fault.message, format!("the plugin returned {message}"));
    let detail = fault.guest.unwrap();
    assert_eq!((detail.kind, detail.row), (GuestFault::Contract, row));
    assert_eq!((detail.function, detail.rows), ("process", 4));
}

fn check_output(message: &str, row: Option<u32>, lay: impl FnOnce(&mut Image) -> Bytes) {
    check(message, row, |image| {
        let output = lay(image);
        answer(image, &[output], &[b"", b""], &[])
    });
}

#[test]
fn what_must_not_come_back() {
    let numbers = |image: &mut Image| computed(image.int64s(&[0]));
    check_output("rows for port 2, but it described 2 ports", None, |image| {
        output(image, 2, &[], None, &[])
    });
    check_output("firing 2, but there are 2", None, |image| {
        output(image, 0, &[2], None, &[])
    });
    check_output("1 columns where the port has 2", None, |image| {
        let column = numbers(image);
        output(image, 0, &[0], None, &[column])
    });
    check_output("row 4, but there are 4", None, |image| {
        output(image, 0, &[1], Some(&[4]), &[])
    });
    check_output("1 rows for 2 output rows", None, |image| {
        output(image, 0, &[0, 0], Some(&[0]), &[])
    });
    check_output(
        "row 2 for an output row of firing 0, whose rows are 0 to 1",
        None,
        |image| output(image, 0, &[0], Some(&[2]), &[]),
    );
    check_output(
        "column \"a\": an input column, but not from which rows",
        None,
        |image| {
            let column = numbers(image);
            output(image, 0, &[0], None, &[input_column(0), column])
        },
    );
    check_output("column \"n\": column 7 of an input that has 3", None, |image| {
        output(image, 0, &[0], Some(&[0]), &[input_column(0), input_column(7)])
    });
    check_output(
        "column \"s\": null in a column that is not nullable",
        Some(1),
        |image| output(image, 1, &[0, 0], Some(&[0, 1]), &[input_column(1)]),
    );
    check_output("column \"n\": data of 0 bytes where 1 rows take 8", None, |image| {
        let column = image.int64s(&[]);
        output(image, 0, &[0], Some(&[0]), &[input_column(0), computed(column)])
    });
    check_output("column \"s\": a value that is not UTF-8", Some(3), |image| {
        let column = image.column(None, &[0, 1], b"\xFF");
        output(image, 1, &[1], Some(&[3]), &[computed(column)])
    });
    check("1 of `carry` for 2 firings", None, |image| {
        answer(image, &[], &[b""], &[])
    });
    check("a `carry` for firing 0, which ends in this call", None, |image| {
        answer(image, &[], &[b"x", b"x"], &[])
    });
    check("a reject of row 4 of a batch of 4 rows", None, |image| {
        let reject = image.reject(4, "x");
        answer(image, &[], &[b"", b""], &[reject])
    });
}

#[test]
fn more_rows_than_allowed() {
    let limits = Limits {
        output_rows: 2,
        ..Limits::default()
    };
    let fault = fault_of(&limits, |image| {
        let column = image.column(None, &[0; 4], b"");
        let output = output(image, 1, &[0; 3], None, &[computed(column)]);
        answer(image, &[output], &[b"", b""], &[])
    });
    assert_eq!(fault.message, "the plugin returned more rows than its limit of 2");
    assert_eq!(fault.guest.unwrap().kind, GuestFault::Output);
}

#[test]
fn nothing_to_do_is_no_call() {
    let mut guest = guest();
    guest.function("process", 1, "(unreachable)");
    let mut content = open(&guest.build(), &all_live(), &Limits::default());
    let none = Firings {
        keys: vec![texts(&[])],
        starts: vec![],
        ends: vec![],
        panes: vec![],
        offsets: vec![0],
        first: vec![],
        last: vec![],
        carry: vec![],
    };
    let no_rows = rows().select(&[]);
    assert_eq!(content.process(&none, &no_rows).unwrap(), ContentOutputs::default());
}
