//! What a topology file says, key by key, before anyone asks whether the parts fit one another. One element a file.

mod aggregate;
mod column;
mod engine;
mod expression;
mod format;
mod input;
mod limits;
mod node;
mod operator;
mod plugin;
mod root;
mod sink;
mod source;
mod transform;
mod watermark;
mod window;

pub(crate) use aggregate::{Aggregate, Function, PluginAggregate};
pub(crate) use column::ColumnSpec;
pub(crate) use expression::{Argument, Expression};
pub(crate) use format::FormatSpec;
pub(crate) use input::Reference;
pub(crate) use node::{Kind, Node};
pub(crate) use plugin::Plugin;
pub(crate) use root::{Topology, read};
pub(crate) use sink::Sink;
pub(crate) use source::{Source, TimeSpec};
pub(crate) use transform::Transform;
pub(crate) use window::Window;
