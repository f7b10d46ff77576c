//! `wasmill new`.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde_json::json;
use wasmill_plugin_build::{Language, new_project};

use crate::args::{Format, World};
use crate::exit::Exit;

/// Writes a plugin to start from.
pub(crate) fn execute(
    name: &str,
    world: World,
    folder: Option<PathBuf>,
    format: Format,
) -> Result<Exit, Box<dyn Error>> {
    let folder = folder.unwrap_or_else(|| PathBuf::from(name));
    let made = match world {
        World::Transform => wasmill_plugin_build::World::Transform,
        World::Aggregate => wasmill_plugin_build::World::Aggregate,
        World::Keyed => wasmill_plugin_build::World::Keyed,
        World::Window => wasmill_plugin_build::World::Window,
    };
    new_project(name, &folder, Language::Rust, made)?;
    let shown = folder.display();
    let mut out = io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", json!({ "kind": "project", "name": name, "folder": folder }))?,
        Format::Human => {
            let place = match world {
                World::Transform => {
                    format!("[[operator]]\nid = \"{name}\"\nplugin = \"{shown}/{name}.wasm\"\ninput = \"...\"")
                }
                World::Keyed => {
                    format!(
                        "[[operator]]\nid = \"{name}\"\nplugin = \"{shown}/{name}.wasm\"\ninput = \"...\"\nkey = [\"...\"]"
                    )
                }
                World::Window => {
                    format!(
                        "[[operator]]\nid = \"{name}\"\ntype = \"window\"\nplugin = \"{shown}/{name}.wasm\"\n\
                         input = \"...\"\nkey = [\"...\"]\nwindow = {{ type = \"tumbling\", size = \"1m\" }}"
                    )
                }
                World::Aggregate => {
                    format!("aggregate = {{ x = {{ plugin = \"{shown}/{name}.wasm\", columns = [\"...\"] }} }}")
                }
            };
            writeln!(
                out,
                "wrote {shown}\n\nthe plugin is in {shown}/src/lib.rs; then\n\n    cargo test --manifest-path {shown}/Cargo.toml\n    \
                 wasmill build {shown}\n\nand in a topology\n\n    {}",
                place.replace('\n', "\n    ")
            )?;
        }
    }
    Ok(Exit::Ok)
}
