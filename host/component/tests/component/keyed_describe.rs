//! What operators with keys and operators over windows say of themselves, and what they must not.

use wasmill_core::column::Scalar;
use wasmill_core::keyed::{KeyedDescription, TableDescription, TableKind, TimeDomain, TimerKind, Ttl};
use wasmill_core::plugin::{Describer, Limits, World};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Micros;
use wasmill_core::transform::{OutputDescription, Requirement};

use crate::guest::{FieldText, Guest, Image, constant, contract, hollow};
use crate::keyed_guest::{NO_TABLE, TABLES, TableText, describe, in_schema};
use crate::{Bench, input};

const MIGRATE: &str = "(func (export \"wasmill:operator/migration@0.1.0#migrate\")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (unreachable))";

fn describing(answer: impl FnOnce(&mut Image) -> u32) -> Guest {
    let mut guest = Guest::new("keyed", "keyed-operator");
    let answer = answer(&mut guest.image);
    guest
        .function("describe", 6, &constant(answer))
        .function("open", 6, "(unreachable)")
        .function("process", 1, "(unreachable)");
    guest
}

fn described(wasm: &[u8]) -> Result<KeyedDescription, String> {
    let described = describe(&Bench::new(), wasm, &[input(&in_schema())]);
    described
        .map(|(_, description)| description)
        .map_err(|error| error.to_string())
}

fn check(expect: &str, answer: impl FnOnce(&mut Image) -> u32) {
    let error = described(&describing(answer).build()).expect_err(expect);
    assert_eq!(error, format!("the plugin described {expect}"));
}

fn with_tables(image: &mut Image, tables: &[TableText<'_>]) -> u32 {
    let inputs = [image.requirement(&["a"], false)];
    let ports = [image.port("out", &[], false)];
    let tables: Vec<_> = tables.iter().map(|&table| image.table(table)).collect();
    image.keyed_description(&inputs, &ports, &tables, &[])
}

fn check_table(expect: &str, table: TableText<'_>) {
    check(expect, |image| with_tables(image, &[table]));
}

#[test]
fn a_description_is_taken_with_all_that_is_in_it() {
    let guest = describing(|image| {
        let inputs = [image.requirement(&["k", "a"], true)];
        let ports = [
            image.port("out", &[("n", "int64", false)], true),
            image.port("old", &[], false),
        ];
        let tables = [
            image.table(TABLES[0]),
            image.table(TableText {
                ttl: Some((7, 1)),
                version: 3,
                migrates_from: &[1, 2],
                ..TABLES[1]
            }),
            image.table(TABLES[2]),
            image.table(TableText {
                ttl: Some((9, 0)),
                ..TABLES[3]
            }),
        ];
        let timers = [image.timer("alarm", 0), image.timer("tick", 1)];
        image.keyed_description(&inputs, &ports, &tables, &timers)
    });
    let schema = |fields: Vec<Field>| Schema::new(fields).unwrap();
    let table = |name: &str, kind, fields, initial| TableDescription {
        name: name.into(),
        kind,
        sort_key: 0,
        schema: schema(fields),
        initial,
        ttl: None,
        version: 0,
        migrates_from: vec![],
    };
    let expect = KeyedDescription {
        inputs: vec![Requirement {
            columns: vec![2, 0],
            event_times: true,
            changelog: false,
        }],
        outputs: vec![
            OutputDescription {
                name: "out".into(),
                schema: schema(vec![Field::required("n", DataType::Int64)]),
                changelog: true,
            },
            OutputDescription {
                name: "old".into(),
                schema: schema(vec![]),
                changelog: false,
            },
        ],
        tables: vec![
            table(
                "total",
                TableKind::Value,
                vec![
                    Field::required("sum", DataType::Int64),
                    Field::nullable("note", DataType::Utf8),
                ],
                vec![Scalar::Int64(0), Scalar::Null],
            ),
            TableDescription {
                ttl: Some(Ttl {
                    after: Micros(7),
                    domain: TimeDomain::Processing,
                }),
                version: 3,
                migrates_from: vec![1, 2],
                ..table(
                    "latest",
                    TableKind::ValueOnDemand,
                    vec![
                        Field::required("v", DataType::Float64),
                        Field::nullable("w", DataType::Int64),
                    ],
                    vec![Scalar::Float64(0.0), Scalar::Null],
                )
            },
            table(
                "lines",
                TableKind::List,
                vec![Field::required("line", DataType::Utf8)],
                vec![],
            ),
            TableDescription {
                sort_key: 1,
                ttl: Some(Ttl {
                    after: Micros(9),
                    domain: TimeDomain::Event,
                }),
                ..table(
                    "days",
                    TableKind::Map,
                    vec![
                        Field::required("day", DataType::Timestamp),
                        Field::required("n", DataType::Int64),
                    ],
                    vec![],
                )
            },
        ],
        timers: [("alarm", TimeDomain::Event), ("tick", TimeDomain::Processing)]
            .map(|(name, domain)| TimerKind {
                name: name.into(),
                domain,
            })
            .to_vec(),
    };
    let wasm = guest.build_with(&[contract()], "keyed-migrating", MIGRATE);
    assert_eq!(described(&wasm).unwrap(), expect);
    assert_eq!(
        described(&guest.build()).unwrap_err(),
        "the plugin described that the rows of table \"latest\" migrate from version 1, but does not export `migration`"
    );
}

#[test]
fn inputs_and_ports_are_those_of_any_operator() {
    check("0 inputs, but the topology gives it 1", |image| {
        image.keyed_description(&[], &[], &[], &[])
    });
    check("no output", |image| {
        let inputs = [image.requirement(&[], false)];
        image.keyed_description(&inputs, &[], &[], &[])
    });
    for reserved in ["late", "dead-letter"] {
        check(
            &format!("port \"{reserved}\", whose name the host keeps for itself"),
            |image| {
                let inputs = [image.requirement(&[], false)];
                let ports = [image.port("out", &[], false), image.port(reserved, &[], false)];
                image.keyed_description(&inputs, &ports, &[], &[])
            },
        );
    }
}

#[test]
fn names_of_tables_and_timers_are_words_and_unique() {
    check("table \"total\" twice", |image| {
        with_tables(image, &[NO_TABLE, NO_TABLE])
    });
    check_table(
        "table \"a.b\", whose name has other signs than letters, digits, - and _",
        TableText {
            name: "a.b",
            ..NO_TABLE
        },
    );
    check_table(
        "a table whose name has 0 bytes; a name has 1 to 256",
        TableText { name: "", ..NO_TABLE },
    );
    let of_timers = |image: &mut Image, names: &[&str]| {
        let inputs = [image.requirement(&[], false)];
        let ports = [image.port("out", &[], false)];
        let timers: Vec<_> = names.iter().map(|name| image.timer(name, 0)).collect();
        image.keyed_description(&inputs, &ports, &[], &timers)
    };
    check("timer \"t\" twice", |image| of_timers(image, &["t", "t"]));
    check(
        "timer \"a b\", whose name has other signs than letters, digits, - and _",
        |image| of_timers(image, &["a b"]),
    );
}

#[test]
fn tables_have_the_columns_of_their_kind() {
    check_table(
        "table \"total\" with no column",
        TableText {
            fields: &[],
            ..NO_TABLE
        },
    );
    check_table(
        "table \"total\" with column \"a\" twice",
        TableText {
            fields: &[("a", "int64", false), ("a", "utf8", false)],
            ..NO_TABLE
        },
    );
    check_table(
        "table \"total\" with column \"a\" of type \"map\"; this host knows boolean, int64, float64, utf8, binary, \
         timestamp, json",
        TableText {
            fields: &[("a", "map", false)],
            ..NO_TABLE
        },
    );
    for (kind, name) in [(0, "value"), (1, "value-on-demand"), (2, "appended")] {
        check_table(
            &format!("table \"total\" with a sort key, which a table of the kind `{name}` does not have"),
            TableText {
                kind,
                sort_key: 1,
                ..NO_TABLE
            },
        );
    }
    for sort_key in [0, 2] {
        check_table(
            &format!(
                "table \"total\" with a sort key of {sort_key} columns; an ordered table has one of 1 to 1, all of its \
                 columns"
            ),
            TableText {
                kind: 3,
                sort_key,
                initial: &[],
                ..NO_TABLE
            },
        );
    }
}

#[test]
fn initial_values_fit_their_columns() {
    check_table(
        "table \"total\" with 0 initial values; one of the kind `value` and 1 columns has 1",
        TableText {
            initial: &[],
            ..NO_TABLE
        },
    );
    check_table(
        "table \"total\" with 1 initial values; one of the kind `appended` and 1 columns has 0",
        TableText { kind: 2, ..NO_TABLE },
    );
    // A null, a float and a timestamp for an int64.
    for case in [0, 3, 6] {
        check_table(
            "table \"total\" with an initial value that its column \"sum: int64\" cannot hold",
            TableText {
                initial: &[(case, 0)],
                ..NO_TABLE
            },
        );
    }
    check_table(
        "table \"total\" with an initial value that its column \"j: json\" cannot hold",
        TableText {
            fields: &[("j", "json", false)],
            initial: &[(7, 0)],
            ..NO_TABLE
        },
    );
}

#[test]
fn state_is_kept_for_some_time() {
    check_table(
        "table \"total\" with a TTL of no time, after which nothing would be kept",
        TableText {
            ttl: Some((0, 0)),
            ..NO_TABLE
        },
    );
}

#[test]
fn state_is_carried_from_older_versions() {
    check_table(
        "that the rows of table \"total\" of version 2 migrate from version 2, which is not older",
        TableText {
            version: 2,
            migrates_from: &[1, 2],
            ..NO_TABLE
        },
    );
    check_table(
        "that the rows of table \"total\" migrate from version 1 twice",
        TableText {
            version: 2,
            migrates_from: &[1, 1],
            ..NO_TABLE
        },
    );
}

#[test]
fn every_world_loads() {
    let bench = Bench::new();
    for (world, expect) in [
        ("keyed", World::Keyed),
        ("keyed-migrating", World::Keyed),
        ("window", World::Window),
        ("aggregate-migrating", World::Aggregate),
    ] {
        let (_, found) = Describer::load(&bench.host, &bench.file(&hollow("0.1.0", world))).unwrap();
        assert_eq!(found, expect);
    }
    let error = described(&hollow("0.1.0", "window")).unwrap_err();
    assert!(error.contains("its world is \"window\", not \"keyed\""), "{error}");
}

#[test]
fn columns_of_windows_are_not_described_again() {
    let refused = |fields: &[FieldText<'_>], changelog: bool| {
        let mut guest = Guest::new("window", "window-operator");
        let description = crate::content::description(&mut guest.image, fields, changelog);
        guest
            .function("describe", 9, &constant(description))
            .function("open", 9, "(unreachable)")
            .function("process", 1, "(unreachable)");
        let bench = Bench::new();
        let plugin = bench.load(&guest.build()).unwrap();
        let key = [Field::required("k", DataType::Utf8)];
        let describer: &dyn Describer = &bench.host;
        let error = describer.content(&plugin, "{}", &input(&in_schema()), &key, &Limits::default());
        error.unwrap_err().to_string()
    };
    for name in ["k", "window_start", "window_end"] {
        assert_eq!(
            refused(&[("n", "int64", false), (name, "utf8", false)], false),
            format!(
                "the plugin described column \"{name}\" of port \"out\", which the host puts there itself: the key \
                 columns and the window's bounds stand before the described columns"
            )
        );
    }
    assert_eq!(
        refused(&[], true),
        "the plugin described port \"out\" as a changelog, but the results of windows are rows that are there"
    );
}
