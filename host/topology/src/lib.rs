//! From a topology file to a plan; every problem is a diagnostic with a source span.
//!
//! A file goes through three stages. The *document* is TOML with the place of every value; overrides and secrets are
//! filled in there. The *specification* is what the document says in the words of the format, key by key; each element
//! has a file in `spec`. The *plan* ([`wasmill_core::plan::Plan`]) is what is left when every question about the whole
//! was asked: of the connectors, of the formats, and of the plugins themselves. Specifications may be wrong, plans
//! cannot.
//!
//! All problems are collected, and each mistake is told once: what follows from it is not. What the design describes
//! and this version does not build is refused in one uniform way, never ignored.
//!
//! Nothing here reads the environment or the clock: both are arguments. Files are looked at by the connectors'
//! `describe` and by `${file:...}`, nowhere else.

pub mod codes;
pub mod draw;
pub mod reproducible;

pub mod reading;

mod check;
mod document;
mod foreign;
mod overrides;
mod place;
mod problems;
mod projection;
mod reader;
mod spec;
mod substitute;
mod unbuilt;

use std::num::NonZeroUsize;
use std::path::Path;

use wasmill_connector_api::registry::Registry;
use wasmill_core::diagnostic::{Diagnostic, Severity};
use wasmill_core::plan::{Node, Plan, Spread};
use wasmill_core::plugin::Describer;

use crate::problems::Problems;

pub use crate::overrides::PREFIX as OVERRIDE_PREFIX;
pub use crate::spec::WORKERS_MAX;

/// A topology and what it is read with.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The file's text. Spans of diagnostics are bytes of it.
    pub text: &'a str,
    /// What the topology is called where it has no `name`: the file's name without its ending.
    pub name: &'a str,
    /// The file's folder, absolute: relative paths start here.
    pub folder: &'a Path,
    /// The environment, for `${env:NAME}`.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Environment variables that begin with [`OVERRIDE_PREFIX`], with their values; others are ignored.
    pub overrides: &'a [(String, String)],
    /// Worker threads, where the command line says; before environment and file.
    pub workers: Option<NonZeroUsize>,
}

/// A topology without errors.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What runs.
    pub plan: Plan,
    /// What is probably not meant, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// A document that is checked to be looked at from inside: by a test, which needs neither its connectors nor its sinks.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    /// The topology.
    pub document: &'a reading::Table,
    /// What it is called where it has no `name`.
    pub name: &'a str,
    /// The folder where relative paths start, absolute.
    pub folder: &'a Path,
    /// Whether somebody looks at a stream, by its name: `id`, or `id.port`. All columns of such a stream are there, and
    /// nodes give the dead letters that are looked at.
    pub looks_at: &'a dyn Fn(&str) -> bool,
}

/// Checks a topology that is looked at: no sink is needed, and the rows of all streams that are looked at or written
/// have their places.
///
/// # Errors
/// Every problem that was found, errors and warnings, in the order of the file.
pub fn plan_observed(
    observed: &Observed<'_>,
    registry: &Registry,
    describer: &dyn Describer,
) -> Result<Checked, Vec<Diagnostic>> {
    let problems = Problems::default();
    let topology = spec::read(observed.document, &problems);
    let world = check::World {
        registry,
        describer,
        folder: observed.folder,
        problems: &problems,
        looks_at: Some(observed.looks_at),
    };
    finish(check::check(&topology, observed.name, &world), problems)
}

/// Reads a topology's text, with its references to secrets and without overrides.
///
/// # Errors
/// It is no TOML, or a reference stands for nothing.
pub fn document(
    text: &str,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<reading::Table, Vec<Diagnostic>> {
    let problems = Problems::default();
    let document = document::parse(text, &problems).map(|mut document| {
        let lookup = substitute::Lookup {
            environment,
            folder,
            source: text,
        };
        substitute::substitute(&mut document, &lookup, &problems);
        document
    });
    match document {
        Some(document) if !problems.any() => Ok(document),
        _ => Err(problems.into_sorted()),
    }
}

/// Reads and checks a topology.
///
/// # Errors
/// Every problem that was found, errors and warnings, in the order of the file.
pub fn plan(input: &Input<'_>, registry: &Registry, describer: &dyn Describer) -> Result<Checked, Vec<Diagnostic>> {
    let problems = Problems::default();
    let plan = read(input, registry, describer, unbuilt::refuse, &problems);
    finish(plan, problems)
}

/// As [`plan`], with what the runtime cannot do yet.
///
/// # Errors
/// As of [`plan`].
pub fn plan_ahead(
    input: &Input<'_>,
    registry: &Registry,
    describer: &dyn Describer,
) -> Result<Checked, Vec<Diagnostic>> {
    let problems = Problems::default();
    let plan = read(input, registry, describer, |_, _| {}, &problems);
    finish(plan, problems)
}

fn finish(plan: Option<Plan>, problems: Problems) -> Result<Checked, Vec<Diagnostic>> {
    match plan {
        Some(plan) if !problems.any() => Ok(Checked {
            plan,
            warnings: problems.into_sorted(),
        }),
        _ => {
            let found = problems.into_sorted();
            debug_assert!(
                found.iter().any(|diagnostic| diagnostic.severity == Severity::Error),
                "what has no plan has an error"
            );
            Err(found)
        }
    }
}

fn read(
    input: &Input<'_>,
    registry: &Registry,
    describer: &dyn Describer,
    refuse: impl FnOnce(&spec::Topology, &Problems),
    problems: &Problems,
) -> Option<Plan> {
    let mut document = document::parse(input.text, problems)?;
    let lookup = substitute::Lookup {
        environment: input.environment,
        folder: input.folder,
        source: input.text,
    };
    overrides::apply(&mut document, input.overrides, problems);
    substitute::substitute(&mut document, &lookup, problems);
    let mut topology = spec::read(&document, problems);
    refuse(&topology, problems);
    if input.workers.is_some() {
        topology.engine.workers = input.workers;
    }
    let world = check::World {
        registry,
        describer,
        folder: input.folder,
        problems,
        looks_at: None,
    };
    let plan = check::check(&topology, input.name, &world)?;
    idle_workers(&plan, problems);
    Some(plan)
}

/// Whether rows of an input go to subtasks by their key.
fn is_keyed(node: &Node) -> bool {
    (0..node.inputs.len()).any(|input| matches!(node.kind.spread(input), Spread::Key(_)))
}

fn idle_workers(plan: &Plan, problems: &Problems) {
    let groups = usize::from(plan.engine.key_groups);
    let Some(workers) = plan.engine.workers else { return };
    if workers.get() > groups && plan.nodes.iter().any(is_keyed) {
        let message = format!("{workers} workers share {groups} key groups");
        problems.push(Diagnostic::warning(codes::IDLE_WORKERS, message).help(format!(
            "raise `max-parallelism` to {workers} or more, or run fewer workers"
        )));
    }
}
