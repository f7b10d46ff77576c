//! Tests an operator without Wasm: tables in, tables out, in the process of the test.
//!
//! [`TransformTest`], [`AggregateTest`], [`KeyedTest`] and [`WindowTest`] call an operator as the host does: `describe`,
//! `open`, then batches; what it logs and measures is kept. A [`Table`] is a batch with names and types, for comparing and printing.
//!
//! ```
//! use wasmill_sdk::{prelude::*, testing::{Table, TransformTest}};
//!
//! #[derive(InputRow)]
//! struct Line<'a> {
//!     line: &'a str,
//! }
//!
//! #[transform]
//! struct NotEmpty;
//!
//! impl Transform for NotEmpty {
//!     type Input<'a> = Line<'a>;
//!     type Output = Keep;
//!
//!     fn row(&self, row: Line<'_>, out: &mut Keep) -> Result<(), Reject> {
//!         if row.line.is_empty() {
//!             info!("an empty line");
//!         } else {
//!             out.keep();
//!         }
//!         Ok(())
//!     }
//! }
//! # use wasmill_sdk::info;
//!
//! let input = Table::new().with("line", ["a", ""]).with("number", [1, 2]);
//! let mut test = TransformTest::<NotEmpty>::open("{}", &input)?;
//! let output = test.process(&input)?;
//! assert_eq!(output.port("out"), &Table::new().with("line", ["a"]).with("number", [1]));
//! assert_eq!(test.logs()[0].message, "an empty line");
//!
//! let numbers = Table::new().with("line", [1, 2]);
//! let failure = TransformTest::<NotEmpty>::open("{}", &numbers).unwrap_err();
//! assert!(failure.to_string().starts_with("column `line` of input `input` is int64"));
//! # Ok::<(), Failure>(())
//! ```

mod aggregate;
mod keyed;
mod table;
mod transform;
mod window;

pub use aggregate::AggregateTest;
pub use keyed::KeyedTest;
pub use table::Table;
pub use transform::{Output, TransformTest};
pub use window::WindowTest;

pub use crate::host::LogLine;

use crate::{
    host::{self, Recording},
    metrics,
};

/// What one operator did with its imports.
#[derive(Debug, Default)]
struct Imports {
    recording: Recording,
}

impl Imports {
    /// Runs a call with this recording in place; what a failed call measured is dropped, as the host does.
    fn during<T, E>(&mut self, call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        host::swap(&mut self.recording);
        let result = call();
        if result.is_err() {
            metrics::discard();
        }
        host::swap(&mut self.recording);
        result
    }

    fn logs(&self) -> Vec<LogLine> {
        self.recording.logs.clone()
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let id = self
            .recording
            .metrics
            .iter()
            .position(|(declared, ..)| declared == name)?;
        let gauge = matches!(self.recording.metrics[id].1, host::Kind::Gauge);
        let mut values = self
            .recording
            .changes
            .iter()
            .filter(|(changed, _)| *changed as usize == id);
        if gauge {
            values.next_back().map(|(_, value)| *value)
        } else {
            Some(values.map(|(_, value)| value).sum())
        }
    }
}
