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
    let folder = repository.path("plugins");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Failure::io("read", &folder))? {
        let entry = entry.map_err(Failure::io("read", &folder))?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    build_some(repository, &names)
}

/// Builds these packages of `plugins/`.
pub(crate) fn build_some(repository: &Repository, names: &[impl AsRef<str>]) -> Result<(), Failure> {
    let settings = Settings::discover()?;
    for name in names {
        let watch = Stopwatch::start();
        let project = repository.path("plugins").join(name.as_ref());
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
