//! Values that several tests begin with.

use std::collections::BTreeMap;

use wasmill_checkpoint::Manifest;
use wasmill_checkpoint::manifest::{
    ManifestKind, PartitionCut, PartitionState, Prepared, SinkCut, SourceCut, State, Statistics, TopologyFacts,
};
use wasmill_core::delivery::Delivery;
use wasmill_core::id::{Epoch, Generation, Lineage, NodeId, PartitionName};
use wasmill_core::time::Timestamp;

/// A manifest of an epoch with one source, one exactly-once sink that has prepared it, and this state.
pub(crate) fn manifest(epoch: u64, state: State) -> Manifest {
    let partition = PartitionCut {
        name: PartitionName::new("a.csv"),
        position: 100 * epoch,
        note: vec![1, 2, 255],
        prologue: b"t,x\n".to_vec(),
        next_line: 10 * epoch + 1,
        watermark: Timestamp(5),
        greatest: Some(Timestamp(7)),
        floor: Timestamp::MIN,
        state: PartitionState::Active,
    };
    Manifest {
        lineage: Lineage(1),
        generation: Generation(1),
        epoch: Epoch(epoch),
        kind: ManifestKind::Checkpoint,
        time: Timestamp(1_000_000 * epoch as i64),
        topology: TopologyFacts {
            name: "example".to_owned(),
            digest: "d1".to_owned(),
            key_groups: 4,
            operators: BTreeMap::new(),
        },
        sources: BTreeMap::from([(
            NodeId::new("in"),
            SourceCut {
                published: Timestamp(5),
                acknowledged: false,
                partitions: vec![partition],
            },
        )]),
        watermarks: BTreeMap::new(),
        sinks: BTreeMap::from([(NodeId::new("out"), pending(&[epoch]))]),
        state,
        statistics: Statistics::default(),
    }
}

/// What an exactly-once sink has to commit.
pub(crate) fn pending(epochs: &[u64]) -> SinkCut {
    let prepared = Prepared {
        writer: 0,
        bytes: vec![9],
    };
    SinkCut {
        delivery: Delivery::ExactlyOnce,
        pending: epochs
            .iter()
            .map(|epoch| (Epoch(*epoch), vec![prepared.clone()]))
            .collect(),
    }
}
