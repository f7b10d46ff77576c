//! Aggregates: a sum in WAT, and what becomes of its faults.

use std::sync::Arc;

use wasmill_component::{Isolation, Placement};
use wasmill_core::aggregate::{Aggregate, Groups};
use wasmill_core::column::Column;
use wasmill_core::fault::{Fault, GuestFault};
use wasmill_core::id::NodeId;
use wasmill_core::plugin::{Describer, Limits};

use crate::guest::{Guest, constant, words};
use crate::{Bench, batch, input, ints, ints_schema};

/// A sum of the column `a`.
#[derive(Clone, Copy)]
pub(crate) struct Sum {
    /// The case of the accumulator's initial `scalar`; 2 is an int64.
    pub(crate) initial_tag: u32,
    /// What `merge` does; the sum where there is nothing.
    pub(crate) merge: &'static str,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            initial_tag: 2,
            merge: "",
        }
    }
}

/// The component.
pub(crate) fn sum(sum: Sum) -> Vec<u8> {
    let mut guest = Guest::new("aggregate", "aggregator");
    let image = &mut guest.image;
    let field = image.field(("sum", "int64", false));
    let accumulator = [field.clone(), words(&[0, sum.initial_tag, 0, 0, 0])].concat();
    let description = [
        words(&[0]),
        image.requirement(&["a"], false),
        image.records(&[accumulator]),
        image.records(&[field]),
        words(&[1, 3, 0, 0]),
    ]
    .concat();
    let description = image.put(&description);
    let done = image.done();
    let answer = image.put(&[0; 32]);
    // The columns are changed in place and given back. A column's data begins 20 bytes into its record.
    let give_back = |columns: &str, count: &str| {
        format!(
            "(i32.store (i32.const {}) (local.get {columns})) (i32.store (i32.const {}) (local.get {count}))
             (i32.const {answer})",
            answer + 4,
            answer + 8
        )
    };
    let add = |to: &str, value: &str| format!("(i64.store {to} (i64.add (i64.load {to}) (i64.load {value})))");
    let each = |rows: &str, body: &str| {
        format!(
            "(block $done (loop $next (br_if $done (i32.ge_u (local.get $i) {rows})) {body}
             (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $next)))"
        )
    };
    let at = |columns: &str, row: &str| {
        format!("(i32.add (i32.load offset=20 (local.get {columns})) (i32.mul {row} (i32.const 8)))")
    };
    let group = "(i32.load (i32.add (local.get $7) (i32.mul (local.get $i) (i32.const 4))))";
    let accumulate = each("(local.get $0)", &add(&at("$9", group), &at("$5", "(local.get $i)")));
    let merge = each(
        "(i32.div_u (i32.load offset=24 (local.get $0)) (i32.const 8))",
        &add(&at("$0", "(local.get $i)"), &at("$2", "(local.get $i)")),
    );
    let merge = if sum.merge.is_empty() { &merge } else { sum.merge };
    guest
        .function("describe", 7, &constant(description))
        .function("open", 7, &constant(done))
        .function("accumulate", 11, &format!("{accumulate} {}", give_back("$9", "$10")))
        .function("merge", 4, &format!("{merge} {}", give_back("$0", "$1")))
        .function("finish", 8, &give_back("$6", "$7"));
    guest.build()
}

fn open(bench: &Bench, wasm: &[u8]) -> Result<Box<dyn Aggregate>, Fault> {
    let plugin = bench.load(wasm).unwrap();
    let (input, limits) = (input(&ints_schema()), Limits::default());
    let description = Describer::aggregate(&bench.host, &plugin, "{}", &input, &limits).unwrap();
    let placement = Placement {
        node: &NodeId::new("w"),
        plugin: &plugin,
        config: "{}",
        limits: &limits,
        fault_may_blame_rows: false,
        isolation: Isolation::Instance,
    };
    bench.host.aggregate(&placement, &input, &description)
}

fn finish(sum: &mut dyn Aggregate, accumulators: &[Column]) -> Vec<Column> {
    let bounds: Vec<i64> = (0..accumulators[0].len() as i64).collect();
    let groups = Groups {
        keys: &[ints(&bounds)],
        starts: &bounds,
        ends: &bounds,
    };
    sum.finish(&groups, accumulators).unwrap()
}

#[test]
fn rows_are_accumulated_merged_and_finished() {
    let bench = Bench::new();
    let mut aggregate = open(&bench, &sum(Sum::default())).unwrap();
    let zero = [ints(&[0, 0, 100])];
    let first = aggregate
        .accumulate(&batch(vec![ints(&[1, 2, 3, 4])]), &[0, 2, 0, 2], &zero)
        .unwrap();
    assert_eq!(first.accumulators, [ints(&[4, 0, 106])]);
    assert_eq!(zero, [ints(&[0, 0, 100])], "the caller's are as they were");
    let filtered = batch(vec![ints(&[5, 9, 7])]).select(&[0, 2]);
    let second = aggregate.accumulate(&filtered, &[1, 0], &zero).unwrap();
    let merged = aggregate.merge(&first.accumulators, &second.accumulators).unwrap();
    assert_eq!(merged, [ints(&[11, 5, 206])]);
    assert_eq!(finish(&mut *aggregate, &merged), [ints(&[11, 5, 206])]);
    assert_eq!(
        finish(&mut *aggregate, &merged),
        [ints(&[11, 5, 206])],
        "nothing is consumed"
    );
}

#[test]
fn nothing_to_do_is_no_call() {
    let bench = Bench::new();
    let mut aggregate = open(&bench, &sum(Sum::default())).unwrap();
    let groups = [ints(&[1])];
    let same = aggregate.accumulate(&batch(vec![ints(&[])]), &[], &groups).unwrap();
    assert_eq!(same.accumulators, groups);
    let none = [ints(&[])];
    assert_eq!(aggregate.merge(&none, &none).unwrap(), none);
    assert_eq!(finish(&mut *aggregate, &none), none);
}

#[test]
fn many_groups_are_cut_into_calls() {
    let bench = Bench::with(wasmill_component::Settings {
        purity_check_every: None,
        ..crate::settings()
    });
    let mut aggregate = open(&bench, &sum(Sum::default())).unwrap();
    let groups = 3_i64 << 19;
    let values: Arc<[i64]> = (0..groups).collect();
    let accumulators = [ints(&values)];
    let merged = aggregate.merge(&accumulators, &accumulators).unwrap();
    let doubled: Vec<i64> = values.iter().map(|v| v * 2).collect();
    assert_eq!(merged, [ints(&doubled)]);
    assert_eq!(finish(&mut *aggregate, &merged), merged);
}

#[test]
fn a_fault_names_its_function_and_the_next_call_works() {
    let bench = Bench::new();
    let mut aggregate = open(
        &bench,
        &sum(Sum {
            merge: "(unreachable)",
            ..Sum::default()
        }),
    )
    .unwrap();
    let groups = [ints(&[1, 2])];
    let fault = aggregate.merge(&groups, &groups).unwrap_err();
    let detail = fault.guest.unwrap();
    assert_eq!(
        (detail.kind, detail.function, detail.rows),
        (GuestFault::Trap, "merge", 2)
    );
    assert_eq!(finish(&mut *aggregate, &groups), groups);
}

#[test]
fn accumulators_have_as_many_groups_as_were_given() {
    let bench = Bench::new();
    // Leaves out the last group.
    let merge = "(i32.store offset=24 (local.get $0) (i32.const 8))";
    let mut aggregate = open(
        &bench,
        &sum(Sum {
            merge,
            ..Sum::default()
        }),
    )
    .unwrap();
    let groups = [ints(&[1, 2])];
    let fault = aggregate.merge(&groups, &groups).unwrap_err();
    assert_eq!(
        fault.message,
        "the plugin returned column \"sum\": data of 8 bytes where 2 rows take 16"
    );
    assert_eq!(fault.guest.unwrap().kind, GuestFault::Contract);
}
