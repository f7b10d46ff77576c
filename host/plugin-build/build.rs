//! Embeds the source of the Rust SDK, which a new project carries with it.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

/// The crates of the SDK, and what of them a project needs.
const CRATES: [(&str, &str); 2] = [
    ("wasmill-sdk", "../../sdk/rust"),
    ("wasmill-sdk-macros", "../../sdk/rust-macros"),
];
const PARTS: [&str; 3] = ["Cargo.toml", "src", "wit"];

#[expect(
    clippy::disallowed_methods,
    reason = "Cargo tells a build script its folders in the environment only"
)]
fn folder(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .expect("Cargo sets the folders of a build script")
}

fn main() -> io::Result<()> {
    let here = folder("CARGO_MANIFEST_DIR");
    let mut code = String::from("pub(crate) const FILES: &[(&str, &str)] = &[\n");
    for (name, folder) in CRATES {
        for part in PARTS {
            let path = here.join(folder).join(part);
            println!("cargo::rerun-if-changed={}", path.display());
            let mut files = Vec::new();
            collect(&path, &format!("{name}/{part}"), &mut files)?;
            files.sort();
            for (file, path) in files {
                let path = fs::canonicalize(path)?;
                println!("cargo::rerun-if-changed={}", path.display());
                let path = path.display().to_string();
                writeln!(code, "    ({file:?}, include_str!({path:?})),")
                    .expect("a string takes what is written to it");
            }
        }
    }
    code.push_str("];\n");
    fs::write(folder("OUT_DIR").join("sdk.rs"), code)
}

fn collect(path: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    if path.is_file() {
        files.push((name.to_owned(), path.to_owned()));
    } else if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            collect(
                &entry.path(),
                &format!("{name}/{}", entry.file_name().to_string_lossy()),
                files,
            )?;
        }
    }
    Ok(())
}
