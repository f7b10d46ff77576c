//! The host of plugins: one for a process, shared by all workers; it makes the instances that subtasks run.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use wasmill_core::aggregate::{Aggregate, AggregateDescription};
use wasmill_core::content::{Content, ContentDescription};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::NodeId;
use wasmill_core::keyed::{Keyed, KeyedDescription, StateAccess, TableDescription};
use wasmill_core::plugin::{Describer, Isolation, Limits, PluginError, PluginRef, World};
use wasmill_core::schema::Field;
use wasmill_core::time::Micros;
use wasmill_core::transform::{InputDescription, Transform, TransformDescription};

use crate::aggregate::WasmAggregate;
use crate::anatomy;
use crate::cache::{Cache, CacheError};
use crate::compile::Compiler;
use crate::content::WasmContent;
use crate::describe;
use crate::engine::{Metering, Ticker};
use crate::imports::metrics::MetricsRegistry;
use crate::imports::state::StateLink;
use crate::keyed::WasmKeyed;
use crate::program::{Program, Programs};
use crate::subtask::{Spec, Subtask};
use crate::transform::WasmTransform;

/// How a [`Host`] works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of compiled plugins; it is made with mode 0700 where it is missing. `None`: each process compiles
    /// again. Default `None`.
    pub cache: Option<PathBuf>,
    /// Who compiles. Default: this process.
    pub compiler: Compiler,
    /// Instances that the pool has room for, in address space, not in memory: operators x workers x 2 (a swap runs both
    /// versions) and a few for checks. More instances than this are slower to make, nothing else. Default 64.
    pub instances: u32,
    /// The accuracy of deadlines. Default 10 ms.
    pub tick: Micros,
    /// One call in so many is repeated in a fresh instance and must give the same bytes; `None` trusts the plugins.
    /// Default 1,024; `wasmill test` uses 1.
    pub purity_check_every: Option<NonZeroU32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache: None,
            compiler: Compiler::InProcess,
            instances: 64,
            tick: Micros::from_millis(10),
            purity_check_every: NonZeroU32::new(1024),
        }
    }
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// wasmtime refused its settings: the machine lacks something.
    #[error("the WebAssembly engine cannot be started: {0}")]
    Engine(String),
    /// The system gave no thread.
    #[error("a thread cannot be started: {0}")]
    Thread(String),
    /// The cache's folder cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// The host of plugins. Cheap to clone; its thread ends with the last clone and the last instance.
#[derive(Clone, Debug)]
pub struct Host {
    shared: Arc<Shared>,
}

/// What all instances share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) programs: Programs,
    pub(crate) ticker: Ticker,
    pub(crate) metrics: MetricsRegistry,
    pub(crate) purity_check_every: Option<NonZeroU32>,
}

/// The operator that an instance is for.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    /// Its id, for faults, logs and metrics.
    pub node: &'a NodeId,
    /// The plugin, as [`Describer::load`] gave it.
    pub plugin: &'a PluginRef,
    /// The configuration: canonical JSON.
    pub config: &'a str,
    /// Its bounds.
    pub limits: &'a Limits,
    /// Whether the operator's policy puts faults down to single rows. Then fuel bounds a call beside the deadline.
    pub fault_may_blame_rows: bool,
    /// How long an instance lives.
    pub isolation: Isolation,
}

impl Host {
    /// A host with these settings.
    ///
    /// # Errors
    /// There is no thread for the ticks, or the cache's folder cannot be used safely.
    pub fn new(settings: Settings) -> Result<Self, HostError> {
        let cache = settings.cache.as_deref().map(Cache::open).transpose()?;
        let shared = Shared {
            programs: Programs::new(cache, settings.compiler, settings.instances),
            ticker: Ticker::new(settings.tick)?,
            metrics: MetricsRegistry::default(),
            purity_check_every: settings.purity_check_every,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// An instance of a `transform`, opened. It stays on the thread that asks for it.
    ///
    /// `live` says for each port which of its columns something downstream reads; the others are absent from batches.
    ///
    /// # Errors
    /// The plugin changed since it was described, or `open` failed.
    pub fn transform(
        &self,
        placement: &Placement<'_>,
        inputs: &[InputDescription],
        description: &TransformDescription,
        live: &[Vec<bool>],
    ) -> Result<Box<dyn Transform>, Fault> {
        let subtask = self.subtask(placement, inputs, &[], None)?;
        Ok(Box::new(WasmTransform::new(subtask, description, live)))
    }

    /// An instance of an `aggregate`, opened. It stays on the thread that asks for it. The batches that it is given have
    /// the columns of `input`, in its order.
    ///
    /// # Errors
    /// The plugin changed since it was described, or `open` failed.
    pub fn aggregate(
        &self,
        placement: &Placement<'_>,
        input: &InputDescription,
        description: &AggregateDescription,
    ) -> Result<Box<dyn Aggregate>, Fault> {
        let subtask = self.subtask(placement, std::slice::from_ref(input), &[], None)?;
        Ok(Box::new(WasmAggregate::new(subtask, description)))
    }

    /// An instance of a `keyed`, opened. It stays on the thread that asks for it. `key` are the key columns, `state` is
    /// what the guest reaches by the import `state`, and `live` as for [`Self::transform`].
    ///
    /// Calls go to the guest as they are given, so who makes them keeps them small: a call of one key cannot be cut here.
    /// [`StateAccess::begin`] is called before each attempt of a call, and after one that failed. While a call runs,
    /// nobody else may have borrowed `state`.
    ///
    /// # Errors
    /// The plugin changed since it was described, or `open` failed.
    pub fn keyed(
        &self,
        placement: &Placement<'_>,
        inputs: &[InputDescription],
        key: &[Field],
        description: &KeyedDescription,
        live: &[Vec<bool>],
        state: Rc<RefCell<dyn StateAccess>>,
    ) -> Result<Box<dyn Keyed>, Fault> {
        let tables: Rc<[TableDescription]> = description.tables.clone().into();
        let link = StateLink::new(state, Rc::clone(&tables));
        let subtask = self.subtask(placement, inputs, key, Some(link))?;
        Ok(Box::new(WasmKeyed::new(subtask, key, description, tables, live)))
    }

    /// An instance of a `window`, opened. It stays on the thread that asks for it. `key` are the key columns, `live` is as
    /// for [`Self::transform`], of the described columns.
    ///
    /// # Errors
    /// The plugin changed since it was described, or `open` failed.
    pub fn content(
        &self,
        placement: &Placement<'_>,
        input: &InputDescription,
        key: &[Field],
        description: &ContentDescription,
        live: &[Vec<bool>],
    ) -> Result<Box<dyn Content>, Fault> {
        let subtask = self.subtask(placement, std::slice::from_ref(input), key, None)?;
        Ok(Box::new(WasmContent::new(subtask, description, live)))
    }

    /// The metrics that plugins keep.
    pub fn metrics(&self) -> &MetricsRegistry {
        &self.shared.metrics
    }

    /// Whether a plugin's compiled code is in the cache.
    pub fn is_compiled(&self, plugin: &PluginRef) -> bool {
        self.shared
            .programs
            .is_compiled(&self.shared.ticker, plugin, Metering::Deadline)
    }

    fn subtask<G: crate::subtask::Guest>(
        &self,
        placement: &Placement<'_>,
        inputs: &[InputDescription],
        key: &[Field],
        state: Option<StateLink>,
    ) -> Result<Subtask<G>, Fault> {
        let metering = Metering::decide(placement.fault_may_blame_rows);
        let program = self
            .program(placement.plugin, metering)
            .map_err(|error| Fault::fatal(Domain::User, error.to_string()).at(placement.node))?;
        let spec = Spec {
            node: Some(placement.node.clone()),
            plugin: placement.plugin.path.display().to_string(),
            config: placement.config.to_owned(),
            inputs: inputs.to_vec(),
            key: key.iter().map(|field| Arc::clone(&field.name)).collect(),
            limits: placement.limits.clone(),
            metering,
            isolation: placement.isolation,
            state,
        };
        Subtask::open(Arc::clone(&self.shared), program, spec)
    }

    fn program(&self, plugin: &PluginRef, metering: Metering) -> Result<Arc<Program>, PluginError> {
        self.shared.programs.get(&self.shared.ticker, plugin, metering)
    }

    fn describing<G: crate::subtask::Guest>(
        &self,
        plugin: &PluginRef,
        limits: &Limits,
    ) -> Result<Subtask<G>, PluginError> {
        let metering = Metering::Deadline;
        let program = self.program(plugin, metering)?;
        let spec = Spec {
            node: None,
            plugin: plugin.path.display().to_string(),
            config: String::new(),
            inputs: Vec::new(),
            key: Vec::new(),
            limits: limits.clone(),
            metering,
            isolation: Isolation::Instance,
            state: None,
        };
        Ok(Subtask::describing(Arc::clone(&self.shared), program, spec))
    }
}

impl Describer for Host {
    fn load(&self, path: &Path) -> Result<(PluginRef, World), PluginError> {
        let path = normal(path);
        let bytes = anatomy::read(&path)?;
        let world = anatomy::dissect(&path, &bytes)?.world(&path)?;
        let plugin = PluginRef {
            path,
            digest: anatomy::digest(&bytes),
        };
        Ok((plugin, world))
    }

    fn transform(
        &self,
        plugin: &PluginRef,
        config: &str,
        inputs: &[InputDescription],
        limits: &Limits,
    ) -> Result<TransformDescription, PluginError> {
        describe::transform(&mut self.describing(plugin, limits)?, config, inputs)
    }

    fn aggregate(
        &self,
        plugin: &PluginRef,
        config: &str,
        input: &InputDescription,
        limits: &Limits,
    ) -> Result<AggregateDescription, PluginError> {
        describe::aggregate(&mut self.describing(plugin, limits)?, config, input)
    }

    fn keyed(
        &self,
        plugin: &PluginRef,
        config: &str,
        inputs: &[InputDescription],
        key: &[Field],
        limits: &Limits,
    ) -> Result<KeyedDescription, PluginError> {
        describe::keyed(&mut self.describing(plugin, limits)?, config, inputs, key)
    }

    fn content(
        &self,
        plugin: &PluginRef,
        config: &str,
        input: &InputDescription,
        key: &[Field],
        limits: &Limits,
    ) -> Result<ContentDescription, PluginError> {
        describe::content(&mut self.describing(plugin, limits)?, config, input, key)
    }
}

/// A path without `.` and without a folder that is left again by `..`, unless a link makes that another file.
fn normal(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(short.components().next_back(), Some(Component::Normal(_))) => {
                short.pop();
            }
            component => short.push(component),
        }
    }
    match (path.canonicalize(), short.canonicalize()) {
        (Ok(meant), Ok(found)) if meant == found => short,
        (Err(_), Err(_)) => short,
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_without_detours_unless_a_link_leads_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for folder in ["jobs", "plugins", "far/away"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("plugins/p.wasm"), "").unwrap();
        std::fs::write(root.join("far/p.wasm"), "").unwrap();
        std::os::unix::fs::symlink(root.join("far/away"), root.join("link")).unwrap();
        assert_eq!(
            normal(&root.join("./jobs/../plugins/p.wasm")),
            root.join("plugins/p.wasm")
        );
        assert_eq!(normal(&root.join("jobs/.././none.wasm")), root.join("none.wasm"));
        let linked = root.join("link/../p.wasm");
        assert_eq!(normal(&linked), linked);
        assert_eq!(normal(Path::new("../p.wasm")), Path::new("../p.wasm"));
    }
}
