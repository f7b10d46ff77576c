//! Documents of each version are read for ever. They were written by `fixtures/documents_v1.py`.

use std::fs;
use std::path::Path;

use wasmill_checkpoint::manifest::{LayerKind, ManifestKind, PartitionState, Prepared};
use wasmill_checkpoint::{Link, Manifest, envelope};
use wasmill_core::delivery::Delivery;
use wasmill_core::id::{Epoch, Generation, KeyGroup, Lineage, NodeId};
use wasmill_core::time::Timestamp;

fn read(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn a_link_of_version_1_is_read_for_ever() {
    let (link, _) = Link::open("link_v1.json", &read("link_v1.json")).unwrap();
    assert_eq!(link.number, 57);
    assert_eq!(link.previous, Some(envelope::Checksum(0x0f3c_6c5a_8be2_f0aa)));
    assert_eq!(link.writer, "a/1/2");
    let manifest = link.manifest().unwrap();
    check(manifest);
    assert_eq!(manifest.kind, ManifestKind::Checkpoint);
    let out = NodeId::new("out");
    assert_eq!(manifest.sinks[&out].delivery, Delivery::ExactlyOnce);
    let prepared = |writer, bytes: &[u8]| Prepared {
        writer,
        bytes: bytes.to_vec(),
    };
    assert_eq!(manifest.sinks[&out].pending[&Epoch(40)], [prepared(0, b"spool")]);
    assert_eq!(manifest.prepared(&out), [prepared(0, b""), prepared(1, b"x")]);
    assert!(manifest.shows_outside());

    let (sealed, _) = link.seal();
    let (again, _) = Link::open("again", &sealed).unwrap();
    // Bytes of key groups that stand together are told as their mean, which is exact here.
    assert_eq!(again, link);
}

#[test]
fn a_savepoint_of_version_1_is_read_for_ever() {
    let path = "savepoint_v1.json";
    let (manifest, _): (Manifest, _) = envelope::open(envelope::SAVEPOINT, path, &read(path)).unwrap();
    check(&manifest);
    assert_eq!(manifest.kind, ManifestKind::Savepoint);
    assert!(Link::open(path, &read(path)).is_err(), "it is no link");
}

fn check(manifest: &Manifest) {
    assert_eq!(
        (manifest.lineage, manifest.generation, manifest.epoch),
        (Lineage(2), Generation(3), Epoch(41))
    );
    assert_eq!(manifest.time, Timestamp(1_700_000_000_000_000));
    assert_eq!(manifest.topology.key_groups, 256);
    assert_eq!(manifest.topology.operators[&NodeId::new("hourly")].kind, "window");
    let source = &manifest.sources[&NodeId::new("in")];
    assert_eq!((source.published, source.acknowledged), (Timestamp::MIN, true));
    let [first, second] = &source.partitions[..] else {
        panic!("{source:?}");
    };
    assert_eq!(
        (first.name.as_str(), first.position, first.next_line),
        ("input/a.csv", 1234, 17)
    );
    assert_eq!((&first.note[..], &first.prologue[..]), (&[0, 255][..], &b"t,x\n"[..]));
    assert_eq!(
        (first.state, second.state),
        (PartitionState::Active, PartitionState::Waiting)
    );
    assert_eq!(second.greatest, None);
    assert_eq!(manifest.event_time(), Some(Timestamp(1_600_000_000_500_000)));
    let hourly = NodeId::new("hourly");
    let layers = |group| -> Vec<(&str, LayerKind, u64)> {
        let layers = manifest.state.layers(&hourly, KeyGroup(group));
        layers
            .iter()
            .map(|layer| (&*layer.path, layer.kind, layer.bytes))
            .collect()
    };
    let base = ("state/base-00000000000000000040-g3-1.snap", LayerKind::Base, 10);
    assert_eq!(layers(126), [base]);
    assert_eq!(layers(255), [base]);
    assert_eq!(
        layers(127),
        [base, ("state/00000000000000000041-g3-w0.snap", LayerKind::Delta, 1)]
    );
    assert_eq!(manifest.state.files().map(|file| file.length).sum::<u64>(), 190);
    assert_eq!(manifest.statistics.duration_micros, 12_000);
}
