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

use std::num::NonZeroUsize;
use std::path::Path;

use wasmill_connector_api::registry::Registry;
use wasmill_core::diagnostic::{Diagnostic, Severity};
use wasmill_core::plan::{Node, Plan, Spread};
use wasmill_core::plugin::Describer;

use crate::problems::Problems;

pub use crate::overrides::PREFIX as OVERRIDE_PREFIX;

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

/// Reads and checks a topology.
///
/// # Errors
/// Every problem that was found, errors and warnings, in the order of the file.
pub fn plan(input: &Input<'_>, registry: &Registry, describer: &dyn Describer) -> Result<Checked, Vec<Diagnostic>> {
    let problems = Problems::default();
    let plan = read(input, registry, describer, &problems);
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

fn read(input: &Input<'_>, registry: &Registry, describer: &dyn Describer, problems: &Problems) -> Option<Plan> {
    let mut document = document::parse(input.text, problems)?;
    let lookup = substitute::Lookup {
        environment: input.environment,
        folder: input.folder,
        source: input.text,
    };
    overrides::apply(&mut document, input.overrides, problems);
    substitute::substitute(&mut document, &lookup, problems);
    let mut topology = spec::read(&document, problems);
    if input.workers.is_some() {
        topology.engine.workers = input.workers;
    }
    let world = check::World {
        registry,
        describer,
        folder: input.folder,
        problems,
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
