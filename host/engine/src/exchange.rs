//! Which worker a row goes to.

use timely::communication::Push;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{Message, Stamp as MessageStamp};

use wasmill_core::batch::{Batch, Slot};
use wasmill_core::column::Column;
use wasmill_core::id::{KeyGroup, WorkerIndex};
use wasmill_core::key;

use crate::parcel::Parcel;

/// Which worker takes the rows of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The one that has them.
    Local,
    /// The owner of their key's group.
    Keyed {
        /// The key columns, by place in the stream's schema.
        key: Vec<usize>,
        /// The number of key groups.
        groups: u16,
    },
    /// This one, whatever the row. Counted modulo the number of workers.
    One(WorkerIndex),
}

/// Splits batches among workers. Every row of a batch goes to one of them.
pub(crate) struct Splitter {
    route: Route,
    /// The owner of each key group.
    owners: Vec<u32>,
    hashes: Vec<u64>,
    /// The logical rows for each worker.
    rows: Vec<Vec<u32>>,
}

impl Splitter {
    pub(crate) fn new(route: Route, workers: usize) -> Self {
        let owners = match route {
            Route::Keyed { groups, .. } => (0..groups)
                .map(|group| key::owner(KeyGroup(group), groups, workers as u32).0)
                .collect(),
            Route::Local | Route::One(_) => Vec::new(),
        };
        Self {
            route,
            owners,
            hashes: Vec::new(),
            rows: vec![Vec::new(); workers],
        }
    }

    fn split(&mut self, batch: &Batch, key: &[usize], groups: u16) {
        key::hashes(batch, key, &mut self.hashes);
        for rows in &mut self.rows {
            rows.clear();
        }
        for (row, &hash) in self.hashes.iter().enumerate() {
            let owner = self.owners[key::group(hash, groups).0 as usize];
            self.rows[owner as usize].push(row as u32);
        }
    }
}

impl Distributor<Parcel> for Splitter {
    fn partition<T: Clone, P: Push<Message<T, Parcel>>>(
        &mut self,
        parcel: &mut Parcel,
        stamp: &MessageStamp<T>,
        pushers: &mut [P],
    ) {
        let (batch, ticket) = match std::mem::take(parcel) {
            Parcel::Nothing => return,
            Parcel::Batch(batch, ticket) => (batch, ticket),
            end @ (Parcel::Cut(_, worker) | Parcel::End(_, worker)) => {
                Message::push_at(&mut { end }, stamp.clone(), &mut pushers[worker as usize]);
                return;
            }
        };
        match self.route.clone() {
            Route::Local => unreachable!("local edges are not exchanged"),
            Route::One(WorkerIndex(worker)) => {
                let to = worker as usize % pushers.len();
                Message::push_at(&mut Parcel::new(batch, ticket), stamp.clone(), &mut pushers[to]);
            }
            Route::Keyed { key, groups } => {
                self.split(&batch, &key, groups);
                let share = carries_text(&batch);
                for (rows, pusher) in self.rows.iter().zip(pushers) {
                    if rows.is_empty() {
                        continue;
                    }
                    let part = match () {
                        () if rows.len() == batch.rows() => batch.clone(),
                        () if share => batch.select(rows),
                        () => batch.gather(rows),
                    };
                    Message::push_at(&mut Parcel::new(part, ticket.clone()), stamp.clone(), pusher);
                }
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Parcel>>>(&mut self, _: &MessageStamp<T>, _: &mut [P]) {}
}

/// Numbers are cheaper to copy than to look up later; text is not.
fn carries_text(batch: &Batch) -> bool {
    batch
        .slots()
        .iter()
        .any(|slot| matches!(slot, Slot::Base(Column::Utf8(_) | Column::Binary(_) | Column::Json(_))))
}
