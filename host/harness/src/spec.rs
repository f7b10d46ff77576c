//! What a test file says, before anybody asks whether it fits what is tested.

use std::ops::Range;

use wasmill_core::time::Timestamp;
use wasmill_topology::codes;
use wasmill_topology::reading::{Entry, Item, Problems, Reader, Table, Text, Value, Word};

use crate::offline::ROWS;
use crate::value;

/// The id of the operator of a test file.
pub(crate) const OPERATOR: &str = "operator";
/// How an operator's main output is called.
pub(crate) const MAIN: &str = "out";
/// How an operator's dead letters are called.
pub(crate) const DEAD_LETTER: &str = "dead-letter";

/// A test file.
pub(crate) struct Spec {
    pub(crate) subject: Subject,
    pub(crate) outputs: Vec<OutputSpec>,
    /// The rows of tables of lookups, by node.
    pub(crate) tables: Vec<(Word, Item)>,
    pub(crate) tests: Vec<TestSpec>,
}

/// What is tested.
pub(crate) enum Subject {
    /// A topology, by its path.
    Topology(Word),
    /// An operator, as a topology with the inputs as sources.
    Operator(Table),
}

/// `[output.NAME]`.
pub(crate) struct OutputSpec {
    pub(crate) name: Word,
    /// The columns that count; `None`: all.
    pub(crate) columns: Option<Vec<Word>>,
    /// Whether rows must come in the order in which they are expected.
    pub(crate) ordered: bool,
    /// Whether what comes here does not matter.
    pub(crate) ignore: bool,
}

/// `[[test]]`.
pub(crate) struct TestSpec {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    /// Whether rows raise watermarks by the strategy of their source.
    pub(crate) by_source: bool,
    /// Whether the test is run again in other shapes.
    pub(crate) vary: bool,
    /// Processing time at the beginning.
    pub(crate) start: Option<Timestamp>,
    /// The file of all that is expected.
    pub(crate) expected: Option<Word>,
    pub(crate) steps: Vec<StepSpec>,
}

/// `[[test.step]]`.
pub(crate) struct StepSpec {
    pub(crate) span: Range<usize>,
    pub(crate) processing_time: Option<Timestamp>,
    pub(crate) partition: Option<Word>,
    pub(crate) rows: Option<Item>,
    pub(crate) watermark: Option<Item>,
    pub(crate) end: bool,
    pub(crate) restore: bool,
    pub(crate) expect: Option<Item>,
    pub(crate) state: Option<Item>,
    pub(crate) timers: Option<Item>,
    pub(crate) fault: Option<Word>,
}

/// Reads a test file. `None` where it does not say what it tests.
pub(crate) fn read(root: &Table, problems: &Problems) -> Option<Spec> {
    let reader = Reader::new(root, "the test file", problems);
    let topology = reader.word("topology");
    let operator = reader.table("operator");
    let inputs: Vec<(&Entry, &Table)> = reader
        .table("input")
        .map(|inputs| named(&reader, "input", inputs).collect())
        .unwrap_or_default();
    let outputs = reader.table("output").map(|table| {
        let outputs = named(&reader, "output", table);
        outputs.map(|(entry, table)| output(entry, table, problems)).collect()
    });
    let tables = reader.table("table").map(|table| {
        let tables = named(&reader, "table", table);
        tables
            .filter_map(|(entry, table)| table_rows(entry, table, problems))
            .collect()
    });
    let tests = tests(&reader);
    reader.finish();
    if tests.is_empty() && reader.get("test").is_none() {
        reader.missing(
            "test",
            "write each test as [[test]] with a `name` and its [[test.step]]s",
        );
    }
    let subject = match (topology, operator) {
        (Some(path), None) => {
            if let Some((entry, _)) = inputs.first() {
                problems.error(
                    codes::POINTLESS_KEY,
                    "a test of a topology has no inputs of its own",
                    &entry.place,
                    "leave [input.*] out: the topology's sources are the inputs",
                );
            }
            Some(Subject::Topology(path))
        }
        (None, Some(operator)) => Some(Subject::Operator(as_topology(operator, &inputs, problems))),
        (None, None) => {
            if !problems.any() {
                problems.error(
                    codes::TEST_SUBJECT,
                    "the file does not say what it tests",
                    &root.place,
                    "write `topology = \"topology.toml\"`, or an [operator] and an [input.NAME] for each of its inputs",
                );
            }
            None
        }
        (Some(path), Some(_)) => {
            problems.error(
                codes::TEST_SUBJECT,
                "the file tests a topology and an operator",
                &path.place,
                "leave one of the two out; a file tests one thing",
            );
            None
        }
    };
    Some(Spec {
        subject: subject?,
        outputs: outputs.unwrap_or_default(),
        tables: tables.unwrap_or_default(),
        tests,
    })
}

/// The tables of a table such as `[input.NAME]`.
fn named<'d>(reader: &Reader<'d>, key: &'static str, table: &'d Table) -> impl Iterator<Item = (&'d Entry, &'d Table)> {
    table.entries.iter().filter_map(move |entry| {
        if let Value::Table(table) = &entry.item.value {
            return Some((entry, table));
        }
        reader.wrong_type(&format!("{key}.{}", entry.key), &entry.item, "a table");
        None
    })
}

fn word(entry: &Entry) -> Word {
    Word {
        text: entry.key.clone(),
        place: entry.place.clone(),
    }
}

fn output(entry: &Entry, table: &Table, problems: &Problems) -> OutputSpec {
    let reader = Reader::new(table, format!("output `{}`", entry.key), problems);
    let output = OutputSpec {
        name: word(entry),
        columns: reader.words("columns"),
        ordered: reader.boolean("ordered").unwrap_or(false),
        ignore: reader.boolean("ignore").unwrap_or(false),
    };
    reader.finish();
    output
}

fn table_rows(entry: &Entry, table: &Table, problems: &Problems) -> Option<(Word, Item)> {
    let reader = Reader::new(table, format!("table `{}`", entry.key), problems);
    let rows = reader.get("rows").cloned();
    if rows.is_none() {
        reader.missing(
            "rows",
            "give its rows, as in `rows = [{ id = 1 }]`, or the file that holds them",
        );
    }
    reader.finish();
    Some((word(entry), rows?))
}

fn tests(root: &Reader<'_>) -> Vec<TestSpec> {
    let mut tests: Vec<TestSpec> = Vec::new();
    for table in list(root, "test") {
        let reader = Reader::new(table, called(table), root.problems);
        let name = reader.word("name");
        if name.is_none() && reader.get("name").is_none() {
            reader.missing(
                "name",
                "say in a sentence what holds, as in `name = \"a late row is dropped\"`",
            );
        }
        let by_source = reader.choice("watermarks", &[("given", false), ("by-source", true)]);
        let start = time(&reader, "processing-time");
        let vary = reader.boolean("vary");
        let expected = reader.word("expected");
        let steps: Vec<StepSpec> = list(&reader, "step")
            .enumerate()
            .map(|(at, table)| step(table, at, root.problems))
            .collect();
        if steps.is_empty() && reader.get("step").is_none() {
            reader.missing("step", "a test is its steps, each written as [[test.step]]");
        }
        reader.finish();
        let Some(name) = name else { continue };
        if tests.iter().any(|earlier| earlier.name == name.text) {
            let message = format!("two tests are called \"{}\"", name.text);
            let help = "give one of them another name";
            root.problems.error(codes::DUPLICATE_ID, message, &name.place, help);
        }
        tests.push(TestSpec {
            name: name.text,
            span: name.place.span,
            by_source: by_source.unwrap_or(false),
            vary: vary.unwrap_or(true),
            start,
            expected,
            steps,
        });
    }
    tests
}

fn called(table: &Table) -> String {
    match table.entry("name").map(|entry| &entry.item.value) {
        Some(Value::String(name)) => format!("test \"{}\"", name.value),
        _ => "this test".to_owned(),
    }
}

fn step(table: &Table, at: usize, problems: &Problems) -> StepSpec {
    let reader = Reader::new(table, format!("step {}", at + 1), problems);
    let step = StepSpec {
        span: table.place.span.clone(),
        processing_time: time(&reader, "processing-time"),
        partition: reader.word("partition"),
        rows: reader.get("rows").cloned(),
        watermark: reader.get("watermark").cloned(),
        end: reader.boolean("end").unwrap_or(false),
        restore: reader.boolean("restore").unwrap_or(false),
        expect: reader.get("expect").cloned(),
        state: reader.get("expect-state").cloned(),
        timers: reader.get("expect-timers").cloned(),
        fault: reader.word("expect-fault"),
    };
    if let (Some(partition), None, None) = (&step.partition, &step.rows, &step.watermark) {
        let help = "write the `rows` or the `watermark` that the partition has at this step";
        let message = "`partition` does nothing at a step without rows and watermark";
        problems.error(codes::POINTLESS_KEY, message, &partition.place, help);
    }
    reader.finish();
    step
}

/// The tables of a list such as `[[test]]`.
fn list<'d>(reader: &Reader<'d>, key: &'static str) -> impl Iterator<Item = &'d Table> {
    let items = match reader.get(key) {
        None => &[],
        Some(Item {
            value: Value::Array(items),
            ..
        }) => items.as_slice(),
        Some(item) => {
            reader.wrong_type(key, item, "a list of tables");
            &[]
        }
    };
    for item in items {
        if !matches!(item.value, Value::Table(_)) {
            reader.wrong_type(key, item, "a list of tables");
        }
    }
    items.iter().filter_map(|item| match &item.value {
        Value::Table(table) => Some(table),
        _ => None,
    })
}

fn time(reader: &Reader<'_>, key: &'static str) -> Option<Timestamp> {
    let item = reader.get(key)?;
    let time = value::time(item);
    if time.is_none() {
        reader.wrong_type(key, item, "a time, as in \"2013-01-01T10:15:00Z\"");
    }
    time
}

/// The operator as a topology: its inputs are sources, and there is no sink.
fn as_topology(operator: &Table, inputs: &[(&Entry, &Table)], problems: &Problems) -> Table {
    if inputs.is_empty() {
        problems.error(
            codes::TEST_SUBJECT,
            "the operator has no input",
            &operator.place,
            "describe each input, as in [input.flights] with a `schema` and an `event-time`",
        );
    }
    let sources = inputs.iter().map(|&(entry, table)| source(entry, table, problems));
    let sources = sources.collect();
    let table_item = |table: Table| Item {
        place: table.place.clone(),
        value: Value::Table(table),
    };
    let root = |key: &str, items: Vec<Table>| Entry {
        key: key.to_owned(),
        place: operator.place.clone(),
        item: Item {
            place: operator.place.clone(),
            value: Value::Array(items.into_iter().map(table_item).collect()),
        },
    };
    Table {
        place: operator.place.clone(),
        entries: vec![
            root("source", sources),
            root("operator", vec![wired(operator, inputs, problems)]),
        ],
    }
}

fn text_entry(key: &str, text: &str, like: &Item) -> Entry {
    Entry {
        key: key.to_owned(),
        place: like.place.clone(),
        item: Item {
            value: Value::String(Text::plain(text)),
            place: like.place.clone(),
        },
    }
}

/// The watermark strategy of an input that names none. Steps give watermarks, unless they are to follow the source.
fn monotonic(like: &Item) -> Entry {
    let table = Table {
        place: like.place.clone(),
        entries: vec![text_entry("strategy", "monotonic", like)],
    };
    Entry {
        key: "watermark".to_owned(),
        place: like.place.clone(),
        item: Item {
            value: Value::Table(table),
            place: like.place.clone(),
        },
    }
}

/// An input as a source. Its keys are those of a source that say what rows are.
fn source(entry: &Entry, table: &Table, problems: &Problems) -> Table {
    let reader = Reader::new(table, format!("input `{}`", entry.key), problems);
    for key in ["schema", "event-time", "time", "watermark"] {
        reader.get(key);
    }
    reader.finish();
    let known = |found: &&Entry| ["schema", "event-time", "time", "watermark"].contains(&found.key.as_str());
    let like = Item {
        place: entry.place.clone(),
        ..entry.item.clone()
    };
    let mut entries: Vec<Entry> = table.entries.iter().filter(known).cloned().collect();
    if table.entry("watermark").is_none() && table.entry("event-time").is_some() {
        entries.push(monotonic(&like));
    }
    entries.push(text_entry("id", &entry.key, &like));
    entries.push(text_entry("connector", ROWS, &like));
    entries.push(text_entry("format", ROWS, &like));
    Table {
        place: table.place.clone(),
        entries,
    }
}

/// The operator with an id and its inputs: those that it names, or all in their order.
fn wired(operator: &Table, inputs: &[(&Entry, &Table)], problems: &Problems) -> Table {
    let mut table = operator.clone();
    if let Some(id) = operator.entry("id") {
        problems.error(
            codes::POINTLESS_KEY,
            "the operator of a test has no `id`",
            &id.place,
            "leave it out",
        );
        table.entries.retain(|entry| entry.key != "id");
    }
    let here = Item {
        value: Value::Boolean(true),
        place: operator.place.clone(),
    };
    table.entries.push(text_entry("id", OPERATOR, &here));
    let has = |key: &str| operator.entry(key).is_some();
    let is_join = matches!(
        operator.entry("type").map(|entry| &entry.item.value),
        Some(Value::String(text)) if text.value == "join"
    );
    if is_join {
        for (at, side) in ["left", "right"].into_iter().enumerate() {
            let by_name = inputs.iter().find(|(entry, _)| entry.key == side);
            if let (false, Some((input, _))) = (has(side), by_name.or(inputs.get(at))) {
                table.entries.push(text_entry(side, &input.key, &here));
            }
        }
    } else if !has("input") {
        let names: Vec<Item> = inputs
            .iter()
            .map(|(entry, _)| text_entry("input", &entry.key, &here).item)
            .collect();
        let value = match <[Item; 1]>::try_from(names) {
            Ok([only]) => only.value,
            Err(names) => Value::Array(names),
        };
        table.entries.push(Entry {
            key: "input".to_owned(),
            place: operator.place.clone(),
            item: Item {
                value,
                place: operator.place.clone(),
            },
        });
    }
    table
}
