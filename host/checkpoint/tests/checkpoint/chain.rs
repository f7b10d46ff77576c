//! Who may append to a chain, and what of it is read.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use wasmill_checkpoint::chain::{Chain, Found, Writer, lineages};
use wasmill_checkpoint::manifest::State;
use wasmill_checkpoint::store::{Faults, Faulty, Memory, Store};
use wasmill_checkpoint::{Body, Error, Origin, layout, origin};
use wasmill_core::id::{Epoch, Generation, Lineage};

use crate::block_on::block_on;
use crate::examples::manifest;

const ONE: Lineage = Lineage(1);

async fn open(store: &Arc<dyn Store>, name: &str) -> Result<Writer, Error> {
    Writer::open(store.clone(), ONE, Origin::Fresh, None, name.to_owned()).await
}

fn epoch(number: u64) -> Body {
    Body::Manifest(Box::new(manifest(number, State::default())))
}

async fn read(store: &Arc<dyn Store>) -> Chain {
    Chain::read(&**store, ONE).await.unwrap().unwrap()
}

#[test]
fn of_two_that_open_a_lineage_one_does() {
    block_on(async {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        assert_eq!(Chain::newest(&*store).await.unwrap(), None);
        open(&store, "a").await.unwrap();
        let fenced = open(&store, "b").await.unwrap_err();
        assert_eq!(
            fenced.to_string(),
            "lineage 1 was taken over: link 0 of its chain is by a"
        );
        assert_eq!(read(&store).await.generation(), Generation(1));
    });
}

#[test]
fn who_was_taken_over_appends_nothing() {
    block_on(async {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let mut first = open(&store, "a").await.unwrap();
        first.append(epoch(0)).await.unwrap();
        let chain = read(&store).await;
        let mut second = Writer::take_over(store.clone(), &chain, "b".to_owned()).await.unwrap();
        assert_eq!(second.generation(), Generation(2));
        assert!(matches!(
            first.append(epoch(1)).await,
            Err(Error::Fenced { number: 2, .. })
        ));
        assert!(matches!(
            first.append(epoch(1)).await,
            Err(Error::Unsure { number: 2, .. })
        ));
        second.append(epoch(1)).await.unwrap();
        // A chain that was read before is too old to take over from.
        let late = Writer::take_over(store.clone(), &chain, "c".to_owned()).await;
        assert!(matches!(late, Err(Error::Fenced { .. })));
        let epochs: Vec<u64> = read(&store)
            .await
            .manifests()
            .map(|manifest| manifest.epoch.0)
            .collect();
        assert_eq!(epochs, [1, 0]);
    });
}

#[test]
fn who_slept_while_its_next_link_came_and_went_is_fenced() {
    block_on(async {
        let memory = Memory::new();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let mut sleeper = open(&store, "a").await.unwrap();
        let chain = read(&store).await;
        let mut second = Writer::take_over(store.clone(), &chain, "b".to_owned()).await.unwrap();
        for number in 0..3 {
            second.append(epoch(number)).await.unwrap();
        }
        for number in 0..3 {
            store.delete(&layout::link(ONE, number)).await.unwrap();
        }
        let fenced = sleeper.append(epoch(0)).await.unwrap_err();
        assert_eq!(
            fenced.to_string(),
            "lineage 1 was taken over: link 4 of its chain is by b"
        );
        // Its link is there, and is none of the chain.
        assert!(memory.objects().contains_key(&layout::link(ONE, 1)));
        let numbers: Vec<u64> = read(&store).await.links.iter().map(Found::number).collect();
        assert_eq!(numbers, [3, 4]);
    });
}

#[test]
fn a_late_link_right_before_the_chain_is_none_of_it() {
    block_on(async {
        let memory = Memory::new();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let mut writer = open(&store, "a").await.unwrap();
        for number in 0..3 {
            writer.append(epoch(number)).await.unwrap();
        }
        let stray = memory.objects()[&layout::link(ONE, 1)].clone();
        store.delete(&layout::link(ONE, 0)).await.unwrap();
        store.delete(&layout::link(ONE, 1)).await.unwrap();
        let other = String::from_utf8(stray.to_vec()).unwrap();
        let body = other.split_once('\n').unwrap().1.replace("\"a\"", "\"z\"");
        let checksum = wasmill_checkpoint::envelope::Checksum::of(body.as_bytes());
        let header = format!(
            "{{\"wasmill-link\":1,\"xxh3\":\"{checksum}\",\"bytes\":{}}}\n",
            body.len()
        );
        let stray = Bytes::from(header + &body);
        memory.objects().insert(layout::link(ONE, 1), stray);
        let numbers: Vec<u64> = read(&store).await.links.iter().map(Found::number).collect();
        assert_eq!(numbers, [2, 3]);
    });
}

#[test]
fn a_link_whose_answer_was_lost_is_known_again() {
    block_on(async {
        let faulty = Faulty::new(5, Faults::default());
        let store: Arc<dyn Store> = Arc::new(faulty.clone());
        open(&store, "a").await.unwrap();
        // The same process opens again, as a retry does: link 0 is its own.
        open(&store, "a").await.unwrap();
        assert!(matches!(open(&store, "b").await, Err(Error::Fenced { .. })));
    });
}

#[test]
fn after_a_failure_nothing_is_appended() {
    block_on(async {
        let faulty = Faulty::new(5, Faults::default());
        let store: Arc<dyn Store> = Arc::new(faulty.clone());
        let mut writer = open(&store, "a").await.unwrap();
        faulty.set_faults(Faults {
            fails_then_arrives: 1000,
            ..Faults::default()
        });
        assert!(matches!(writer.append(epoch(0)).await, Err(Error::Store(_))));
        faulty.set_faults(Faults::default());
        assert!(matches!(writer.append(epoch(0)).await, Err(Error::Unsure { .. })));
        // Who takes over first wins against what is on its way.
        let chain = read(&store).await;
        Writer::take_over(store.clone(), &chain, "b".to_owned()).await.unwrap();
        assert!(faulty.arrive());
        assert_eq!(read(&store).await.manifests().count(), 0);
    });
}

#[test]
fn a_damaged_link_is_told_with_its_path() {
    block_on(async {
        let memory = Memory::new();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let mut writer = open(&store, "a").await.unwrap();
        writer.append(epoch(0)).await.unwrap();
        let path = layout::link(ONE, 1);
        let whole = memory.objects()[&path].clone();
        memory.objects().insert(path, whole.slice(..whole.len() - 10));
        let chain = read(&store).await;
        let Some(Found::Damaged(1, damage)) = chain.links.last() else {
            panic!("{chain:?}");
        };
        assert!(
            damage
                .to_string()
                .starts_with("`lineages/000001/chain/00000000000000000001.json` is damaged: it has"),
            "{damage}"
        );
        let refused = Writer::take_over(store.clone(), &chain, "b".to_owned()).await;
        assert!(matches!(refused, Err(Error::Damaged(_))));
    });
}

#[test]
fn a_lineage_that_another_goes_on_from_takes_no_more_links() {
    block_on(async {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let mut old = open(&store, "a").await.unwrap();
        old.append(epoch(0)).await.unwrap();
        let chain = read(&store).await;
        let from = Origin::Checkpoint {
            lineage: ONE,
            epoch: Epoch(0),
        };
        Writer::close(store.clone(), &chain, Lineage(2), from.clone(), "b".to_owned())
            .await
            .unwrap();
        assert!(matches!(old.append(epoch(1)).await, Err(Error::Fenced { .. })));
        assert_eq!(read(&store).await.closed(), Some((Lineage(2), &from)));

        let absent = origin::from_checkpoint(&*store, ONE, Epoch(7), Lineage(2))
            .await
            .unwrap_err();
        assert_eq!(
            absent.to_string(),
            "lineage 1 has no checkpoint of epoch 7; there are: 0"
        );
        let begins = origin::from_checkpoint(&*store, ONE, Epoch(0), Lineage(2))
            .await
            .unwrap();
        assert_eq!(begins.lineage, Lineage(2));
        assert!(begins.sinks.values().all(|sink| sink.pending.is_empty()));
        Writer::open(store.clone(), Lineage(2), from, Some(Box::new(begins)), "b".to_owned())
            .await
            .unwrap();
        assert_eq!(Chain::newest(&*store).await.unwrap().unwrap().lineage, Lineage(2));
        assert_eq!(lineages(&*store).await.unwrap(), [ONE, Lineage(2)]);
    });
}

/// At each point of a reading: its newest link is removed, because there are newer ones, and somebody who slept takes the
/// number.
#[test]
fn a_chain_that_grows_while_it_is_read_is_read_as_it_is() {
    for point in 0..40 {
        let faulty = Faulty::new(
            point,
            Faults {
                delays_max: 2,
                ..Faults::default()
            },
        );
        let store: Arc<dyn Store> = Arc::new(faulty.clone());
        let quick: Arc<dyn Store> = Arc::new(faulty.memory().clone());
        let mut sleeper = block_on(open(&quick, "a")).unwrap();
        let chain = block_on(read(&quick));
        let second = Writer::take_over(quick.clone(), &chain, "b".to_owned());
        let mut second = block_on(second).unwrap();

        let mut reading = pin!(read(&store));
        let mut context = Context::from_waker(Waker::noop());
        let mut found = None;
        for _ in 0..point {
            if let Poll::Ready(chain) = reading.as_mut().poll(&mut context) {
                found = Some(chain);
                break;
            }
        }
        if found.is_some() {
            continue;
        }
        block_on(async {
            second.append(epoch(0)).await.unwrap();
            for number in 0..2 {
                quick.delete(&layout::link(ONE, number)).await.unwrap();
            }
            assert!(matches!(sleeper.append(epoch(7)).await, Err(Error::Fenced { .. })));
        });
        let epochs: Vec<u64> = block_on(reading).manifests().map(|manifest| manifest.epoch.0).collect();
        assert_eq!(epochs, [0], "at point {point}");
    }
}
