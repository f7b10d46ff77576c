//! What a plugin says of itself, and what the host makes of it.

use wasmill_core::aggregate::AggregateDescription;
use wasmill_core::column::Scalar;
use wasmill_core::plugin::{Describer, Limits, PluginError, World};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Micros;
use wasmill_core::transform::{OutputDescription, Requirement, Retime, TransformDescription};

use crate::aggregate::{Sum, sum};
use crate::guest::{FieldText, Guest, Image, constant, contract, hollow};
use crate::{Bench, input};

/// A port's name, its fields, and whether it is a changelog.
type PortText<'a> = (&'a str, &'a [FieldText<'a>], bool);

/// `a: int64, t: timestamp, s: utf8?`
fn schema() -> Vec<Field> {
    vec![
        Field::required("a", DataType::Int64),
        Field::required("t", DataType::Timestamp),
        Field::nullable("s", DataType::Utf8),
    ]
}

/// A transform whose `describe` answers with what `answer` lays out.
fn describing(answer: impl FnOnce(&mut Image) -> u32) -> Vec<u8> {
    let mut guest = Guest::new("transform", "transformer");
    let answer = answer(&mut guest.image);
    guest
        .function("describe", 4, &constant(answer))
        .function("open", 4, "(unreachable)")
        .process("(unreachable)");
    guest.build()
}

fn check(expect: &str, answer: impl FnOnce(&mut Image) -> u32) {
    let error = Bench::new()
        .describe(&describing(answer), &schema(), &Limits::default())
        .expect_err(expect);
    assert_eq!(error.to_string(), expect);
}

#[test]
fn a_description_is_taken_with_names_resolved() {
    let wasm = describing(|image| {
        let inputs = [image.requirement(&["s", "a"], true)];
        let ports = [
            image.port("out", &[("when", "timestamp", false), ("s", "utf8", true)], false),
            image.port("errors", &[("why", "json", false)], false),
        ];
        image.description(&inputs, &ports, Some(("when", 5_000_000)))
    });
    let (_, description) = Bench::new().describe(&wasm, &schema(), &Limits::default()).unwrap();
    let output = |name: &str, fields: Vec<Field>| OutputDescription {
        name: name.into(),
        schema: Schema::new(fields).unwrap(),
        changelog: false,
    };
    let expect = TransformDescription {
        inputs: vec![Requirement {
            columns: vec![2, 0],
            event_times: true,
            changelog: false,
        }],
        outputs: vec![
            output(
                "out",
                vec![
                    Field::required("when", DataType::Timestamp),
                    Field::nullable("s", DataType::Utf8),
                ],
            ),
            output("errors", vec![Field::required("why", DataType::Json)]),
        ],
        retime: Some(Retime {
            column: 0,
            lag: Micros::from_secs(5),
        }),
    };
    assert_eq!(description, expect);
}

#[test]
fn an_aggregate_is_described() {
    let bench = Bench::new();
    let (plugin, world) = bench.host.load(&bench.file(&sum(Sum::default()))).unwrap();
    assert_eq!(world, World::Aggregate);
    let describer: &dyn Describer = &bench.host;
    let description = describer
        .aggregate(&plugin, "{}", &input(&schema()), &Limits::default())
        .unwrap();
    let field = Field::required("sum", DataType::Int64);
    let expect = AggregateDescription {
        input: Requirement {
            columns: vec![0],
            ..Requirement::default()
        },
        accumulators: vec![wasmill_core::aggregate::Accumulator {
            field: field.clone(),
            initial: Scalar::Int64(0),
        }],
        results: vec![field],
        commutative: true,
        version: 3,
    };
    assert_eq!(description, expect);

    let error = describer.transform(&plugin, "{}", &[input(&schema())], &Limits::default());
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("its world is \"aggregate\", not \"transform\""),
        "{message}"
    );
}

#[test]
fn a_guest_may_refuse_its_configuration() {
    let wasm = describing(|image| image.failure(8, "threshold is missing", None));
    let error = Bench::new().describe(&wasm, &schema(), &Limits::default()).unwrap_err();
    let message = "threshold is missing".to_owned();
    assert_eq!(error, PluginError::Refused { message });
}

#[test]
fn a_guest_that_fails_to_describe_itself_is_faulty() {
    let bench = Bench::new();
    let limits = Limits {
        deadline: Micros::from_millis(10),
        ..Limits::default()
    };
    let describe = |body: &str| {
        let mut guest = Guest::new("transform", "transformer");
        guest
            .function("describe", 4, body)
            .function("open", 4, "(unreachable)")
            .process("(unreachable)");
        let error = bench.describe(&guest.build(), &schema(), &limits).unwrap_err();
        assert!(matches!(error, PluginError::Faulty { .. }));
        error.to_string()
    };
    assert!(describe("(unreachable)").starts_with("the plugin trapped"));
    assert!(describe("(loop $again (br $again)) (unreachable)").starts_with("the call ran longer than its deadline"));
    assert!(describe("(i32.const -8)").starts_with("the plugin broke the contract"));
}

#[test]
fn what_must_not_be_described() {
    let a = [("a", "int64", false)];
    check("the plugin described 0 inputs, but the topology gives it 1", |image| {
        let ports = [image.port("out", &a, false)];
        image.description(&[], &ports, None)
    });
    let of_input = |image: &mut Image, columns: &[&str]| {
        let inputs = [image.requirement(columns, false)];
        let ports = [image.port("out", &a, false)];
        image.description(&inputs, &ports, None)
    };
    check(
        "the plugin described that it needs column \"b\", which \"in\" does not have \
         (a: int64, t: timestamp, s: utf8?)",
        |image| of_input(image, &["a", "b"]),
    );
    check("the plugin described needed column \"a\" twice", |image| {
        of_input(image, &["a", "a"])
    });

    let of_ports = |image: &mut Image, ports: &[PortText<'_>]| {
        let inputs = [image.requirement(&[], false)];
        let ports: Vec<_> = ports
            .iter()
            .map(|(name, fields, changelog)| image.port(name, fields, *changelog))
            .collect();
        image.description(&inputs, &ports, None)
    };
    check("the plugin described no output", |image| of_ports(image, &[]));
    check(
        "the plugin described port \"late\", whose name the host keeps for itself",
        |image| of_ports(image, &[("out", &a, false), ("late", &a, false)]),
    );
    check(
        "the plugin described port \"dead-letter\", whose name the host keeps for itself",
        |image| of_ports(image, &[("dead-letter", &a, false)]),
    );
    check(
        "the plugin described port \"a.b\", whose name has other signs than letters, digits, - and _",
        |image| of_ports(image, &[("a.b", &a, false)]),
    );
    check("the plugin described port \"out\" twice", |image| {
        of_ports(image, &[("out", &a, false), ("out", &a, false)])
    });
    check("the plugin described column \"a\" twice", |image| {
        of_ports(image, &[("out", &[a[0], a[0]], false)])
    });
    check(
        "the plugin described a column whose name has 0 bytes; a name has 1 to 256",
        |image| of_ports(image, &[("out", &[("", "int64", false)], false)]),
    );
    check(
        "the plugin described column \"a\" of type \"int32\"; this host knows boolean, int64, float64, utf8, binary, \
         timestamp, json",
        |image| of_ports(image, &[("out", &[("a", "int32", false)], false)]),
    );

    let retimed = |image: &mut Image, column: &str| {
        let inputs = [image.requirement(&[], false)];
        let ports = [image.port("out", &[("a", "utf8", false), ("n", "int64", true)], false)];
        image.description(&inputs, &ports, Some((column, 1)))
    };
    check(
        "the plugin described column \"x\" as the event time, but the main output has no such column \
         (a: utf8, n: int64?)",
        |image| retimed(image, "x"),
    );
    for (column, shown) in [("a", "a: utf8"), ("n", "n: int64?")] {
        check(
            &format!(
                "the plugin described column \"{shown}\" as the event time, which must be a timestamp or int64 that is \
                 not nullable"
            ),
            |image| retimed(image, column),
        );
    }
}

#[test]
fn an_accumulator_starts_with_a_value_that_it_can_hold() {
    let bench = Bench::new();
    let plugin = bench
        .load(&sum(Sum {
            initial_tag: 5,
            ..Sum::default()
        }))
        .unwrap();
    let error = Describer::aggregate(&bench.host, &plugin, "{}", &input(&schema()), &Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the plugin described accumulator \"sum: int64\" with an initial value that it cannot hold"
    );
}

#[test]
fn other_versions_are_refused_with_their_reason() {
    let bench = Bench::new();
    let refused = |wasm: &[u8]| {
        let error = bench.load(wasm).unwrap_err().to_string();
        error.split_once("plugin.wasm ").unwrap().1.to_owned()
    };
    assert_eq!(
        refused(&hollow("0.2.0", "transform")),
        "is not a Wasmill plugin: it was made for wasmill:operator/* version 0.2.0, and this host serves 0.1"
    );
    assert_eq!(
        refused(&hollow("0.0.9", "transform")),
        "is not a Wasmill plugin: it was made for wasmill:operator/* version 0.0.9, and this host serves 0.1"
    );
}

#[test]
fn a_plugin_of_another_release_of_the_same_minor_version_is_served() {
    let bench = Bench::new();
    let plugin = bench.load(&hollow("0.1.7", "transform")).unwrap();
    let error = Describer::transform(&bench.host, &plugin, "{}", &[input(&schema())], &Limits::default());
    let message = error.unwrap_err().to_string();
    assert!(message.starts_with("the plugin trapped"), "it was called: {message}");
}

#[test]
fn an_import_that_the_host_does_not_give_is_named() {
    const CLOCKS: &str = "package wasi:clocks@0.2.6; interface wall-clock { now: func() -> u64; }";
    const OURS: &str = "package test:guest; world clocked { include wasmill:operator/transform@0.1.0; \
                        import wasi:clocks/wall-clock@0.2.6; }";
    let mut guest = Guest::transform(&[], &[]);
    guest
        .import("(import \"wasi:clocks/wall-clock@0.2.6\" \"now\" (func $now (result i64)))")
        .process("(drop (call $now)) (unreachable)");
    let wasm = guest.build_with(&[CLOCKS, contract(), OURS], "clocked", "");
    let bench = Bench::new();
    let error = bench.load(&wasm).unwrap_err();
    assert_eq!(
        error,
        PluginError::ForbiddenImport {
            path: bench.path("plugin.wasm"),
            import: "wasi:clocks/wall-clock@0.2.6".to_owned(),
        }
    );
}

#[test]
fn metrics_are_no_part_of_a_description() {
    let mut guest = Guest::new("transform", "transformer");
    guest
        .import("(import \"wasmill:operator/metrics@0.1.0\" \"update\" (func $update (param i32 i32)))")
        .function(
            "describe",
            4,
            "(call $update (i32.const 0) (i32.const 0)) (unreachable)",
        )
        .function("open", 4, "(unreachable)")
        .process("(unreachable)");
    let error = Bench::new().describe(&guest.build(), &schema(), &Limits::default());
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("metrics are updated while rows are processed only"),
        "{message}"
    );
}
