//! Whole pipelines over bids in JSON lines, from file to file, beside programs written by hand.

mod native;

use std::fs;
use std::path::Path;

use nexmark::event::EventType;

use crate::Run;
use crate::boundary;
use crate::events;
use crate::failure::Failure;
use crate::job::Job;
use crate::report::Budget;
use crate::timing::{Cost, compare};

const NAME: &str = "pipeline";
const BIDS: usize = 500_000;
const WORKERS: usize = 2;

const SOURCE: &str = r#"
[[source]]
id = "bids"
connector = "file"
path = "bids.jsonl"
format = "json"
schema = [
  { name = "auction", type = "int64" },
  { name = "bidder", type = "int64" },
  { name = "price", type = "int64" },
  { name = "channel", type = "utf8" },
  { name = "url", type = "utf8" },
  { name = "date_time", type = "timestamp", unit = "ms" },
]
event-time = "date_time"
watermark = { strategy = "bounded-out-of-orderness", delay = "2s" }

[[sink]]
id = "out"
connector = "file"
path = "wasmill.jsonl"
format = "json"
"#;

const WINDOW: &str = r#"
input = "counts"

[[operator]]
id = "counts"
type = "window"
input = "bids"
key = ["auction"]
window = { type = "tumbling", size = "10s" }
aggregate = { bids = "count()", top = "max(price)" }
"#;

/// Runs the bench.
pub(crate) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    let lines = [
        ("pass-through", native::Program::PassThrough),
        ("map", native::Program::Map),
        ("filter", native::Program::Filter),
        ("window", native::Program::Window),
    ];
    if !lines.iter().any(|line| run.wants(NAME, line.0)) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let text = events::json_lines(BIDS, Some(EventType::Bid));
    let about = format!(
        "bids of {} bytes from a file to a file, {WORKERS} workers; natively {WORKERS} threads, sonic-rs into structs",
        text.len() / BIDS
    );
    run.report.bench(NAME, &about);
    let (input, ours, theirs) = (
        folder.join("bids.jsonl"),
        folder.join("wasmill.jsonl"),
        folder.join("native.jsonl"),
    );
    fs::write(&input, text)?;
    for (line, program) in lines {
        if !run.wants(NAME, line) {
            continue;
        }
        let job = job(line, folder)?;
        job.run();
        program.run(WORKERS, &input, &theirs)?;
        assert_eq!(sorted(&ours)?, sorted(&theirs)?, "both ways write the same lines");
        let measured = compare(
            run.plan(),
            Cost::Process,
            BIDS,
            || _ = job.run(),
            || program.run(WORKERS, &input, &theirs).expect("it ran before"),
        );
        run.report.add(line, &measured, Budget::None);
    }
    Ok(())
}

fn job(line: &str, folder: &Path) -> Result<Job, Failure> {
    let rest = match line {
        "pass-through" => "input = \"bids\"\n".to_owned(),
        "window" => WINDOW.to_owned(),
        shape => {
            let port = if shape == "map" {
                "operator.converted"
            } else {
                "operator"
            };
            let plugin = boundary::plugin()?;
            format!(
                "input = \"{port}\"\n[[operator]]\nid = \"operator\"\nplugin = \"{}\"\ninput = \"bids\"\n\
                 config = {{ shape = \"{shape}\" }}\n",
                plugin.display()
            )
        }
    };
    Job::new(&format!("{SOURCE}{rest}"), folder, WORKERS, boundary::host()?)
}

/// The lines of a file, in an order that does not depend on who wrote them when.
fn sorted(path: &Path) -> Result<Vec<String>, Failure> {
    let mut lines: Vec<String> = fs::read_to_string(path)?.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Ok(lines)
}
