//! A savepoint can be moved, and begins a lineage in another store.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_checkpoint::manifest::{LayerKind, ManifestKind, State};
use wasmill_checkpoint::snapshot::{Collector, Restore};
use wasmill_checkpoint::store::{Memory, Store};
use wasmill_checkpoint::{Error, Manifest, inspect, layout, origin, savepoint};
use wasmill_core::id::{Epoch, Generation, KeyGroup, Lineage, NodeId, WorkerIndex};

use crate::block_on::block_on;
use crate::examples::manifest;

type Entries = BTreeMap<(u16, Vec<u8>), Vec<u8>>;

/// Two epochs of an operator, the second of which overwrites and removes.
async fn example(store: &dyn Store) -> Manifest {
    let folder = layout::lineage(Lineage(1));
    let operator = NodeId::new("count");
    let mut state = State::default();
    let mut first = Collector::new();
    let mut second = Collector::new();
    for group in 0..3 {
        for key in [b"a", b"b", b"c"] {
            first.entry(&operator, KeyGroup(group), key, Some(b"1"));
        }
    }
    second.entry(&operator, KeyGroup(1), b"a", Some(b"2"));
    second.entry(&operator, KeyGroup(1), b"b", None);
    for (epoch, collector) in [first, second].into_iter().enumerate() {
        let path = layout::snapshot(Epoch(epoch as u64), Generation(1), WorkerIndex(0));
        state.add(&collector.write(store, &folder, &path).await.unwrap());
    }
    manifest(1, state)
}

async fn entries(store: &Arc<dyn Store>, folder: &str, state: &State) -> Entries {
    let mut entries = Entries::new();
    let mut restore = Restore::open(store, folder, state, |_, _| true).await.unwrap();
    while restore.next_group().await.unwrap().is_some() {
        while let Some(entry) = restore.next().await.unwrap() {
            entries.insert((entry.group.0, entry.key.to_vec()), entry.value.to_vec());
        }
    }
    entries
}

fn expected() -> Entries {
    let mut expect = Entries::new();
    for group in 0..3 {
        for key in ["a", "b", "c"] {
            expect.insert((group, key.into()), b"1".to_vec());
        }
    }
    expect.insert((1, b"a".to_vec()), b"2".to_vec());
    expect.remove(&(1, b"b".to_vec()));
    expect
}

#[test]
fn a_savepoint_is_whole_wherever_it_is_moved() {
    block_on(async {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let manifest = example(&*store).await;
        let made = Memory::new();
        let target: Arc<dyn Store> = Arc::new(made.clone());
        let lineage = layout::lineage(Lineage(1));
        savepoint::write(&store, &lineage, &manifest, &target, "here")
            .await
            .unwrap();
        // Asked for again it is the same; another is not written over it.
        savepoint::write(&store, &lineage, &manifest, &target, "here")
            .await
            .unwrap();
        let other = Manifest {
            epoch: Epoch(9),
            ..manifest.clone()
        };
        let refused = savepoint::write(&store, &lineage, &other, &target, "here")
            .await
            .unwrap_err();
        assert_eq!(refused.to_string(), "`here` has a savepoint already");

        let moved = Memory::new();
        for (path, bytes) in &*made.objects() {
            let path = path.replace("here/", "there/");
            moved.objects().insert(path, bytes.clone());
        }
        let moved: Arc<dyn Store> = Arc::new(moved);
        let opened = savepoint::open(&moved, "there").await.unwrap();
        assert_eq!((opened.epoch, opened.kind), (Epoch(1), ManifestKind::Savepoint));
        assert!(opened.sinks.values().all(|sink| sink.pending.is_empty()));
        let layers = opened.state.layers(&NodeId::new("count"), KeyGroup(1));
        assert_eq!(
            layers.iter().map(|layer| layer.kind).collect::<Vec<_>>(),
            [LayerKind::Base]
        );
        assert_eq!(entries(&moved, "there", &opened.state).await, expected());
        assert_eq!(
            inspect::verify(&moved, "there", &opened).await.unwrap(),
            BTreeMap::new()
        );

        let fresh: Arc<dyn Store> = Arc::new(Memory::new());
        let begins = origin::from_savepoint(&*moved, "there", &opened, &*fresh, Lineage(4))
            .await
            .unwrap();
        assert_eq!(begins.lineage, Lineage(4));
        assert_eq!(
            entries(&fresh, &layout::lineage(Lineage(4)), &begins.state).await,
            expected()
        );
    });
}

#[test]
fn a_lineage_copies_what_it_begins_with() {
    block_on(async {
        let memory = Memory::new();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let manifest = example(&*store).await;
        let mut writer = wasmill_checkpoint::chain::Writer::open(
            store.clone(),
            Lineage(1),
            wasmill_checkpoint::Origin::Fresh,
            None,
            "a".to_owned(),
        )
        .await
        .unwrap();
        let body = wasmill_checkpoint::Body::Manifest(Box::new(manifest));
        writer.append(body).await.unwrap();
        let begins = origin::from_checkpoint(&*store, Lineage(1), Epoch(1), Lineage(2))
            .await
            .unwrap();
        memory.objects().retain(|path, _| !path.starts_with("lineages/000001"));
        assert_eq!(
            entries(&store, &layout::lineage(Lineage(2)), &begins.state).await,
            expected()
        );
    });
}

#[test]
fn what_is_missing_or_damaged_is_told() {
    block_on(async {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let absent = savepoint::open(&store, "s").await.unwrap_err();
        assert_eq!(
            absent.to_string(),
            "there is no savepoint in `s`: it has no `savepoint.json`"
        );

        let manifest = example(&*store).await;
        let made = Memory::new();
        let target: Arc<dyn Store> = Arc::new(made.clone());
        let folder = layout::lineage(Lineage(1));
        savepoint::write(&store, &folder, &manifest, &target, "s")
            .await
            .unwrap();
        let path = "s/state/base-00000000000000000001-g0-0.snap";
        let whole = made.objects()[path].clone();
        made.objects().insert(path.to_owned(), whole.slice(1..));
        assert!(matches!(savepoint::open(&target, "s").await, Err(Error::Damaged(_))));
        made.objects().remove(path);
        assert!(matches!(savepoint::open(&target, "s").await, Err(Error::Store(_))));
    });
}
