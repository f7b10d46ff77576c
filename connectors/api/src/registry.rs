//! The connectors and formats of a binary, by name, behind one type each that knows no configuration type.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde_json::Value;

use wasmill_core::fault::{Domain, Fault};
use wasmill_core::plan::SourceColumn;
use wasmill_core::schema::Field;

use crate::config::{ConfigProblem, Folder, decode};
use crate::format::{DecodeSpec, Decoder, EncodeSpec, Encoder, Format, Framer};
use crate::sink::{Committer, CommitterContext, Sink, SinkConnector, SinkContext, SinkDescription};
use crate::source::{Source, SourceConnector, SourceContext, SourceDescription};

/// All connectors and formats of a binary. The binary makes it; nothing is registered by itself.
#[derive(Default)]
pub struct Registry {
    sources: BTreeMap<&'static str, Box<dyn AnySource>>,
    sinks: BTreeMap<&'static str, Box<dyn AnySink>>,
    formats: BTreeMap<&'static str, Box<dyn AnyFormat>>,
}

impl Registry {
    /// A registry without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source connector.
    #[must_use]
    pub fn source<C: SourceConnector>(mut self) -> Self {
        self.sources.insert(C::NAME, Box::new(Typed::<C>(PhantomData)));
        self
    }

    /// Adds a sink connector.
    #[must_use]
    pub fn sink<C: SinkConnector>(mut self) -> Self {
        self.sinks.insert(C::NAME, Box::new(Typed::<C>(PhantomData)));
        self
    }

    /// Adds a format.
    #[must_use]
    pub fn format<F: Format>(mut self) -> Self {
        self.formats.insert(F::NAME, Box::new(Typed::<F>(PhantomData)));
        self
    }

    /// Adds a source connector of a type that is not known here, such as a stand-in for another.
    #[must_use]
    pub fn with_source(mut self, name: &'static str, source: Box<dyn AnySource>) -> Self {
        self.sources.insert(name, source);
        self
    }

    /// Adds a sink connector of a type that is not known here.
    #[must_use]
    pub fn with_sink(mut self, name: &'static str, sink: Box<dyn AnySink>) -> Self {
        self.sinks.insert(name, sink);
        self
    }

    /// Adds a format of a type that is not known here.
    #[must_use]
    pub fn with_format(mut self, name: &'static str, format: Box<dyn AnyFormat>) -> Self {
        self.formats.insert(name, format);
        self
    }

    /// The source connector of this name.
    pub fn find_source(&self, name: &str) -> Option<&dyn AnySource> {
        self.sources.get(name).map(AsRef::as_ref)
    }

    /// The sink connector of this name.
    pub fn find_sink(&self, name: &str) -> Option<&dyn AnySink> {
        self.sinks.get(name).map(AsRef::as_ref)
    }

    /// The format of this name.
    pub fn find_format(&self, name: &str) -> Option<&dyn AnyFormat> {
        self.formats.get(name).map(AsRef::as_ref)
    }

    /// The names of all source connectors.
    pub fn source_names(&self) -> impl Iterator<Item = &'static str> {
        self.sources.keys().copied()
    }

    /// The names of all sink connectors.
    pub fn sink_names(&self) -> impl Iterator<Item = &'static str> {
        self.sinks.keys().copied()
    }

    /// The names of all formats.
    pub fn format_names(&self) -> impl Iterator<Item = &'static str> {
        self.formats.keys().copied()
    }
}

/// A source connector behind its name. Errors in the configuration are those of [`decode`] and of the connector.
pub trait AnySource: Send + Sync {
    /// See [`SourceConnector::describe`].
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    fn describe(&self, config: &Value, folder: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>>;

    /// See [`SourceConnector::open`].
    ///
    /// # Errors
    /// The system behind it refuses.
    fn open(&self, config: &Value, context: SourceContext) -> Result<Box<dyn Source>, Fault>;
}

/// A sink connector behind its name.
pub trait AnySink: Send + Sync {
    /// See [`SinkConnector::describe`].
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    fn describe(&self, config: &Value, folder: &Folder) -> Result<SinkDescription, Vec<ConfigProblem>>;

    /// See [`SinkConnector::open`].
    ///
    /// # Errors
    /// The system behind it refuses.
    fn open(&self, config: &Value, context: SinkContext) -> Result<Box<dyn Sink>, Fault>;

    /// See [`SinkConnector::committer`].
    ///
    /// # Errors
    /// The system behind it refuses.
    fn committer(&self, config: &Value, context: CommitterContext) -> Result<Box<dyn Committer>, Fault>;
}

/// A format behind its name.
pub trait AnyFormat: Send + Sync {
    /// See [`Format::source_columns`].
    ///
    /// # Errors
    /// Everything that is wrong with the configuration or the declared columns.
    fn source_columns(
        &self,
        config: &Value,
        declared: Option<&[SourceColumn]>,
    ) -> Result<Vec<SourceColumn>, Vec<ConfigProblem>>;

    /// See [`Format::check_sink`].
    ///
    /// # Errors
    /// Everything that stands in the way of writing.
    fn check_sink(&self, config: &Value, columns: &[Field]) -> Result<(), Vec<ConfigProblem>>;

    /// See [`Format::framer`].
    ///
    /// # Errors
    /// The configuration is not this format's.
    fn framer(&self, config: &Value) -> Result<Box<dyn Framer>, Fault>;

    /// See [`Format::decoder`].
    ///
    /// # Errors
    /// The columns do not fit the format.
    fn decoder(&self, config: &Value, spec: &DecodeSpec) -> Result<Box<dyn Decoder>, Fault>;

    /// See [`Format::encoder`].
    ///
    /// # Errors
    /// The columns do not fit the format.
    fn encoder(&self, config: &Value, spec: &EncodeSpec) -> Result<Box<dyn Encoder>, Fault>;
}

struct Typed<C>(PhantomData<fn() -> C>);

/// A plan holds only configurations that were checked.
fn checked<C: serde::de::DeserializeOwned>(config: &Value) -> Result<C, Fault> {
    decode(config).map_err(|problem| {
        Fault::fatal(
            Domain::Internal,
            format!("a checked configuration: {}", problem.message),
        )
    })
}

impl<C: SourceConnector> AnySource for Typed<C> {
    fn describe(&self, config: &Value, folder: &Folder) -> Result<SourceDescription, Vec<ConfigProblem>> {
        C::describe(&decode(config).map_err(|problem| vec![problem])?, folder)
    }

    fn open(&self, config: &Value, context: SourceContext) -> Result<Box<dyn Source>, Fault> {
        C::open(checked(config)?, context)
    }
}

impl<C: SinkConnector> AnySink for Typed<C> {
    fn describe(&self, config: &Value, folder: &Folder) -> Result<SinkDescription, Vec<ConfigProblem>> {
        C::describe(&decode(config).map_err(|problem| vec![problem])?, folder)
    }

    fn open(&self, config: &Value, context: SinkContext) -> Result<Box<dyn Sink>, Fault> {
        C::open(checked(config)?, context)
    }

    fn committer(&self, config: &Value, context: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        C::committer(checked(config)?, context)
    }
}

impl<F: Format> AnyFormat for Typed<F> {
    fn source_columns(
        &self,
        config: &Value,
        declared: Option<&[SourceColumn]>,
    ) -> Result<Vec<SourceColumn>, Vec<ConfigProblem>> {
        F::source_columns(&decode(config).map_err(|problem| vec![problem])?, declared)
    }

    fn check_sink(&self, config: &Value, columns: &[Field]) -> Result<(), Vec<ConfigProblem>> {
        F::check_sink(&decode(config).map_err(|problem| vec![problem])?, columns)
    }

    fn framer(&self, config: &Value) -> Result<Box<dyn Framer>, Fault> {
        Ok(F::framer(&checked(config)?))
    }

    fn decoder(&self, config: &Value, spec: &DecodeSpec) -> Result<Box<dyn Decoder>, Fault> {
        F::decoder(&checked(config)?, spec)
    }

    fn encoder(&self, config: &Value, spec: &EncodeSpec) -> Result<Box<dyn Encoder>, Fault> {
        F::encoder(&checked(config)?, spec)
    }
}
