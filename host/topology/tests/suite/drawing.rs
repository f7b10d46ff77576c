//! Pictures of the golden topologies.

use std::fs;

use wasmill_topology::draw;

use crate::{golden, support};

#[test]
fn pictures_are_those_of_their_golden_files() {
    let folder = golden::repository().join("tests/golden");
    for name in ["flights", "projection"] {
        let text = fs::read_to_string(folder.join(format!("topologies/{name}.toml"))).expect("it can be read");
        let checked = support::check(&text, &|_| None, &[]).expect("it is without errors");
        for (ending, picture) in [
            ("mmd", draw::mermaid(&checked.plan)),
            ("dot", draw::dot(&checked.plan)),
            ("svg", draw::svg(&checked.plan)),
        ] {
            golden::check(&folder.join(format!("graphs/{name}.{ending}")), &picture);
        }
    }
}
