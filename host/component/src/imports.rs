//! What the host gives to guests: one file per import, and what an instance's store carries for them.

pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod state;

use wasmtime::ResourceLimiter;

use crate::bindings::wasmill::operator::{
    log as log_bindings, metrics as metrics_bindings, state as state_bindings, state_types, types,
};
use log::CallLog;
use metrics::CallMetrics;
use state::CallState;

/// What a store carries.
#[derive(Debug)]
pub(crate) struct Context {
    /// Lines of the call that runs.
    pub(crate) log: CallLog,
    /// Metrics of the instance, and changes of the call that runs.
    pub(crate) metrics: CallMetrics,
    /// What the call that runs may reach of its state.
    pub(crate) state: CallState,
    /// Linear memory.
    pub(crate) memory: Memory,
}

impl Context {
    /// For an instance with so much memory at most.
    pub(crate) fn new(memory_limit_bytes: u64, state: CallState) -> Self {
        Self {
            log: CallLog::default(),
            metrics: CallMetrics::default(),
            state,
            memory: Memory {
                limit_bytes: usize::try_from(memory_limit_bytes).unwrap_or(usize::MAX),
                used_bytes: 0,
                growing_bytes: 0,
            },
        }
    }
}

impl types::Host for Context {}
impl state_types::Host for Context {}

/// The imports. `state` is for the world `keyed` alone; a plugin of another that asks for it is not loaded.
///
/// # Errors
/// wasmtime refused a definition: a defect of this crate.
pub(crate) fn add_to_linker(linker: &mut wasmtime::component::Linker<Context>) -> wasmtime::Result<()> {
    type Own = wasmtime::component::HasSelf<Context>;
    types::add_to_linker::<_, Own>(linker, |context| context)?;
    state_types::add_to_linker::<_, Own>(linker, |context| context)?;
    log_bindings::add_to_linker::<_, wasmtime::component::HasSelf<CallLog>>(linker, |context| &mut context.log)?;
    metrics_bindings::add_to_linker::<_, wasmtime::component::HasSelf<CallMetrics>>(linker, |context| {
        &mut context.metrics
    })?;
    state_bindings::add_to_linker::<_, wasmtime::component::HasSelf<CallState>>(linker, |context| &mut context.state)
}

/// The linear memory of an instance: all of its memories together.
#[derive(Debug)]
pub(crate) struct Memory {
    limit_bytes: usize,
    used_bytes: usize,
    /// What the growth that was allowed last adds.
    growing_bytes: usize,
}

impl Memory {
    /// How much the instance has.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes
    }
}

/// The instance asked for more than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plugin asked for {asked_bytes} bytes of memory; its limit is {limit_bytes}")]
pub(crate) struct MemoryExceeded {
    asked_bytes: usize,
    limit_bytes: usize,
}

/// Elements of a table; a language's own table has some thousands.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;

/// Growth beyond the limit ends the call, at the place that asked for it: a guest that could go on without the memory
/// would give another result than one with a higher limit.
impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.growing_bytes = desired.saturating_sub(current);
        let asked_bytes = self.used_bytes.saturating_add(self.growing_bytes);
        if asked_bytes > self.limit_bytes {
            let limit_bytes = self.limit_bytes;
            return Err(MemoryExceeded {
                asked_bytes,
                limit_bytes,
            }
            .into());
        }
        self.used_bytes = asked_bytes;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.used_bytes -= self.growing_bytes;
        self.growing_bytes = 0;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}
