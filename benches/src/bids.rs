//! The source `bench-bids`: bids that are decoded already, in two partitions, out of order by up to two seconds.

use std::sync::OnceLock;

use arrow_array::{Int64Array, TimestampMicrosecondArray};
use arrow_buffer::ScalarBuffer;
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wasmill_connector_api::config::{ConfigProblem, Folder};
use wasmill_connector_api::source::{
    self, Columns, Discovery, PartitionReader, Payload, Read, Replay, Resume, SourceConnector, SourceContext,
    SourceDescription, Yields,
};
use wasmill_core::column::Column;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::PartitionName;
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Micros;

use crate::random::Random;

/// Rows of both partitions.
pub(crate) const ROWS: usize = 10_000_000;
const PARTITIONS: usize = 2;
const KEYS: u64 = 100_000;
/// Rows a second of event time, of both partitions.
const RATE: i64 = 100_000;
/// How much later than others a row may come.
pub(crate) const JITTER: i64 = 2_000_000;

/// One partition.
pub(crate) struct Partition {
    pub(crate) auctions: ScalarBuffer<i64>,
    pub(crate) prices: ScalarBuffer<i64>,
    pub(crate) times: ScalarBuffer<i64>,
}

/// The bids, made once.
pub(crate) fn partitions() -> &'static [Partition] {
    static PARTITIONS_MADE: OnceLock<Vec<Partition>> = OnceLock::new();
    PARTITIONS_MADE.get_or_init(|| (0..PARTITIONS).map(partition).collect())
}

fn partition(number: usize) -> Partition {
    let rows = ROWS / PARTITIONS;
    let mut random = Random::new(77 + number as u64);
    let mut columns = [(); 3].map(|()| Vec::with_capacity(rows));
    for row in 0..rows {
        let time = 1_000_000_000_000 + (row * PARTITIONS + number) as i64 * 1_000_000 / RATE;
        columns[0].push(1_000 + random.below(KEYS) as i64);
        columns[1].push(100 + random.below(10_000_000) as i64);
        columns[2].push(time - random.below(JITTER as u64) as i64);
    }
    let [auctions, prices, times] = columns.map(ScalarBuffer::from);
    Partition {
        auctions,
        prices,
        times,
    }
}

/// The connector.
pub(crate) struct Source {
    batch_rows: usize,
}

/// It has no keys.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {}

impl SourceConnector for Source {
    const NAME: &'static str = "bench-bids";
    type Config = Config;

    fn describe(_: &Config, _: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>> {
        let columns = [
            ("auction", DataType::Int64),
            ("price", DataType::Int64),
            ("date_time", DataType::Timestamp),
        ];
        let fields = columns.map(|(name, data_type)| Field::required(name, data_type));
        Ok(SourceDescription {
            yields: Yields::Columns(Schema::new(fields.to_vec()).expect("the names differ")),
            metadata: &[],
            bounded: true,
            one_partition: true,
            discover_every: Micros::SECOND,
            replay: Replay::Replayable,
            irreproducible: None,
            reads: Vec::new(),
        })
    }

    fn open(_: Config, context: SourceContext) -> Result<Box<dyn source::Source>, Fault> {
        Ok(Box::new(Self {
            batch_rows: context.batch_rows,
        }))
    }
}

#[async_trait]
impl source::Source for Source {
    async fn discover(&mut self) -> Result<Discovery, Fault> {
        Ok(Discovery {
            partitions: (0..PARTITIONS)
                .map(|number| PartitionName::new(number.to_string()))
                .collect(),
            complete: true,
        })
    }

    async fn open(
        &mut self,
        partition: &PartitionName,
        from: Option<&Resume>,
    ) -> Result<Box<dyn PartitionReader>, Fault> {
        let number: usize = partition
            .as_str()
            .parse()
            .map_err(|_| Fault::fatal(Domain::Internal, "a partition is a number"))?;
        Ok(Box::new(Reader {
            partition: &partitions()[number],
            at: from.map_or(0, |from| from.position as usize),
            batch_rows: self.batch_rows,
        }))
    }
}

struct Reader {
    partition: &'static Partition,
    at: usize,
    batch_rows: usize,
}

#[async_trait]
impl PartitionReader for Reader {
    async fn read(&mut self, _: usize) -> Result<Read, Fault> {
        let Partition {
            auctions,
            prices,
            times,
        } = self.partition;
        let rows = self.batch_rows.min(auctions.len() - self.at);
        if rows == 0 {
            return Ok(Read::End);
        }
        let integers =
            |values: &ScalarBuffer<i64>| Some(Column::Int64(Int64Array::new(values.slice(self.at, rows), None)));
        let columns = vec![
            integers(auctions),
            integers(prices),
            Some(Column::Timestamp(TimestampMicrosecondArray::new(
                times.slice(self.at, rows),
                None,
            ))),
        ];
        let positions = (self.at as u64..(self.at + rows) as u64).collect();
        self.at += rows;
        Ok(Read::Data(Payload::Columns(Columns {
            columns,
            positions,
            metadata: Vec::new(),
        })))
    }

    fn note(&self) -> Bytes {
        Bytes::new()
    }

    async fn acknowledge(&mut self, _: u64) -> Result<(), Fault> {
        Ok(())
    }
}
