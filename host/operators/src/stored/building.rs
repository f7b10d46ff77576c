//! Rows on their way out, put together value by value and cut into batches.

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{ColumnBuilder, Value};
use wasmill_core::kind::Kind;
use wasmill_core::operator::Emit;
use wasmill_core::order::Order;
use wasmill_core::plan::Stream;
use wasmill_core::schema::DataType;
use wasmill_core::watermark::RowWatermarks;

use crate::counters::Counters;

/// The port of what the operator is there for.
const PORT: usize = 0;

/// Rows of an output stream in the making. Columns that nobody reads are not built.
#[derive(Debug)]
pub(crate) struct Building {
    types: Vec<Option<DataType>>,
    columns: Vec<Option<ColumnBuilder>>,
    times: Vec<i64>,
    watermarks: Vec<i64>,
    places: Option<Places>,
    kinds: Option<Vec<u8>>,
    rows_max: usize,
    emitted: usize,
}

#[derive(Debug, Default)]
struct Places {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// The hidden columns of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) time: i64,
    pub(crate) watermark: i64,
    pub(crate) kind: Kind,
}

impl Building {
    /// Nothing yet. Batches have at most `rows_max` rows.
    pub(crate) fn new(stream: &Stream, rows_max: usize) -> Self {
        let types = stream.schema.fields().iter().zip(&stream.live);
        let types: Vec<_> = types.map(|(field, live)| live.then_some(field.data_type)).collect();
        Self {
            columns: builders(&types),
            types,
            times: Vec::new(),
            watermarks: Vec::new(),
            places: stream.order.then(Places::default),
            kinds: stream.changelog.then(Vec::new),
            rows_max: rows_max.max(1),
            emitted: 0,
        }
    }

    /// Whether somebody reads a column.
    pub(crate) fn is_live(&self, column: usize) -> bool {
        self.types[column].is_some()
    }

    /// Adds the value of the current row in a column, which may be one that nobody reads. Each column that is read gets
    /// one value a row.
    pub(crate) fn value(&mut self, column: usize, value: Value<'_>) {
        if let Some(builder) = &mut self.columns[column] {
            builder.push(value);
        }
    }

    /// Ends the current row. `place` appends its place.
    pub(crate) fn end_row(
        &mut self,
        facts: Facts,
        place: impl FnOnce(&mut Vec<u8>),
        counters: &mut Counters,
        out: &mut dyn Emit,
    ) {
        self.times.push(facts.time);
        self.watermarks.push(facts.watermark);
        if let Some(kinds) = &mut self.kinds {
            kinds.push(facts.kind.byte());
        }
        if let Some(places) = &mut self.places {
            place(&mut places.bytes);
            places.ends.push(places.bytes.len());
        }
        self.emitted += 1;
        counters.rows_out += 1;
        if self.times.len() >= self.rows_max {
            self.flush(out);
        }
    }

    /// Whether a slice has been emitted since [`Self::finish`].
    pub(crate) fn is_full(&self) -> bool {
        self.emitted >= self.rows_max
    }

    /// Emits the rest, and begins a slice.
    pub(crate) fn finish(&mut self, out: &mut dyn Emit) {
        self.flush(out);
        self.emitted = 0;
    }

    fn flush(&mut self, out: &mut dyn Emit) {
        if self.times.is_empty() {
            return;
        }
        let columns = std::mem::replace(&mut self.columns, builders(&self.types));
        let slots = columns
            .into_iter()
            .map(|column| column.map_or(Slot::Absent, |builder| Slot::Base(builder.finish())));
        let order = self.places.as_mut().map(|places| {
            let starts = std::iter::once(0).chain(places.ends.iter().copied());
            let rows: Vec<&[u8]> = starts
                .zip(&places.ends)
                .map(|(from, &to)| &places.bytes[from..to])
                .collect();
            let order = Order::from_places(rows.into_iter());
            places.bytes.clear();
            places.ends.clear();
            order
        });
        let watermarks = std::mem::take(&mut self.watermarks);
        let hidden = Hidden {
            times: std::mem::take(&mut self.times).into(),
            watermarks: RowWatermarks::from_values(&watermarks),
            order,
            kinds: self.kinds.as_mut().map(|kinds| std::mem::take(kinds).into()),
        };
        out.emit(PORT, Batch::new(slots.collect(), hidden));
    }
}

fn builders(types: &[Option<DataType>]) -> Vec<Option<ColumnBuilder>> {
    types
        .iter()
        .map(|data_type| data_type.map(|data_type| ColumnBuilder::new(data_type, 0)))
        .collect()
}
