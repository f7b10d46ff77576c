//! The topologies in docs/operators.md are what the page says: they pass the check.

use std::fmt::Write as _;
use std::fs;

use crate::golden::repository;
use crate::support;

/// The streams that the page's examples read.
const SOURCES: &str = r#"
[[source]]
id = "flights"
connector = "file"
path = "input/a.csv"
format = "csv"
schema = [
  { name = "scheduled", type = "timestamp" },
  { name = "tailnum", type = "utf8", nullable = true },
  { name = "origin", type = "utf8" },
  { name = "dep_delay", type = "int64", nullable = true },
]
event-time = "scheduled"
watermark = { strategy = "monotonic" }

[[source]]
id = "weather"
connector = "file"
path = "input/b.csv"
format = "csv"
schema = [
  { name = "observed", type = "timestamp" },
  { name = "origin", type = "utf8" },
  { name = "gust", type = "float64", nullable = true },
]
event-time = "observed"
watermark = { strategy = "monotonic" }
"#;

fn blocks(page: &str) -> Vec<&str> {
    let openings = page.split("```toml\n").skip(1);
    openings.filter_map(|rest| rest.split("```").next()).collect()
}

/// The example between the page's sources and a sink for each operator.
fn whole(block: &str) -> String {
    let mut topology = block.to_owned() + SOURCES;
    let ids = block.lines().filter_map(|line| line.strip_prefix("id = "));
    for id in ids {
        let name = id.trim().trim_matches('"');
        let _ = write!(
            topology,
            "\n[[sink]]\nid = \"{name}-out\"\nconnector = \"file\"\npath = \"{name}.jsonl\"\nformat = \"json\"\n\
             input = \"{name}\"\nmode = \"changelog\"\n"
        );
    }
    if !block.contains("[[operator]]") {
        topology += "\n[[sink]]\nid = \"out\"\nconnector = \"stdout\"\nformat = \"json\"\ninput = \"flights\"\n";
    }
    topology
}

#[test]
fn every_topology_of_the_page_of_operators_passes_the_check() {
    let page = fs::read_to_string(repository().join("docs/operators.md")).expect("the page is there");
    let blocks = blocks(&page);
    assert!(blocks.len() >= 13, "the page has its examples");
    for block in blocks {
        let topology = whole(block);
        if let Err(problems) = support::check(&topology, &|_| None, &[]) {
            let said: Vec<String> = problems
                .iter()
                .map(|problem| support::show(problem, &topology))
                .collect();
            panic!("{topology}\n{}", said.join("\n"));
        }
    }
}
