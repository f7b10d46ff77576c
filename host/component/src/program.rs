//! Programs: compiled components, linked with the imports, ready for instances. One for each plugin and metering.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;
use wasmill_core::plugin::{PluginError, PluginRef, World};
use wasmtime::component::{Component, Instance, InstancePre, Linker};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store};
use xxhash_rust::xxh3::Xxh3Default;

use crate::anatomy;
use crate::bindings::exports::wasmill::operator::{
    aggregator, keyed_operator, migration, transformer, window_operator,
};
use crate::cache::{Cache, Key};
use crate::compile::{CompileError, Compiler};
use crate::engine::{Allocation, Metering, Ticker, engine};
use crate::imports::{self, Context};

/// A compiled component in an engine.
pub(crate) struct Linked {
    pub(crate) engine: Engine,
    pub(crate) exports: Exports,
    /// Whether it exports `migration` beside.
    migrates: bool,
    component: Component,
    instances: InstancePre<Context>,
}

/// Where an interface's functions are.
pub(crate) enum Exports {
    /// Of a `transform`.
    Transformer(transformer::GuestIndices),
    /// Of an `aggregate`.
    Aggregator(aggregator::GuestIndices),
    /// Of a `keyed`.
    Keyed(keyed_operator::GuestIndices),
    /// Of a `window`.
    Window(window_operator::GuestIndices),
}

impl Exports {
    fn find(instances: &InstancePre<Context>) -> wasmtime::Result<Self> {
        if let Ok(indices) = transformer::GuestIndices::new(instances) {
            return Ok(Self::Transformer(indices));
        }
        if let Ok(indices) = aggregator::GuestIndices::new(instances) {
            return Ok(Self::Aggregator(indices));
        }
        if let Ok(indices) = keyed_operator::GuestIndices::new(instances) {
            return Ok(Self::Keyed(indices));
        }
        window_operator::GuestIndices::new(instances).map(Self::Window)
    }

    /// What to say where another world was expected.
    pub(crate) fn is_not(&self, expected: World) -> wasmtime::Error {
        let world = match self {
            Self::Transformer(_) => World::Transform,
            Self::Aggregator(_) => World::Aggregate,
            Self::Keyed(_) => World::Keyed,
            Self::Window(_) => World::Window,
        };
        wasmtime::format_err!("its world is \"{}\", not \"{}\"", world.name(), expected.name())
    }
}

/// A plugin, ready to be instantiated.
pub(crate) struct Program {
    linked: Linked,
    /// In the engine without a pool; made when the pool is full for the first time.
    on_demand: Mutex<Option<Arc<Linked>>>,
    metering: Metering,
}

/// All programs of a host, and the engines that they are for.
pub(crate) struct Programs {
    cache: Option<Cache>,
    compiler: Compiler,
    pool_slots: u32,
    engines: Mutex<HashMap<(Metering, bool), Engine>>,
    programs: Mutex<HashMap<([u8; 32], Metering), Slot>>,
}

/// A program's place. It is locked while the program is compiled, so that it is compiled once.
type Slot = Arc<Mutex<Option<Arc<Program>>>>;

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Programs {
    /// No programs yet.
    pub(crate) fn new(cache: Option<Cache>, compiler: Compiler, pool_slots: u32) -> Self {
        Self {
            cache,
            compiler,
            pool_slots,
            engines: Mutex::default(),
            programs: Mutex::default(),
        }
    }

    /// The program of a plugin: from memory, from the cache, or compiled.
    ///
    /// # Errors
    /// The file changed since it was loaded, or cannot be compiled or linked.
    pub(crate) fn get(
        &self,
        ticker: &Ticker,
        plugin: &PluginRef,
        metering: Metering,
    ) -> Result<Arc<Program>, PluginError> {
        let slot = Arc::clone(lock(&self.programs).entry((plugin.digest, metering)).or_default());
        let mut slot = lock(&slot);
        if let Some(program) = &*slot {
            return Ok(Arc::clone(program));
        }
        let linked = self.load(ticker, plugin, metering)?;
        let program = Arc::new(Program {
            linked,
            on_demand: Mutex::default(),
            metering,
        });
        *slot = Some(Arc::clone(&program));
        Ok(program)
    }

    /// Whether a plugin's code is in the cache.
    pub(crate) fn is_compiled(&self, ticker: &Ticker, plugin: &PluginRef, metering: Metering) -> bool {
        let Some(cache) = &self.cache else { return false };
        self.engine(ticker, metering, true)
            .is_ok_and(|engine| cache.contains(&key(&engine, plugin, metering)))
    }

    fn load(&self, ticker: &Ticker, plugin: &PluginRef, metering: Metering) -> Result<Linked, PluginError> {
        let engine = self.engine(ticker, metering, true)?;
        let key = key(&engine, plugin, metering);
        if let Some(cache) = &self.cache
            && let Some(compiled) = cache.get(&key)
        {
            match self.link(ticker, &engine, &compiled, plugin, metering) {
                Ok(linked) => return Ok(linked),
                Err(error) => {
                    warn!(plugin = %plugin.path.display(), %error, "a compiled plugin in the cache is not used, and compiled again");
                    cache.forget(&key);
                }
            }
        }
        let wasm = anatomy::read(&plugin.path)?;
        if anatomy::digest(&wasm) != plugin.digest {
            return Err(PluginError::Unreadable {
                path: plugin.path.clone(),
                reason: "it changed while the topology was being checked".to_owned(),
            });
        }
        anatomy::dissect(&plugin.path, &wasm)?.world(&plugin.path)?;
        let compiled = self.compiler.compile(&wasm, metering).map_err(|error| match error {
            CompileError::Invalid(reason) => not_a_plugin(&plugin.path, reason),
            CompileError::Process(_) => PluginError::Unreadable {
                path: plugin.path.clone(),
                reason: error.to_string(),
            },
        })?;
        if let Some(cache) = &self.cache {
            cache.put(&key, &compiled);
        }
        self.link(ticker, &engine, &compiled, plugin, metering)
    }

    /// Loads into the engine, or, where the component does not fit its pool's slots, into the one without a pool.
    fn link(
        &self,
        ticker: &Ticker,
        engine: &Engine,
        compiled: &[u8],
        plugin: &PluginRef,
        metering: Metering,
    ) -> Result<Linked, PluginError> {
        let linked = deserialize(engine, compiled).and_then(|component| Linked::new(engine.clone(), component));
        linked
            .or_else(|_| {
                let engine = self.engine(ticker, metering, false).map_err(wasmtime::Error::msg)?;
                let component = deserialize(&engine, compiled)?;
                Linked::new(engine, component)
            })
            .map_err(|error| not_a_plugin(&plugin.path, format!("{error:#}")))
    }

    /// An engine; without a pool where the machine has no room for one.
    fn engine(&self, ticker: &Ticker, metering: Metering, pooled: bool) -> Result<Engine, PluginError> {
        let mut engines = lock(&self.engines);
        if let Some(engine) = engines.get(&(metering, pooled)) {
            return Ok(engine.clone());
        }
        let on_demand = || engine(metering, Allocation::OnDemand);
        let made = if pooled {
            engine(metering, Allocation::Pooled(self.pool_slots.max(1))).or_else(|error| {
                warn!(%error, "there is no room for a pool of instances; making them takes longer");
                on_demand()
            })
        } else {
            on_demand()
        };
        let engine = made.map_err(|error| PluginError::Faulty {
            message: error.to_string(),
        })?;
        ticker.watch(&engine);
        engines.insert((metering, pooled), engine.clone());
        Ok(engine)
    }
}

fn key(engine: &Engine, plugin: &PluginRef, metering: Metering) -> Key {
    let mut hasher = Xxh3Default::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    Key {
        digest: plugin.digest,
        compatibility: hasher.finish(),
        metering,
    }
}

fn not_a_plugin(path: &Path, reason: String) -> PluginError {
    PluginError::NotAPlugin {
        path: path.to_owned(),
        reason,
    }
}

#[expect(unsafe_code, reason = "compiled code is taken on trust")]
fn deserialize(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must come unchanged from a compilation by wasmtime. They come from `Compiler::compile` in this
    // run, from `Component::serialize`, or from the cache, which only this user can write to (mode and owner of the
    // folder and of the file are checked), which only `Programs::load` writes what `Compiler::compile` gave, and whose
    // checksum over the bytes that are loaded here was right. A file that a user names never gets here: `dissect`
    // refuses compiled code. That the code fits this engine and this version, wasmtime checks.
    unsafe { Component::deserialize(engine, compiled) }
}

impl Linked {
    fn new(engine: Engine, component: Component) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&engine);
        imports::add_to_linker(&mut linker)?;
        let instances = linker.instantiate_pre(&component)?;
        let exports = Exports::find(&instances)?;
        let migrates = migration::GuestIndices::new(&instances).is_ok();
        Ok(Self {
            engine,
            exports,
            migrates,
            component,
            instances,
        })
    }
}

impl Program {
    /// Whether the component carries state from older versions.
    pub(crate) fn migrates(&self) -> bool {
        self.linked.migrates
    }

    /// Makes an instance in a store that `store` makes, and gives it to `then`.
    ///
    /// # Errors
    /// The component's own initialisation failed, or the system gave no memory.
    pub(crate) fn instantiate<T>(
        &self,
        programs: &Programs,
        ticker: &Ticker,
        store: impl Fn(&Engine) -> Store<Context>,
        then: impl FnOnce(Store<Context>, &Instance, &Exports) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let mut pooled = store(&self.linked.engine);
        match self.linked.instances.instantiate(&mut pooled) {
            Ok(instance) => then(pooled, &instance, &self.linked.exports),
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                let linked = self.on_demand(programs, ticker)?;
                let mut store = store(&linked.engine);
                let instance = linked.instances.instantiate(&mut store)?;
                then(store, &instance, &linked.exports)
            }
            Err(error) => Err(error),
        }
    }

    fn on_demand(&self, programs: &Programs, ticker: &Ticker) -> wasmtime::Result<Arc<Linked>> {
        let mut on_demand = lock(&self.on_demand);
        if let Some(linked) = &*on_demand {
            return Ok(Arc::clone(linked));
        }
        let engine = programs
            .engine(ticker, self.metering, false)
            .map_err(wasmtime::Error::msg)?;
        let component = deserialize(&engine, &self.linked.component.serialize()?)?;
        let linked = Arc::new(Linked::new(engine, component)?);
        *on_demand = Some(Arc::clone(&linked));
        Ok(linked)
    }
}
