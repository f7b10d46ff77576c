//! The batch: rows that travel together, as columns, with the hidden columns that carry time.
//!
//! A batch is *base* columns, an optional ascending selection of their rows, and *dense* columns that were computed
//! for the selected rows only. A filter adds a selection and copies nothing; a computed column is added dense; what
//! nobody downstream reads is absent. The hidden columns (event time `t`, row watermark `w`, place `order`) stand in
//! base rows. A row's *logical* number is its place among the selected rows; everything outside this file counts
//! logical rows.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::Array;
use arrow_buffer::ScalarBuffer;

use crate::column::{Column, ColumnBuilder, Value, gather_values};
use crate::kind::{Kind, Kinds};
use crate::order::Order;
use crate::schema::DataType;
use crate::watermark::RowWatermarks;

/// A visible column's values, and in which rows they stand.
#[derive(Clone, Debug, PartialEq)]
pub enum Slot {
    /// Nobody downstream reads the column.
    Absent,
    /// One value per base row.
    Base(Column),
    /// One value per logical row.
    Dense(Column),
}

/// Ascending, distinct base rows.
pub type Selection = Arc<[u32]>;

/// The hidden columns, a value per base row.
#[derive(Clone, Debug, PartialEq)]
pub struct Hidden {
    /// Event time in microseconds.
    pub times: ScalarBuffer<i64>,
    /// W of each row.
    pub watermarks: RowWatermarks,
    /// Each row's place, where something downstream asks for it.
    pub order: Option<Order>,
    /// What each row does, in a changelog; `None`: every row is an insert.
    pub kinds: Option<Kinds>,
}

/// Rows that travel together. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    slots: Vec<Slot>,
    selection: Option<Selection>,
    hidden: Hidden,
    rows: usize,
    watermark_max: i64,
    watermark_min: i64,
}

impl Batch {
    /// A batch of base rows without a selection. `slots` stand in the order of the stream's schema.
    ///
    /// # Panics
    /// The columns differ in length.
    pub fn new(slots: Vec<Slot>, hidden: Hidden) -> Self {
        Self::with_selection(slots, None, hidden)
    }

    /// A batch of the selected base rows.
    ///
    /// # Panics
    /// The columns differ in length.
    pub fn with_selection(slots: Vec<Slot>, selection: Option<Selection>, hidden: Hidden) -> Self {
        let base_rows = hidden.times.len();
        let rows = selection.as_ref().map_or(base_rows, |s| s.len());
        for slot in &slots {
            match slot {
                Slot::Absent => {}
                Slot::Base(column) => assert_eq!(column.len(), base_rows, "a base column has a value per base row"),
                Slot::Dense(column) => assert_eq!(column.len(), rows, "a dense column has a value per logical row"),
            }
        }
        debug_assert!(
            hidden.order.as_ref().is_none_or(|o| o.len() == base_rows),
            "a place per base row"
        );
        debug_assert!(
            hidden.kinds.as_ref().is_none_or(|kinds| kinds.len() == base_rows),
            "a kind per base row"
        );
        debug_assert!(
            selection.as_ref().is_none_or(|s| s.is_sorted_by(|a, b| a < b)),
            "a selection ascends"
        );
        let watermark_max = hidden.watermarks.max().unwrap_or(i64::MIN);
        let watermark_min = hidden.watermarks.min().unwrap_or(i64::MIN);
        Self {
            slots,
            selection,
            hidden,
            rows,
            watermark_max,
            watermark_min,
        }
    }

    /// The number of logical rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The visible columns, in the order of the stream's schema.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The selected base rows; `None` where all are.
    pub fn selection(&self) -> Option<&[u32]> {
        self.selection.as_deref()
    }

    /// The hidden columns, in base rows.
    pub fn hidden(&self) -> &Hidden {
        &self.hidden
    }

    /// No row's W is above this.
    pub fn watermark_max(&self) -> i64 {
        self.watermark_max
    }

    /// No row's W is below this.
    pub fn watermark_min(&self) -> i64 {
        self.watermark_min
    }

    /// The base row of a logical row.
    pub fn base_row(&self, row: usize) -> usize {
        self.selection.as_ref().map_or(row, |s| s[row] as usize)
    }

    /// The event time of a logical row.
    pub fn time(&self, row: usize) -> i64 {
        self.hidden.times[self.base_row(row)]
    }

    /// The event times in logical rows.
    pub fn times(&self) -> Cow<'_, [i64]> {
        match &self.selection {
            None => Cow::Borrowed(&self.hidden.times),
            Some(selection) => Cow::Owned(gather_values(&self.hidden.times, selection)),
        }
    }

    /// W of the logical rows.
    pub fn watermarks(&self) -> Cow<'_, RowWatermarks> {
        match &self.selection {
            None => Cow::Borrowed(&self.hidden.watermarks),
            Some(selection) => Cow::Owned(self.hidden.watermarks.gather(selection)),
        }
    }

    /// The places of the logical rows, where the batch carries them.
    pub fn order(&self) -> Option<Cow<'_, Order>> {
        let order = self.hidden.order.as_ref()?;
        Some(match &self.selection {
            None => Cow::Borrowed(order),
            Some(selection) => Cow::Owned(order.gather(selection)),
        })
    }

    /// What a logical row does.
    pub fn kind(&self, row: usize) -> Kind {
        self.hidden.kinds.as_ref().map_or(Kind::Insert, |kinds| {
            Kind::from_byte(kinds[self.base_row(row)]).expect("a byte of kinds is that of a kind")
        })
    }

    /// What the logical rows do, a byte each; `None`: every row is an insert.
    pub fn kinds(&self) -> Option<Cow<'_, [u8]>> {
        let kinds = self.hidden.kinds.as_ref()?;
        Some(match &self.selection {
            None => Cow::Borrowed(kinds),
            Some(selection) => Cow::Owned(gather_values(kinds, selection)),
        })
    }

    /// A visible column in logical rows.
    ///
    /// # Panics
    /// The column is absent: the plan did not ask for it.
    pub fn column(&self, index: usize) -> Cow<'_, Column> {
        match (&self.slots[index], &self.selection) {
            (Slot::Absent, _) => panic!("column {index} was not asked for by the plan"),
            (Slot::Dense(column), _) | (Slot::Base(column), None) => Cow::Borrowed(column),
            (Slot::Base(column), Some(selection)) => Cow::Owned(column.gather(selection)),
        }
    }

    /// The logical rows `rows`, which ascend and are distinct: a filter. Base columns are shared.
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Self {
        let selection: Selection = match &self.selection {
            None => rows.into(),
            Some(selection) => gather_values(selection, rows).into(),
        };
        let slots = self.slots.iter().map(|slot| match slot {
            Slot::Dense(column) => Slot::Dense(column.gather(rows)),
            other => other.clone(),
        });
        Self::with_selection(slots.collect(), Some(selection), self.hidden.clone())
    }

    /// The logical rows `rows` in any order, each as often as it stands there: a flat-map. Everything is copied, and
    /// the rows' places number the children of each row.
    #[must_use]
    pub fn repeat(&self, rows: &[u32]) -> Self {
        self.copy_rows(rows, Order::children)
    }

    /// The logical rows `rows` copied into a batch of their own, which keeps nothing else alive.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        self.copy_rows(rows, Order::gather)
    }

    fn copy_rows(&self, rows: &[u32], places: impl Fn(&Order, &[u32]) -> Order) -> Self {
        let base: Cow<'_, [u32]> = match &self.selection {
            None => Cow::Borrowed(rows),
            Some(selection) => Cow::Owned(gather_values(selection, rows)),
        };
        let slots = self.slots.iter().map(|slot| match slot {
            Slot::Absent => Slot::Absent,
            Slot::Base(column) => Slot::Base(column.gather(&base)),
            Slot::Dense(column) => Slot::Base(column.gather(rows)),
        });
        let hidden = Hidden {
            times: gather_values(&self.hidden.times, &base).into(),
            watermarks: self.hidden.watermarks.gather(&base),
            order: self.hidden.order.as_ref().map(|order| places(order, &base)),
            kinds: self
                .hidden
                .kinds
                .as_ref()
                .map(|kinds| gather_values(kinds, &base).into()),
        };
        Self::new(slots.collect(), hidden)
    }

    /// The same rows with other visible columns, each by reference to a column of this batch or computed.
    ///
    /// # Panics
    /// A computed column has another number of rows.
    #[must_use]
    pub fn with_columns(&self, columns: impl IntoIterator<Item = OutputColumn>) -> Self {
        let slots = columns.into_iter().map(|column| match column {
            OutputColumn::Input(index) => self.slots[index].clone(),
            OutputColumn::Computed(column) if self.selection.is_none() => Slot::Base(column),
            OutputColumn::Computed(column) => Slot::Dense(column),
            OutputColumn::Absent => Slot::Absent,
        });
        Self::with_selection(slots.collect(), self.selection.clone(), self.hidden.clone())
    }

    /// The same rows with other hidden columns, given in logical rows; base columns are copied where a selection
    /// stands in the way.
    #[must_use]
    pub fn with_hidden(&self, hidden: Hidden) -> Self {
        let slots = (0..self.slots.len()).map(|i| match &self.slots[i] {
            Slot::Absent => Slot::Absent,
            _ => Slot::Base(self.column(i).into_owned()),
        });
        Self::new(slots.collect(), hidden)
    }

    /// The bytes that the logical rows stand for. Shared base columns count by the share of their rows.
    pub fn size_bytes(&self) -> usize {
        let base_rows = self.hidden.times.len().max(1);
        let share = |bytes: usize| bytes * self.rows / base_rows;
        let columns: usize = self
            .slots
            .iter()
            .map(|slot| match slot {
                Slot::Absent => 0,
                Slot::Base(column) => share(column.size_bytes()),
                Slot::Dense(column) => column.size_bytes(),
            })
            .sum();
        columns + self.rows * HIDDEN_BYTES_PER_ROW
    }
}

/// What `t`, `w` and the selection cost a row, about.
const HIDDEN_BYTES_PER_ROW: usize = 16;

/// Where a column of an operator's output comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputColumn {
    /// A column of the input, by its place in the input's schema.
    Input(usize),
    /// Values of the operator's own, one per logical row.
    Computed(Column),
    /// Nobody downstream reads it.
    Absent,
}

/// A logical row of a batch.
#[derive(Clone, Copy, Debug)]
pub struct RowOf<'a> {
    /// The batch.
    pub batch: &'a Batch,
    /// The logical row.
    pub row: usize,
}

/// A batch of rows from several batches of one stream, copied, in this order.
///
/// # Panics
/// There is no row, or the batches are of different streams.
#[must_use]
pub fn interleave(rows: &[RowOf<'_>]) -> Batch {
    let first = rows.first().expect("there is a row").batch;
    let slots = (0..first.slots.len()).map(|index| {
        let data_type = match &first.slots[index] {
            Slot::Absent => return Slot::Absent,
            Slot::Base(column) | Slot::Dense(column) => column.data_type(),
        };
        if let Some(column) = interleave_numbers(rows, index, data_type) {
            return Slot::Base(column);
        }
        let mut builder = ColumnBuilder::new(data_type, rows.len());
        for RowOf { batch, row } in rows {
            builder.push(match &batch.slots[index] {
                Slot::Absent => panic!("column {index} is there in some batches only"),
                Slot::Base(column) => column.value(batch.base_row(*row)),
                Slot::Dense(column) => column.value(*row),
            });
        }
        Slot::Base(builder.finish())
    });
    let watermarks: Vec<i64> = rows
        .iter()
        .map(|of| of.batch.hidden.watermarks.at(of.batch.base_row(of.row)))
        .collect();
    let order = first.hidden.order.is_some().then(|| {
        let mut places = ColumnBuilder::new(DataType::Binary, rows.len());
        let mut place = Vec::new();
        for RowOf { batch, row } in rows {
            place.clear();
            if let Some(order) = &batch.hidden.order {
                order.write(batch.base_row(*row), &mut place);
            }
            places.push(Value::Binary(&place));
        }
        match places.finish() {
            Column::Binary(places) => Order::Places(places),
            _ => unreachable!("a builder of binary values makes a binary column"),
        }
    });
    let is_changelog = rows.iter().any(|of| of.batch.hidden.kinds.is_some());
    let kinds = is_changelog.then(|| {
        rows.iter()
            .map(|of| of.batch.kind(of.row).byte())
            .collect::<Vec<_>>()
            .into()
    });
    let hidden = Hidden {
        times: rows.iter().map(|of| of.batch.time(of.row)).collect::<Vec<_>>().into(),
        watermarks: RowWatermarks::from_values(&watermarks),
        order,
        kinds,
    };
    Batch::new(slots.collect(), hidden)
}

/// The quick way for a column of numbers without a null in any of the batches.
fn interleave_numbers(rows: &[RowOf<'_>], index: usize, data_type: DataType) -> Option<Column> {
    /// Collects the rows' values where all are of a variant.
    macro_rules! collect {
        ($variant:ident) => {{
            let mut values = Vec::with_capacity(rows.len());
            for RowOf { batch, row } in rows {
                let (column, at) = match &batch.slots[index] {
                    Slot::Absent => return None,
                    Slot::Base(column) => (column, batch.base_row(*row)),
                    Slot::Dense(column) => (column, *row),
                };
                match column {
                    Column::$variant(array) if array.nulls().is_none() => values.push(array.values()[at]),
                    _ => return None,
                }
            }
            Column::$variant(arrow_array::PrimitiveArray::new(values.into(), None))
        }};
    }
    Some(match data_type {
        DataType::Int64 => collect!(Int64),
        DataType::Float64 => collect!(Float64),
        DataType::Timestamp => collect!(Timestamp),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;

    fn ints(values: &[i64]) -> Column {
        Column::Int64(Int64Array::from(values.to_vec()))
    }

    fn batch(values: &[i64]) -> Batch {
        let hidden = Hidden {
            times: values.to_vec().into(),
            watermarks: RowWatermarks::from_values(values),
            order: None,
            kinds: None,
        };
        Batch::new(vec![Slot::Base(ints(values)), Slot::Absent], hidden)
    }

    #[test]
    fn filters_compose_and_share_their_base() {
        let filtered = batch(&[10, 11, 12, 13, 14]).select(&[1, 2, 4]);
        let doubled = Column::Int64(Int64Array::from(vec![22, 24, 28]));
        let both = filtered.with_columns([OutputColumn::Input(0), OutputColumn::Computed(doubled)]);
        let last = both.select(&[0, 2]);
        assert_eq!(last.rows(), 2);
        assert_eq!(*last.column(0), ints(&[11, 14]));
        assert_eq!(*last.column(1), ints(&[22, 28]));
        assert_eq!(&*last.times(), &[11, 14]);
        assert!(
            matches!(last.slots()[0], Slot::Base(ref c) if c.len() == 5),
            "the base is shared"
        );
    }

    #[test]
    fn repeated_rows_are_copied_with_their_times() {
        let repeated = batch(&[10, 11, 12]).select(&[1, 2]).repeat(&[1, 0, 0]);
        assert_eq!(*repeated.column(0), ints(&[12, 11, 11]));
        assert_eq!(&*repeated.times(), &[12, 11, 11]);
        assert!(repeated.selection().is_none());
    }

    #[test]
    fn the_size_of_a_filtered_batch_is_that_of_its_rows() {
        let whole = batch(&[0; 100]);
        let tenth: Vec<u32> = (0..10).collect();
        assert_eq!(whole.select(&tenth).size_bytes() * 10, whole.size_bytes());
    }

    #[test]
    fn rows_of_several_batches_are_interleaved() {
        let (a, b) = (batch(&[10, 11, 12]).select(&[0, 2]), batch(&[20]));
        let rows = [
            RowOf { batch: &a, row: 1 },
            RowOf { batch: &b, row: 0 },
            RowOf { batch: &a, row: 0 },
        ];
        let all = interleave(&rows);
        assert_eq!(*all.column(0), ints(&[12, 20, 10]));
        assert_eq!(&*all.times(), &[12, 20, 10]);
        assert_eq!(all.hidden().watermarks, RowWatermarks::from_values(&[12, 20, 10]));
    }
}
