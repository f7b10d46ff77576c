//! What comes to a task, epoch by epoch.
//!
//! A producer that leaves an epoch says so in band, with its watermark then, the *cut*; the frontier alone would not tell
//! that watermark, since it may go on in the same step. A task stays in an epoch until the frontier has left it, then goes
//! as far as the least cut of its producers, and no further, before it leaves the epoch too. So what it has done by then
//! is a function of the rows before the cuts, however its producers took turns. Batches of later epochs wait here.

use std::collections::{BTreeMap, VecDeque};

use wasmill_core::batch::Batch;
use wasmill_core::time::Timestamp;

use crate::credit::Ticket;
use crate::parcel::Parcel;
use crate::stamp::Stamp;

/// A batch on an input.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) input: usize,
    pub(crate) batch: Batch,
    pub(crate) ticket: Option<Ticket>,
}

/// What the inputs let a task do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It may go as far as this watermark.
    Watermark(Timestamp),
    /// It is to go as far as this watermark, and then to leave the epoch.
    Leave(Timestamp),
    /// The inputs have ended. The greatest watermark at which one of them did.
    End(Timestamp),
}

/// Where the inputs of a task stand.
#[derive(Debug)]
pub(crate) struct Intake {
    /// The epoch that the task is in.
    epoch: u64,
    /// `None`: the inputs have ended.
    frontier: Option<Stamp>,
    /// By epoch: the least watermark with which a producer left it.
    cuts: BTreeMap<u64, Timestamp>,
    /// The greatest watermark at which a producer has ended.
    last: Timestamp,
    /// The latest epoch in which a producer has ended.
    last_epoch: u64,
    /// What belongs to later epochs, in the order in which it came.
    ahead: VecDeque<(u64, Arrived)>,
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Stamp::MIN.epoch,
            frontier: Some(Stamp::MIN),
            cuts: BTreeMap::new(),
            last: Timestamp::MIN,
            last_epoch: Stamp::MIN.epoch,
            ahead: VecDeque::new(),
        }
    }

    /// The epoch that the task is in.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The inputs stand here. All that was sent before this stamp is to be given to [`Self::arrive`] before the goal is
    /// asked for.
    pub(crate) fn stand(&mut self, frontier: Option<Stamp>) {
        self.frontier = frontier;
    }

    /// Takes a parcel that was sent in `epoch`. A batch of the task's epoch is handed back.
    pub(crate) fn arrive(&mut self, input: usize, epoch: u64, parcel: Parcel) -> Option<Arrived> {
        debug_assert!(epoch >= self.epoch, "a parcel of an epoch that was left");
        match parcel {
            Parcel::Nothing => None,
            Parcel::Batch(batch, ticket) => {
                let arrived = Arrived { input, batch, ticket };
                if epoch == self.epoch {
                    return Some(arrived);
                }
                self.ahead.push_back((epoch, arrived));
                None
            }
            Parcel::Cut(watermark, _) => {
                let least = self.cuts.entry(epoch).or_insert(watermark);
                *least = watermark.min(*least);
                None
            }
            Parcel::End(last, _) => {
                self.last = self.last.max(last);
                self.last_epoch = self.last_epoch.max(epoch);
                None
            }
        }
    }

    /// What the task is to do next.
    pub(crate) fn goal(&self) -> Goal {
        let reached = self.frontier.map_or(self.last_epoch, |stamp| stamp.epoch);
        let cut = self.cuts.get(&self.epoch).copied();
        if reached > self.epoch {
            return Goal::Leave(cut.expect("a producer that goes on says where it left the epoch"));
        }
        match self.frontier {
            Some(stamp) => Goal::Watermark(cut.map_or(stamp.told(), |cut| cut.min(stamp.told()))),
            None => Goal::End(self.last),
        }
    }

    /// The task has left its epoch.
    pub(crate) fn leave(&mut self) {
        self.cuts.remove(&self.epoch);
        self.epoch += 1;
    }

    /// A batch of the task's epoch that came before it.
    pub(crate) fn next_waiting(&mut self) -> Option<Arrived> {
        let at = self.ahead.iter().position(|(epoch, _)| *epoch == self.epoch)?;
        self.ahead.remove(at).map(|(_, arrived)| arrived)
    }

    /// The watermark of the frontier, as far as it counts in the task's epoch.
    pub(crate) fn watermark(&self) -> Option<i64> {
        let stamp = self.frontier?;
        let cut = self.cuts.get(&self.epoch).map_or(i64::MAX, |cut| cut.0);
        Some(stamp.watermark.min(cut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(intake: &mut Intake, epoch: u64, watermark: i64) {
        intake.stand(Some(Stamp { epoch, watermark }));
    }

    #[test]
    fn a_task_goes_no_further_than_the_least_cut_before_it_leaves_an_epoch() {
        let mut intake = Intake::new();
        stand(&mut intake, 0, 50);
        assert_eq!(intake.goal(), Goal::Watermark(Timestamp(50)));
        // One producer has left the epoch at 100 and gone on to 200; another is still in it, at 150.
        intake.arrive(0, 0, Parcel::Cut(Timestamp(100), 0));
        stand(&mut intake, 0, 150);
        assert_eq!(intake.goal(), Goal::Watermark(Timestamp(100)));
        intake.arrive(1, 0, Parcel::Cut(Timestamp(160), 0));
        stand(&mut intake, 1, 180);
        assert_eq!(intake.goal(), Goal::Leave(Timestamp(100)));
        intake.leave();
        assert_eq!((intake.epoch(), intake.goal()), (1, Goal::Watermark(Timestamp(180))));
    }

    #[test]
    fn inputs_that_have_ended_are_left_epoch_by_epoch() {
        let mut intake = Intake::new();
        intake.arrive(0, 0, Parcel::Cut(Timestamp(10), 0));
        intake.arrive(0, 1, Parcel::Cut(Timestamp(20), 0));
        intake.arrive(1, 0, Parcel::End(Timestamp(70), 0));
        intake.arrive(0, 2, Parcel::End(Timestamp(30), 0));
        intake.stand(None);
        assert_eq!(intake.goal(), Goal::Leave(Timestamp(10)));
        intake.leave();
        assert_eq!(intake.goal(), Goal::Leave(Timestamp(20)));
        intake.leave();
        assert_eq!(intake.goal(), Goal::End(Timestamp(70)));
    }
}
