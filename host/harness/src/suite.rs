//! Test files: opened, checked as a whole, and run test by test.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmill_component::Host;
use wasmill_connector_api::registry::Registry;
use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::id::NodeId;
use wasmill_core::plan::{LookupNode, NodeKind};
use wasmill_core::watermark::RowWatermarks;
use wasmill_operators::{LookupTable, SharedTable};
use wasmill_topology::codes;
use wasmill_topology::reading::{Problems, parse};

use crate::expect::{self, Checks};
use crate::judge;
use crate::kept::{self, KeptTable};
use crate::outcome::Outcome;
use crate::rows::{Files, Given};
use crate::script::{self, Script};
use crate::spec::{self, Spec};
use crate::subject::{self, Parts, Tested, unknown};

/// The longest test file, in bytes. Rows in large numbers stand in files of their own.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What test files are run with.
pub struct Harness<'a> {
    /// The connectors and formats that topologies may name. None is opened.
    pub registry: Arc<Registry>,
    /// Runs plugins.
    pub components: &'a Host,
    /// Where references such as `${env:NAME}` in topologies are looked up; one that is not set stands for its own name.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// A folder that is this harness's alone, for state on disk. It is made where it is needed, and removed.
    pub scratch: PathBuf,
    /// With what points of restoring are drawn; `None`: one that follows from the test's name.
    pub seed: Option<u64>,
}

/// A test file that can be run.
#[derive(Debug)]
pub struct Suite {
    /// The file.
    pub file: PathBuf,
    /// Its text, in which places are.
    pub text: String,
    /// Its tests, in their order.
    pub tests: Vec<Test>,
    pub(crate) tested: Tested,
    pub(crate) kept: Vec<KeptTable>,
    pub(crate) tables: BTreeMap<NodeId, Arc<SharedTable>>,
}

/// A test.
#[derive(Debug)]
pub struct Test {
    /// What it says of itself.
    pub name: String,
    /// Where that stands.
    pub span: Range<usize>,
    pub(crate) vary: bool,
    /// The file of all that is expected, with its place.
    pub(crate) expected: Option<(PathBuf, Range<usize>)>,
    pub(crate) script: Script,
    pub(crate) checks: Vec<Checks>,
    /// Where each step stands.
    pub(crate) steps: Vec<Range<usize>>,
}

/// A test file, or the topology that it tests, has errors.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The file with the errors.
    pub file: PathBuf,
    /// Its text; empty where it cannot be read.
    pub text: String,
    /// Everything that is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<&str> = self.diagnostics.iter().map(|found| found.message.as_str()).collect();
        write!(f, "{}: {}", self.file.display(), messages.join("; "))
    }
}

impl std::error::Error for Broken {}

impl Harness<'_> {
    /// Opens a test file.
    ///
    /// # Errors
    /// It cannot be read, or it or its topology has errors.
    pub fn open(&self, file: &Path) -> Result<Suite, Broken> {
        let unreadable = |reason: String| Broken {
            file: file.to_owned(),
            text: String::new(),
            diagnostics: vec![Diagnostic::error(
                codes::FILE,
                format!("the test file {} cannot be read: {reason}", file.display()),
            )],
        };
        let size = std::fs::metadata(file)
            .map_err(|error| unreadable(error.to_string()))?
            .len();
        if size > FILE_BYTES_MAX {
            let reason =
                format!("it has {size} bytes, a test file at most {FILE_BYTES_MAX}; keep rows in files of their own");
            return Err(unreadable(reason));
        }
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
        self.read(&text, file)
    }

    /// Reads the text of a test file. Relative paths in it start at the folder of `file`, which need not exist itself.
    ///
    /// # Errors
    /// It or its topology has errors.
    pub fn read(&self, text: &str, file: &Path) -> Result<Suite, Broken> {
        let problems = Problems::default();
        let suite = self.check(text, file, &problems)?;
        match suite {
            Some(suite) if !problems.any() => Ok(suite),
            _ => Err(Broken {
                file: file.to_owned(),
                text: text.to_owned(),
                diagnostics: problems.into_sorted(),
            }),
        }
    }

    fn check(&self, text: &str, file: &Path, problems: &Problems) -> Result<Option<Suite>, Broken> {
        let Some(document) = parse(text, problems) else {
            return Ok(None);
        };
        let Some(spec) = spec::read(&document, problems) else {
            return Ok(None);
        };
        let folder = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        // A connector is asked about a file that exists where the topology's does not.
        let there = folder.join(file.file_name().unwrap_or_default());
        let registry = subject::offline(&self.registry, &there);
        let parts = Parts {
            registry: &registry,
            describer: self.components,
            environment: self.environment,
            folder: &folder,
        };
        let Some(tested) = Tested::new(&spec, problems, &parts)? else {
            return Ok(None);
        };
        let kept = kept::tables(&tested.plan);
        let files = Files {
            folder: &folder,
            registry: &self.registry,
        };
        let tables = lookup_tables(&spec, &tested, &files, problems);
        let tests = spec.tests.iter().map(|test| Test {
            name: test.name.clone(),
            span: test.span.clone(),
            vary: test.vary,
            expected: test
                .expected
                .as_ref()
                .map(|word| (folder.join(&word.text), word.place.span.clone())),
            script: script::write(test, &tested, &files, problems),
            checks: test
                .steps
                .iter()
                .map(|step| expect::read(step, &tested, &kept, problems))
                .collect(),
            steps: test.steps.iter().map(|step| step.span.clone()).collect(),
        });
        let tests = tests.collect();
        Ok(Some(Suite {
            file: file.to_owned(),
            text: text.to_owned(),
            tests,
            tested,
            kept,
            tables,
        }))
    }

    /// Runs a test: as written, and in all variations. `bless`: what came is written to the files of what is expected,
    /// instead of being compared with them.
    pub fn run(&self, suite: &Suite, test: &Test, bless: bool) -> Outcome {
        let outcome = judge::run(self, suite, test, bless);
        // What is left of state on disk is of no use to anybody.
        drop(std::fs::remove_dir_all(&self.scratch));
        outcome
    }
}

/// The tables of lookups, from the rows that the file gives.
fn lookup_tables(
    spec: &Spec,
    tested: &Tested,
    files: &Files<'_>,
    problems: &Problems,
) -> BTreeMap<NodeId, Arc<SharedTable>> {
    let mut tables = BTreeMap::new();
    let lookups: Vec<_> = tested
        .plan
        .nodes
        .iter()
        .filter_map(|node| match &node.kind {
            NodeKind::Lookup(lookup) => Some((&node.id, &**lookup)),
            _ => None,
        })
        .collect();
    for (name, _) in &spec.tables {
        if !lookups.iter().any(|(id, _)| id.as_str() == name.text) {
            let ids: Vec<String> = lookups.iter().map(|(id, _)| id.to_string()).collect();
            unknown(problems, name, "lookup", &ids);
        }
    }
    for (id, lookup) in lookups {
        let Some((_, rows)) = spec.tables.iter().find(|(name, _)| name.text == id.as_str()) else {
            let message = format!("the table of the lookup `{id}` has no rows");
            let help = format!("a test opens no connector; give them as [table.{id}] with `rows`");
            problems.push(Diagnostic::error(codes::MISSING_KEY, message).help(help));
            continue;
        };
        if let Some(table) = lookup_table(lookup, rows, files, problems) {
            tables.insert(id.clone(), Arc::new(SharedTable::new(table)));
        }
    }
    tables
}

fn lookup_table(
    lookup: &LookupNode,
    rows: &wasmill_topology::reading::Item,
    files: &Files<'_>,
    problems: &Problems,
) -> Option<LookupTable> {
    let mut needed = vec![false; lookup.schema.len()];
    for column in lookup
        .columns
        .iter()
        .copied()
        .chain(lookup.on.iter().map(|pair| pair.1))
    {
        needed[column] = true;
    }
    let given = Given {
        name: "the table".to_owned(),
        schema: &lookup.schema,
        columns: &lookup.table.columns,
        metadata: &lookup.table.metadata,
        needed,
        format: lookup
            .table
            .format
            .as_ref()
            .map(|format| (format.name.as_str(), &format.config)),
    };
    let (count, columns) = given.read(rows, files, problems)?;
    let slots = columns
        .into_iter()
        .map(|column| column.map_or(Slot::Absent, Slot::Base))
        .collect();
    let hidden = Hidden {
        times: vec![0; count].into(),
        watermarks: RowWatermarks::from_values(&vec![i64::MIN; count]),
        order: None,
        kinds: None,
    };
    match LookupTable::new(lookup, &[Batch::new(slots, hidden)]) {
        Ok(table) => Some(table),
        Err(fault) => {
            problems.error(codes::TEST_FILE, fault.message, &rows.place, "give fewer rows");
            None
        }
    }
}
