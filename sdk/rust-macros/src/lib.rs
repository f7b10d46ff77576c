//! The macros of `wasmill-sdk`, which re-exports and documents them.
//!
//! Each macro reads its item into a small description first, with errors at the tokens that are wrong, and writes code
//! from it second.

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

mod fields;
mod input;
mod inputs;
mod operator;
mod output;
mod ports;
mod state;
mod timers;

/// Makes a struct an operator that [`wasmill_sdk::Transform`] describes; with `#[transform(columns)]` one that
/// `TransformColumns` describes.
///
/// The struct is the configuration, read by serde: its fields are options, in kebab-case, and unknown ones are errors.
/// `#[serde(default)]` and the like work; `#[serde(skip)]` fields are for what `open` computes.
///
/// [`wasmill_sdk::Transform`]: https://docs.rs/wasmill-sdk
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    finish(operator::transform(arguments.into(), &item))
}

/// Makes a struct an aggregate.
///
/// `#[aggregate(commutative, version = 1)]`: `commutative` says that any order and any grouping of the rows gives the
/// same bytes (sums of integers do, sums of floats do not); without it the host keeps to the order of event times.
/// `version` (1 by default) is raised when the accumulators' meaning or types change.
#[proc_macro_attribute]
pub fn aggregate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    finish(operator::aggregate(arguments.into(), &item))
}

/// Makes a struct an operator with state and timers, which [`wasmill_sdk::Keyed`] describes.
///
/// The struct is the configuration, as with `#[transform]`. `#[keyed(changelog)]`: the inputs may be changelogs; the
/// context says of each row what it does.
///
/// [`wasmill_sdk::Keyed`]: https://docs.rs/wasmill-sdk
#[proc_macro_attribute]
pub fn keyed(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    finish(operator::keyed(arguments.into(), &item))
}

/// Makes a struct an operator over the content of windows, which [`wasmill_sdk::Windowed`] describes; with
/// `#[window(parts)]` one that `WindowedParts` describes.
///
/// The struct is the configuration, as with `#[transform]`.
///
/// [`wasmill_sdk::Windowed`]: https://docs.rs/wasmill-sdk
#[proc_macro_attribute]
pub fn window(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    finish(operator::window(arguments.into(), &item))
}

/// Makes a struct a row of a table of state: each field is a column of that name.
///
/// `#[column(name = "...")]` on a field names its column otherwise. `#[state(...)]` on the struct: `name = "..."` names
/// the table, `ttl = "1h"` (or `ms`, `s`, `m`, `d`) drops a key's row when the key had no row for so long in event time,
/// `processing_ttl` in the machine's time, `version = 2` (1 by default) is raised when the columns' meaning or types
/// change.
#[proc_macro_derive(State, attributes(state, column))]
pub fn state(item: TokenStream) -> TokenStream {
    finish(state::row(&parse_macro_input!(item as DeriveInput)))
}

/// Makes a struct the tables of a state: each field is a table of that name, in kebab-case.
///
/// `#[table(...)]` on a field takes the options of `#[state(...)]`.
#[proc_macro_derive(Tables, attributes(table))]
pub fn tables(item: TokenStream) -> TokenStream {
    finish(state::tables(&parse_macro_input!(item as DeriveInput)))
}

/// Makes an enum the timers of an operator: each variant is a kind, with its name in kebab-case.
///
/// A variant may hold an `i64`: there is a timer for each number. `#[timer(processing)]` on a variant: the machine's time
/// fires it; `#[timer(name = "...")]` names it otherwise.
#[proc_macro_derive(Timers, attributes(timer))]
pub fn timers(item: TokenStream) -> TokenStream {
    finish(timers::timers(&parse_macro_input!(item as DeriveInput)))
}

/// Makes an enum the inputs of an operator: each variant holds the row of one, in the order of the topology's
/// `input = [...]`.
#[proc_macro_derive(Inputs)]
pub fn inputs(item: TokenStream) -> TokenStream {
    finish(inputs::inputs(&parse_macro_input!(item as DeriveInput)))
}

/// Makes a struct a row of the input: each field is a column of that name.
///
/// `#[column(name = "...")]` reads a column of another name, `#[column(event_time)]` the event time of the row.
#[proc_macro_derive(InputRow, attributes(column))]
pub fn input_row(item: TokenStream) -> TokenStream {
    finish(input::rows(&parse_macro_input!(item as DeriveInput)))
}

/// Makes a struct the columns of the input: each field is a view of the column of that name.
///
/// `#[column(name = "...")]` reads a column of another name, `#[column(event_time)]` the event times of the rows.
#[proc_macro_derive(InputColumns, attributes(column))]
pub fn input_columns(item: TokenStream) -> TokenStream {
    finish(input::columns(&parse_macro_input!(item as DeriveInput)))
}

/// Makes a struct a row of an output: each field is a column of that name.
///
/// `#[column(name = "...")]` writes a column of another name.
#[proc_macro_derive(OutputRow, attributes(column))]
pub fn output_row(item: TokenStream) -> TokenStream {
    finish(output::rows(&parse_macro_input!(item as DeriveInput)))
}

/// Makes a struct the columns of an output: each field is a column of that name.
///
/// `#[column(name = "...")]` writes a column of another name.
#[proc_macro_derive(OutputColumns, attributes(column))]
pub fn output_columns(item: TokenStream) -> TokenStream {
    finish(output::columns(&parse_macro_input!(item as DeriveInput)))
}

/// Makes a struct what an aggregate keeps for each group: each field is a column of that name.
///
/// `#[column(name = "...")]` keeps it in a column of another name.
#[proc_macro_derive(Accumulator, attributes(column))]
pub fn accumulator(item: TokenStream) -> TokenStream {
    finish(output::accumulator(&parse_macro_input!(item as DeriveInput)))
}

/// Makes a struct the ports of an operator: each field is a port, the first the main output.
///
/// A port has the name of its field in kebab-case, or that of `#[port(name = "...")]`.
#[proc_macro_derive(Outputs, attributes(port))]
pub fn outputs(item: TokenStream) -> TokenStream {
    finish(ports::outputs(&parse_macro_input!(item as DeriveInput)))
}

fn finish(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(syn::Error::into_compile_error).into()
}
