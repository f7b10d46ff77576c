//! What is written where: results to standard output, everything else to standard error; colours only on a terminal.

use std::error::Error;
use std::io::{self, IsTerminal, Write};

use serde_json::json;

use crate::args::Format;
use crate::environment;

/// Whether standard error takes colours.
pub(crate) fn colours() -> bool {
    io::stderr().is_terminal() && !environment::no_color()
}

/// Says why a command failed.
pub(crate) fn failed(error: &dyn Error, format: Format) {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(next) = cause {
        causes.push(next.to_string());
        cause = next.source();
    }
    let mut err = io::stderr().lock();
    let written = match format {
        Format::Json => {
            let line = json!({ "kind": "error", "message": error.to_string(), "causes": causes });
            writeln!(err, "{line}")
        }
        Format::Human => {
            let head = if colours() { "\x1b[1;31merror\x1b[0m" } else { "error" };
            let mut text = format!("{head}: {error}\n");
            for cause in causes {
                text.push_str("  because: ");
                text.push_str(&cause);
                text.push('\n');
            }
            err.write_all(text.as_bytes())
        }
    };
    // Standard error is gone; the exit code remains.
    drop(written);
}
