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
//! | remember something for each key, set timers | [`Keyed`] with `#[keyed]` |
//! | look at all rows of a window | [`Windowed`] with `#[window]` |
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
mod kept;
mod keyed;
pub mod log;
pub mod metrics;
mod output;
mod port;
mod schema;
mod state;
mod take;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod transform;
mod types;
mod window;

pub use aggregate::{Accumulator, Aggregate, Group, Window};
pub use column::{Bits, Bytes, JsonText, Nullable, RawBatch, RawColumn, Text, View};
pub use fault::{Failure, Reject, Rejects};
pub use hash::{HashMap, HashSet};
pub use input::{Batch, InputColumns, InputRow, InputValue, Requires};
pub use kept::KeptValue;
pub use keyed::{Context, Inputs, Key, Keyed, NoTimers, TimerSpec, Timers};
pub use output::{ColumnData, OutputColumns, OutputRow, OutputValue, Shape, Values};
pub use port::{Add, Changelog, EmitPort, Keep, Kind, Only, Outputs, Port, RowNumbers, Rows, WithKey};
pub use state::{
    List, ListIter, Map, MapRange, OnDemand, SortKey, State, StateRow, StateTable, TableOptions, TableSettings, Ttl,
};
pub use transform::{Retime, Transform, TransformColumns};
pub use types::{ColumnSpec, DataType, Json, Timestamp};
pub use wasmill_sdk_macros::{
    Accumulator, InputColumns, InputRow, Inputs, OutputColumns, OutputRow, Outputs, State, Tables, Timers, aggregate,
    keyed, transform, window,
};
pub use window::{Firing, WindowRows, Windowed, WindowedParts};

/// What an operator needs, for `use wasmill_sdk::prelude::*`.
pub mod prelude {
    pub use crate::{
        Accumulator, Add, Aggregate, Batch, Bits, Bytes, Changelog, Context, Failure, Firing, Group, HashMap, HashSet,
        InputColumns, InputRow, Inputs, Json, JsonText, Keep, Keyed, Kind, List, Map, NoTimers, Nullable, OnDemand,
        Only, OutputColumns, OutputRow, Outputs, Reject, Rejects, Retime, Rows, State, TableSettings, Tables, Text,
        Timers, Timestamp, Transform, TransformColumns, Ttl, Values, Window, WindowRows, Windowed, WindowedParts,
        WithKey, aggregate, keyed, transform, window,
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
        pub use crate::aggregate::{AggregateOperator, Opened, countable, describe, open};
    }

    pub mod kept {
        pub use crate::kept::{ReadView, bit_of, read, reserve};
    }

    pub mod keyed {
        pub use crate::keyed::{KeyedOperator, Opened, describe, open};
    }

    pub mod state {
        pub use crate::state::{Effects, Given, TableDescription, ValueCall};
    }

    pub mod window {
        pub use crate::window::{Call, Opened, Ran, WindowOperator, describe, open, run_parts, run_whole};
    }

    pub mod output {
        pub use crate::{
            bindings::types::{Column, Scalar, Schema},
            output::{Builder, WholeColumns},
        };
    }

    pub mod port {
        pub use crate::port::{AnyPort, Passing, PortRows, PortSpec};
    }
}
