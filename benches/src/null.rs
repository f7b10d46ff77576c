//! The sink `null`: takes encoded rows and forgets them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use wasmill_connector_api::config::{ConfigProblem, Folder};
use wasmill_connector_api::sink::{
    Chunk, Committer, CommitterContext, NoCommits, Prepared, Sink, SinkConnector, SinkContext, SinkDescription, Writers,
};
use wasmill_core::delivery::Delivery;
use wasmill_core::fault::Fault;
use wasmill_core::id::Epoch;

/// The connector.
pub(crate) struct Null;

/// It has no keys.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {}

impl SinkConnector for Null {
    const NAME: &'static str = "null";
    type Config = Config;

    fn describe(_: &Config, _: &Folder) -> Result<SinkDescription, Vec<ConfigProblem>> {
        Ok(SinkDescription {
            writers: Writers::PerWorker,
            target: "nothing".to_owned(),
            delivery: Delivery::ExactlyOnce,
            at_fresh_start: Vec::new(),
        })
    }

    fn open(_: Config, _: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(Self))
    }

    fn committer(_: Config, _: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        Ok(Box::new(NoCommits))
    }
}

#[async_trait]
impl Sink for Null {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Fault> {
        drop(std::hint::black_box(chunk));
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    async fn prepare(&mut self, _: Epoch) -> Result<Prepared, Fault> {
        Ok(Prepared::default())
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}
