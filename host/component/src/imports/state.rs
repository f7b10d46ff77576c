//! The import `state`: what a call of a `keyed` plugin reaches of its state beyond what was given with the call.
//!
//! Everything that the guest says is checked here: which table, of which kind, which keys of the call, which columns,
//! their types and lengths. What is wrong ends the call as a breach of the contract; what the host's state cannot do ends
//! it as a fault of the host's. Who keeps the state is behind [`StateAccess`], which hears of every attempt of a call, so
//! that what an earlier one wrote is gone.
//!
//! A function of the host's is not interrupted at the call's deadline, so none works for long: rows are read, written and
//! removed in steps of [`STEP_ROWS`], and the deadline is looked at between them.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::rc::Rc;

use wasmill_core::column::{Column, concat};
use wasmill_core::keyed::{Bound, Lookup, MapRange, Page, StateAccess, TableDescription, TableKind};
use wasmill_core::schema::Field;
use wasmtime::{Result, Trap, bail};

use crate::bindings::wasmill::operator::state::{self as bindings, Host};
use crate::bindings::wasmill::operator::types::{ColumnResult, Scalar};
use crate::engine::TickCount;
use crate::lift;
use crate::lower::{Lowered, bitmap};

/// Rows that the host reads, writes or removes before it looks at the deadline.
const STEP_ROWS: usize = 1 << 10;
/// Rows of a page; one that asks for more gets so many, and is told that there are more.
const PAGE_ROWS_MAX: u32 = 1 << 14;
/// Bytes at which a page ends; it has one step of rows at least.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes that one read of many keys may give: as many as a call may bring.
const READ_BYTES_MAX: usize = 16 << 20;

/// Who keeps a subtask's state, and what it is.
#[derive(Clone)]
pub(crate) struct StateLink {
    access: Rc<RefCell<dyn StateAccess>>,
    tables: Rc<[TableDescription]>,
}

impl fmt::Debug for StateLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateLink")
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

impl StateLink {
    /// Of these tables.
    pub(crate) fn new(access: Rc<RefCell<dyn StateAccess>>, tables: Rc<[TableDescription]>) -> Self {
        Self { access, tables }
    }

    fn access(&self) -> RefMut<'_, dyn StateAccess + 'static> {
        self.access.borrow_mut()
    }
}

/// What the call that runs may reach.
#[derive(Debug)]
pub(crate) struct CallState {
    link: Option<StateLink>,
    /// The call's keys; none outside of `process`.
    keys: Option<usize>,
    ticks: TickCount,
    /// The tick at which the call's time is over.
    deadline: u64,
}

impl CallState {
    /// Of an instance that has this state, or none.
    pub(crate) fn new(link: Option<StateLink>, ticks: TickCount) -> Self {
        Self {
            link,
            keys: None,
            ticks,
            deadline: u64::MAX,
        }
    }

    /// A call begins that is about so many keys.
    pub(crate) fn begin(&mut self, keys: Option<usize>, deadline: u64) {
        self.deadline = deadline;
        self.keys = keys;
        if keys.is_some() {
            self.undo();
        }
    }

    /// The call is over.
    pub(crate) fn end(&mut self) {
        self.keys = None;
    }

    /// Drops what the last call wrote.
    pub(crate) fn undo(&mut self) {
        if let Some(link) = &self.link {
            link.access().begin();
        }
    }

    /// The table of this number, which has to be of one of these kinds.
    fn table(&self, function: &'static str, table: u32, kind: TableKind) -> Result<Call<'_>> {
        let (Some(keys), Some(link)) = (self.keys, &self.link) else {
            bail!("`state.{function}` is called in `process` only");
        };
        let Some(described) = link.tables.get(table as usize) else {
            bail!(
                "`state.{function}` of table {table}, but it described {} tables",
                link.tables.len()
            );
        };
        if described.kind != kind {
            bail!(
                "`state.{function}` of table \"{}\", which is of the kind `{}`, not `{}`",
                described.name,
                kind_name(described.kind),
                kind_name(kind)
            );
        }
        Ok(Call {
            function,
            link,
            table: table as usize,
            described,
            keys,
            of: self,
        })
    }
}

/// The name of a kind in the contract.
pub(crate) const fn kind_name(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Value => "value",
        TableKind::ValueOnDemand => "value-on-demand",
        TableKind::List => "appended",
        TableKind::Map => "ordered",
    }
}

/// A function that is called for a table.
#[derive(Clone, Copy)]
struct Call<'a> {
    function: &'static str,
    link: &'a StateLink,
    table: usize,
    described: &'a TableDescription,
    keys: usize,
    of: &'a CallState,
}

impl Call<'_> {
    fn access(&self) -> RefMut<'_, dyn StateAccess + 'static> {
        self.link.access()
    }

    fn fields(&self) -> &[Field] {
        self.described.schema.fields()
    }

    fn sort_key(&self) -> &[Field] {
        &self.fields()[..self.described.sort_key]
    }

    /// A breach of the contract by this call.
    fn breach(&self, message: impl fmt::Display) -> wasmtime::Error {
        wasmtime::format_err!(
            "`state.{}` of table \"{}\": {message}",
            self.function,
            self.described.name
        )
    }

    fn key(&self, key: u32) -> Result<u32> {
        if (key as usize) < self.keys {
            return Ok(key);
        }
        Err(self.breach(format_args!("key {key}, but there are {}", self.keys)))
    }

    fn keys(&self, raw: &[u8]) -> Result<Vec<u32>> {
        lift::numbers(raw, self.keys, "key").map_err(|violation| self.breach(violation.message))
    }

    fn column(&self, raw: ColumnResult, field: &Field, rows: usize) -> Result<Column> {
        lift::column(raw, field, rows).map_err(|violation| {
            let row = violation.row.map_or_else(String::new, |row| format!(" (row {row})"));
            self.breach(format_args!("{}{row}", violation.message))
        })
    }

    /// A column for each of these fields.
    fn columns(&self, raw: Vec<ColumnResult>, fields: &[Field], rows: usize) -> Result<Vec<Column>> {
        if raw.len() != fields.len() {
            return Err(self.breach(format_args!("{} columns instead of {}", raw.len(), fields.len())));
        }
        let lifted = raw
            .into_iter()
            .zip(fields)
            .map(|(raw, field)| self.column(raw, field, rows));
        lifted.collect()
    }

    /// The places of columns of the table, each at most once.
    fn places(&self, columns: impl ExactSizeIterator<Item = u32>) -> Result<Vec<usize>> {
        let mut places = Vec::with_capacity(columns.len());
        for column in columns {
            let place = column as usize;
            if place >= self.fields().len() {
                return Err(self.breach(format_args!("column {column}, but it has {}", self.fields().len())));
            }
            if places.contains(&place) {
                return Err(self.breach(format_args!("column {column} twice")));
            }
            places.push(place);
        }
        Ok(places)
    }

    fn range(&self, span: bindings::Span) -> Result<MapRange> {
        Ok(MapRange {
            lower: self.bound(span.lower)?,
            upper: self.bound(span.upper)?,
            descending: span.descending,
            limit: span.limit,
        })
    }

    fn bound(&self, bound: bindings::Bound) -> Result<Bound> {
        Ok(match bound {
            bindings::Bound::Unbounded => Bound::Unbounded,
            bindings::Bound::Included(values) => Bound::Included(self.sort_key_values(values)?),
            bindings::Bound::Excluded(values) => Bound::Excluded(self.sort_key_values(values)?),
        })
    }

    fn sort_key_values(&self, raw: Vec<Scalar>) -> Result<Vec<wasmill_core::column::Scalar>> {
        let fields = self.sort_key();
        if raw.is_empty() || raw.len() > fields.len() {
            return Err(self.breach(format_args!(
                "a bound of {} values; its sort key has {}",
                raw.len(),
                fields.len()
            )));
        }
        let values = raw.into_iter().zip(fields).map(|(raw, field)| {
            lift::scalar(raw, field)
                .ok_or_else(|| self.breach(format_args!("a bound that is no value of column \"{field}\"")))
        });
        values.collect()
    }

    /// Ends the call where its time is over.
    fn check_time(&self) -> Result<()> {
        if self.of.ticks.now() > self.of.deadline {
            return Err(Trap::Interrupt.into());
        }
        Ok(())
    }

    /// Goes through `rows` rows in steps.
    fn in_steps(&self, rows: usize, mut step: impl FnMut(usize, usize) -> Result<()>) -> Result<()> {
        let mut from = 0;
        while from < rows {
            let len = STEP_ROWS.min(rows - from);
            step(from, len)?;
            self.check_time()?;
            from += len;
        }
        Ok(())
    }

    /// Reads columns of `rows` rows in steps; `fields` are what they are.
    fn read(
        &self,
        rows: usize,
        fields: &[&Field],
        mut step: impl FnMut(usize, usize) -> Result<Vec<Column>>,
    ) -> Result<Vec<ColumnResult>> {
        let mut parts: Vec<Vec<Column>> = Vec::new();
        let mut bytes = 0;
        self.in_steps(rows, |from, len| {
            let part = step(from, len)?;
            bytes += size_bytes(&part);
            if bytes > READ_BYTES_MAX {
                return Err(self.breach(format_args!(
                    "more than {READ_BYTES_MAX} bytes at once; ask for fewer keys"
                )));
            }
            parts.push(part);
            Ok(())
        })?;
        Ok(answer(&joined(parts, fields.iter().copied())))
    }

    /// Reads a page in steps. `step` is given the rows so far and how many more there may be.
    fn page(
        &self,
        limit: u32,
        mut step: impl FnMut(&mut dyn StateAccess, &[Vec<Column>], u32) -> Result<Page>,
    ) -> Result<bindings::Page> {
        let limit = limit.min(PAGE_ROWS_MAX);
        let (mut parts, mut rows, mut bytes) = (Vec::new(), 0, 0);
        let mut more;
        loop {
            let wanted = (limit - rows).min(STEP_ROWS as u32);
            let page = step(&mut *self.access(), &parts, wanted)?;
            self.check_time()?;
            more = page.more;
            let read = page.columns.first().map_or(0, Column::len) as u32;
            rows += read;
            bytes += size_bytes(&page.columns);
            parts.push(page.columns);
            if !more || read == 0 || rows == limit || bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        Ok(bindings::Page {
            rows,
            columns: answer(&joined(parts, self.fields().iter())),
            more,
        })
    }
}

fn size_bytes(columns: &[Column]) -> usize {
    columns.iter().map(Column::size_bytes).sum()
}

/// The parts, one after the other; without a part empty columns of the fields.
fn joined<'f>(mut parts: Vec<Vec<Column>>, fields: impl Iterator<Item = &'f Field>) -> Vec<Column> {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let column = |(place, field): (usize, &Field)| concat(field.data_type, parts.iter().map(|part| &part[place]));
    fields.enumerate().map(column).collect()
}

fn answer(columns: &[Column]) -> Vec<ColumnResult> {
    columns
        .iter()
        .map(|column| Lowered::new(column).into_answer())
        .collect()
}

fn slice(columns: &[Column], from: usize, len: usize) -> Vec<Column> {
    columns.iter().map(|column| column.slice(from, len)).collect()
}

/// The sort key of the last row that was read.
fn last_sort_key(parts: &[Vec<Column>], sort_key: usize) -> Option<Vec<wasmill_core::column::Scalar>> {
    let last = parts.last()?;
    let row = last.first()?.len().checked_sub(1)?;
    Some(last[..sort_key].iter().map(|column| column.value(row).into()).collect())
}

impl Host for CallState {
    fn get(&mut self, table: u32, keys: Vec<u8>, columns: Vec<u32>) -> Result<Vec<ColumnResult>> {
        let call = self.table("get", table, TableKind::ValueOnDemand)?;
        let keys = call.keys(&keys)?;
        let places = call.places(columns.into_iter())?;
        let fields: Vec<&Field> = places.iter().map(|&place| &call.fields()[place]).collect();
        call.read(keys.len(), &fields, |from, len| {
            Ok(call.access().get(call.table, &keys[from..from + len], &places)?)
        })
    }

    fn put(&mut self, table: u32, keys: Vec<u8>, columns: Vec<(u32, ColumnResult)>) -> Result<()> {
        let call = self.table("put", table, TableKind::ValueOnDemand)?;
        let keys = call.keys(&keys)?;
        let places = call.places(columns.iter().map(|(column, _)| *column))?;
        let values = columns.into_iter().zip(&places).map(|((_, raw), &place)| {
            let column = call.column(raw, &call.fields()[place], keys.len())?;
            Ok((place, column))
        });
        let values: Vec<(usize, Column)> = values.collect::<Result<_>>()?;
        call.in_steps(keys.len(), |from, len| {
            let values: Vec<_> = values
                .iter()
                .map(|(place, column)| (*place, column.slice(from, len)))
                .collect();
            Ok(call.access().put(call.table, &keys[from..from + len], &values)?)
        })
    }

    fn map_get(&mut self, table: u32, keys: Vec<u8>, at: Vec<ColumnResult>) -> Result<bindings::Lookup> {
        let call = self.table("map-get", table, TableKind::Map)?;
        let keys = call.keys(&keys)?;
        let at = call.columns(at, call.sort_key(), keys.len())?;
        let fields: Vec<&Field> = call.fields().iter().collect();
        let mut all_found = Vec::with_capacity(keys.len());
        let columns = call.read(keys.len(), &fields, |from, len| {
            let Lookup { found, columns } =
                call.access()
                    .map_get(call.table, &keys[from..from + len], &slice(&at, from, len))?;
            all_found.extend(found);
            Ok(columns)
        })?;
        Ok(bindings::Lookup {
            found: bitmap(&all_found),
            columns,
        })
    }

    fn map_put(&mut self, table: u32, keys: Vec<u8>, rows: Vec<ColumnResult>) -> Result<()> {
        let call = self.table("map-put", table, TableKind::Map)?;
        let keys = call.keys(&keys)?;
        let rows = call.columns(rows, call.fields(), keys.len())?;
        call.in_steps(keys.len(), |from, len| {
            let (keys, rows) = (&keys[from..from + len], slice(&rows, from, len));
            Ok(call.access().map_put(call.table, keys, &rows)?)
        })
    }

    fn map_remove(&mut self, table: u32, keys: Vec<u8>, at: Vec<ColumnResult>) -> Result<()> {
        let call = self.table("map-remove", table, TableKind::Map)?;
        let keys = call.keys(&keys)?;
        let at = call.columns(at, call.sort_key(), keys.len())?;
        call.in_steps(keys.len(), |from, len| {
            let (keys, at) = (&keys[from..from + len], slice(&at, from, len));
            Ok(call.access().map_remove(call.table, keys, &at)?)
        })
    }

    fn append(&mut self, table: u32, keys: Vec<u8>, rows: Vec<ColumnResult>) -> Result<()> {
        let call = self.table("append", table, TableKind::List)?;
        let keys = call.keys(&keys)?;
        let rows = call.columns(rows, call.fields(), keys.len())?;
        call.in_steps(keys.len(), |from, len| {
            let (keys, rows) = (&keys[from..from + len], slice(&rows, from, len));
            Ok(call.access().append(call.table, keys, &rows)?)
        })
    }

    fn scan(&mut self, table: u32, key: u32, span: bindings::Span) -> Result<bindings::Page> {
        let call = self.table("scan", table, TableKind::Map)?;
        let key = call.key(key)?;
        let mut range = call.range(span)?;
        call.page(range.limit, |access, so_far, limit| {
            range.limit = limit;
            if let Some(last) = last_sort_key(so_far, call.described.sort_key) {
                let end = if range.descending {
                    &mut range.upper
                } else {
                    &mut range.lower
                };
                *end = Bound::Excluded(last);
            }
            Ok(access.scan(call.table, key, &range)?)
        })
    }

    fn scan_list(&mut self, table: u32, key: u32, skip: u64, limit: u32) -> Result<bindings::Page> {
        let call = self.table("scan-list", table, TableKind::List)?;
        let key = call.key(key)?;
        call.page(limit, |access, so_far, limit| {
            let read: usize = so_far.iter().map(|part| part.first().map_or(0, Column::len)).sum();
            let skip = skip.saturating_add(read as u64);
            Ok(access.scan_list(call.table, key, skip, limit)?)
        })
    }

    fn remove_range(&mut self, table: u32, key: u32, span: bindings::Span) -> Result<u64> {
        let call = self.table("remove-range", table, TableKind::Map)?;
        let key = call.key(key)?;
        let range = call.range(span)?;
        let mut removed = 0;
        loop {
            let limit = (u64::from(range.limit) - removed).min(STEP_ROWS as u64);
            let step = MapRange {
                limit: limit as u32,
                ..range.clone()
            };
            let gone = call.access().remove_range(call.table, key, &step)?;
            call.check_time()?;
            removed += gone;
            if gone < limit || removed >= u64::from(range.limit) {
                return Ok(removed);
            }
        }
    }

    fn truncate(&mut self, table: u32, key: u32, first: u64) -> Result<()> {
        let call = self.table("truncate", table, TableKind::List)?;
        let key = call.key(key)?;
        let mut left = first;
        while left > 0 {
            let step = left.min(STEP_ROWS as u64);
            call.access().truncate(call.table, key, step)?;
            call.check_time()?;
            left -= step;
            let is_empty = |page: Page| page.columns.first().is_none_or(Column::is_empty);
            if left > 0 && is_empty(call.access().scan_list(call.table, key, 0, 1)?) {
                break;
            }
        }
        Ok(())
    }
}
