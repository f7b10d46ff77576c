//! Plugins of every kind, good and bad, against the host.

#![expect(clippy::unwrap_used, reason = "a test whose setting cannot be made fails")]

mod aggregate;
mod content;
mod describe;
mod guest;
mod host;
mod keyed;
mod keyed_describe;
mod keyed_guest;
mod keyed_misbehaviour;
mod misbehaviour;
mod state;
mod transform;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use wasmill_component::{Compiler, Host, Isolation, Placement, Settings};
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, ColumnBuilder, Value};
use wasmill_core::fault::Fault;
use wasmill_core::id::NodeId;
use wasmill_core::plugin::{Describer, Limits, PluginError, PluginRef};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::time::Micros;
use wasmill_core::transform::{InputDescription, Transform, TransformDescription};
use wasmill_core::watermark::RowWatermarks;

/// A host that repeats every call, and a folder for plugins.
pub(crate) struct Bench {
    pub(crate) host: Host,
    folder: tempfile::TempDir,
}

pub(crate) fn settings() -> Settings {
    Settings {
        purity_check_every: NonZeroU32::new(1),
        tick: Micros::from_millis(1),
        instances: 8,
        compiler: Compiler::InProcess,
        ..Settings::default()
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self {
            host: Host::new(settings).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a plugin's file.
    pub(crate) fn file(&self, wasm: &[u8]) -> PathBuf {
        let path = self.path("plugin.wasm");
        std::fs::write(&path, wasm).unwrap();
        path
    }

    pub(crate) fn load(&self, wasm: &[u8]) -> Result<PluginRef, PluginError> {
        self.host.load(&self.file(wasm)).map(|(plugin, _)| plugin)
    }

    /// Loads a transform and describes it over one input.
    pub(crate) fn describe(
        &self,
        wasm: &[u8],
        schema: &[Field],
        limits: &Limits,
    ) -> Result<(PluginRef, TransformDescription), PluginError> {
        let plugin = self.load(wasm)?;
        let description = self.host.transform_description(&plugin, &[input(schema)], limits)?;
        Ok((plugin, description))
    }

    /// A transform over one input, opened, all of whose columns are read.
    pub(crate) fn transform(
        &self,
        wasm: &[u8],
        schema: &[Field],
        limits: &Limits,
        blames_rows: bool,
    ) -> Box<dyn Transform> {
        self.try_transform(wasm, schema, limits, blames_rows).unwrap()
    }

    pub(crate) fn try_transform(
        &self,
        wasm: &[u8],
        schema: &[Field],
        limits: &Limits,
        blames_rows: bool,
    ) -> Result<Box<dyn Transform>, Fault> {
        let (plugin, description) = self.describe(wasm, schema, &Limits::default()).unwrap();
        let live: Vec<Vec<bool>> = description.outputs.iter().map(|o| vec![true; o.schema.len()]).collect();
        self.open(&plugin, schema, &description, limits, blames_rows, &live)
    }

    pub(crate) fn open(
        &self,
        plugin: &PluginRef,
        schema: &[Field],
        description: &TransformDescription,
        limits: &Limits,
        fault_may_blame_rows: bool,
        live: &[Vec<bool>],
    ) -> Result<Box<dyn Transform>, Fault> {
        let placement = Placement {
            node: &NodeId::new("op"),
            plugin,
            config: "{}",
            limits,
            fault_may_blame_rows,
            isolation: Isolation::Instance,
        };
        self.host.transform(&placement, &[input(schema)], description, live)
    }
}

trait Describe {
    fn transform_description(
        &self,
        plugin: &PluginRef,
        inputs: &[InputDescription],
        limits: &Limits,
    ) -> Result<TransformDescription, PluginError>;
}

impl Describe for Host {
    fn transform_description(
        &self,
        plugin: &PluginRef,
        inputs: &[InputDescription],
        limits: &Limits,
    ) -> Result<TransformDescription, PluginError> {
        Describer::transform(self, plugin, "{}", inputs, limits)
    }
}

pub(crate) fn input(fields: &[Field]) -> InputDescription {
    InputDescription {
        name: Arc::from("in"),
        schema: Schema::new(fields.to_vec()).unwrap(),
        changelog: false,
    }
}

/// `a: int64`, the input of most tests.
pub(crate) fn ints_schema() -> Vec<Field> {
    vec![Field::required("a", DataType::Int64)]
}

pub(crate) fn column(data_type: DataType, values: &[Value<'_>]) -> Column {
    let mut builder = ColumnBuilder::new(data_type, values.len());
    for &value in values {
        builder.push(value);
    }
    builder.finish()
}

pub(crate) fn ints(values: &[i64]) -> Column {
    let values: Vec<Value<'_>> = values.iter().map(|&v| Value::Int64(v)).collect();
    column(DataType::Int64, &values)
}

/// A batch whose row i has event time 1000 + i.
pub(crate) fn batch(columns: Vec<Column>) -> Batch {
    let rows = columns[0].len();
    let times: Vec<i64> = (0..rows as i64).map(|i| 1000 + i).collect();
    let hidden = Hidden {
        times: times.into(),
        watermarks: RowWatermarks::Constant(900),
        order: None,
        kinds: None,
    };
    Batch::new(columns.into_iter().map(Slot::Base).collect(), hidden)
}
