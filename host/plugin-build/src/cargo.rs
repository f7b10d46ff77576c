//! Compiles a project with Cargo to a core module.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    Error, Settings, Step,
    process::{self, cannot_run},
    sources::Sources,
    toolchain::{TARGET, Toolchain},
};

/// What the surroundings may have set for other compilations, such as that of the program that calls this.
const NOT_INHERITED: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_RUSTFLAGS",
];

/// The module of the project.
pub(crate) fn compile(
    sources: &Sources,
    toolchain: &Toolchain,
    settings: &Settings,
    report: &mut dyn FnMut(Step<'_>),
) -> Result<Vec<u8>, Error> {
    let from_source = matches!(toolchain, Toolchain::FromSource { .. });
    report(Step::Compiling {
        plugin: &sources.name,
        std: from_source,
    });
    let target = settings.cache.join("target");
    claim(sources, toolchain, &target)?;
    let mut command = command("build", sources, toolchain, &target);
    command.args(["--lib", "--color=never"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_run(&command, &error))?;
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().expect("it was piped")).lines() {
        let line = line.map_err(|error| cannot_run(&command, &error))?;
        if let Some(name) = line.trim_start().strip_prefix("Compiling ") {
            report(Step::Crate {
                name: name.split(" (").next().unwrap_or(name),
            });
        } else {
            said.push_str(&line);
            said.push('\n');
        }
    }
    let status = child.wait().map_err(|error| cannot_run(&command, &error))?;
    if !status.success() {
        return Err(Error::Compile {
            plugin: sources.name.clone(),
            output: said,
        });
    }
    let module = target
        .join(TARGET)
        .join("release")
        .join(format!("{}.wasm", sources.name.replace('-', "_")));
    fs::read(&module).map_err(Error::io("read", &module))
}

/// Makes the target folder that of a project's workspace. Cargo knows packages by their paths within the workspace, and
/// what is compiled by times: it would take one for another of the same name elsewhere. What comes from registries stays.
fn claim(sources: &Sources, toolchain: &Toolchain, target: &Path) -> Result<(), Error> {
    let note = target.join("workspace");
    let root = sources.root.as_os_str().as_bytes();
    if fs::read(&note).is_ok_and(|last| last == root) {
        return Ok(());
    }
    if note.is_file() {
        let mut clean = command("clean", sources, toolchain, target);
        for name in sources.packages() {
            clean.args(["--package", name]);
        }
        process::output(&mut clean)?;
    }
    fs::create_dir_all(target).map_err(Error::io("make the folder", target))?;
    fs::write(&note, root).map_err(Error::io("write", &note))
}

fn command(verb: &str, sources: &Sources, toolchain: &Toolchain, target: &Path) -> Command {
    let mut command = Command::new("cargo");
    command
        .current_dir(&sources.folder)
        .args([verb, "--release", "--target", TARGET]);
    command
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_BUILD_BUILD_DIR", target);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    if let Toolchain::FromSource { rustc, linker, .. } = toolchain {
        // Building the standard library is not stable; the source is that of the very compiler.
        command
            .env("RUSTC", rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .arg("-Zbuild-std=std,panic_abort");
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    command
}
