//! `wasmill check`.

use std::error::Error;
use std::io::{self, Write as _};

use crate::args::{Format, Topology};
use crate::exit::Exit;
use crate::summary;
use crate::topology::{Report, load};

/// Says what is wrong with a topology; of one without errors, what it is and whether it is reproducible.
pub(crate) fn execute(topology: &Topology, format: Format) -> Result<Exit, Box<dyn Error>> {
    let Some(loaded) = load(topology, format, Report::Result)? else {
        return Ok(Exit::Invalid);
    };
    let mut out = io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", summary::json(&loaded.plan))?,
        Format::Human => out.write_all(summary::human(&loaded.plan).as_bytes())?,
    }
    Ok(Exit::Ok)
}
