//! `wasmill build`.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use wasmill_plugin_build::{Settings, build};

use crate::args::Format;
use crate::exit::Exit;

/// Makes a component of a plugin's sources.
pub(crate) fn execute(project: &Path, output: Option<PathBuf>, format: Format) -> Result<Exit, Box<dyn Error>> {
    let settings = Settings::discover()?;
    let artifact = build(project, &settings, &mut |step| {
        if format == Format::Human {
            // Standard error is gone; the build goes on.
            drop(writeln!(io::stderr().lock(), "{step}"));
        }
    })?;
    let output = output.unwrap_or_else(|| project.join(format!("{}.wasm", artifact.name)));
    artifact.copy_to(&output)?;
    let size = std::fs::metadata(&output)?.len();
    let mut out = io::stdout().lock();
    match format {
        Format::Json => writeln!(
            out,
            "{}",
            json!({
                "kind": "plugin",
                "name": artifact.name,
                "file": output,
                "size-bytes": size,
                "from-cache": artifact.from_cache,
            })
        )?,
        Format::Human => {
            let cached = if artifact.from_cache { ", as built before" } else { "" };
            writeln!(out, "{} ({} KiB{cached})", output.display(), size.div_ceil(1024))?;
        }
    }
    Ok(Exit::Ok)
}
