//! The generator as a source.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use wasmill_connector_api::config::{Folder, decode};
use wasmill_connector_api::conformance::source::check;
use wasmill_connector_api::source::{Payload, Read, Resume, SourceConnector, SourceContext, Yields};
use wasmill_connector_generator::Source;
use wasmill_core::column::Column;
use wasmill_core::id::PartitionName;

type AnySource = Box<dyn wasmill_connector_api::source::Source>;

fn open(config: &Value, batch_rows: usize) -> AnySource {
    let typed = decode(config).unwrap();
    let folder = Folder::new(".");
    let Yields::Columns(schema) = Source::describe(&typed, &folder).unwrap().yields else {
        panic!("a generator yields columns")
    };
    let context = SourceContext {
        folder,
        metadata: Vec::new(),
        live: vec![true; schema.len()],
        batch_rows,
    };
    <Source as SourceConnector>::open(typed, context).unwrap()
}

#[tokio::test]
async fn a_counter_conforms() {
    let config = json!({ "kind": "counter", "rows": 10, "partitions": 3, "start": "1970-01-01T00:00:00Z" });
    let row = |number: i64| format!("Int64({number}) Timestamp({})", number * 1_000).into_bytes();
    let expect = BTreeMap::from([
        ("0", [0, 3, 6, 9].map(row).to_vec()),
        ("1", [1, 4, 7].map(row).to_vec()),
        ("2", [2, 5, 8].map(row).to_vec()),
    ]);
    check(async |rows| open(&config, rows), &expect).await;
}

#[tokio::test(start_paused = true)]
async fn a_counter_with_a_rate_conforms() {
    let config = json!({ "kind": "counter", "rows": 5, "rate": 7, "start": "1970-01-01T00:00:00Z" });
    let row = |number: i64| format!("Int64({number}) Timestamp({})", number * 1_000).into_bytes();
    let expect = BTreeMap::from([("0", [0, 1, 2, 3, 4].map(row).to_vec())]);
    check(async |rows| open(&config, rows), &expect).await;
}

#[tokio::test]
async fn partitions_share_the_events_that_one_partition_has() {
    use wasmill_connector_api::conformance::source::contents;
    let events = async |partitions: u16| {
        let config = json!({ "kind": "nexmark", "rows": 777, "seed": 5, "partitions": partitions });
        let mut all: Vec<_> = contents(open(&config, 100), 1 << 16)
            .await
            .into_values()
            .flat_map(|content| content.positions.into_iter().zip(content.records))
            .collect();
        all.sort_unstable();
        all
    };
    let one = events(1).await;
    assert_eq!(one.len(), 777);
    assert_eq!(events(4).await, one);
}

#[tokio::test(start_paused = true)]
async fn rows_come_at_the_rate_and_no_sooner() {
    let config = json!({ "kind": "counter", "rate": 1_000, "partitions": 2 });
    let mut source = open(&config, 4_096);
    let mut reader = source.open(&PartitionName::new("1"), None).await.unwrap();
    let began = Instant::now();
    let mut rows = 0;
    while rows < 1_000 {
        let Read::Data(Payload::Columns(columns)) = reader.read(1 << 20).await.unwrap() else {
            panic!("it never ends")
        };
        rows += columns.positions.len();
    }
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(2)..Duration::from_millis(2_010)).contains(&took),
        "{took:?}"
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    let Read::Data(Payload::Columns(columns)) = reader.read(1 << 20).await.unwrap() else {
        panic!("it never ends")
    };
    assert_eq!(columns.positions.len(), 500);
}

#[tokio::test]
async fn numbers_go_on_only_among_as_many_partitions() {
    let config = |partitions: u16| json!({ "kind": "counter", "rows": 10, "partitions": partitions });
    let partition = PartitionName::new("1");
    let mut reader = open(&config(2), 3).open(&partition, None).await.unwrap();
    let Read::Data(Payload::Columns(columns)) = reader.read(1 << 20).await.unwrap() else {
        panic!("there are rows")
    };
    assert_eq!(columns.positions, [1, 3, 5]);
    let from = Resume {
        position: 6,
        note: reader.note(),
    };
    let mut reader = open(&config(2), 3).open(&partition, Some(&from)).await.unwrap();
    let Read::Data(Payload::Columns(columns)) = reader.read(1 << 20).await.unwrap() else {
        panic!("there are rows")
    };
    assert_eq!(columns.positions, [7, 9]);
    let fault = open(&config(3), 3).open(&partition, Some(&from)).await.err().unwrap();
    assert_eq!(
        fault.message,
        "the checkpoint is one of 2 partitions, and `partitions` is 3: set it back, or start with --fresh"
    );
}

#[tokio::test]
async fn columns_that_nothing_reads_are_not_made() {
    let config = json!({ "kind": "nexmark", "rows": 50 });
    let context = SourceContext {
        folder: Folder::new("."),
        metadata: Vec::new(),
        live: (0..24).map(|place| place == 20).collect(),
        batch_rows: 50,
    };
    let mut source = <Source as SourceConnector>::open(decode(&config).unwrap(), context).unwrap();
    let mut reader = source.open(&PartitionName::new("0"), None).await.unwrap();
    let Read::Data(Payload::Columns(columns)) = reader.read(1 << 20).await.unwrap() else {
        panic!("there are rows")
    };
    assert!(
        columns
            .columns
            .iter()
            .enumerate()
            .all(|(place, column)| column.is_some() == (place == 20))
    );
    assert!(
        columns.columns[20]
            .as_ref()
            .is_some_and(|prices: &Column| prices.len() == 50 && prices.is_null(0))
    );
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let refused = |config: Value| match decode(&config) {
        Err(problem) => problem.message,
        Ok(config) => Source::describe(&config, &Folder::new(".")).unwrap_err()[0]
            .message
            .clone(),
    };
    assert_eq!(
        refused(json!({ "kind": "counter", "start": "today" })),
        "\"today\" is not a point in time in RFC 3339"
    );
    assert_eq!(
        refused(json!({ "kind": "dice" })),
        "unknown variant `dice`, expected `counter` or `nexmark`"
    );
    assert!(refused(json!({ "kind": "counter", "rows": 0 })).contains("nonzero"));
    assert!(refused(json!({ "kind": "counter", "speed": 1 })).contains("unknown field `speed`"));
}
