//! JSON lines to columns.

mod paths;
mod sonic;

use wasmill_core::fault::Fault;
use wasmill_core::plan::SourceColumn;

use crate::format::slots::Rows;
use crate::format::{Block, DecodeSpec, Decoded, Decoder, format_fault};

use self::paths::Tree;
use self::sonic::SonicScanner;

/// Decodes JSON lines.
pub(super) struct JsonDecoder {
    scanner: Box<dyn Scanner>,
    rows: Rows,
}

/// Reads records into column slots.
trait Scanner: Send {
    /// Reads a block, and says how many lines it has.
    fn scan(&mut self, block: &Block, rows: &mut Rows) -> u32;
}

impl JsonDecoder {
    pub(super) fn new(spec: &DecodeSpec) -> Result<Self, Fault> {
        let rows = Rows::new(spec).map_err(format_fault)?;
        let columns = spec.columns.iter().zip(rows.by_column());
        let tree = Tree::new(columns.filter_map(|(column, slot)| Some((column, (*slot)?))));
        Ok(Self {
            scanner: Box::new(SonicScanner::new(tree)),
            rows,
        })
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, block: &Block) -> Result<Decoded, Fault> {
        let line_count = self.scanner.scan(block, &mut self.rows);
        Ok(self.rows.take(line_count))
    }
}

/// Columns that cannot be read beside each other, with the reason: two of the same field, or one of a field in the
/// other.
pub(super) fn conflicts(columns: &[SourceColumn]) -> impl Iterator<Item = (usize, String)> {
    columns.iter().enumerate().filter_map(|(index, column)| {
        let clashes =
            |other: &&SourceColumn| column.path.starts_with(&other.path) || other.path.starts_with(&column.path);
        let other = columns[..index].iter().find(clashes)?;
        let message = if other.path == column.path {
            format!("column \"{}\" reads the same field", other.field.name)
        } else {
            format!(
                "column \"{}\" reads \"{}\", and one of both stands in the other",
                other.field.name,
                other.path.join(".")
            )
        };
        Some((index, message))
    })
}
