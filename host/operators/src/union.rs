//! Several streams of one schema as one.
//!
//! Rows go through as they arrive, with their times and what they do. Two streams may carry one row of a source, each with
//! other values; so that nothing downstream goes by which of them came first, the number of the input follows in the
//! place.

use wasmill_core::batch::{Batch, Hidden};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::Stream;
use wasmill_core::time::Timestamp;

use crate::counters::Counters;
use crate::split::live_columns;

/// One subtask of a union. It keeps nothing between batches.
#[derive(Debug)]
pub struct Union {
    node: NodeId,
    live: Vec<bool>,
    /// Whether somebody reads places.
    order: bool,
    counters: Counters,
}

impl Union {
    /// A union with this output.
    pub fn new(node: NodeId, output: &Stream) -> Self {
        Self {
            node,
            live: output.live.clone(),
            order: output.order,
            counters: Counters::default(),
        }
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

impl Operator for Union {
    fn batch(&mut self, input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        self.counters.rows_in += batch.rows() as u64;
        self.counters.rows_out += batch.rows() as u64;
        // Another reader of one of the streams may have asked for more columns than the readers of the union.
        let batch = live_columns(&batch, &self.live);
        out.emit(0, if self.order { of_input(&batch, input) } else { batch });
        Ok(())
    }

    fn watermark(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn wake_at(&self) -> Option<Timestamp> {
        None
    }

    fn clock(&mut self, _: Timestamp, _: &mut dyn Emit) -> Result<Step, Fault> {
        Ok(Step::Done)
    }

    fn save(&mut self, _: &mut dyn Save) -> Result<(), Fault> {
        Ok(())
    }

    fn load(&mut self, _: KeyGroup, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Err(Fault::fatal(Domain::Internal, "a union has no state, so there is none to load").at(&self.node))
    }
}

/// The rows as children of their places, with the input's number.
fn of_input(batch: &Batch, input: usize) -> Batch {
    let hidden = Hidden {
        times: batch.times().into_owned().into(),
        watermarks: batch.watermarks().into_owned(),
        order: batch.order().map(|order| order.child(input as u32)),
        kinds: batch.kinds().map(|kinds| kinds.into_owned().into()),
    };
    batch.with_hidden(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::batch::{Hidden, Slot};
    use wasmill_core::column::Column;
    use wasmill_core::id::{NodeIndex, PartitionName};
    use wasmill_core::order::{Order, source_origin};
    use wasmill_core::schema::{DataType, Field, Schema};
    use wasmill_core::watermark::RowWatermarks;

    #[test]
    fn rows_of_all_inputs_go_through_with_the_columns_that_are_read() {
        let output = Stream {
            name: "both".into(),
            producer: NodeIndex(0),
            schema: Schema::new(vec![
                Field::required("a", DataType::Int64),
                Field::required("b", DataType::Int64),
            ])
            .expect("the names differ"),
            live: vec![true, false],
            order: false,
            changelog: false,
        };
        let batch = |values: &[i64], b: Slot| {
            let hidden = Hidden {
                times: values.to_vec().into(),
                watermarks: RowWatermarks::from_values(values),
                order: None,
                kinds: None,
            };
            Batch::new(vec![Slot::Base(Column::Int64(values.to_vec().into())), b], hidden)
        };
        let (first, second) = (
            batch(&[1, 2], Slot::Absent),
            batch(&[3], Slot::Base(Column::Int64(vec![9].into()))),
        );
        let mut union = Union::new(NodeId::new("both"), &output);
        let mut out: Vec<(usize, Batch)> = Vec::new();
        union.batch(0, first.clone(), &mut out).expect("no fault");
        union.batch(1, second, &mut out).expect("no fault");
        assert_eq!(out, [(0, first), (0, batch(&[3], Slot::Absent))]);
        assert_eq!((union.counters().rows_in, union.counters().rows_out), (3, 3));
    }

    #[test]
    fn one_row_that_comes_by_two_streams_has_two_places() {
        let output = Stream {
            name: "both".into(),
            producer: NodeIndex(0),
            schema: Schema::new(vec![Field::required("a", DataType::Int64)]).expect("the names differ"),
            live: vec![true],
            order: true,
            changelog: true,
        };
        let order = Order::Positions {
            origin: source_origin(&NodeId::new("s"), &PartitionName::new("p")),
            positions: vec![0, 10, 20].into(),
        };
        let hidden = Hidden {
            times: vec![1, 2, 3].into(),
            watermarks: RowWatermarks::from_values(&[0, 1, 2]),
            order: Some(order.clone()),
            kinds: Some(vec![0, 1, 2].into()),
        };
        let rows = Batch::new(vec![Slot::Base(Column::Int64(vec![7, 8, 9].into()))], hidden).select(&[1, 2]);
        let mut union = Union::new(NodeId::new("both"), &output);
        let mut out: Vec<(usize, Batch)> = Vec::new();
        for input in 0..2 {
            union.batch(input, rows.clone(), &mut out).expect("no fault");
        }
        for (input, (_, batch)) in out.iter().enumerate() {
            assert_eq!(
                (&*batch.times(), batch.kinds().as_deref()),
                (&[2, 3][..], Some(&[1, 2][..]))
            );
            assert_eq!(*batch.watermarks(), RowWatermarks::from_values(&[1, 2]));
            assert_eq!(*batch.column(0), Column::Int64(vec![8, 9].into()));
            for row in 0..2 {
                let (mut place, mut parent) = (Vec::new(), Vec::new());
                batch.order().expect("it is read").write(row, &mut place);
                order.write(row + 1, &mut parent);
                assert_eq!(place, [&parent[..], &[0, 0, 0, input as u8]].concat());
            }
        }
    }
}
