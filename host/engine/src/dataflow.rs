//! Builds one worker's part of the graph. Every worker makes the same calls in the same order.

use std::panic::{AssertUnwindSafe, catch_unwind};

use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::progress::frontier::MutableAntichain;

use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{Epoch, WorkerIndex};
use wasmill_core::operator::Operator;
use wasmill_core::time::{Micros, Timestamp};

use crate::abort::{Abort, Ending};
use crate::alarms::Alarms;
use crate::credit::Account;
use crate::exchange::{Route, Splitter};
use crate::intake::Intake;
use crate::operator::Node;
use crate::parcel::Parcel;
use crate::ports::Ports;
use crate::sink::{self, SinkTask};
use crate::snapshots::Snapshots;
use crate::source::{SourceOutput, SourceState, SourceTask};
use crate::stamp::{Stamp, meet};
use crate::waker::Waker;

/// One worker's part of the graph under construction.
pub struct Dataflow<'scope> {
    pub(crate) scope: Scope<'scope, Stamp>,
    pub(crate) abort: Abort,
    pub(crate) credit_bytes: u64,
    pub(crate) first_epoch: Epoch,
    pub(crate) alarms: Alarms,
}

/// An edge from a port; it may be read by any number of nodes.
#[derive(Clone)]
pub struct Flow<'scope>(Stream<'scope, Stamp, Parcel>);

/// An input of a node: takes what has arrived, each parcel with the epoch that it was sent in.
type Puller = Box<dyn FnMut(&mut dyn FnMut(u64, Parcel))>;

impl<'scope> Dataflow<'scope> {
    /// This worker.
    pub fn worker(&self) -> WorkerIndex {
        WorkerIndex(self.scope.index() as u32)
    }

    /// The number of workers of the job.
    pub fn workers(&self) -> usize {
        self.scope.peers()
    }

    /// Adds a source with `ports` outputs.
    pub fn source(
        &mut self,
        name: &str,
        ports: usize,
        make: impl FnOnce(Waker) -> Box<dyn SourceTask>,
    ) -> Vec<Flow<'scope>> {
        let workers = self.workers() as u32;
        let mut node = self.node(name);
        let flows = node.outputs(ports);
        let NodeBuilder {
            builder,
            outputs,
            waker,
            guard,
            ..
        } = node;
        let account = Account::new(self.credit_bytes, waker.clone());
        let mut task = make(waker.clone());
        builder.build_reschedule(move |capabilities| {
            let mut ports = Ports::new(outputs, capabilities, workers);
            move |_: &[MutableAntichain<Stamp>]| {
                waker.running();
                if ports.is_closed() {
                    return false;
                }
                guard.run(|| {
                    let mut out = SourceOutput {
                        ports: &mut ports,
                        account: &account,
                    };
                    match task.poll(&mut out)? {
                        SourceState::Parked => {}
                        SourceState::Ready => waker.wake(),
                        SourceState::Ended => ports.close(),
                    }
                    Ok(())
                });
                false
            }
        });
        flows
    }

    /// Adds an operator with `ports` outputs. Its output's watermark stays `lag` behind its inputs'.
    pub fn operator(
        &mut self,
        name: &str,
        inputs: Vec<(Flow<'scope>, Route)>,
        ports: usize,
        lag: Micros,
        operator: Box<dyn Operator>,
        snapshots: Box<dyn Snapshots>,
    ) -> Vec<Flow<'scope>> {
        let first_epoch = self.first_epoch;
        let workers = self.workers() as u32;
        let mut node = self.node(name);
        let mut pullers = node.inputs(inputs);
        let flows = node.outputs(ports);
        let NodeBuilder {
            builder,
            outputs,
            waker,
            guard,
            ..
        } = node;
        let account = Account::new(self.credit_bytes, waker.clone());
        let alarm = self.alarms.of(waker.clone());
        builder.build_reschedule(move |capabilities| {
            let mut node = Node {
                operator,
                ports: Ports::new(outputs, capabilities, workers),
                account,
                lag,
                told: Timestamp::MIN,
                under_way: None,
                intake: Intake::new(),
                snapshots,
                first_epoch,
                alarm,
                begun: false,
            };
            move |frontiers: &[MutableAntichain<Stamp>]| {
                waker.running();
                if node.ports.is_closed() {
                    return false;
                }
                guard.run(|| {
                    node.begin()?;
                    let took_input = node.takes_input();
                    if took_input {
                        node.intake.stand(meet_all(frontiers));
                        pull_all(&mut pullers, &guard.abort, |input, epoch, parcel| {
                            match node.intake.arrive(input, epoch, parcel) {
                                Some(arrived) => node.take(arrived),
                                None => Ok(()),
                            }
                        })?;
                    }
                    let due = node.give()?;
                    if due || (node.takes_input() && !took_input) {
                        // What came while it fired was left where it was.
                        waker.wake();
                    }
                    Ok(())
                });
                false
            }
        });
        flows
    }

    /// Adds a sink with `ports` outputs, for what it cannot write.
    pub fn sink(
        &mut self,
        name: &str,
        inputs: Vec<(Flow<'scope>, Route)>,
        ports: usize,
        make: impl FnOnce(Waker) -> Box<dyn SinkTask>,
    ) -> Vec<Flow<'scope>> {
        let workers = self.workers() as u32;
        let mut node = self.node(name);
        let mut pullers = node.inputs(inputs);
        let flows = node.outputs(ports);
        let NodeBuilder {
            builder,
            outputs,
            waker,
            guard,
            ..
        } = node;
        let account = Account::new(self.credit_bytes, waker.clone());
        let mut sink = sink::Node {
            task: make(waker.clone()),
            account,
            intake: Intake::new(),
            first_epoch: self.first_epoch,
            told: Timestamp::MIN,
            is_leaving: false,
        };
        builder.build_reschedule(move |capabilities| {
            let mut ports = Ports::new(outputs, capabilities, workers);
            move |frontiers: &[MutableAntichain<Stamp>]| {
                waker.running();
                if ports.is_closed() {
                    return false;
                }
                guard.run(|| {
                    let took_input = sink.takes_input();
                    if took_input {
                        sink.intake.stand(meet_all(frontiers));
                        pull_all(&mut pullers, &guard.abort, |input, epoch, parcel| {
                            match sink.intake.arrive(input, epoch, parcel) {
                                Some(arrived) => sink.take(arrived),
                                None => Ok(()),
                            }
                        })?;
                    }
                    sink.go_on(&mut ports)?;
                    if !ports.is_closed() && sink.takes_input() && !took_input {
                        // What came while it was full was left where it was.
                        waker.wake();
                    }
                    Ok(())
                });
                // The node stays although its input has ended, as long as it has something to write.
                !ports.is_closed()
            }
        });
        flows
    }

    fn node(&self, name: &str) -> NodeBuilder<'scope> {
        let builder = OperatorBuilder::new(name.to_owned(), self.scope);
        let path = builder.operator_info().address.to_vec();
        let waker = Waker::new(self.scope.worker().sync_activator_for(path));
        let guard = Guard {
            name: name.to_owned(),
            abort: self.abort.clone(),
        };
        NodeBuilder {
            builder,
            outputs: Vec::new(),
            waker,
            guard,
        }
    }
}

/// The epoch that a parcel was sent in.
fn epoch_of(sent: &InputCapability<Stamp>) -> u64 {
    let stamps = sent.stamp().elements();
    let [stamp] = stamps else {
        unreachable!("every task sends under one capability: {stamps:?}")
    };
    stamp.epoch
}

/// What all kinds of nodes have.
struct NodeBuilder<'scope> {
    builder: OperatorBuilder<'scope, Stamp>,
    outputs: Vec<timely::dataflow::channels::pushers::Output<Stamp, Parcel>>,
    waker: Waker,
    guard: Guard,
}

impl<'scope> NodeBuilder<'scope> {
    fn inputs(&mut self, inputs: Vec<(Flow<'scope>, Route)>) -> Vec<Puller> {
        inputs
            .into_iter()
            .map(|(flow, route)| self.input(flow, route))
            .collect()
    }

    fn input(&mut self, flow: Flow<'scope>, route: Route) -> Puller {
        // Both arms pull alike; the handles are of different types.
        if route == Route::Local {
            let mut handle = self.builder.new_input(flow.0, Pipeline);
            Box::new(move |take| handle.for_each(|sent, parcel| take(epoch_of(&sent), std::mem::take(parcel))))
        } else {
            let pact = DistributorPact(move |workers| Splitter::new(route, workers));
            let mut handle = self.builder.new_input(flow.0, pact);
            Box::new(move |take| handle.for_each(|sent, parcel| take(epoch_of(&sent), std::mem::take(parcel))))
        }
    }

    fn outputs(&mut self, ports: usize) -> Vec<Flow<'scope>> {
        (0..ports)
            .map(|_| {
                let (output, stream) = self.builder.new_output::<Parcel>();
                self.outputs.push(output);
                Flow(stream)
            })
            .collect()
    }
}

/// Takes all that has arrived on the inputs. After a fault, here or elsewhere, the rest is dropped: the generation ends.
fn pull_all(
    pullers: &mut [Puller],
    abort: &Abort,
    mut take: impl FnMut(usize, u64, Parcel) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut result = Ok(());
    for (input, pull) in pullers.iter_mut().enumerate() {
        pull(&mut |epoch, parcel| {
            if result.is_ok() && !abort.is_set() {
                result = take(input, epoch, parcel);
            }
        });
    }
    result
}

fn meet_all(frontiers: &[MutableAntichain<Stamp>]) -> Option<Stamp> {
    frontiers
        .iter()
        .filter_map(|frontier| meet(&frontier.frontier()))
        .reduce(Stamp::meet)
}

/// Turns faults and panics of a node into the end of the generation.
struct Guard {
    name: String,
    abort: Abort,
}

impl Guard {
    fn run(&self, work: impl FnOnce() -> Result<(), Fault>) {
        if self.abort.is_set() {
            return;
        }
        let fault = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => fault,
            Err(panic) => Fault::fatal(
                Domain::Internal,
                format!("{}: panic: {}", self.name, panic_text(&*panic)),
            ),
        };
        self.abort.end(Ending::Failed(fault));
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
