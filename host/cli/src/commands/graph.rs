//! `wasmill graph`.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use wasmill_core::plan::Plan;
use wasmill_topology::draw;

use crate::args::{Format, PictureType, Topology};
use crate::exit::Exit;
use crate::summary;
use crate::topology::{Report, load};

/// Draws a topology.
pub(crate) fn execute(
    topology: &Topology,
    picture: Option<PictureType>,
    output: Option<PathBuf>,
    format: Format,
) -> Result<Exit, Box<dyn Error>> {
    let Some(loaded) = load(topology, format, Report::Beside)? else {
        return Ok(Exit::Invalid);
    };
    let text = match (picture.or_else(|| by_ending(output.as_deref())), format) {
        (None, Format::Json) => format!("{}\n", summary::json(&loaded.plan)),
        (picture, _) => draw(&loaded.plan, picture.unwrap_or(PictureType::Mermaid)),
    };
    match output {
        Some(file) => std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?,
        None => io::stdout().lock().write_all(text.as_bytes())?,
    }
    Ok(Exit::Ok)
}

fn draw(plan: &Plan, picture: PictureType) -> String {
    match picture {
        PictureType::Mermaid => draw::mermaid(plan),
        PictureType::Dot => draw::dot(plan),
        PictureType::Svg => draw::svg(plan),
    }
}

fn by_ending(file: Option<&Path>) -> Option<PictureType> {
    match file?.extension()?.to_str()? {
        "svg" => Some(PictureType::Svg),
        "dot" | "gv" => Some(PictureType::Dot),
        "mmd" | "mermaid" | "md" => Some(PictureType::Mermaid),
        _ => None,
    }
}
