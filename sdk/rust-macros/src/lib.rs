//! The macros of `wasmill-sdk`, which re-exports and documents them.
//!
//! Each macro reads its item into a small description first, with errors at the tokens that are wrong, and writes code
//! from it second.

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

mod fields;
mod input;
mod operator;
mod output;
mod ports;

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
