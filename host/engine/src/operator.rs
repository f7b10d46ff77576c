//! Runs a [`wasmill_core::operator::Operator`] as a node of the dataflow.
//!
//! The node holds one capability: the meet of its input frontiers. It sends at that stamp, fires when the watermark
//! coordinate rises or processing time has come to what the operator asked for, and only then lets go of the old stamp.
//! While it fires it takes no input, and it fires no faster than its account allows; so what it holds on the way is
//! bounded, whatever its state yields. When its inputs have left an epoch it fires up to their cut, hands out what the
//! operator remembers, and leaves the epoch too.

use std::sync::Arc;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::id::Epoch;
use wasmill_core::operator::{Emit, Operator, Step};
use wasmill_core::time::{Micros, Timestamp};

use crate::alarms::Alarm;
use crate::credit::{Account, Ticket};
use crate::intake::{Arrived, Goal, Intake};
use crate::ports::Ports;
use crate::snapshots::Snapshots;
use crate::stamp::Stamp;

/// A node's state between activations.
pub(crate) struct Node {
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) ports: Ports,
    /// For what it derives from state, which belongs to no input batch.
    pub(crate) account: Arc<Account>,
    /// Its output's watermark stays this much behind its input's.
    pub(crate) lag: Micros,
    /// The watermark that the operator was told last.
    pub(crate) told: Timestamp,
    /// What it is being told, slice by slice.
    pub(crate) under_way: Option<Firing>,
    /// What has come, and where the inputs stand.
    pub(crate) intake: Intake,
    pub(crate) snapshots: Box<dyn Snapshots>,
    /// The job's number of this generation's first epoch.
    pub(crate) first_epoch: Epoch,
    /// Wakes the node at the time that the operator asked for.
    pub(crate) alarm: Alarm,
    /// Whether it was activated before.
    pub(crate) begun: bool,
}

/// What makes an operator give what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firing {
    /// The watermark has come here.
    Watermark(Timestamp),
    /// Processing time has.
    Clock(Timestamp),
}

/// Sends what a node emits.
pub(crate) struct Sender<'a> {
    ports: &'a mut Ports,
    ticket: TicketOf<'a>,
}

impl<'a> Sender<'a> {
    /// For what is made of an input batch.
    fn of_input(ports: &'a mut Ports, ticket: Option<Ticket>) -> Self {
        Self {
            ports,
            ticket: TicketOf::Input(ticket),
        }
    }

    /// For what comes from state.
    pub(crate) fn of_state(ports: &'a mut Ports, account: &'a Arc<Account>) -> Self {
        Self {
            ports,
            ticket: TicketOf::State(account),
        }
    }
}

enum TicketOf<'a> {
    /// What is made of an input batch keeps its bytes on the way.
    Input(Option<Ticket>),
    /// What comes from state is new.
    State(&'a Arc<Account>),
}

impl Emit for Sender<'_> {
    fn emit(&mut self, port: usize, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let ticket = match &self.ticket {
            TicketOf::Input(ticket) => ticket.clone(),
            TicketOf::State(account) => Some(account.ticket(batch.size_bytes())),
        };
        self.ports.send(port, batch, ticket);
    }
}

impl Node {
    /// Before all else tells the operator what time it is, where it asks for that from the start: what it makes of its
    /// first rows may go by it.
    pub(crate) fn begin(&mut self) -> Result<(), Fault> {
        if !std::mem::replace(&mut self.begun, true)
            && let Some(now) = self.due()
        {
            self.under_way = Some(Firing::Clock(now));
            self.finish()?;
        }
        Ok(())
    }

    /// Whether it may take input: not in the middle of a firing.
    pub(crate) fn takes_input(&self) -> bool {
        self.under_way.is_none()
    }

    pub(crate) fn take(&mut self, arrived: Arrived) -> Result<(), Fault> {
        let mut out = Sender::of_input(&mut self.ports, arrived.ticket);
        self.operator.batch(arrived.input, arrived.batch, &mut out)
    }

    /// Tells the operator how far the watermark has come, and then what time it is where it asked to be told, as far as
    /// its account allows. Whether the operator asks for a time that has come already: others get a turn first.
    pub(crate) fn give(&mut self) -> Result<bool, Fault> {
        // What was interrupted comes first; a clock may then be told once more than a watermark, never before it.
        if !self.finish()? {
            return Ok(false);
        }
        loop {
            let goal = self.intake.goal();
            let (Goal::Watermark(reached) | Goal::Leave(reached) | Goal::End(reached)) = goal;
            if !self.tell(reached)? {
                return Ok(false);
            }
            match goal {
                Goal::Watermark(_) => break,
                Goal::Leave(cut) => {
                    // What the operator asked to give at once belongs to the epoch.
                    match self.tell_time()? {
                        None => return Ok(false),
                        Some(true) => return Ok(true),
                        Some(false) => self.leave_epoch(cut)?,
                    }
                }
                // It was told the greatest of its inputs' last watermarks, whether the frontier showed that or not: so what
                // it sees before the end does not depend on the run.
                Goal::End(last) => {
                    if self.tell(Timestamp::MAX)? {
                        self.end(last);
                    }
                    return Ok(false);
                }
            }
        }
        let Some(due) = self.tell_time()? else {
            return Ok(false);
        };
        self.alarm.set(self.operator.wake_at());
        self.let_go();
        Ok(due)
    }

    /// Tells the operator what time it is, where it asked to be told by now. Whether it asks again for a time that has
    /// come already; `None`: its account does not allow it to give all.
    fn tell_time(&mut self) -> Result<Option<bool>, Fault> {
        if let Some(now) = self.due() {
            self.under_way = Some(Firing::Clock(now));
            if !self.finish()? {
                return Ok(None);
            }
            return Ok(Some(self.due().is_some()));
        }
        Ok(Some(false))
    }

    /// Tells the operator of a watermark that it was not told yet. Whether all was given.
    fn tell(&mut self, reached: Timestamp) -> Result<bool, Fault> {
        if reached > self.told {
            self.under_way = Some(Firing::Watermark(reached));
        }
        self.finish()
    }

    /// All of the epoch is done.
    fn leave_epoch(&mut self, cut: Timestamp) -> Result<(), Fault> {
        let epoch = self.epoch();
        self.snapshots.take(epoch, &mut *self.operator)?;
        self.ports.leave_epoch(cut.before(self.lag));
        self.intake.leave();
        while let Some(arrived) = self.intake.next_waiting() {
            self.take(arrived)?;
        }
        Ok(())
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.first_epoch.0 + self.intake.epoch())
    }

    /// Processing time, where it has come to what the operator asked for.
    fn due(&self) -> Option<Timestamp> {
        let at = self.operator.wake_at()?;
        Some(self.alarm.now()).filter(|now| *now >= at)
    }

    /// Goes on with what is under way. Whether all was given.
    fn finish(&mut self) -> Result<bool, Fault> {
        while let Some(firing) = self.under_way {
            if !self.account.has_credit() {
                return Ok(false);
            }
            let mut out = Sender::of_state(&mut self.ports, &self.account);
            let step = match firing {
                Firing::Watermark(to) => self.operator.watermark(to, &mut out)?,
                Firing::Clock(now) => self.operator.clock(now, &mut out)?,
            };
            if step == Step::Done {
                self.under_way = None;
                if let Firing::Watermark(to) = firing {
                    self.told = to;
                }
            }
        }
        Ok(true)
    }

    fn let_go(&mut self) {
        if let Some(watermark) = self.intake.watermark() {
            self.ports.advance(Stamp {
                epoch: self.intake.epoch(),
                watermark: watermark.saturating_sub_unsigned(self.lag.0),
            });
        }
    }

    fn end(&mut self, last: Timestamp) {
        self.snapshots.ended(self.epoch());
        let at = self.ports.at();
        let watermark = last.before(self.lag).0.max(at.watermark);
        self.ports.advance(Stamp { watermark, ..at });
        self.ports.close();
    }
}
