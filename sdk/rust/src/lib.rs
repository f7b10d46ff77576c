//! Write a Wasmill operator in Rust: one struct and one attribute.
//!
//! ```
//! use wasmill_sdk::prelude::*;
//!
//! /// What the operator reads: columns by name.
//! #[derive(InputRow)]
//! struct Departure<'a> {
//!     carrier: &'a str,
//!     dep_delay: Option<i64>,
//! }
//!
//! /// What it adds.
//! #[derive(OutputRow)]
//! struct Classified {
//!     class: &'static str,
//! }
//!
//! /// The operator, and its configuration: `config = { threshold = 30 }` in the topology.
//! #[transform]
//! struct Classify {
//!     threshold: i64,
//! }
//!
//! impl Transform for Classify {
//!     type Input<'a> = Departure<'a>;
//!     type Output = Add<Classified>;
//!
//!     fn row(&self, row: Departure<'_>, out: &mut Self::Output) -> Result<(), Reject> {
//!         if row.carrier.is_empty() {
//!             return Err(Reject::new("a departure without a carrier"));
//!         }
//!         let late = row.dep_delay.is_some_and(|minutes| minutes >= self.threshold);
//!         out.emit(Classified { class: if late { "delayed" } else { "on-time" } });
//!         Ok(())
//!     }
//! }
//! ```
//!
//! | to | write |
//! |---|---|
//! | add or replace columns | [`Add`], `out.emit(row)` |
//! | filter | [`Keep`], `out.keep()` |
//! | flat-map, change all columns | [`Only`], `out.emit(row)` as often as wanted |
//! | split to several ports | a struct of ports with [`#[derive(Outputs)]`](macro@Outputs) |
//! | refuse a row | `Err(Reject::new("why"))` |
//! | use or change the event time | `#[column(event_time)]` on a field; [`Transform::event_time`] |
//! | work on whole columns | [`TransformColumns`] with `#[transform(columns)]` |
//! | aggregate | [`Aggregate`] with `#[aggregate]` |
//! | log, measure | [`info!`](crate::info), [`metrics`] |
//! | test without Wasm | [`testing`] |
//!
//! A plugin is a crate with `crate-type = ["cdylib", "rlib"]` and one operator. Natively it is an ordinary library, and
//! its tests are ordinary tests; for `wasm32-unknown-unknown` the attribute adds the exports of the component.

// The macros name this crate by its name, also within it.
extern crate self as wasmill_sdk;

mod aggregate;
#[doc(hidden)]
pub mod bindings;
mod buffer;
mod column;
#[doc(hidden)]
pub mod config;
mod export;
mod fault;
mod hash;
mod host;
mod input;
pub mod log;
pub mod metrics;
mod output;
mod port;
mod schema;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod transform;
mod types;

pub use aggregate::{Accumulator, AccumulatorValue, Aggregate, Group, Window};
pub use column::{Bits, Bytes, JsonText, Nullable, RawBatch, RawColumn, Text, View};
pub use fault::{Failure, Reject, Rejects};
pub use hash::{HashMap, HashSet};
pub use input::{Batch, InputColumns, InputRow, InputValue, Requires};
pub use output::{ColumnData, OutputColumns, OutputRow, OutputValue, Shape, Values};
pub use port::{Add, Keep, Only, Outputs, Port, RowNumbers, Rows};
pub use transform::{Retime, Transform, TransformColumns};
pub use types::{ColumnSpec, DataType, Json, Timestamp};
pub use wasmill_sdk_macros::{
    Accumulator, InputColumns, InputRow, OutputColumns, OutputRow, Outputs, aggregate, transform,
};

/// What an operator needs, for `use wasmill_sdk::prelude::*`.
pub mod prelude {
    pub use crate::{
        Accumulator, Add, Aggregate, Batch, Bits, Bytes, Failure, Group, HashMap, HashSet, InputColumns, InputRow,
        Json, JsonText, Keep, Nullable, Only, OutputColumns, OutputRow, Outputs, Reject, Rejects, Retime, Rows, Text,
        Timestamp, Transform, TransformColumns, Values, Window, aggregate, transform,
    };
}

/// What the macros refer to. No part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use serde;
    pub use wit_bindgen;

    pub use crate::{
        bindings, config,
        export::{opened, panic},
    };

    pub mod transform {
        pub use crate::transform::{Opened, TransformOperator, describe, open, process_columns, process_rows};
    }

    pub mod aggregate {
        pub use crate::aggregate::{AggregateOperator, Opened, ReadView, countable, describe, open, read};
    }

    pub mod output {
        pub use crate::{
            bindings::types::{Column, Scalar},
            output::{Builder, WholeColumns},
        };
    }

    pub mod port {
        pub use crate::port::{AnyPort, PortRows, PortSpec};
    }
}
