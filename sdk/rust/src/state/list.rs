//! Lists: rows in the order in which they were appended.

use std::{cell::RefCell, collections::VecDeque, fmt};

use super::{
    Effects, Given, PAGE_ROWS, PENDING_ROWS_MAX, StateRow, StateTable, TableDescription, TableOptions, access, fields,
};
use crate::{
    bindings::{state, state_types as wit, types},
    buffer,
    column::RawBatch,
    fault::Failure,
};

/// A list of rows for each key. Rows are appended at the end, read from the front, and removed at the front.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{KeyedTest, Table}};
///
/// #[derive(InputRow)]
/// struct Reading {
///     value: f64,
/// }
///
/// #[derive(Tables)]
/// struct Memory {
///     count: i64,
///     last: List<f64>,
/// }
///
/// #[derive(OutputRow)]
/// struct Mean {
///     mean: f64,
/// }
///
/// /// The mean of the last three readings.
/// #[keyed]
/// struct Smooth;
///
/// impl Keyed for Smooth {
///     type Key<'a> = ();
///     type Input<'a> = Reading;
///     type State = Memory;
///     type Timer = NoTimers;
///     type Output = Only<Mean>;
///
///     fn row(&self, _key: &(), memory: &mut Memory, row: Reading, cx: &mut Context<Self>) -> Result<(), Reject> {
///         memory.last.push(row.value);
///         if memory.count == 3 {
///             memory.last.truncate_front(1);
///         } else {
///             memory.count += 1;
///         }
///         cx.emit(Mean { mean: memory.last.iter().sum::<f64>() / memory.count as f64 });
///         Ok(())
///     }
/// }
///
/// let readings = Table::new().with("value", [1.0, 2.0, 3.0, 7.0]);
/// let readings = readings.with_event_times([1, 2, 3, 4].map(Timestamp::from_secs));
/// let mut test = KeyedTest::<Smooth>::open("{}", &[], &[&readings])?;
/// test.push(&readings);
/// test.end()?;
/// let means = Table::new().with("mean", [1.0, 1.5, 2.0, 4.0]);
/// assert_eq!(test.take("out"), means.with_event_times([1, 2, 3, 4].map(Timestamp::from_secs)));
/// assert_eq!(test.table("last"), Table::new().with("value", [2.0, 3.0, 7.0]));
/// # Ok::<(), Failure>(())
/// ```
pub struct List<R: StateRow> {
    table: u32,
    key: u32,
    pending: RefCell<Pending<R>>,
}

/// Rows that were appended and not yet handed over.
struct Pending<R: StateRow> {
    rows: u32,
    keys: Vec<u8>,
    builders: R::Builders,
}

impl<R: StateRow> Default for Pending<R> {
    fn default() -> Self {
        Self {
            rows: 0,
            keys: Vec::new(),
            builders: R::Builders::default(),
        }
    }
}

impl<R: StateRow> fmt::Debug for List<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl<R: StateRow> List<R> {
    /// Appends a row, without reading the list.
    #[expect(clippy::needless_pass_by_value, reason = "as in `Vec`")]
    pub fn push(&mut self, row: R) {
        let pending = self.pending.get_mut();
        buffer::push(&mut pending.keys, self.key);
        row.store(&mut pending.builders);
        pending.rows += 1;
        if pending.rows == PENDING_ROWS_MAX {
            self.flush();
        }
    }

    /// The rows, the oldest first. They are read a page at a time.
    pub fn iter(&self) -> ListIter<'_, R> {
        self.iter_from(0)
    }

    /// The rows without the first so many.
    pub fn iter_from(&self, skip: u64) -> ListIter<'_, R> {
        self.flush();
        ListIter {
            list: self,
            skip,
            page: VecDeque::new(),
            more: true,
        }
    }

    /// The oldest row.
    pub fn first(&self) -> Option<R> {
        self.flush();
        page(self.table, self.key, 0, 1).0.pop_front()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Removes the first rows, so many; all, if there are fewer. There is no length to ask for: keep a count beside the
    /// list where you need one.
    pub fn truncate_front(&mut self, rows: u64) {
        self.flush();
        access::truncate(self.table, self.key, rows);
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        self.truncate_front(u64::MAX);
    }

    fn flush(&self) {
        let pending = self.pending.take();
        if pending.rows > 0 {
            access::append(self.table, &pending.keys, &R::finish(pending.builders));
        }
    }
}

impl<R: StateRow> Extend<R> for List<R> {
    fn extend<I: IntoIterator<Item = R>>(&mut self, rows: I) {
        rows.into_iter().for_each(|row| self.push(row));
    }
}

impl<'a, R: StateRow> IntoIterator for &'a List<R> {
    type Item = R;
    type IntoIter = ListIter<'a, R>;

    fn into_iter(self) -> ListIter<'a, R> {
        self.iter()
    }
}

/// The rows of a list. See [`List::iter`].
pub struct ListIter<'a, R: StateRow> {
    list: &'a List<R>,
    skip: u64,
    page: VecDeque<R>,
    more: bool,
}

impl<R: StateRow> fmt::Debug for ListIter<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListIter")
            .field("skip", &self.skip)
            .finish_non_exhaustive()
    }
}

impl<R: StateRow> Iterator for ListIter<'_, R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        if self.page.is_empty() && self.more {
            (self.page, self.more) = page(self.list.table, self.list.key, self.skip, PAGE_ROWS);
            self.skip += self.page.len() as u64;
        }
        self.page.pop_front()
    }
}

fn page<R: StateRow>(table: u32, key: u32, skip: u64, limit: u32) -> (VecDeque<R>, bool) {
    let state::Page { rows, columns, more } = access::scan_list(table, key, skip, limit);
    let batch = RawBatch::new(types::Batch {
        rows,
        event_times: Vec::new(),
        kinds: Vec::new(),
        columns,
    });
    let views = R::views(&batch, 0).expect("the host gives the columns of the table");
    let row = |at| {
        let mut row = R::default();
        row.load(&views, at);
        row
    };
    ((0..batch.rows()).map(row).collect(), more)
}

impl<R: StateRow> StateTable for List<R> {
    type Loaded<'a> = ();

    fn describe(name: &'static str) -> TableDescription {
        const { assert!(!R::COLUMNS.is_empty(), "a list needs at least one column") }
        TableDescription {
            name,
            kind: wit::TableKind::Appended,
            sort_key: 0,
            fields: fields::<R>("value"),
            initial: Vec::new(),
            options: TableOptions::NONE,
        }
    }

    fn create(number: u32) -> Self {
        Self {
            table: number,
            key: 0,
            pending: RefCell::default(),
        }
    }

    fn begin(_number: u32, _given: &mut Given<'_>) -> Result<(), Failure> {
        Ok(())
    }

    #[inline]
    fn enter(&mut self, (): &(), key: u32) {
        self.key = key;
    }

    #[inline]
    fn leave(&mut self, (): &mut (), _key: u32) {}

    fn end(&mut self, (): (), _effects: &mut Effects) {
        self.flush();
    }
}
