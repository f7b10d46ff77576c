//! One subtask's guest: its instance, the bounds of each call, and what a failed call becomes.
//!
//! An instance lives until a call fails, until its memory has grown past twice what one had after its first call and the
//! largest batch (some languages leak), or until the subtask ends; where it is asked for, for one call only. A call that
//! asks for too much memory is repeated once in a fresh instance, since earlier calls may have taken it. One call in many
//! is repeated in a fresh instance, and must give the same.

use std::sync::Arc;

use wasmill_core::fault::{Domain, Fault, GuestDetail, GuestFault, Retry};
use wasmill_core::id::NodeId;
use wasmill_core::plugin::{Isolation, Limits};
use wasmill_core::transform::InputDescription;
use wasmtime::component::Instance as ComponentInstance;
use wasmtime::{Store, Trap, WasmBacktrace};

use crate::bindings::wasmill::operator::types::{FieldParam, Input, SchemaParam};
use crate::blamed::Repeated;
use crate::engine::Metering;
use crate::host::Shared;
use crate::imports::log::LineLimiter;
use crate::imports::metrics::Phase;
use crate::imports::state::{CallState, StateLink};
use crate::imports::{Context, MemoryExceeded};
use crate::lift::Violation;
use crate::program::{Exports, Program};

pub(crate) use crate::bindings::wasmill::operator::types::Failure;

/// What a guest answers: `Err` of the outside is a trap or a limit, of the inside its own.
pub(crate) type Answer<T> = wasmtime::Result<Result<T, Failure>>;

/// The functions of an exported interface.
pub(crate) trait Guest: Sized {
    /// Finds them in an instance.
    fn load(exports: &Exports, store: &mut Store<Context>, instance: &ComponentInstance) -> wasmtime::Result<Self>;

    /// Calls `open`; `key` has the names of the key columns, for the worlds that have keys.
    fn call_open(&self, store: &mut Store<Context>, config: &str, inputs: &[Input<'_>], key: &[&str]) -> Answer<()>;
}

/// What an instance is made for.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The operator; none while a topology is checked.
    pub(crate) node: Option<NodeId>,
    /// The plugin's file, as faults show it.
    pub(crate) plugin: String,
    pub(crate) config: String,
    pub(crate) inputs: Vec<InputDescription>,
    /// The names of the key columns.
    pub(crate) key: Vec<Arc<str>>,
    pub(crate) limits: Limits,
    pub(crate) metering: Metering,
    pub(crate) isolation: Isolation,
    /// What the import `state` reaches.
    pub(crate) state: Option<StateLink>,
}

/// A call of the contract, as faults show it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static str,
    /// Rows or events; where there are none, what it is about.
    pub(crate) rows: usize,
    /// Where it may reach state: how many keys it is about.
    pub(crate) keys: Option<usize>,
    /// Bytes that cross into the guest.
    pub(crate) input_bytes: usize,
}

impl Call {
    const fn without_rows(function: &'static str) -> Self {
        Self {
            function,
            rows: 0,
            keys: None,
            input_bytes: 0,
        }
    }
}

/// One subtask's guest.
pub(crate) struct Subtask<G> {
    shared: Arc<Shared>,
    program: Arc<Program>,
    spec: Spec,
    /// None after a fault, or when the instance had grown too large.
    running: Option<Running<G>>,
    lines: LineLimiter,
    /// Whether the calls that come are made again with less where they fail.
    repeated: Repeated,
    calls: u64,
    largest_input_bytes: usize,
    /// The most memory that an instance had after its first call: what the plugin needs, as far as is known.
    settled_bytes: usize,
    deadline_ticks: u64,
}

struct Running<G> {
    store: Store<Context>,
    guest: G,
    /// Whether it has had a call after `open`.
    is_used: bool,
    /// Whether that call was good, so that its memory is counted in [`Subtask::settled_bytes`].
    has_settled: bool,
}

impl<G: Guest> Subtask<G> {
    /// A subtask with an instance that has been opened.
    ///
    /// # Errors
    /// The instance could not be made, or `open` failed.
    pub(crate) fn open(shared: Arc<Shared>, program: Arc<Program>, spec: Spec) -> Result<Self, Fault> {
        let mut subtask = Self::describing(shared, program, spec);
        subtask.running = Some(subtask.fresh()?);
        Ok(subtask)
    }

    /// A subtask whose instance is not opened: for [`Self::describe`].
    pub(crate) fn describing(shared: Arc<Shared>, program: Arc<Program>, spec: Spec) -> Self {
        let node = spec.node.clone().unwrap_or_else(|| NodeId::new(spec.plugin.as_str()));
        let ticks_per_second = shared.ticker.ticks_in(wasmill_core::time::Micros::SECOND);
        let deadline_ticks = shared.ticker.ticks_in(spec.limits.deadline);
        Self {
            lines: LineLimiter::new(node, ticks_per_second),
            shared,
            program,
            spec,
            running: None,
            repeated: Repeated::No,
            calls: 0,
            largest_input_bytes: 0,
            settled_bytes: 0,
            deadline_ticks,
        }
    }

    /// The subtask's bounds.
    pub(crate) fn limits(&self) -> &Limits {
        &self.spec.limits
    }

    /// Whether the plugin carries state from older versions.
    pub(crate) fn migrates(&self) -> bool {
        self.program.migrates()
    }

    /// What the instance was opened with.
    pub(crate) fn inputs(&self) -> &[InputDescription] {
        &self.spec.inputs
    }

    /// Calls `describe`, in an instance of its own that is never opened.
    ///
    /// # Errors
    /// Outside: the guest trapped or passed a limit. Inside: it refused.
    pub(crate) fn describe<R>(
        &mut self,
        config: &str,
        inputs: &[InputDescription],
        describe: impl FnOnce(&G, &mut Store<Context>, &str, &[Input<'_>]) -> Answer<R>,
    ) -> Result<Result<R, Failure>, Fault> {
        const CALL: Call = Call::without_rows("describe");
        let mut running = self.instantiate(CALL)?;
        self.arm(&mut running.store, u64::MAX);
        let answer = with_inputs(inputs, |inputs| {
            describe(&running.guest, &mut running.store, config, inputs)
        });
        let answer = answer.map_err(|error| self.fault_of(CALL, &error, &running.store));
        self.lines
            .flush(&mut running.store.data_mut().log, self.shared.ticker.ticks());
        answer
    }

    /// An instance that goes on where another ends, with what that one said to metrics.
    fn successor(&mut self, mut used: Running<G>) -> Result<Running<G>, Fault> {
        let changes = used.store.data_mut().metrics.take_changes();
        drop(used);
        let mut fresh = self.fresh()?;
        fresh.store.data_mut().metrics.adopt(changes);
        Ok(fresh)
    }

    /// Calls the guest, and makes of its answer what `check` makes of it. The effects wait for [`Self::commit`].
    ///
    /// # Errors
    /// The call failed, or `check` found that the contract forbids what it returned. The instance is gone.
    pub(crate) fn call<R, T: PartialEq>(
        &mut self,
        call: Call,
        invoke: impl Fn(&G, &mut Store<Context>) -> Answer<R>,
        check: impl Fn(R) -> Result<T, Violation>,
    ) -> Result<T, Fault> {
        let mut running = match self.running.take() {
            Some(used) if used.is_used && self.spec.isolation == Isolation::Call => self.successor(used)?,
            Some(running) => running,
            None => self.fresh()?,
        };
        let was_used = std::mem::replace(&mut running.is_used, true);
        let changes = running.store.data().metrics.changes();
        let mut result = self.attempt(&mut running, call, &invoke, &check);
        if was_used && result.as_ref().is_err_and(is_memory) {
            // Earlier calls may have taken the memory; what decides about rows must not depend on them.
            running.store.data_mut().metrics.forget_after(changes);
            running = self.successor(running)?;
            running.is_used = true;
            result = self.attempt(&mut running, call, &invoke, &check);
        }
        let result = result?;
        self.calls += 1;
        self.largest_input_bytes = self.largest_input_bytes.max(call.input_bytes);
        if self
            .shared
            .purity_check_every
            .is_some_and(|every| self.calls.is_multiple_of(u64::from(every.get())))
        {
            self.check_purity(call, &result, &invoke, &check)?;
        }
        self.running = Some(running);
        Ok(result)
    }

    /// Says whether the calls that come are made again with less where they fail.
    pub(crate) fn repeat(&mut self, repeated: Repeated) {
        self.repeated = repeated;
    }

    /// Whether a failure is put down to rows, if the operator's policy does so.
    fn blames(&self, fault: &Fault) -> bool {
        let guest = fault.guest.as_ref();
        self.spec.metering == Metering::Fuel && guest.is_some_and(|guest| guest.kind.may_blame_rows())
    }

    /// Logs a failure of a call that is not made again, where it is put down to its row.
    pub(crate) fn log_blame(&mut self, fault: &Fault, row: impl FnOnce() -> String) {
        if self.repeated == Repeated::Yes || !self.blames(fault) {
            return;
        }
        let frames = fault.guest.as_ref().map(|guest| guest.backtrace.join(", "));
        let mut fields = vec![("row".to_owned(), row())];
        fields.extend(frames.filter(|f| !f.is_empty()).map(|f| ("backtrace".to_owned(), f)));
        self.lines.fault(&fault.message, fields, self.shared.ticker.ticks());
    }

    /// Applies the metrics of the calls since the last commit, and lets an instance go that has grown too large.
    pub(crate) fn commit(&mut self) {
        let Some(running) = &mut self.running else { return };
        if let Some(node) = &self.spec.node {
            self.shared.metrics.apply(node, &mut running.store.data_mut().metrics);
        }
        let used_bytes = running.store.data().memory.used_bytes();
        if !running.has_settled {
            running.has_settled = true;
            self.settled_bytes = self.settled_bytes.max(used_bytes);
        }
        let bound = self
            .settled_bytes
            .saturating_mul(2)
            .saturating_add(self.largest_input_bytes);
        if used_bytes > bound {
            self.running = None;
        }
    }

    /// One call, whose log is passed on.
    fn attempt<R, T>(
        &mut self,
        running: &mut Running<G>,
        call: Call,
        invoke: impl Fn(&G, &mut Store<Context>) -> Answer<R>,
        check: impl Fn(R) -> Result<T, Violation>,
    ) -> Result<T, Fault> {
        let result = self.call_in(running, call, invoke, check);
        if self.repeated == Repeated::Yes && result.as_ref().is_err_and(|fault| self.blames(fault)) {
            running.store.data_mut().log.forget();
        }
        self.lines
            .flush(&mut running.store.data_mut().log, self.shared.ticker.ticks());
        result
    }

    /// One call. What it wrote to its state is undone where it failed.
    fn call_in<R, T>(
        &self,
        running: &mut Running<G>,
        call: Call,
        invoke: impl Fn(&G, &mut Store<Context>) -> Answer<R>,
        check: impl Fn(R) -> Result<T, Violation>,
    ) -> Result<T, Fault> {
        // A call without rows, of timers or windows alone, works too.
        let fuel = self.spec.limits.fuel_per_row.saturating_mul(call.rows.max(1) as u64);
        self.arm(&mut running.store, fuel);
        let deadline = self.shared.ticker.ticks().saturating_add(self.deadline_ticks);
        running.store.data_mut().state.begin(call.keys, deadline);
        let answer = invoke(&running.guest, &mut running.store);
        running.store.data_mut().state.end();
        let result = match answer {
            Ok(Ok(answer)) => check(answer).map_err(|violation| self.violation(call, &violation)),
            Ok(Err(failure)) => Err(self.failure(call, failure)),
            Err(error) => Err(self.fault_of(call, &error, &running.store)),
        };
        if result.is_err() {
            running.store.data_mut().state.undo();
        }
        result
    }

    fn check_purity<R, T: PartialEq>(
        &mut self,
        call: Call,
        first: &T,
        invoke: impl Fn(&G, &mut Store<Context>) -> Answer<R>,
        check: impl Fn(R) -> Result<T, Violation>,
    ) -> Result<(), Fault> {
        let mut fresh = self.fresh()?;
        let impure = match self.call_in(&mut fresh, call, invoke, check) {
            Ok(again) if again == *first => return Ok(()),
            Ok(_) => "gave another result".to_owned(),
            // Time is no property of the guest, nor is the host's state.
            Err(fault) if fault.guest.as_ref().is_none_or(|g| g.kind == GuestFault::Deadline) => return Err(fault),
            Err(fault) => format!("failed ({})", fault.message),
        };
        let message =
            format!("the call, repeated in a fresh instance, {impure}: a result must not depend on earlier calls");
        fresh.store.data_mut().state.undo();
        Err(self.fault(call, GuestFault::Impure, message, None, Vec::new()))
    }

    /// An instance that has been opened.
    fn fresh(&mut self) -> Result<Running<G>, Fault> {
        const CALL: Call = Call::without_rows("open");
        let mut running = self.instantiate(CALL)?;
        let store = &mut running.store;
        store.data_mut().metrics.phase = Phase::Open;
        let key: Vec<&str> = self.spec.key.iter().map(|name| &**name).collect();
        let answer = with_inputs(&self.spec.inputs, |inputs| {
            running.guest.call_open(store, &self.spec.config, inputs, &key)
        });
        let result = match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(self.failure(CALL, failure)),
            Err(error) => Err(self.fault_of(CALL, &error, store)),
        };
        self.lines.flush(&mut store.data_mut().log, self.shared.ticker.ticks());
        result?;
        let context = store.data_mut();
        context.metrics.phase = Phase::Call;
        if let Some(node) = &self.spec.node {
            self.shared.metrics.declare(node, context.metrics.declared());
        }
        Ok(running)
    }

    fn instantiate(&self, call: Call) -> Result<Running<G>, Fault> {
        let limits = &self.spec.limits;
        let store = |engine: &wasmtime::Engine| {
            let state = CallState::new(self.spec.state.clone(), self.shared.ticker.count());
            let mut store = Store::new(engine, Context::new(limits.memory_bytes, state));
            store.limiter(|context| &mut context.memory);
            store.set_hostcall_fuel(usize::try_from(limits.output_bytes).unwrap_or(usize::MAX));
            self.arm(&mut store, u64::MAX);
            store
        };
        let made = self.program.instantiate(
            &self.shared.programs,
            &self.shared.ticker,
            store,
            |mut store, instance, exports| {
                let guest = G::load(exports, &mut store, instance)?;
                Ok(Running {
                    store,
                    guest,
                    is_used: false,
                    has_settled: false,
                })
            },
        );
        made.map_err(|error| {
            let (kind, message, backtrace) = self.classify(&error);
            self.fault(call, kind, message, None, backtrace)
        })
    }

    /// Sets the bounds of the next call.
    fn arm(&self, store: &mut Store<Context>, fuel: u64) {
        store.set_epoch_deadline(self.deadline_ticks);
        if self.spec.metering == Metering::Fuel {
            store.set_fuel(fuel).expect("the engine of this metering counts fuel");
        }
    }

    fn failure(&self, call: Call, failure: Failure) -> Fault {
        let row = failure.row.filter(|&row| (row as usize) < call.rows);
        self.fault(call, GuestFault::Failure, failure.message, row, Vec::new())
    }

    fn violation(&self, call: Call, violation: &Violation) -> Fault {
        let kind = if violation.over_limit {
            GuestFault::Output
        } else {
            GuestFault::Contract
        };
        let row = violation.row.and_then(|row| u32::try_from(row).ok());
        let message = format!("the plugin returned {}", violation.message);
        self.fault(call, kind, message, row, Vec::new())
    }

    /// What an import of the host's met, or what wasmtime says, and what the guest logged before: a language's panic message is in its log.
    fn fault_of(&self, call: Call, error: &wasmtime::Error, store: &Store<Context>) -> Fault {
        if let Some(of_host) = error.downcast_ref::<Fault>() {
            let of_host = of_host.clone();
            return match &self.spec.node {
                Some(node) => of_host.at(node),
                None => of_host,
            };
        }
        let (kind, mut message, backtrace) = self.classify(error);
        if kind == GuestFault::Trap
            && let Some(said) = store.data().log.last_error()
        {
            message = format!("{message}: {said}");
        }
        self.fault(call, kind, message, None, backtrace)
    }

    fn classify(&self, error: &wasmtime::Error) -> (GuestFault, String, Vec<String>) {
        let limits = &self.spec.limits;
        let (kind, message) = if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
            (GuestFault::Memory, exceeded.to_string())
        } else if let Some(trap) = error.downcast_ref::<Trap>() {
            match trap {
                Trap::Interrupt => (
                    GuestFault::Deadline,
                    format!("the call ran longer than its deadline of {}", limits.deadline),
                ),
                Trap::OutOfFuel => (
                    GuestFault::Fuel,
                    format!("the call used up its fuel of {} a row", limits.fuel_per_row),
                ),
                trap => {
                    let text = trap.to_string();
                    let text = text.strip_prefix("wasm trap: ").unwrap_or(&text);
                    (GuestFault::Trap, format!("the plugin trapped ({text})"))
                }
            }
        } else {
            let text = error.root_cause().to_string();
            if text.contains(HOSTCALL_FUEL_EXHAUSTED) {
                (
                    GuestFault::Output,
                    format!("the call returned more than its limit of {} bytes", limits.output_bytes),
                )
            } else {
                (GuestFault::Contract, format!("the plugin broke the contract: {text}"))
            }
        };
        (kind, message, backtrace(error))
    }

    fn fault(&self, call: Call, kind: GuestFault, message: String, row: Option<u32>, backtrace: Vec<String>) -> Fault {
        Fault {
            domain: Domain::User,
            // Another run may be quicker; nothing else about a guest changes by itself.
            retry: if kind == GuestFault::Deadline {
                Retry::Backoff
            } else {
                Retry::Never
            },
            message: clipped(message),
            node: self.spec.node.clone(),
            guest: Some(Box::new(GuestDetail {
                kind,
                plugin: self.spec.plugin.clone(),
                function: call.function,
                row,
                rows: u32::try_from(call.rows).unwrap_or(u32::MAX),
                backtrace,
            })),
        }
    }
}

fn is_memory(fault: &Fault) -> bool {
    fault
        .guest
        .as_ref()
        .is_some_and(|guest| guest.kind == GuestFault::Memory)
}

/// Bytes of a message of a guest's that a fault or a dead letter carries.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// The message, or as much of it as anybody reads.
pub(crate) fn clipped(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push_str("...");
    }
    message
}

/// wasmtime's error for it has no public type; a test of this crate notices where its text changes.
const HOSTCALL_FUEL_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// The guest's frames, innermost first, with the names of its name section.
fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let frames = backtrace.frames().iter().map(|frame| match frame.func_name() {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    });
    frames.collect()
}

/// The inputs as the bindings take them.
fn with_inputs<R>(inputs: &[InputDescription], then: impl FnOnce(&[Input<'_>]) -> R) -> R {
    let fields: Vec<Vec<FieldParam<'_>>> = inputs
        .iter()
        .map(|input| {
            let fields = input.schema.fields().iter().map(|field| FieldParam {
                name: &field.name,
                data_type: field.data_type.name(),
                nullable: field.nullable,
            });
            fields.collect()
        })
        .collect();
    let inputs: Vec<Input<'_>> = inputs
        .iter()
        .zip(&fields)
        .map(|(input, fields)| Input {
            name: &input.name,
            schema: SchemaParam { fields },
            changelog: input.changelog,
        })
        .collect();
    then(&inputs)
}
