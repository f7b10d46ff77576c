//! What the topology's format has and the runtime has not: refused in one place, so that one place goes when it is built.

use wasmill_core::delivery::Delivery;

use crate::problems::Problems;
use crate::reader::not_built;
use crate::spec::{Kind, Topology};

/// Refuses checkpoints and what hangs on them.
pub(crate) fn refuse(topology: &Topology, problems: &Problems) {
    for (key, place) in &topology.running {
        let instead = match *key {
            "checkpoint" => {
                "leave the table out; the job then keeps nothing, and a start reads its sources from the beginning"
            }
            "restart" => "leave the table out; a failure ends the run",
            "control" => "leave the table out; a run is stopped with Ctrl-C",
            _ => "leave the key out; a stop waits until everything is written",
        };
        problems.push(not_built(&format!("`{key}`"), place, instead));
    }
    let of_sinks = topology.nodes.iter().filter_map(|node| match &node.kind {
        Kind::Sink(sink) => sink.delivery.as_ref(),
        _ => None,
    });
    for spec in topology.delivery.iter().chain(of_sinks) {
        if spec.delivery != Delivery::AtLeastOnce {
            problems.push(not_built(
                "`delivery` other than at-least-once",
                &spec.place,
                "write `delivery = \"at-least-once\"`, or leave the key out",
            ));
        }
    }
    for word in topology.nodes.iter().flat_map(|node| &node.renamed_from) {
        problems.push(not_built(
            "`renamed-from`",
            &word.place,
            "leave the key out; there is no kept state that an older id could name",
        ));
    }
}
