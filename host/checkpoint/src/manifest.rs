//! What an epoch consists of when it is complete: where sources go on, what operators remember, what sinks are to commit.
//!
//! A manifest is a link of the chain, or the document of a savepoint. It holds nothing large: state and spools are files
//! that it names. Paths are relative to the folder of the lineage or of the savepoint. Times and watermarks are
//! microseconds since 1970-01-01T00:00:00Z; the least and the greatest 64-bit numbers stand for before and after all.

mod state;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasmill_core::delivery::Delivery;
use wasmill_core::id::{Epoch, Generation, Lineage, NodeId, PartitionName};
use wasmill_core::time::Timestamp;

use crate::base64;

pub use state::{FileSummary, Layer, LayerKind, Merged, SectionSummary, State, StateFile};

/// A complete epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// The lineage.
    pub lineage: Lineage,
    /// The generation that completed it.
    pub generation: Generation,
    /// The epoch.
    pub epoch: Epoch,
    /// Why it was made.
    pub kind: ManifestKind,
    /// When it was complete.
    pub time: Timestamp,
    /// What ran.
    pub topology: TopologyFacts,
    /// Where each source's epoch ends.
    pub sources: BTreeMap<NodeId, SourceCut>,
    /// The watermarks that nodes had come to, where their state does not say it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watermarks: BTreeMap<NodeId, Timestamp>,
    /// What each sink has prepared and not confirmed.
    pub sinks: BTreeMap<NodeId, SinkCut>,
    /// What the operators remember.
    pub state: State,
    /// What it took.
    pub statistics: Statistics,
}

impl Manifest {
    /// Where sources that are to continue this epoch begin.
    pub const fn next_epoch(&self) -> Epoch {
        self.epoch.next()
    }

    /// Whether going back to before this epoch would show outside: something of it may have been committed or
    /// acknowledged.
    pub fn shows_outside(&self) -> bool {
        let committed = self.sinks.values().any(|sink| {
            sink.delivery != Delivery::AtLeastOnce
                && sink
                    .pending
                    .get(&self.epoch)
                    .is_some_and(|prepared| prepared.iter().any(|prepared| !prepared.bytes.is_empty()))
        });
        committed || self.sources.values().any(|source| source.acknowledged)
    }

    /// What a sink's writers have prepared in this epoch, by writer. Nothing in the manifest that a lineage was opened
    /// with.
    pub fn prepared(&self, sink: &NodeId) -> &[Prepared] {
        let cut = self.sinks.get(sink);
        cut.and_then(|cut| cut.pending.get(&self.epoch))
            .map_or(&[], |prepared| prepared)
    }

    /// The greatest event time of all partitions: where in the past this manifest is.
    pub fn event_time(&self) -> Option<Timestamp> {
        let partitions = self.sources.values().flat_map(|source| &source.partitions);
        partitions.filter_map(|partition| partition.greatest).max()
    }
}

/// Why a manifest was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestKind {
    /// It was time. Retention removes it.
    Checkpoint,
    /// A user asked for it. The files that it names stay until the savepoint is written and its successors are enough.
    Savepoint,
    /// The input has ended, and so has the lineage.
    Final,
}

/// What ran when a manifest was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TopologyFacts {
    /// Its name.
    pub name: String,
    /// The digest of its plan.
    pub digest: String,
    /// The number of key groups: what state is divided into.
    pub key_groups: u16,
    /// Its operators with state.
    pub operators: BTreeMap<NodeId, OperatorFacts>,
}

/// What an operator's state can be loaded into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OperatorFacts {
    /// Its type: `window`, `keyed`, ...
    pub kind: String,
    /// What its state's layout depends on, as one text: state is loaded only where it is the same.
    pub signature: String,
}

/// Where a source's epoch ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourceCut {
    /// The watermark that it had published.
    pub published: Timestamp,
    /// Whether what it read is acknowledged to where it comes from, so that it cannot be read again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledged: bool,
    /// Its partitions.
    pub partitions: Vec<PartitionCut>,
}

/// Where an epoch ends in a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PartitionCut {
    /// Its name.
    pub name: PartitionName,
    /// Where the next record begins.
    pub position: u64,
    /// What the connector needs besides to find it again: path, inode, ...
    #[serde(default, with = "base64", skip_serializing_if = "Vec::is_empty")]
    pub note: Vec<u8>,
    /// What the format has read before the first record: a header.
    #[serde(default, with = "base64", skip_serializing_if = "Vec::is_empty")]
    pub prologue: Vec<u8>,
    /// The number of the next line, from 1.
    pub next_line: u64,
    /// Its watermark W.
    pub watermark: Timestamp,
    /// Its greatest event time.
    pub greatest: Option<Timestamp>,
    /// The watermark at which it joined.
    pub floor: Timestamp,
    /// How it is.
    pub state: PartitionState,
}

/// How a partition is at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionState {
    /// Known, and not opened.
    Waiting,
    /// Being read.
    Active,
    /// Silent for so long that it no longer holds M back.
    Idle,
    /// Read to its end.
    Finished,
}

/// What a sink has prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SinkCut {
    /// What it guarantees.
    pub delivery: Delivery,
    /// The epochs whose commit was not confirmed when this manifest was made, its own last.
    pub pending: BTreeMap<Epoch, Vec<Prepared>>,
}

/// What a writer has prepared in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Prepared {
    /// The writer's number.
    pub writer: u32,
    /// What the committer needs; empty where there is nothing to commit.
    #[serde(default, with = "base64", skip_serializing_if = "Vec::is_empty")]
    pub bytes: Vec<u8>,
}

/// What an epoch took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Statistics {
    /// Entries written in this epoch's snapshot files, removals too.
    pub entries: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// From the roll to the manifest, in microseconds.
    pub duration_micros: u64,
}
