//! What hosts meet, and what looks at them: the input, the system that output is committed to, and the checkers.
//!
//! The checkers share no decision with the protocol. They look at the bytes in the store after every step, at every commit
//! and every acknowledgement, and at the output as a whole.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use wasmill_checkpoint::manifest::Prepared;
use wasmill_checkpoint::snapshot::Reader;
use wasmill_checkpoint::store::{Dice, Faults, Faulty, Store};
use wasmill_checkpoint::{Body, Link, Manifest, layout};
use wasmill_core::id::{Epoch, Generation, KeyGroup, Lineage, NodeId};

use crate::block_on::block_on;

/// The number of key groups.
pub(crate) const KEY_GROUPS: u16 = 4;
/// A key's count begins anew after so many records, and its entry is removed.
pub(crate) const COUNT_MAX: u64 = 3;

/// What the protocol is changed to do, to see that a checker notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Nothing.
    None,
    /// Output is committed when the manifest is ready, before its link exists.
    CommitsBeforeTheManifest,
    /// A host that was fenced goes on as if its link were written.
    IgnoresFences,
    /// A link that could be created counts, although higher ones are there.
    TrustsCreation,
    /// The manifest is written when snapshot files are begun.
    DoesNotAwaitSnapshots,
    /// Spools go when their manifest is there.
    RemovesSpoolsEarly,
    /// Files go that the newest manifest names.
    RemovesNamedFiles,
    /// The store loses writes that it said were done.
    StoreLies,
    /// A snapshot leaves out what was removed.
    ForgetsRemovals,
    /// After a recovery what was pending is not committed.
    ForgetsPending,
    /// A generation reads on where the last one had come to, not where its epoch began.
    ReadsOn,
}

/// How many notes are kept.
const NOTES_MAX: usize = 60;

/// A record: partition, number in it, key.
pub(crate) type Record = (u64, u64, u64);
/// A row of the output: the record, and the count of its key.
pub(crate) type Row = (Record, u64);

/// What hosts share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) store: Faulty,
    pub(crate) mutation: Mutation,
    /// The keys of each partition's records.
    pub(crate) input: Vec<Vec<u64>>,
    pub(crate) now: RefCell<i64>,
    pub(crate) dice: RefCell<Dice>,
    pub(crate) retain: usize,
    pub(crate) uncommitted_max: usize,
    pub(crate) deltas_max: usize,
    /// How far any host has read: what only a mutation looks at.
    pub(crate) read_to: RefCell<Vec<usize>>,
    /// What came to pass how often.
    pub(crate) tally: RefCell<BTreeMap<&'static str, u64>>,
    notes: RefCell<VecDeque<String>>,
    checked: RefCell<Checked>,
}

/// What the checkers know.
#[derive(Debug, Default)]
struct Checked {
    /// The bytes of each link that was created in its turn.
    links: BTreeMap<u64, bytes::Bytes>,
    manifests: BTreeMap<Epoch, Manifest>,
    newest: Option<Epoch>,
    /// What is committed, with its marker in one transaction.
    committed: Vec<(Generation, Vec<Row>)>,
    violations: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Mutation) -> Self {
        let mut dice = Dice::new(seed);
        let input = (0..=dice.below(3))
            .map(|_| (0..4 + dice.below(12)).map(|_| dice.below(6)).collect())
            .collect::<Vec<Vec<u64>>>();
        let faults = Faults {
            fails: dice.below(8) as u32,
            fails_after: dice.below(8) as u32,
            fails_then_arrives: dice.below(8) as u32,
            delays_max: dice.below(4),
            lies: mutation == Mutation::StoreLies,
        };
        Self {
            store: Faulty::new(dice.next(), faults),
            mutation,
            read_to: RefCell::new(vec![0; input.len()]),
            input,
            now: RefCell::new(0),
            retain: 1 + dice.below(3) as usize,
            uncommitted_max: 1 + dice.below(3) as usize,
            deltas_max: 1 + dice.below(3) as usize,
            dice: RefCell::new(dice),
            tally: RefCell::default(),
            notes: RefCell::default(),
            checked: RefCell::default(),
        }
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.dice.borrow_mut().below(bound)
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.tally.borrow_mut().entry(what).or_default() += 1;
    }

    /// What was last done, for those who look for the reason of a violation.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        let mut notes = self.notes.borrow_mut();
        if notes.len() == NOTES_MAX {
            notes.pop_front();
        }
        notes.push_back(format!("{}: {}", self.now.borrow(), what()));
    }

    /// The last notes.
    pub(crate) fn story(&self) -> String {
        let notes = self.notes.borrow();
        notes
            .iter()
            .fold("before:".to_owned(), |story, note| story + "\n  " + note)
    }

    pub(crate) fn violate(&self, what: String) {
        self.checked.borrow_mut().violations.push(what);
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.checked.borrow().violations.first().cloned()
    }

    /// Looks at the store: links that appeared, and the files of the newest manifest.
    pub(crate) fn look(&self) {
        let memory = self.store.memory();
        let mut found = Vec::new();
        {
            let checked = self.checked.borrow();
            let next = checked.links.len() as u64;
            for number in next.. {
                let Some(bytes) = memory.objects().get(&layout::link(Lineage(1), number)).cloned() else {
                    break;
                };
                found.push((number, bytes));
            }
        }
        for (number, bytes) in found {
            self.check_link(number, bytes);
        }
        let checked = self.checked.borrow();
        let Some(newest) = checked.newest.and_then(|epoch| checked.manifests.get(&epoch)) else {
            return;
        };
        let missing = newest.state.files().find(|file| {
            let path = layout::within(Lineage(1), &file.path);
            memory
                .objects()
                .get(&path)
                .is_none_or(|bytes| bytes.len() as u64 != file.length)
        });
        let epoch = newest.epoch;
        if let Some(path) = missing.map(|file| file.path.clone()) {
            drop(checked);
            self.violate(format!(
                "the manifest of epoch {epoch} names `{path}`, which is not there"
            ));
        }
    }

    fn check_link(&self, number: u64, bytes: bytes::Bytes) {
        self.note(|| format!("link {number} is there: {}", brief(&bytes)));
        let path = layout::link(Lineage(1), number);
        let link = match Link::open(&path, &bytes) {
            Ok((link, _)) => link,
            Err(error) => return self.violate(format!("link {number}: {error}")),
        };
        if let Some(manifest) = link.manifest() {
            self.count("epochs");
            if manifest.state.files().any(|file| file.path.contains("base-")) {
                self.count("manifests with merged files");
            }
            let store: Arc<dyn Store> = Arc::new(self.store.memory().clone());
            for file in manifest.state.files() {
                let read = block_on(async {
                    let folder = layout::lineage(Lineage(1));
                    Reader::open(&store, &folder, file).await?.verify().await
                });
                if let Err(error) = read {
                    self.violate(format!("the manifest of epoch {} was written: {error}", manifest.epoch));
                }
            }
            let mut checked = self.checked.borrow_mut();
            let expect = checked.newest.map_or(Epoch(0), Epoch::next);
            if manifest.epoch != expect {
                let what = format!("after epoch {:?} came {}", checked.newest, manifest.epoch);
                checked.violations.push(what);
            }
            checked.newest = Some(manifest.epoch);
            checked.manifests.insert(manifest.epoch, manifest.clone());
        }
        self.checked.borrow_mut().links.insert(number, bytes);
    }

    /// The external system: whether an epoch is committed there.
    pub(crate) fn is_committed(&self, epoch: Epoch) -> bool {
        (self.checked.borrow().committed.len() as u64) > epoch.0
    }

    /// The external system commits rows and its marker in one transaction; an epoch that it has is not taken again.
    pub(crate) fn commit(
        &self,
        generation: Generation,
        epoch: Epoch,
        sink: &NodeId,
        prepared: &[Prepared],
        rows: Vec<Row>,
    ) {
        self.look();
        let mut checked = self.checked.borrow_mut();
        let promised = checked
            .manifests
            .get(&epoch)
            .and_then(|manifest| manifest.sinks.get(sink)?.pending.get(&epoch));
        if promised.map(|promised| &promised[..]) != Some(prepared) {
            let what = format!("generation {generation} commits epoch {epoch}, of which no manifest says so");
            checked.violations.push(what);
        }
        let next = checked.committed.len() as u64;
        match epoch.0.cmp(&next) {
            Ordering::Greater => {
                let what = format!("generation {generation} commits epoch {epoch} before epoch {next}");
                checked.violations.push(what);
            }
            Ordering::Equal => checked.committed.push((generation, rows)),
            Ordering::Less => {
                let (by, before) = &checked.committed[epoch.0 as usize];
                if *before != rows {
                    let what =
                        format!("epoch {epoch} is committed by generation {by} and, with other rows, by {generation}");
                    checked.violations.push(what);
                }
            }
        }
    }

    /// A source is told that it need not keep what came up to the end of an epoch.
    pub(crate) fn acknowledge(&self, epoch: Epoch) {
        self.look();
        if !self.checked.borrow().manifests.contains_key(&epoch) {
            self.violate(format!("epoch {epoch} is acknowledged and has no manifest"));
        }
    }

    /// What was committed is what one run without failures gives, each row once.
    pub(crate) fn check_output(&self) {
        let checked = self.checked.borrow();
        let rows: Vec<Row> = checked.committed.iter().flat_map(|(_, rows)| rows.clone()).collect();
        let records: BTreeSet<Record> = rows.iter().map(|(record, _)| *record).collect();
        let expect_records: BTreeSet<Record> = (0..)
            .zip(&self.input)
            .flat_map(|(partition, keys)| (0..).zip(keys).map(move |(number, key)| (partition, number, *key)))
            .collect();
        drop(checked);
        if records.len() != rows.len() {
            self.violate(format!(
                "{} rows of {} records: some are repeated",
                rows.len(),
                records.len()
            ));
        }
        if records != expect_records {
            self.violate(format!(
                "{} records came out of {}",
                records.len(),
                expect_records.len()
            ));
        }
        let mut counts: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for ((_, _, key), count) in rows {
            counts.entry(key).or_default().push(count);
        }
        let mut expect: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (_, _, key) in expect_records {
            let seen = expect.entry(key).or_default();
            seen.push(seen.len() as u64 % COUNT_MAX + 1);
        }
        for found in counts.values_mut().chain(expect.values_mut()) {
            found.sort_unstable();
        }
        if counts != expect {
            self.violate(format!("keys were counted as {counts:?} instead of {expect:?}"));
        }
    }
}

/// The key group of a key.
pub(crate) const fn group_of(key: u64) -> KeyGroup {
    KeyGroup((key % KEY_GROUPS as u64) as u16)
}

/// A link in a line: who wrote it and what it says.
fn brief(bytes: &[u8]) -> String {
    Link::open("", bytes).map_or_else(
        |error| error.to_string(),
        |(link, _)| match link.body {
            Body::Manifest(manifest) => {
                let files: Vec<&str> = manifest.state.files().map(|file| &*file.path).collect();
                format!(
                    "{} epoch {} of {}",
                    manifest.generation,
                    manifest.epoch,
                    files.join(" ")
                )
            }
            body => format!("{} {body:?}", link.writer),
        },
    )
}
