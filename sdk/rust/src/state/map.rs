//! Maps: rows sorted by a key within the key of the operator.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    ops::{Bound, RangeBounds},
};

use super::{
    Effects, Given, PAGE_ROWS, PENDING_ROWS_MAX, StateRow, StateTable, TableDescription, TableOptions, access, fields,
};
use crate::{
    bindings::{state, state_types as wit, types},
    buffer,
    column::RawBatch,
    fault::Failure,
    types::ColumnSpec,
};

/// What a [`Map`] is sorted by: a row of state that has an order. An `f64` has none; scale it to an `i64`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a map",
    label = "not a key of a map",
    note = "the key of a `Map` is an `i64`, `bool`, `String`, `Vec<u8>`, `Timestamp`, a tuple of them, or a struct with \
            `#[derive(State, Default, PartialEq, Eq, PartialOrd, Ord)]`; a float has no order: scale it to an `i64`"
)]
pub trait SortKey: StateRow + Ord {}
#[diagnostic::do_not_recommend]
impl<K: StateRow + Ord> SortKey for K {}

/// A sorted map for each key, as a [`BTreeMap`](std::collections::BTreeMap).
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{KeyedTest, Table}};
///
/// #[derive(InputRow)]
/// struct Order {
///     price: i64,
///     amount: i64,
/// }
///
/// #[derive(OutputRow)]
/// struct Best {
///     best: i64,
/// }
///
/// /// The best bid after each order; an amount of 0 takes a bid back.
/// #[keyed]
/// struct Book;
///
/// impl Keyed for Book {
///     type Key<'a> = (&'a str,);
///     type Input<'a> = Order;
///     type State = Map<i64, i64>;
///     type Timer = NoTimers;
///     type Output = WithKey<Best>;
///
///     fn row(&self, _: &(&str,), bids: &mut Map<i64, i64>, order: Order, cx: &mut Context<Self>) -> Result<(), Reject> {
///         if order.amount == 0 {
///             bids.remove(&order.price);
///         } else {
///             bids.insert(order.price, order.amount);
///         }
///         if let Some((best, _)) = bids.range(..).next_back() {
///             cx.emit(Best { best });
///         }
///         Ok(())
///     }
/// }
///
/// let times = [1, 2, 3].map(Timestamp::from_secs);
/// let orders = Table::new()
///     .with("symbol", ["X", "X", "X"])
///     .with("price", [10, 12, 12])
///     .with("amount", [5, 5, 0])
///     .with_event_times(times);
/// let mut test = KeyedTest::<Book>::open("{}", &["symbol"], &[&orders])?;
/// test.push(&orders);
/// test.end()?;
/// let best = Table::new().with("symbol", ["X", "X", "X"]).with("best", [10, 12, 10]);
/// assert_eq!(test.take("out"), best.with_event_times(times));
/// # Ok::<(), Failure>(())
/// ```
pub struct Map<K: SortKey, V: StateRow> {
    table: u32,
    key: u32,
    pending: RefCell<Pending<K, V>>,
}

/// Writes that were not yet handed over.
struct Pending<K: StateRow, V: StateRow> {
    rows: u32,
    removals: bool,
    keys: Vec<u8>,
    at: K::Builders,
    values: V::Builders,
}

impl<K: StateRow, V: StateRow> Default for Pending<K, V> {
    fn default() -> Self {
        Self {
            rows: 0,
            removals: false,
            keys: Vec::new(),
            at: K::Builders::default(),
            values: V::Builders::default(),
        }
    }
}

impl<K: SortKey, V: StateRow> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl<K: SortKey, V: StateRow> Map<K, V> {
    /// The value at a key.
    ///
    /// # Panics
    ///
    /// When the host gives columns that do not fit.
    pub fn get(&self, at: &K) -> Option<V> {
        self.flush();
        let mut builders = K::Builders::default();
        at.store(&mut builders);
        let found = access::map_get(self.table, &buffer::encode(&[self.key]), &K::finish(builders));
        let batch = batch(found.columns, 1);
        let there = found.found.first().is_some_and(|bits| bits & 1 == 1);
        load(&batch, K::COLUMNS.len()).next().filter(|_| there)
    }

    /// Whether there is a value at a key.
    pub fn contains_key(&self, at: &K) -> bool {
        self.get(at).is_some()
    }

    /// Puts a value at a key, in the place of the one that may be there. Nothing is read.
    #[expect(clippy::needless_pass_by_value, reason = "as in `BTreeMap`")]
    pub fn insert(&mut self, at: K, value: V) {
        self.write(&at, Some(&value));
    }

    /// Removes the value at a key, if there is one. Nothing is read.
    pub fn remove(&mut self, at: &K) {
        self.write(at, None);
    }

    /// The keys in a range with their values, in the order of the keys; from the other end with
    /// [`next_back`](DoubleEndedIterator::next_back) or [`rev`](Iterator::rev). They are read a page at a time.
    pub fn range(&self, range: impl RangeBounds<K>) -> MapRange<'_, K, V> {
        self.flush();
        MapRange {
            map: self,
            bounds: Bounds::of(&range),
            front: VecDeque::new(),
            back: VecDeque::new(),
            more: true,
        }
    }

    /// All keys with their values, in the order of the keys.
    pub fn iter(&self) -> MapRange<'_, K, V> {
        self.range(..)
    }

    /// The first key and its value.
    pub fn first_key_value(&self) -> Option<(K, V)> {
        self.flush();
        self.page(&Bounds::of::<K>(&(..)), false, 1).0.pop_front()
    }

    /// The last key and its value.
    pub fn last_key_value(&self) -> Option<(K, V)> {
        self.flush();
        self.page(&Bounds::of::<K>(&(..)), true, 1).0.pop_front()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.first_key_value().is_none()
    }

    /// Removes what is in a range, and says how much that was.
    pub fn remove_range(&mut self, range: impl RangeBounds<K>) -> u64 {
        self.flush();
        access::remove_range(self.table, self.key, &Bounds::of(&range).span(false, u32::MAX))
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.remove_range(..);
    }

    fn write(&mut self, at: &K, value: Option<&V>) {
        if self.pending.get_mut().removals != value.is_none() {
            self.flush();
        }
        let pending = self.pending.get_mut();
        pending.removals = value.is_none();
        buffer::push(&mut pending.keys, self.key);
        at.store(&mut pending.at);
        if let Some(value) = value {
            value.store(&mut pending.values);
        }
        pending.rows += 1;
        if pending.rows == PENDING_ROWS_MAX {
            self.flush();
        }
    }

    fn flush(&self) {
        let pending = self.pending.take();
        if pending.rows == 0 {
            return;
        }
        let mut columns = K::finish(pending.at);
        if pending.removals {
            access::map_remove(self.table, &pending.keys, &columns);
        } else {
            columns.extend(V::finish(pending.values));
            access::map_put(self.table, &pending.keys, &columns);
        }
    }

    fn page(&self, bounds: &Bounds, descending: bool, limit: u32) -> (VecDeque<(K, V)>, bool) {
        let page = access::scan(self.table, self.key, &bounds.span(descending, limit));
        let batch = batch(page.columns, page.rows);
        let rows = load::<K>(&batch, 0).zip(load::<V>(&batch, K::COLUMNS.len()));
        (rows.collect(), page.more)
    }
}

impl<'a, K: SortKey, V: StateRow> IntoIterator for &'a Map<K, V> {
    type Item = (K, V);
    type IntoIter = MapRange<'a, K, V>;

    fn into_iter(self) -> MapRange<'a, K, V> {
        self.iter()
    }
}

fn batch(columns: Vec<types::Column>, rows: u32) -> RawBatch {
    RawBatch::new(types::Batch {
        rows,
        event_times: Vec::new(),
        kinds: Vec::new(),
        columns,
    })
}

fn load<R: StateRow>(batch: &RawBatch, at: usize) -> impl Iterator<Item = R> {
    let views = R::views(batch, at).expect("the host gives the columns of the table");
    (0..batch.rows()).map(move |row| {
        let mut loaded = R::default();
        loaded.load(&views, row);
        loaded
    })
}

struct Bounds {
    lower: state::Bound,
    upper: state::Bound,
}

impl Bounds {
    fn of<K: SortKey>(range: &impl RangeBounds<K>) -> Self {
        let bound = |bound: Bound<&K>| match bound {
            Bound::Included(at) => state::Bound::Included(at.scalars()),
            Bound::Excluded(at) => state::Bound::Excluded(at.scalars()),
            Bound::Unbounded => state::Bound::Unbounded,
        };
        Self {
            lower: bound(range.start_bound()),
            upper: bound(range.end_bound()),
        }
    }

    fn span(&self, descending: bool, limit: u32) -> state::Span {
        state::Span {
            lower: self.lower.clone(),
            upper: self.upper.clone(),
            descending,
            limit,
        }
    }
}

/// Keys of a map with their values. See [`Map::range`].
pub struct MapRange<'a, K: SortKey, V: StateRow> {
    map: &'a Map<K, V>,
    /// What has not been read.
    bounds: Bounds,
    /// What was read from the front, ascending.
    front: VecDeque<(K, V)>,
    /// What was read from the back, descending.
    back: VecDeque<(K, V)>,
    more: bool,
}

impl<K: SortKey, V: StateRow> fmt::Debug for MapRange<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapRange")
            .field("map", self.map)
            .finish_non_exhaustive()
    }
}

impl<K: SortKey, V: StateRow> Iterator for MapRange<'_, K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        if self.front.is_empty() && self.more {
            (self.front, self.more) = self.map.page(&self.bounds, false, PAGE_ROWS);
            if let Some((last, _)) = self.front.back() {
                self.bounds.lower = state::Bound::Excluded(last.scalars());
            }
        }
        self.front.pop_front().or_else(|| self.back.pop_back())
    }
}

impl<K: SortKey, V: StateRow> DoubleEndedIterator for MapRange<'_, K, V> {
    fn next_back(&mut self) -> Option<(K, V)> {
        if self.back.is_empty() && self.more {
            (self.back, self.more) = self.map.page(&self.bounds, true, PAGE_ROWS);
            if let Some((last, _)) = self.back.back() {
                self.bounds.upper = state::Bound::Excluded(last.scalars());
            }
        }
        self.back.pop_front().or_else(|| self.front.pop_back())
    }
}

/// Whether no column may be null.
const fn never_null(columns: &[ColumnSpec]) -> bool {
    let mut at = 0;
    while at < columns.len() {
        if columns[at].nullable {
            return false;
        }
        at += 1;
    }
    true
}

impl<K: SortKey, V: StateRow> StateTable for Map<K, V> {
    type Loaded<'a> = ();

    fn describe(name: &'static str) -> TableDescription {
        const {
            assert!(!K::COLUMNS.is_empty(), "the key of a map needs at least one column");
            assert!(never_null(K::COLUMNS), "the key of a map cannot be null");
        }
        let mut columns = fields::<K>("key");
        columns.extend(fields::<V>("value"));
        TableDescription {
            name,
            kind: wit::TableKind::Ordered,
            sort_key: K::COLUMNS.len() as u32,
            fields: columns,
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
