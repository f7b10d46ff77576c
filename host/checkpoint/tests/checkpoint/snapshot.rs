//! Snapshot files against an ordered map, and against damage of every byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use wasmill_checkpoint::compaction;
use wasmill_checkpoint::envelope::Checksum;
use wasmill_checkpoint::manifest::{FileSummary, LayerKind, State, StateFile};
use wasmill_checkpoint::snapshot::{Collector, Reader, Restore, Writer};
use wasmill_checkpoint::store::{Memory, Store};
use wasmill_checkpoint::{Damage, Error};
use wasmill_core::id::{KeyGroup, NodeId};
use xxhash_rust::xxh3::xxh3_64;

use crate::block_on::block_on;

type Entries = BTreeMap<(NodeId, u16, Vec<u8>), Vec<u8>>;

async fn restore(store: &Arc<dyn Store>, state: &State) -> Result<Entries, Error> {
    let mut entries = Entries::new();
    let mut restore = Restore::open(store, "f", state, |_, _| true).await?;
    while let Some((operator, group)) = restore.next_group().await? {
        while let Some(entry) = restore.next().await? {
            assert_eq!((&entry.operator, entry.group), (&operator, group));
            let key = (operator.clone(), group.0, entry.key.to_vec());
            assert!(
                entries.last_key_value().is_none_or(|(last, _)| *last < key),
                "entries come in order"
            );
            entries.insert(key, entry.value.to_vec());
        }
    }
    Ok(entries)
}

/// One change of a state: operator, key group, key, value.
type Change = (u8, u16, Vec<u8>, Option<Vec<u8>>);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let key = prop::collection::vec(0_u8..3, 0..3);
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..40));
    prop::collection::vec((0_u8..2, 0_u16..3, key, value), 0..30)
}

proptest! {
    /// The oracle is a map that the same changes are made in.
    #[test]
    fn layers_merge_to_what_the_changes_say(epochs in prop::collection::vec((changes(), any::<bool>()), 1..6)) {
        block_on(async {
            let memory = Memory::new();
            let store: Arc<dyn Store> = Arc::new(memory.clone());
            let mut state = State::default();
            let mut expect = Entries::new();
            for (number, (changes, compact)) in epochs.into_iter().enumerate() {
                let mut collector = Collector::new();
                for (operator, group, key, value) in changes {
                    let operator = NodeId::new(format!("operator-{operator}"));
                    collector.entry(&operator, KeyGroup(group), &key, value.as_deref());
                    match value {
                        Some(value) => expect.insert((operator, group, key), value),
                        None => expect.remove(&(operator, group, key)),
                    };
                }
                let file = collector.write(&*store, "f", &format!("{number}.snap")).await.unwrap();
                state.add(&file);
                if compact {
                    let all = state.operators().flat_map(|operator| {
                        state.groups(operator).map(|(group, _)| (operator.clone(), group))
                    });
                    let plan = compaction::Plan { groups: all.collect() };
                    let path = format!("base-{number}.snap");
                    let merged = compaction::merge(&store, "f", &state, &plan, &path).await.unwrap();
                    state.replace(&merged);
                }
            }
            prop_assert_eq!(restore(&store, &state).await.unwrap(), expect);
            Ok(())
        })?;
    }
}

fn example() -> (Bytes, FileSummary) {
    let mut writer = Writer::new("1.snap");
    let (count, join) = (NodeId::new("count"), NodeId::new("join"));
    writer.section(&count, KeyGroup(0), LayerKind::Delta);
    writer.entry(b"", Some(b"empty key"));
    writer.entry(b"a", Some(b"1"));
    writer.entry(b"b", None);
    writer.entry(b"c", Some(b""));
    writer.section(&count, KeyGroup(3), LayerKind::Base);
    writer.section(&join, KeyGroup(0), LayerKind::Base);
    writer.entry(&[0xff; 200], Some(&[7; 300]));
    writer.finish()
}

proptest! {
    /// What was written by something else, and has the right checksums, may be refused, and may not end the process.
    #[test]
    fn a_sealed_file_of_any_content_is_read_or_refused(
        payload in prop::collection::vec(any::<u8>(), 0..60),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let (bytes, mut summary) = example();
        let (index_at, footer_at) = (index_at(&bytes), bytes.len() - 32);
        let mut index = bytes[index_at..footer_at].to_vec();
        // The first section's only block gets another payload, of any length.
        let first_end = 8 + summary.sections[0].bytes as usize;
        let mut block = (payload.len() as u32).to_le_bytes().to_vec();
        block.extend(xxh3_64(&payload).to_le_bytes());
        block.extend(&payload);
        let sections = [&bytes[..8], &block, &bytes[first_end..index_at]].concat();
        for (place, byte) in changes {
            let place = place.index(index.len());
            index[place] = byte;
        }
        let checksum = xxh3_64(&index);
        let mut file = sections.clone();
        file.extend(&index);
        file.extend((sections.len() as u64).to_le_bytes());
        file.extend((index.len() as u64).to_le_bytes());
        file.extend(checksum.to_le_bytes());
        file.extend(&bytes[footer_at + 24..]);
        summary.file.length = file.len() as u64;
        summary.file.checksum = Checksum(checksum);
        let store = put(file.into());
        block_on(async {
            if let Ok(mut reader) = Reader::open(&store, "f", &summary.file).await {
                reader.verify().await.ok();
            }
            restore(&store, &state_of(&summary)).await.ok();
        });
    }
}

fn index_at(bytes: &[u8]) -> usize {
    let footer = &bytes[bytes.len() - 32..];
    u64::from_le_bytes(footer[..8].try_into().unwrap()) as usize
}

fn put(bytes: Bytes) -> Arc<dyn Store> {
    let memory = Memory::new();
    memory.objects().insert("f/1.snap".to_owned(), bytes);
    Arc::new(memory)
}

fn state_of(file: &FileSummary) -> State {
    let mut state = State::default();
    state.add(file);
    state
}

#[test]
fn every_flipped_bit_and_every_lost_byte_is_noticed() {
    let (bytes, summary) = example();
    let state = state_of(&summary);
    assert_eq!(block_on(restore(&put(bytes.clone()), &state)).unwrap().len(), 4);
    let check = |damaged: Vec<u8>, what: String| {
        let read = block_on(restore(&put(damaged.into()), &state));
        assert!(
            matches!(read, Err(Error::Damaged(_) | Error::Version { .. })),
            "{what}: {read:?}"
        );
    };
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << bit;
            check(flipped, format!("byte {at} bit {bit}"));
        }
        check(bytes[..at].to_vec(), format!("{at} bytes"));
    }
    check([&bytes[..], b"x"].concat(), "a byte more".to_owned());
}

#[test]
fn damage_names_the_file_the_section_and_the_byte() {
    let (bytes, summary) = example();
    let mut flipped = bytes.to_vec();
    // After the head (8) and the block's length and checksum (12).
    flipped[20] ^= 1;
    let error = block_on(restore(&put(flipped.into()), &state_of(&summary))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`f/1.snap` is damaged in `count`, key group 0 at byte 8: a block does not have its checksum"
    );
}

#[test]
fn another_file_in_the_place_of_one_is_noticed() {
    let (_, summary) = example();
    let other = Writer::new("1.snap").finish().0;
    let same_length = StateFile {
        length: other.len() as u64,
        ..summary.file
    };
    let error = block_on(Reader::open(&put(other), "f", &same_length)).unwrap_err();
    assert!(
        error.to_string().contains("it is not the file that the manifest names"),
        "{error}"
    );
    let error = block_on(Reader::open(&put(Bytes::new()), "g", &same_length)).unwrap_err();
    assert!(matches!(error, Error::Store(error) if error.is_missing()));
}

#[test]
fn a_file_larger_than_what_is_kept_comes_back() {
    let operator = NodeId::new("large");
    let mut collector = Collector::new();
    let mut expect = Entries::new();
    for number in 0_u32..60_000 {
        let key = number.to_be_bytes().to_vec();
        let value = vec![number as u8; 40 + number as usize % 30];
        let group = KeyGroup((number % 5) as u16);
        collector.entry(&operator, group, &key, Some(&value));
        expect.insert((operator.clone(), group.0, key), value);
    }
    let huge = vec![1; 700_000];
    collector.entry(&operator, KeyGroup(0), b"huge", Some(&huge));
    expect.insert((operator.clone(), 0, b"huge".to_vec()), huge);
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let file = block_on(collector.write(&*store, "f", "1.snap")).unwrap();
    assert!(
        file.file.length > 3_000_000,
        "it is several uploads: {}",
        file.file.length
    );
    assert_eq!(block_on(restore(&store, &state_of(&file))).unwrap(), expect);
    block_on(async {
        let mut reader = Reader::open(&store, "f", &file.file).await.unwrap();
        reader.verify().await.unwrap();
    });
}

#[test]
fn a_base_hides_what_was_below_it_also_when_it_is_empty() {
    block_on(async {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let operator = NodeId::new("o");
        let mut state = State::default();
        let mut first = Collector::new();
        first.entry(&operator, KeyGroup(0), b"a", Some(b"1"));
        first.entry(&operator, KeyGroup(1), b"a", Some(b"1"));
        state.add(&first.write(&*store, "f", "1").await.unwrap());
        let mut second = Collector::new();
        second.base(&operator, KeyGroup(0));
        second.entry(&operator, KeyGroup(0), b"gone", None);
        state.add(&second.write(&*store, "f", "2").await.unwrap());
        let left = restore(&store, &state).await.unwrap();
        assert_eq!(left.into_keys().collect::<Vec<_>>(), [(operator, 1, b"a".to_vec())]);
    });
}

#[test]
#[should_panic(expected = "keys ascend")]
fn keys_that_do_not_ascend_are_a_mistake() {
    let mut writer = Writer::new("x");
    writer.section(&NodeId::new("o"), KeyGroup(0), LayerKind::Delta);
    writer.entry(b"", None);
    writer.entry(b"", None);
}

/// The bytes of version 1, as FORMAT.md describes them, put together by `fixtures/snapshot_v1.py`.
#[test]
fn a_file_of_version_1_is_read_for_ever() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1.snap");
    let bytes = Bytes::from(fs::read(path).unwrap());
    let index_checksum: [u8; 8] = bytes[bytes.len() - 16..bytes.len() - 8].try_into().unwrap();
    let file = StateFile {
        path: "1.snap".into(),
        length: bytes.len() as u64,
        checksum: Checksum(u64::from_le_bytes(index_checksum)),
    };
    let store = put(bytes.clone());
    block_on(async {
        let mut reader = Reader::open(&store, "f", &file).await.unwrap();
        let sections: Vec<_> = reader
            .sections()
            .map(|(operator, group, kind, entries)| (operator.to_string(), group.0, kind, entries))
            .collect();
        assert_eq!(
            sections,
            [
                ("count".to_owned(), 0, LayerKind::Delta, 4),
                ("count".to_owned(), 3, LayerKind::Base, 0),
                ("join".to_owned(), 0, LayerKind::Base, 1),
            ]
        );
        reader.verify().await.unwrap();
        let mut cursor = reader.cursor(&NodeId::new("count"), KeyGroup(0)).unwrap();
        let mut entries = Vec::new();
        while let Some(change) = reader.next(&mut cursor).await.unwrap() {
            entries.push((change.key.to_vec(), change.value.map(|value| value.to_vec())));
        }
        let entry = |key: &str, value: Option<&str>| (key.into(), value.map(Into::into));
        assert_eq!(
            entries,
            [
                entry("", Some("empty key")),
                entry("a", Some("1")),
                entry("b", None),
                entry("c", Some("")),
            ]
        );
    });
    // The same entries are written as the same bytes.
    assert_eq!(example().0, bytes);
}

#[test]
fn a_later_version_is_not_taken_for_damage() {
    let (bytes, summary) = example();
    let mut later = bytes.to_vec();
    let version_at = later.len() - 2;
    later[version_at] = 9;
    let error = block_on(Reader::open(&put(later.into()), "f", &summary.file)).unwrap_err();
    assert!(matches!(error, Error::Version { found: 9, known: 1, .. }), "{error}");
}

#[test]
fn a_damage_is_told_in_one_line() {
    let damage = Damage::of("a/b", "it is short").within("`x`, key group 1").at(7);
    assert_eq!(
        damage.to_string(),
        "`a/b` is damaged in `x`, key group 1 at byte 7: it is short"
    );
}
