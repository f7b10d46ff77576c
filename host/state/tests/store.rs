//! Both backends beside the standard library's ordered map: the same entries in the same order after any operations.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use wasmill_state::store::ENTRY_BYTES_MAX;
use wasmill_state::{Direction, Page, Span, Store};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Operation {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    RemoveRange(Chosen),
    Get(Vec<u8>),
    Scan(Chosen, Direction, usize),
    TakeChanges,
}

/// A span that owns its bounds.
#[derive(Clone, Debug)]
enum Chosen {
    All,
    Prefix(Vec<u8>),
    Between(Bound<Vec<u8>>, Bound<Vec<u8>>),
}

impl Chosen {
    fn span(&self) -> Span<'_> {
        match self {
            Self::All => Span::All,
            Self::Prefix(prefix) => Span::Prefix(prefix),
            Self::Between(from, to) => {
                Span::Between(from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]))
            }
        }
    }

    fn holds(&self, key: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Between(from, to) => {
                let after = match from {
                    Bound::Unbounded => true,
                    Bound::Included(from) => key >= &from[..],
                    Bound::Excluded(from) => key > &from[..],
                };
                after
                    && match to {
                        Bound::Unbounded => true,
                        Bound::Included(to) => key <= &to[..],
                        Bound::Excluded(to) => key < &to[..],
                    }
            }
        }
    }
}

/// Keys that often share beginnings, are often met again, and are shorter and longer than what a leaf compares first.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(prop_oneof![Just(0_u8), Just(1), Just(255)], 0..5),
        (0_u32..2_000).prop_map(|n| n.to_be_bytes().to_vec()),
        (0_u32..2_000).prop_map(|n| [&b"a long beginning of all "[..], &n.to_be_bytes()].concat()),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..20),
        1 => (0_usize..5_000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        Just(Bound::Unbounded),
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded),
    ]
}

fn chosen() -> impl Strategy<Value = Chosen> {
    prop_oneof![
        1 => Just(Chosen::All),
        3 => vec(any::<u8>(), 0..2).prop_map(Chosen::Prefix),
        3 => key().prop_map(Chosen::Prefix),
        3 => (bound(), bound()).prop_map(|(from, to)| Chosen::Between(from, to)),
    ]
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Forwards), Just(Direction::Backwards)]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        60 => (key(), value()).prop_map(|(key, value)| Operation::Put(key, value)),
        15 => key().prop_map(Operation::Remove),
        1 => chosen().prop_map(Operation::RemoveRange),
        10 => key().prop_map(Operation::Get),
        3 => (chosen(), direction(), 0_usize..40).prop_map(|(span, direction, limit)| Operation::Scan(span, direction, limit)),
        1 => Just(Operation::TakeChanges),
    ]
}

fn entries(store: &Store, span: Span<'_>, direction: Direction, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    store
        .scan(span, direction, |key, value| {
            if found.len() == limit {
                return Ok(ControlFlow::Break(()));
            }
            found.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        })
        .expect("the store can be read");
    found
}

fn expected(model: &Model, chosen: &Chosen, direction: Direction, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let held = model.iter().filter(|(key, _)| chosen.holds(key));
    let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    match direction {
        Direction::Forwards => held.take(limit).map(owned).collect(),
        Direction::Backwards => held.rev().take(limit).map(owned).collect(),
    }
}

fn check(mut store: Store, operations: Vec<Operation>) -> Result<(), TestCaseError> {
    let mut model = Model::new();
    // What was there before the store tracks its changes is none of them.
    store.put(b"from before", b"x").expect("the store can be written");
    model.insert(b"from before".to_vec(), b"x".to_vec());
    store.track();
    // Knows what was there, and the changes.
    let mut mirror = model.clone();
    for operation in operations.into_iter().chain([Operation::TakeChanges]) {
        match operation {
            Operation::Put(key, value) => {
                store.put(&key, &value).expect("the store can be written");
                model.insert(key, value);
            }
            Operation::Remove(key) => {
                store.remove(&key).expect("the store can be written");
                model.remove(&key);
            }
            Operation::RemoveRange(chosen) => {
                store.remove_range(chosen.span()).expect("the store can be written");
                model.retain(|key, _| !chosen.holds(key));
            }
            Operation::Get(key) => {
                let found = store.get(&key, <[u8]>::to_vec).expect("the store can be read");
                prop_assert_eq!(found.as_ref(), model.get(&key));
            }
            Operation::Scan(chosen, direction, limit) => {
                let found = entries(&store, chosen.span(), direction, limit);
                prop_assert_eq!(found, expected(&model, &chosen, direction, limit));
            }
            Operation::TakeChanges => {
                let take = |key: &[u8], value: Option<&[u8]>| {
                    match value {
                        Some(value) => mirror.insert(key.to_vec(), value.to_vec()),
                        None => mirror.remove(key),
                    };
                    Ok(())
                };
                store.take_changes(take).expect("the store can be read");
                prop_assert_eq!(&mirror, &model);
            }
        }
        prop_assert_eq!(store.is_empty().expect("the store can be read"), model.is_empty());
    }
    for direction in [Direction::Forwards, Direction::Backwards] {
        let found = entries(&store, Span::All, direction, usize::MAX);
        prop_assert_eq!(found, expected(&model, &Chosen::All, direction, usize::MAX));
    }
    Ok(())
}

/// A folder of this test alone, below the target folder's own for tests.
fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn memory_does_what_an_ordered_map_does(operations in vec(operation(), 0..3_000)) {
        check(Store::memory(), operations)?;
    }

    #[test]
    fn disk_does_what_an_ordered_map_does(memory_bytes in 0_u64..100_000, operations in vec(operation(), 0..1_500)) {
        let store = Store::disk(&folder("store-model"), memory_bytes).expect("the folder can be made");
        check(store, operations)?;
    }
}

#[test]
fn ascending_and_descending_keys_are_kept_and_removed_in_bulk() {
    for descending in [false, true] {
        let mut store = Store::memory();
        for n in 0..100_000_u32 {
            let n = if descending { 100_000 - n } else { n };
            store.put(&n.to_be_bytes(), b"x").expect("memory does not fail");
        }
        let middle = 50_000_u32.to_be_bytes();
        let before = Span::Between(Bound::Unbounded, Bound::Excluded(&middle[..]));
        store.remove_range(before).expect("memory does not fail");
        let (first, _) = store
            .first(Span::All, Direction::Forwards)
            .expect("memory does not fail")
            .expect("half is left");
        assert_eq!(first, middle);
        assert!(store.size_bytes() < 50_001 * 64);
        store.remove_range(Span::All).expect("memory does not fail");
        assert_eq!((store.is_empty(), store.size_bytes()), (Ok(true), 0));
    }
}

#[test]
fn a_page_ends_at_its_bounds_and_says_whether_there_is_more() {
    let mut store = Store::memory();
    for n in 0..10_u8 {
        store.put(&[n], &[n; 10]).expect("memory does not fail");
    }
    let mut page = Page::default();
    let mut read = |entries_max, bytes_max| {
        let more = store
            .page(Span::All, Direction::Backwards, entries_max, bytes_max, &mut page)
            .expect("memory does not fail");
        let keys: Vec<u8> = page.iter().map(|(key, _)| key[0]).collect();
        assert!(page.iter().all(|(key, value)| value == [key[0]; 10]));
        (keys, more)
    };
    assert_eq!(read(3, usize::MAX), (vec![9, 8, 7], true));
    assert_eq!(read(10, usize::MAX), ((0..10).rev().collect(), false));
    assert_eq!(read(10, 20), (vec![9, 8], true));
}

#[test]
fn a_queue_on_disk_gives_its_entries_in_order_and_is_empty_in_the_end() {
    const ENTRIES: u32 = 20_000;
    let mut store = Store::disk(&folder("store-queue"), 256 << 10).expect("the folder can be made");
    for n in 0..ENTRIES {
        store.put(&n.to_be_bytes(), &[1; 100]).expect("the disk has room");
    }
    let (mut page, mut next) = (Page::default(), 0);
    while next < ENTRIES {
        store
            .page(Span::All, Direction::Forwards, 3, usize::MAX, &mut page)
            .expect("the disk can be read");
        for (at, (key, _)) in page.iter().enumerate() {
            assert_eq!(key, next.to_be_bytes());
            next += 1;
            // One is put back, so that what is marked as removed is written again.
            if at == 1 && next % 2 == 0 {
                store.put(key, b"again").expect("the disk has room");
            }
            store.remove(key).expect("the disk has room");
        }
    }
    assert_eq!(store.is_empty(), Ok(true));
}

#[test]
fn a_store_may_go_to_another_thread() {
    fn goes<T: Send>(_: &T) {}
    goes(&Store::memory());
}

#[test]
fn an_entry_that_is_too_large_is_refused_with_its_size() {
    let folder = std::env::temp_dir().join(format!("wasmill-too-large-{}", std::process::id()));
    let stores = [
        Store::memory(),
        Store::disk(&folder, 1 << 20).expect("a folder for temporary files"),
    ];
    for mut store in stores {
        let value = vec![0; ENTRY_BYTES_MAX as usize];
        let fault = store.put(b"k", &value).expect_err("a byte too many");
        assert!(fault.message.contains("has 1073741825 bytes"), "{fault}");
        assert!(store.is_empty().expect("the disk can be read"));
        assert_eq!(store.written_bytes(), 0);
    }
}
