//! Runs a [`wasmill_core::operator::Operator`] as a node of the dataflow.
//!
//! The node holds one capability: the meet of its input frontiers. It sends at that stamp, fires when the watermark
//! coordinate rises or processing time has come to what the operator asked for, and only then lets go of the old stamp.
//! While it fires it takes no input, and it fires no faster than its account allows; so what it holds on the way is
//! bounded, whatever its state yields.

use std::sync::Arc;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::operator::{Emit, Operator, Step};
use wasmill_core::time::{Micros, Timestamp};

use crate::alarms::Alarm;
use crate::credit::{Account, Ticket};
use crate::parcel::Opened;
use crate::ports::Ports;
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
    /// The greatest watermark at which a producer of an input has ended.
    pub(crate) last: Timestamp,
    /// What it is being told, slice by slice.
    pub(crate) under_way: Option<Firing>,
    /// Where the inputs stand; `None`: they have ended.
    pub(crate) frontier: Option<Stamp>,
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

    pub(crate) fn take(&mut self, input: usize, opened: Opened) -> Result<(), Fault> {
        let (batch, ticket) = match opened {
            Opened::Batch(batch, ticket) => (batch, ticket),
            Opened::End(last) => {
                self.last = self.last.max(last);
                return Ok(());
            }
        };
        let mut out = Sender::of_input(&mut self.ports, ticket);
        self.operator.batch(input, batch, &mut out)
    }

    /// Tells the operator how far the watermark has come, and then what time it is where it asked to be told, as far as
    /// its account allows. Whether the operator asks for a time that has come already: others get a turn first.
    pub(crate) fn give(&mut self) -> Result<bool, Fault> {
        // What was interrupted comes first; a clock may then be told once more than a watermark, never before it.
        if !self.finish()? {
            return Ok(false);
        }
        while let Some(reached) = self.next_watermark() {
            self.under_way = Some(Firing::Watermark(reached));
            if !self.finish()? {
                return Ok(false);
            }
        }
        let mut due = false;
        if self.frontier.is_some() {
            if let Some(now) = self.due() {
                self.under_way = Some(Firing::Clock(now));
                if !self.finish()? {
                    return Ok(false);
                }
                due = self.due().is_some();
            }
            self.alarm.set(self.operator.wake_at());
        }
        self.let_go();
        Ok(due)
    }

    /// The watermark that the operator is to be told. Before the end it is told the greatest of its inputs' last
    /// watermarks, whether the frontier showed that or not: so what it sees before the end does not depend on the run.
    fn next_watermark(&self) -> Option<Timestamp> {
        let reached = match self.frontier {
            Some(stamp) => stamp.told(),
            None if self.last > self.told => self.last,
            None => Timestamp::MAX,
        };
        (reached > self.told).then_some(reached)
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
        match self.frontier {
            None => {
                let at = self.ports.at();
                let watermark = self.last.before(self.lag).0.max(at.watermark);
                self.ports.advance(Stamp { watermark, ..at });
                self.ports.close();
            }
            Some(frontier) => {
                let watermark = frontier.watermark.saturating_sub_unsigned(self.lag.0);
                self.ports.advance(Stamp { watermark, ..frontier });
            }
        }
    }
}
