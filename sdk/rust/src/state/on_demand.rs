//! On-demand values: one row a key, read only where the operator asks for it.

use std::{cell::OnceCell, fmt};

use super::{Effects, Given, StateRow, StateTable, TableDescription, access, fields};
use crate::{
    bindings::{state_types as wit, types},
    buffer,
    column::RawBatch,
    fault::Failure,
};

/// A row that does not come with the call: it crosses when it is asked for. For large values that few rows need.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{KeyedTest, Table}};
///
/// #[derive(InputRow)]
/// struct Line<'a> {
///     line: &'a str,
/// }
///
/// #[derive(Tables)]
/// struct Memory {
///     lines: i64,
///     longest: OnDemand<String>,
/// }
///
/// #[derive(OutputRow)]
/// struct Longest {
///     longest: String,
/// }
///
/// /// Tells each line that is longer than all before it.
/// #[keyed]
/// struct Records;
///
/// impl Keyed for Records {
///     type Key<'a> = ();
///     type Input<'a> = Line<'a>;
///     type State = Memory;
///     type Timer = NoTimers;
///     type Output = Only<Longest>;
///
///     fn row(&self, _key: &(), memory: &mut Memory, row: Line<'_>, cx: &mut Context<Self>) -> Result<(), Reject> {
///         memory.lines += 1;
///         if row.line.len() > memory.longest.get().len() {
///             memory.longest.set(row.line.to_owned());
///             cx.emit(Longest { longest: row.line.to_owned() });
///         }
///         Ok(())
///     }
/// }
///
/// let lines = Table::new().with("line", ["a", "abc", "ab"]).with_event_times([1, 2, 3].map(Timestamp::from_secs));
/// let mut test = KeyedTest::<Records>::open("{}", &[], &[&lines])?;
/// test.push(&lines);
/// test.end()?;
/// assert_eq!(test.table("longest"), Table::new().with("value", ["abc"]));
/// # Ok::<(), Failure>(())
/// ```
pub struct OnDemand<R: StateRow> {
    table: u32,
    key: u32,
    row: OnceCell<R>,
    changed: bool,
    written: Vec<u8>,
    builders: R::Builders,
    cleared: Vec<u8>,
}

impl<R: StateRow> fmt::Debug for OnDemand<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand")
            .field("table", &self.table)
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

impl<R: StateRow> OnDemand<R> {
    /// The row of the key. It is read once for the key and call.
    ///
    /// # Panics
    ///
    /// When the host gives columns that do not fit.
    pub fn get(&self) -> &R {
        self.row.get_or_init(|| read(self.table, self.key))
    }

    /// The row of the key, to change it.
    ///
    /// # Panics
    ///
    /// When the host gives columns that do not fit.
    pub fn get_mut(&mut self) -> &mut R {
        self.get();
        self.changed = true;
        self.row.get_mut().expect("it was read above")
    }

    /// Another row in the place of what there is, without reading it.
    pub fn set(&mut self, row: R) {
        self.row = OnceCell::from(row);
        self.changed = true;
    }

    /// The key has the initial row again.
    pub fn clear(&mut self) {
        self.set(R::default());
    }
}

fn read<R: StateRow>(table: u32, key: u32) -> R {
    let columns: Vec<u32> = (0..R::COLUMNS.len() as u32).collect();
    let columns = access::get(table, &buffer::encode(&[key]), &columns);
    let batch = RawBatch::new(types::Batch {
        rows: 1,
        event_times: Vec::new(),
        kinds: Vec::new(),
        columns,
    });
    let views = R::views(&batch, 0).expect("the host gives the columns that were asked for");
    let mut row = R::default();
    row.load(&views, 0);
    row
}

impl<R: StateRow> StateTable for OnDemand<R> {
    type Loaded<'a> = ();

    fn describe(name: &'static str) -> TableDescription {
        const { assert!(!R::COLUMNS.is_empty(), "an on-demand value needs at least one column") }
        TableDescription {
            name,
            kind: wit::TableKind::ValueOnDemand,
            sort_key: 0,
            fields: fields::<R>("value"),
            initial: R::default().scalars(),
            options: R::OPTIONS,
        }
    }

    fn create(number: u32) -> Self {
        Self {
            table: number,
            key: 0,
            row: OnceCell::new(),
            changed: false,
            written: Vec::new(),
            builders: R::Builders::default(),
            cleared: Vec::new(),
        }
    }

    fn begin(_number: u32, _given: &mut Given<'_>) -> Result<(), Failure> {
        Ok(())
    }

    #[inline]
    fn enter(&mut self, (): &(), key: u32) {
        self.key = key;
        self.row = OnceCell::new();
        self.changed = false;
    }

    fn leave(&mut self, (): &mut (), key: u32) {
        if !self.changed {
            return;
        }
        let row = self.row.get().expect("a row that changed is there");
        if row.same(&R::default()) {
            buffer::push(&mut self.cleared, key);
        } else {
            buffer::push(&mut self.written, key);
            row.store(&mut self.builders);
        }
    }

    fn end(&mut self, (): (), effects: &mut Effects) {
        let written = std::mem::take(&mut self.written);
        if !written.is_empty() {
            let columns = R::finish(std::mem::take(&mut self.builders));
            let columns: Vec<_> = (0..).zip(columns).collect();
            access::put(self.table, &written, &columns);
        }
        let cleared = std::mem::take(&mut self.cleared);
        if !cleared.is_empty() {
            effects.clears.push(wit::Clear {
                table: self.table,
                keys: wit::Keys::Some(cleared),
            });
        }
    }
}
