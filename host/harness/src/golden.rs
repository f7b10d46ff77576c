//! The file of all that a test gives: JSON lines, a row a line, in the order of steps, outputs, and times.

use std::ops::Range;
use std::path::Path;

use crate::diff::{self, Line};
use crate::expect::Shown;
use crate::judge::file_name;
use crate::outcome::Failure;
use crate::run::{HIDDEN, Trace};
use crate::suite::Suite;
use crate::value;

/// Compares what came with the file, or writes the file. Whether it was written.
///
/// # Errors
/// They differ, or the file cannot be read or written.
pub(crate) fn compare(
    suite: &Suite,
    trace: &Trace,
    path: &Path,
    span: &Range<usize>,
    bless: bool,
) -> Result<bool, Box<Failure>> {
    let came = lines(suite, trace);
    let name = file_name(path);
    let failed = |message: String| Box::new(Failure::new(span, message));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(format!("{name} cannot be read: {error}"))),
    };
    let expected: Vec<String> = text.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
    if text.is_some() && expected == came {
        return Ok(false);
    }
    if bless {
        let mut whole = came.join("\n");
        if !whole.is_empty() {
            whole.push('\n');
        }
        let written = std::fs::write(path, whole);
        return match written {
            Ok(()) => Ok(true),
            Err(error) => Err(failed(format!("{name} cannot be written: {error}"))),
        };
    }
    let help = "`wasmill test --bless` writes what came; read it before you keep it";
    if text.is_none() {
        let lines = came.into_iter().map(Line::Unexpected).collect();
        return Err(Box::new(failed(format!("{name} is not there")).lines(lines).help(help)));
    }
    let lines = diff::of_sequences(&expected, &came);
    Err(Box::new(
        failed(format!("what came is not what {name} holds"))
            .lines(lines)
            .help(help),
    ))
}

fn lines(suite: &Suite, trace: &Trace) -> Vec<String> {
    let mut lines = Vec::new();
    for (step, given) in trace.steps.iter().enumerate() {
        for (output, rows) in suite
            .tested
            .outputs
            .iter()
            .zip(&given.outputs)
            .filter(|(output, _)| !output.ignore)
        {
            let names = Shown::of_output(output, &[]).names;
            for row in rows {
                let number = (step + 1).to_string();
                let name = serde_json::Value::from(output.name.as_str()).to_string();
                let own = names.iter().zip(row).skip(HIDDEN.len());
                let columns = value::object(own.map(|(name, cell)| (*name, cell.as_str())));
                let mut fields = vec![("step", number.as_str()), ("output", name.as_str())];
                if output.changelog {
                    fields.push(("kind", row[0].as_str()));
                }
                fields.push(("time", row[1].as_str()));
                fields.push(("row", columns.as_str()));
                lines.push(value::object(fields));
            }
        }
    }
    lines
}
