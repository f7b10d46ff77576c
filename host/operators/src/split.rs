//! Sends rows to ports by conditions on single columns.
//!
//! A row goes to every port whose condition holds, and to port 0 where none does. It keeps its time, its place and what
//! it does, so a changelog may be split: rows that take each other back have equal values, and go the same ways. A null
//! satisfies no condition but that it is null. Floats compare as keys do: -0.0 is 0.0, and NaN equals itself and is the
//! greatest.

use std::cmp::Ordering;

use wasmill_core::batch::{Batch, OutputColumn};
use wasmill_core::column::{Column, Scalar, Value};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::key::sortable_float;
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::{Comparison, Condition, SplitNode, Stream, Test};
use wasmill_core::time::Timestamp;

use crate::counters::Counters;

/// One subtask of a split. It keeps nothing between batches.
#[derive(Debug)]
pub struct Split {
    node: NodeId,
    ports: Vec<Condition>,
    /// Of each output, which columns somebody reads.
    live: Vec<Vec<bool>>,
    counters: Counters,
}

impl Split {
    /// A split with these outputs: the main one, then one for each condition.
    ///
    /// # Panics
    /// There are not so many outputs.
    pub fn new(node: NodeId, plan: &SplitNode, outputs: &[&Stream]) -> Self {
        assert_eq!(
            outputs.len(),
            plan.ports.len() + 1,
            "an output for each condition and one more"
        );
        Self {
            node,
            ports: plan.ports.clone(),
            live: outputs.iter().map(|stream| stream.live.clone()).collect(),
            counters: Counters::default(),
        }
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn send(&mut self, port: usize, batch: &Batch, rows: &[u32], out: &mut dyn Emit) {
        if rows.is_empty() {
            return;
        }
        self.counters.rows_out += rows.len() as u64;
        let chosen = if rows.len() == batch.rows() {
            batch.clone()
        } else {
            batch.select(rows)
        };
        out.emit(port, live_columns(&chosen, &self.live[port]));
    }
}

/// The batch with the columns that somebody reads.
pub(crate) fn live_columns(batch: &Batch, live: &[bool]) -> Batch {
    batch.with_columns(live.iter().enumerate().map(|(column, &live)| {
        if live {
            OutputColumn::Input(column)
        } else {
            OutputColumn::Absent
        }
    }))
}

impl Operator for Split {
    fn batch(&mut self, _input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        self.counters.rows_in += batch.rows() as u64;
        let mut sent = vec![false; batch.rows()];
        let mut rows = Vec::new();
        for port in 0..self.ports.len() {
            rows.clear();
            let condition = &self.ports[port];
            let column = batch.column(condition.column);
            for (row, sent) in sent.iter_mut().enumerate() {
                if holds(&condition.test, &column, row) {
                    *sent = true;
                    rows.push(row as u32);
                }
            }
            drop(column);
            self.send(port + 1, &batch, &rows, out);
        }
        rows.clear();
        rows.extend((0..batch.rows() as u32).filter(|&row| !sent[row as usize]));
        self.send(0, &batch, &rows, out);
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
        Err(Fault::fatal(Domain::Internal, "a split has no state, so there is none to load").at(&self.node))
    }
}

fn holds(test: &Test, column: &Column, row: usize) -> bool {
    let value = column.value(row);
    match (test, value) {
        (Test::IsNull, value) => value == Value::Null,
        (_, Value::Null) => false,
        (Test::IsNotNull, _) => true,
        (Test::Compare(comparison, than), value) => {
            compare(value, than).is_some_and(|ordering| satisfies(*comparison, ordering))
        }
        (Test::In(among), value) => among.iter().any(|one| compare(value, one) == Some(Ordering::Equal)),
        (Test::Contains(part), Value::Utf8(text) | Value::Json(text)) => text.contains(&**part),
        (Test::StartsWith(start), Value::Utf8(text) | Value::Json(text)) => text.starts_with(&**start),
        (Test::Contains(_) | Test::StartsWith(_), _) => false,
    }
}

fn satisfies(comparison: Comparison, ordering: Ordering) -> bool {
    match comparison {
        Comparison::Equal => ordering.is_eq(),
        Comparison::NotEqual => ordering.is_ne(),
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
    }
}

/// How a value that is there compares with one of its type; `None` where a plan compares what has no order.
fn compare(value: Value<'_>, with: &Scalar) -> Option<Ordering> {
    Some(match (value, with.as_value()) {
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(&b),
        (Value::Int64(a), Value::Int64(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(&b),
        (Value::Float64(a), Value::Float64(b)) => sortable_float(a).cmp(&sortable_float(b)),
        (Value::Utf8(a), Value::Utf8(b)) | (Value::Json(a), Value::Json(b)) => a.cmp(b),
        (Value::Binary(a), Value::Binary(b)) => a.cmp(b),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::batch::{Hidden, Slot};
    use wasmill_core::id::NodeIndex;
    use wasmill_core::schema::{DataType, Field, Schema};
    use wasmill_core::watermark::RowWatermarks;

    fn stream() -> Stream {
        Stream {
            name: "s".into(),
            producer: NodeIndex(0),
            schema: Schema::new(vec![
                Field::nullable("number", DataType::Int64),
                Field::nullable("text", DataType::Utf8),
                Field::nullable("unread", DataType::Float64),
            ])
            .expect("the names differ"),
            live: vec![true, true, false],
            order: false,
            changelog: false,
        }
    }

    fn rows() -> Batch {
        let hidden = Hidden {
            times: vec![10, 20, 30, 40].into(),
            watermarks: RowWatermarks::Constant(5),
            order: None,
            kinds: Some(vec![0, 3, 0, 0].into()),
        };
        let slots = vec![
            Slot::Base(Column::Int64(vec![Some(1), Some(2), None, Some(4)].into())),
            Slot::Base(Column::Utf8(
                vec![Some("warn: a"), None, Some("error"), Some("warn")].into(),
            )),
            Slot::Base(Column::Float64(vec![1.0; 4].into())),
        ];
        Batch::new(slots, hidden)
    }

    /// The times of the rows at each port.
    fn check(tests: &[(usize, Test)], expect: &[&[i64]]) {
        let ports = tests.iter().map(|(column, test)| Condition {
            column: *column,
            test: test.clone(),
        });
        let plan = SplitNode { ports: ports.collect() };
        let stream = stream();
        let mut split = Split::new(NodeId::new("split"), &plan, &vec![&stream; tests.len() + 1]);
        for batch in [rows(), rows().select(&[0, 1, 2, 3])] {
            let mut out: Vec<(usize, Batch)> = Vec::new();
            split.batch(0, batch, &mut out).expect("no fault");
            let mut found = vec![Vec::new(); tests.len() + 1];
            for (port, batch) in &out {
                assert_eq!(batch.slots()[2], Slot::Absent);
                assert_eq!(batch.watermark_max(), 5);
                found[*port].extend(batch.times().iter().copied());
                for row in 0..batch.rows() {
                    assert_eq!(batch.kind(row).byte() == 3, batch.time(row) == 20);
                }
            }
            assert_eq!(found, expect);
        }
    }

    #[test]
    fn a_row_goes_to_every_port_whose_condition_holds_and_else_to_the_main_output() {
        let at_least = |n| Test::Compare(Comparison::GreaterOrEqual, Scalar::Int64(n));
        check(&[(0, at_least(2)), (0, at_least(3))], &[&[10, 30], &[20, 40], &[40]]);
    }

    #[test]
    fn a_null_satisfies_no_condition_but_that_it_is_null() {
        let not_one = Test::Compare(Comparison::NotEqual, Scalar::Int64(1));
        check(&[(0, not_one)], &[&[10, 30], &[20, 40]]);
        check(&[(0, Test::IsNull), (0, Test::IsNotNull)], &[&[], &[30], &[10, 20, 40]]);
        check(&[(1, Test::Contains(String::new()))], &[&[20], &[10, 30, 40]]);
    }

    #[test]
    fn text_is_looked_into() {
        check(
            &[(1, Test::StartsWith("warn".into())), (1, Test::Contains("r".into()))],
            &[&[20], &[10, 40], &[10, 30, 40]],
        );
        check(
            &[(
                1,
                Test::In(vec![Scalar::Utf8("error".into()), Scalar::Utf8("warn".into())]),
            )],
            &[&[10, 20], &[30, 40]],
        );
    }

    #[test]
    fn floats_compare_as_keys_do() {
        let nan = Value::Float64(-f64::NAN);
        assert_eq!(compare(nan, &Scalar::Float64(f64::NAN)), Some(Ordering::Equal));
        assert_eq!(compare(nan, &Scalar::Float64(f64::INFINITY)), Some(Ordering::Greater));
        assert_eq!(
            compare(Value::Float64(-0.0), &Scalar::Float64(0.0)),
            Some(Ordering::Equal)
        );
    }
}
