//! Runs a [`wasmill_core::operator::Operator`] as a node of the dataflow.
//!
//! The node holds one capability: the meet of its input frontiers. It sends at that stamp, fires when the watermark
//! coordinate rises, and only then lets go of the old stamp. While it fires it takes no input, and it fires no faster
//! than its account allows; so what it holds on the way is bounded, whatever its state yields.

use std::sync::Arc;

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::operator::{Emit, Operator, Step};
use wasmill_core::time::{Micros, Timestamp};

use crate::credit::{Account, Ticket};
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
    /// The watermark that it is being told, slice by slice.
    pub(crate) firing: Option<Timestamp>,
    /// Where the inputs stand; `None`: they have ended.
    pub(crate) frontier: Option<Stamp>,
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
    /// Whether it may take input: not in the middle of a firing.
    pub(crate) fn takes_input(&self) -> bool {
        self.firing.is_none()
    }

    pub(crate) fn take(&mut self, input: usize, batch: Batch, ticket: Option<Ticket>) -> Result<(), Fault> {
        let mut out = Sender::of_input(&mut self.ports, ticket);
        self.operator.batch(input, batch, &mut out)
    }

    /// Tells the operator how far the watermark has come, as far as its account allows.
    pub(crate) fn fire(&mut self) -> Result<(), Fault> {
        let reached = self.frontier.map_or(Timestamp::MAX, |stamp| Timestamp(stamp.watermark));
        if self.firing.is_none() && reached > self.told {
            self.firing = Some(reached);
        }
        while let Some(to) = self.firing {
            if !self.account.has_credit() {
                return Ok(());
            }
            let mut out = Sender::of_state(&mut self.ports, &self.account);
            if self.operator.watermark(to, &mut out)? == Step::Done {
                self.told = to;
                self.firing = None;
            }
        }
        self.let_go();
        Ok(())
    }

    fn let_go(&mut self) {
        match self.frontier {
            None => self.ports.close(),
            Some(frontier) => {
                let watermark = frontier.watermark.saturating_sub_unsigned(self.lag.0);
                self.ports.advance(Stamp { watermark, ..frontier });
            }
        }
    }
}
