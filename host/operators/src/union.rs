//! Several streams of one schema as one.
//!
//! Rows go through as they arrive, with their times, their places and what they do. Places tell the rows of the streams
//! apart, so one operator and one sort suffice downstream.

use wasmill_core::batch::Batch;
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
    counters: Counters,
}

impl Union {
    /// A union with this output.
    pub fn new(node: NodeId, output: &Stream) -> Self {
        Self {
            node,
            live: output.live.clone(),
            counters: Counters::default(),
        }
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

impl Operator for Union {
    fn batch(&mut self, _input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        self.counters.rows_in += batch.rows() as u64;
        self.counters.rows_out += batch.rows() as u64;
        // Another reader of one of the streams may have asked for more columns than the readers of the union.
        out.emit(0, live_columns(&batch, &self.live));
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

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::batch::{Hidden, Slot};
    use wasmill_core::column::Column;
    use wasmill_core::id::NodeIndex;
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
}
