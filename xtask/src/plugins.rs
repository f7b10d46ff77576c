//! Builds the shipped plugins.

use std::{
    fs,
    io::{IsTerminal, Write},
};

use wasmill_plugin_build::{Settings, Step, build};

use crate::{Failure, Repository, stopwatch::Stopwatch};

/// Where the components go: topologies name them by this folder.
const FOLDER: &str = "target/plugins";

/// Builds each package in `plugins/` into `target/plugins/NAME.wasm`.
pub(crate) fn build_all(repository: &Repository) -> Result<(), Failure> {
    let settings = Settings::discover()?;
    let folder = repository.path("plugins");
    let mut projects = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Failure::io("read", &folder))? {
        let path = entry.map_err(Failure::io("read", &folder))?.path();
        if path.join("Cargo.toml").is_file() {
            projects.push(path);
        }
    }
    projects.sort();
    for project in projects {
        let watch = Stopwatch::start();
        let mut progress = Progress {
            lasting: std::io::stderr().is_terminal(),
        };
        let artifact = build(&project, &settings, &mut |step| progress.show(&step))?;
        progress.clear();
        let component = repository.path(FOLDER).join(format!("{}.wasm", artifact.name));
        artifact.copy_to(&component)?;
        let how = if artifact.from_cache {
            "was built before".to_owned()
        } else {
            format!("built in {watch}")
        };
        println!("{FOLDER}/{}.wasm: {how}", artifact.name);
    }
    Ok(())
}

/// Steps of a build: on one line of a terminal, else the long ones on a line each.
struct Progress {
    lasting: bool,
}

impl Progress {
    fn show(&mut self, step: &Step<'_>) {
        if self.lasting {
            eprint!("\r\x1b[2K{step} ...");
            // A terminal that cannot be written to has no reader.
            let _ = std::io::stderr().flush();
        } else if !matches!(step, Step::Crate { .. } | Step::Unpacking { .. }) {
            eprintln!("{step}");
        }
    }

    fn clear(&mut self) {
        if self.lasting {
            eprint!("\r\x1b[2K");
        }
    }
}
