//! State: typed tables that the host keeps by key, and the structs through which an operator sees those of one key.
//!
//! Values come with a call and go back where they changed. On-demand values, lists and maps are handles: they read and
//! write through the host while the call runs. A handle gathers writes and hands them over before it reads, and at the
//! end of the call.

mod access;
mod list;
mod map;
mod on_demand;
mod options;
mod row;
mod value;

use std::fmt::Debug;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use access::{Access, swap};
pub use list::{List, ListIter};
pub use map::{Map, MapRange, SortKey};
pub use on_demand::OnDemand;
pub use options::{TableOptions, TableSettings, Ttl};
pub use row::StateRow;
pub use value::ValueCall;

use crate::{
    bindings::{state_types as wit, types::Field, types::Scalar},
    column::RawBatch,
    fault::Failure,
    schema,
    types::ColumnSpec,
};

/// A writing handle hands its rows over when it has gathered so many.
const PENDING_ROWS_MAX: u32 = 1024;

/// A reading handle asks for so many rows at once.
const PAGE_ROWS: u32 = 256;

/// What an operator keeps for each key.
///
/// | to keep | write |
/// |---|---|
/// | nothing | `()` |
/// | one value | its type: `i64`, `Option<String>`, ... |
/// | a few values | a struct with [`#[derive(State, Default)]`](macro@crate::State), which is one row of a table |
/// | several tables, lists, maps | a struct of them with [`#[derive(Tables)]`](macro@crate::Tables) |
///
/// A key that is seen for the first time has `Default`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state",
    label = "not a state",
    note = "put `#[derive(State, Default)]` on a struct of values, or `#[derive(Tables)]` on a struct of tables; `()` keeps \
            nothing"
)]
pub trait State: Sized + 'static {
    /// The tables that came with a call, and what changes in them.
    type Loaded<'a>;
    #[doc(hidden)]
    fn describe(tables: &mut Vec<TableDescription>);
    #[doc(hidden)]
    fn create() -> Self;
    #[doc(hidden)]
    fn begin<'a>(given: &mut Given<'a>) -> Result<Self::Loaded<'a>, Failure>;
    #[doc(hidden)]
    fn enter(&mut self, loaded: &Self::Loaded<'_>, key: u32);
    #[doc(hidden)]
    fn leave(&mut self, loaded: &mut Self::Loaded<'_>, key: u32);
    #[doc(hidden)]
    fn end(&mut self, loaded: Self::Loaded<'_>, effects: &mut Effects);
}

/// One table of a state: a row of values, an [`OnDemand`], a [`List`] or a [`Map`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a table",
    label = "not a table",
    note = "the fields of a `Tables` struct are values, structs with `#[derive(State, Default)]`, `OnDemand<Row>`, \
            `List<Row>` or `Map<Key, Row>`"
)]
pub trait StateTable: Sized + 'static {
    /// What came with a call, and what changes in it.
    type Loaded<'a>;
    #[doc(hidden)]
    fn describe(name: &'static str) -> TableDescription;
    #[doc(hidden)]
    fn create(number: u32) -> Self;
    #[doc(hidden)]
    fn begin<'a>(number: u32, given: &mut Given<'a>) -> Result<Self::Loaded<'a>, Failure>;
    #[doc(hidden)]
    fn enter(&mut self, loaded: &Self::Loaded<'_>, key: u32);
    #[doc(hidden)]
    fn leave(&mut self, loaded: &mut Self::Loaded<'_>, key: u32);
    #[doc(hidden)]
    fn end(&mut self, loaded: Self::Loaded<'_>, effects: &mut Effects);
}

/// A table before it has a number.
#[derive(Debug)]
pub struct TableDescription {
    pub(crate) name: &'static str,
    pub(crate) kind: wit::TableKind,
    pub(crate) sort_key: u32,
    pub(crate) fields: Vec<Field>,
    pub(crate) initial: Vec<Scalar>,
    pub(crate) options: TableOptions,
}

impl TableDescription {
    /// The same table with the options of a field in the place of its own.
    #[must_use]
    pub fn with(mut self, options: &TableOptions) -> Self {
        self.options = options.or(&self.options);
        self
    }

    /// A table without columns is none: the state `()`.
    fn is_none(&self) -> bool {
        self.fields.is_empty()
    }
}

/// The value tables of a call, in the order of the description.
#[derive(Debug)]
pub struct Given<'a> {
    tables: std::slice::Iter<'a, RawBatch>,
}

impl<'a> Given<'a> {
    pub(crate) fn new(tables: &'a [RawBatch]) -> Self {
        Self { tables: tables.iter() }
    }

    fn next(&mut self) -> Result<&'a RawBatch, Failure> {
        self.tables
            .next()
            .ok_or_else(|| Failure::new("the call came without one of the operator's value tables"))
    }
}

/// What a call changes in value tables, and the keys that lose their rows.
#[derive(Debug, Default)]
pub struct Effects {
    pub(crate) updates: Vec<wit::Update>,
    pub(crate) clears: Vec<wit::Clear>,
}

/// The name of the only table of a state.
const ONLY_TABLE: &str = "state";

impl<T: StateTable> State for T {
    type Loaded<'a> = T::Loaded<'a>;

    fn describe(tables: &mut Vec<TableDescription>) {
        let table = <T as StateTable>::describe(ONLY_TABLE);
        if !table.is_none() {
            tables.push(table);
        }
    }

    fn create() -> Self {
        <T as StateTable>::create(0)
    }

    fn begin<'a>(given: &mut Given<'a>) -> Result<Self::Loaded<'a>, Failure> {
        <T as StateTable>::begin(0, given)
    }

    #[inline]
    fn enter(&mut self, loaded: &Self::Loaded<'_>, key: u32) {
        <T as StateTable>::enter(self, loaded, key);
    }

    #[inline]
    fn leave(&mut self, loaded: &mut Self::Loaded<'_>, key: u32) {
        <T as StateTable>::leave(self, loaded, key);
    }

    fn end(&mut self, loaded: Self::Loaded<'_>, effects: &mut Effects) {
        <T as StateTable>::end(self, loaded, effects);
    }
}

/// The tables of a state as the contract describes them, with what the operator's settings change.
pub(crate) fn describe<S: State>(settings: &TableSettings) -> Result<Vec<wit::StateTable>, Failure> {
    let mut tables = Vec::new();
    S::describe(&mut tables);
    settings.apply(&mut tables)?;
    Ok(tables.into_iter().map(described).collect())
}

fn described(table: TableDescription) -> wit::StateTable {
    let TableOptions { name, ttl, version } = table.options;
    wit::StateTable {
        name: name.unwrap_or(table.name).to_owned(),
        kind: table.kind,
        sort_key: table.sort_key,
        fields: table.fields,
        initial: table.initial,
        ttl: ttl.map(Ttl::into_wit),
        version: version.unwrap_or(1),
        migrates_from: Vec::new(),
    }
}

/// The columns of a row as a schema; those without a name of their own are called after `noun`.
fn fields<R: StateRow>(noun: &str) -> Vec<Field> {
    let name = |(at, spec): (usize, &ColumnSpec)| match (R::NAMED, R::COLUMNS.len()) {
        (true, _) => spec.name.to_owned(),
        (false, 1) => noun.to_owned(),
        (false, _) => format!("{noun}_{at}"),
    };
    let field = |(at, spec)| Field {
        name: name((at, spec)),
        ..schema::field(spec)
    };
    R::COLUMNS.iter().enumerate().map(field).collect()
}
