//! The engines: wasmtime's settings, decided in one place, and the ticks that interrupt calls.
//!
//! Everything that could make a result depend on the machine is off or fixed: NaNs are canonical, relaxed SIMD,
//! threads, 64-bit memories and asynchronous components are refused. A call is interrupted by ticks (wasmtime's epochs)
//! at its deadline, and by fuel only where the fault policy may blame rows, since fuel is deterministic and a deadline
//! is not. Fuel changes the compiled code, so it is another engine.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use wasmill_core::time::Micros;
use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::host::HostError;

/// How the work of a call is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metering {
    /// By its deadline only.
    Deadline,
    /// By fuel, and by its deadline.
    Fuel,
}

impl Metering {
    /// What an operator needs: fuel where its fault policy may blame rows, for what decides about data must be
    /// deterministic.
    pub const fn decide(fault_may_blame_rows: bool) -> Self {
        if fault_may_blame_rows {
            Self::Fuel
        } else {
            Self::Deadline
        }
    }

    /// The word on the command line of the compiler and in the cache.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Fuel => "fuel",
        }
    }
}

impl fmt::Display for Metering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is neither `deadline` nor `fuel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("calls are metered by \"deadline\" or by \"fuel\"")]
pub struct UnknownMetering;

impl FromStr for Metering {
    type Err = UnknownMetering;

    fn from_str(text: &str) -> Result<Self, UnknownMetering> {
        match text {
            "deadline" => Ok(Self::Deadline),
            "fuel" => Ok(Self::Fuel),
            _ => Err(UnknownMetering),
        }
    }
}

/// Where instances live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Allocation {
    /// In a pool of this many slots: an instance takes microseconds.
    Pooled(u32),
    /// Wherever there is room: for what does not fit the pool.
    OnDemand,
}

/// Frames that a fault shows at most.
pub(crate) const BACKTRACE_FRAMES_MAX: usize = 16;

/// A component with an adapter and its shims has so many core instances, memories and tables at most; the pool holds as
/// many a slot, on average.
const CORE_INSTANCES_PER_COMPONENT: u32 = 6;
const TABLES_PER_COMPONENT: u32 = 4;

/// Memory of a slot that is wiped and kept instead of given back: a fresh instance costs half as much.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;

/// wasmtime's settings. What is compiled by an engine with the same metering loads into any other.
fn config(metering: Metering) -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .epoch_interruption(true)
        .consume_fuel(metering == Metering::Fuel)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES_MAX))
        // Only foreign unwinders read it; registering it is what makes instances slow to load.
        .native_unwind_info(false);
    config
}

/// An engine.
///
/// # Errors
/// The machine cannot give what the settings ask for, as address space for the pool.
pub(crate) fn engine(metering: Metering, allocation: Allocation) -> Result<Engine, HostError> {
    let mut config = config(metering);
    if let Allocation::Pooled(slots) = allocation {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(slots)
            .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
            .total_memories(slots)
            .total_tables(slots.saturating_mul(TABLES_PER_COMPONENT))
            .max_memory_size(1 << 32)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config).map_err(|error| HostError::Engine(format!("{error:#}")))
}

/// Advances the tick of every engine, on a thread of its own. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    period: Micros,
    watched: Arc<Watched>,
    /// Dropped to stop the thread.
    running: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Watched {
    engines: Mutex<Vec<Weak>>,
    ticks: AtomicU64,
}

/// An engine that others keep alive.
struct Weak(EngineWeak);

impl fmt::Debug for Weak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Ticker {
    /// A ticker with this period.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn new(period: Micros) -> Result<Self, HostError> {
        let period = Micros(period.0.max(1));
        let watched = Arc::new(Watched::default());
        let (running, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("wasmill-ticker".to_owned())
            .spawn({
                let watched = Arc::clone(&watched);
                move || {
                    while stopped.recv_timeout(period.to_std()) == Err(RecvTimeoutError::Timeout) {
                        watched.tick();
                    }
                }
            })
            .map_err(|error| HostError::Thread(error.to_string()))?;
        Ok(Self {
            period,
            watched,
            running: Some(running),
            thread: Some(thread),
        })
    }

    /// Ticks for this engine from now on.
    pub(crate) fn watch(&self, engine: &Engine) {
        self.watched.engines().push(Weak(engine.weak()));
    }

    /// Ticks so far.
    pub(crate) fn ticks(&self) -> u64 {
        self.watched.ticks.load(Ordering::Relaxed)
    }

    /// The count of ticks, to be read anywhere.
    pub(crate) fn count(&self) -> TickCount {
        TickCount(Arc::clone(&self.watched))
    }

    /// The ticks after which `span` has certainly passed.
    pub(crate) fn ticks_in(&self, span: Micros) -> u64 {
        span.0.div_ceil(self.period.0).saturating_add(1)
    }
}

/// The ticks of a [`Ticker`].
#[derive(Clone, Debug)]
pub(crate) struct TickCount(Arc<Watched>);

impl TickCount {
    /// Ticks so far.
    pub(crate) fn now(&self) -> u64 {
        self.0.ticks.load(Ordering::Relaxed)
    }
}

impl Watched {
    fn engines(&self) -> std::sync::MutexGuard<'_, Vec<Weak>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.engines().retain(|engine| {
            let engine = engine.0.upgrade();
            if let Some(engine) = &engine {
                engine.increment_epoch();
            }
            engine.is_some()
        });
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by the panic hook; there is nobody else to tell here.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hash, Hasher};

    fn compatibility(metering: Metering, allocation: Allocation) -> u64 {
        let mut hasher = DefaultHasher::new();
        engine(metering, allocation)
            .unwrap()
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn what_one_engine_compiled_loads_into_another_with_the_same_metering() {
        let pooled = compatibility(Metering::Deadline, Allocation::Pooled(4));
        assert_eq!(pooled, compatibility(Metering::Deadline, Allocation::OnDemand));
        assert_ne!(pooled, compatibility(Metering::Fuel, Allocation::Pooled(4)));
    }

    #[test]
    fn fuel_is_counted_only_where_a_fault_may_blame_rows() {
        assert_eq!(Metering::decide(false), Metering::Deadline);
        assert_eq!(Metering::decide(true), Metering::Fuel);
        assert_eq!("fuel".parse(), Ok(Metering::Fuel));
        assert_eq!("".parse::<Metering>(), Err(UnknownMetering));
    }

    #[test]
    fn a_deadline_never_ends_early() {
        let ticker = Ticker::new(Micros::from_millis(10)).unwrap();
        assert_eq!(ticker.ticks_in(Micros::from_millis(25)), 4);
        assert_eq!(ticker.ticks_in(Micros(u64::MAX)), u64::MAX.div_ceil(10_000) + 1);
    }

    #[test]
    fn a_dropped_ticker_has_joined_its_thread_and_a_dropped_engine_is_forgotten() {
        let ticker = Ticker::new(Micros::from_millis(1)).unwrap();
        ticker.watch(&engine(Metering::Deadline, Allocation::OnDemand).unwrap());
        ticker.watched.tick();
        assert!(ticker.watched.engines().is_empty());
        let watched = Arc::clone(&ticker.watched);
        drop(ticker);
        assert_eq!(Arc::strong_count(&watched), 1, "the thread's share is gone");
    }
}
