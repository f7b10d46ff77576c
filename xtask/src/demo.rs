//! The demo: builds the host and the plugins, runs example 01, and shows what came out.

mod table;

use std::{fs, path::Path};

use crate::{Failure, Repository, command::Program, host, plugins};
use table::Table;

const EXAMPLE: &str = "examples/01-flights";
/// What it runs.
const PLUGINS: [&str; 2] = ["delay-class", "delay-score"];
/// Rows shown of each file.
const ROWS: usize = 5;

pub(crate) fn run(repository: &Repository) -> Result<(), Failure> {
    let wasmill = host::build(repository)?;
    plugins::build_some(repository, &PLUGINS)?;
    println!();
    let topology = format!("{EXAMPLE}/topology.toml");
    Program::new(wasmill)
        .within(&repository.path(""))
        .with(["run", &topology])
        .run()?;
    show(&repository.path(EXAMPLE))
}

fn show(example: &Path) -> Result<(), Failure> {
    let output = |name: &str| {
        let path = example.join("output").join(name);
        fs::read_to_string(&path).map_err(Failure::io("read", &path))
    };
    let (hourly, daily, late) = (output("hourly.jsonl")?, output("daily.csv")?, output("late.jsonl")?);
    let rejected = output("rejected.jsonl")?;

    println!(
        "\nFlights an hour and airport, the first of {} results (delays in minutes):\n",
        hourly.lines().count()
    );
    let columns = [
        "origin",
        "window_start",
        "flights",
        "departed",
        "mean_delay",
        "worst_delay",
        "severity",
    ];
    print!("{}", Table::of_json_lines(&hourly, &columns, ROWS));

    println!(
        "\nFlights a day and carrier, the first of {} results:\n",
        daily.lines().count().saturating_sub(1)
    );
    let columns = [
        "carrier",
        "window_start",
        "flights",
        "departed",
        "mean_delay",
        "deviation",
        "miles",
    ];
    print!("{}", Table::of_csv(&daily, &columns, ROWS));

    println!(
        "\nRows that came too late for their hour: {}. Records that could not be used: {}.",
        late.lines().count(),
        rejected.lines().count()
    );
    println!("\nThe files: {EXAMPLE}/output/{{hourly.jsonl,daily.csv,late.jsonl,rejected.jsonl}}");
    let names = ["hourly.jsonl", "daily.csv", "late.jsonl", "rejected.jsonl"];
    let differing = names.into_iter().filter(|name| {
        let expected = fs::read_to_string(example.join("expected").join(name));
        output(name).ok() != expected.ok()
    });
    match differing.collect::<Vec<_>>().as_slice() {
        [] => println!(
            "They are the same, byte for byte, as those in {EXAMPLE}/expected, which another program computed."
        ),
        names => {
            let names = names.join(", ");
            return Err(Failure::new(format!(
                "{names}: not as in {EXAMPLE}/expected; compare them with `diff`"
            )));
        }
    }
    Ok(())
}
