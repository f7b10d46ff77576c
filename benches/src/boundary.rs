//! Crossing the boundary: a plugin's call beside the same work in native Rust, over the same Arrow buffers.

mod keyed;

use std::hint::black_box;
use std::path::{Path, PathBuf};

use wasmill_component::{Host, Isolation, Placement, Settings};
use wasmill_core::batch::{Batch, OutputColumn};
use wasmill_core::column::Column;
use wasmill_core::id::NodeId;
use wasmill_core::plugin::{Describer, Limits};
use wasmill_core::transform::{InputDescription, Transform};

use crate::Run;
use crate::events;
use crate::failure::Failure;
use crate::report::Budget;
use crate::timing::{Cost, compare};

const NAME: &str = "boundary";
/// Rows of all batches that one run goes through.
const ROWS: usize = 1 << 16;

/// The shapes of `plugins/bench-ops`.
#[derive(Clone, Copy)]
enum Shape {
    Identity,
    Filter,
    Map,
}

impl Shape {
    const ALL: [Self; 3] = [Self::Identity, Self::Filter, Self::Map];

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Filter => "filter",
            Self::Map => "map",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Filter => "filter to a selection",
            Self::Map => "one column out",
        }
    }
}

/// Runs the benches.
pub(crate) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    transforms(run)?;
    keyed::run(run)
}

fn transforms(run: &mut Run<'_>) -> Result<(), Failure> {
    let lines: Vec<_> = Shape::ALL
        .into_iter()
        .flat_map(|shape| [64, 256, 1024, 4096, 8192].map(|rows| (shape, rows)))
        .map(|(shape, rows)| (shape, rows, format!("{}, {rows} rows", shape.about())))
        .filter(|(_, _, line)| run.wants(NAME, line))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    run.report
        .bench(NAME, "two numeric columns into a plugin, and what it gives back");
    let plugin = plugin()?;
    let host = host()?;
    for (shape, rows, line) in lines {
        let batches = events::bids(ROWS, rows);
        let mut guest = guest(&host, &plugin, shape)?;
        let measured = compare(
            run.plan(),
            Cost::Thread,
            ROWS,
            || {
                for batch in &batches {
                    black_box(guest.process(0, batch).expect("the plugin takes bids"));
                }
            },
            || {
                for batch in &batches {
                    black_box(native(shape, batch));
                }
            },
        );
        let budget = if rows >= 1024 { Budget::Nanos(5.0) } else { Budget::None };
        run.report.add(&line, &measured, budget);
    }
    Ok(())
}

/// The component of `plugins/bench-ops`, built where it is not in the cache.
pub(crate) fn plugin() -> Result<PathBuf, Failure> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/bench-ops");
    let settings = wasmill_plugin_build::Settings::discover()?;
    Ok(wasmill_plugin_build::build(&project, &settings, &mut |_| {})?.path)
}

/// A host as a job has it.
pub(crate) fn host() -> Result<Host, Failure> {
    Ok(Host::new(Settings::default())?)
}

fn guest(host: &Host, path: &Path, shape: Shape) -> Result<Box<dyn Transform>, Failure> {
    let (plugin, _) = host.load(path)?;
    let config = format!(r#"{{"shape":"{}"}}"#, shape.name());
    let inputs = [InputDescription {
        name: "bids".into(),
        schema: events::bid_schema(),
        changelog: false,
    }];
    let limits = Limits::default();
    let description = Describer::transform(host, &plugin, &config, &inputs, &limits)?;
    let live: Vec<_> = description
        .outputs
        .iter()
        .map(|output| vec![true; output.schema.len()])
        .collect();
    let placement = Placement {
        node: &NodeId::new("bench"),
        plugin: &plugin,
        config: &config,
        limits: &limits,
        fault_may_blame_rows: false,
        isolation: Isolation::Instance,
    };
    Ok(host.transform(&placement, &inputs, &description, &live)?)
}

/// What the plugin does, without one.
fn native(shape: Shape, batch: &Batch) -> Batch {
    let Column::Int64(auction) = &*batch.column(events::AUCTION) else {
        unreachable!("auctions are integers")
    };
    let Column::Int64(price) = &*batch.column(events::PRICE) else {
        unreachable!("prices are integers")
    };
    let columns = (0..events::bid_schema_len()).map(OutputColumn::Input);
    match shape {
        Shape::Identity => batch.with_columns(columns),
        Shape::Filter => {
            let mut kept = vec![0; batch.rows()];
            let mut count = 0;
            for (row, auction) in auction.values().iter().enumerate() {
                kept[count] = row as u32;
                count += usize::from(auction % 2 == 0);
            }
            batch.select(&kept[..count])
        }
        Shape::Map => {
            let euros: Vec<f64> = price.values().iter().map(|&price| 0.908 * price as f64).collect();
            batch.with_columns(columns.chain([OutputColumn::Computed(Column::Float64(euros.into()))]))
        }
    }
}
