//! A Wasm transform with the operator's fault policy around it.
//!
//! A call that fails is put down to rows where the policy and the kind of fault allow it: the batch is halved until the
//! rows that fail alone are known. The other rows' outputs go on as if those rows had not been there.

use wasmill_core::batch::Batch;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::KeyGroup;
use wasmill_core::operator::{Emit, Operator, Save, Step};
use wasmill_core::plan::OnFault;
use wasmill_core::schema::Schema;
use wasmill_core::time::Timestamp;
use wasmill_core::transform::{Reject, Transform, Transformed};

use crate::blame::{Attempt, blame};
use crate::counters::Counters;
use crate::dead_letters::{DeadLetters, Kind, Refused};

/// One subtask of a transform operator. It keeps nothing between batches.
pub struct GuardedTransform {
    guest: Box<dyn Transform>,
    inputs: Vec<Schema>,
    plugin: String,
    letters: DeadLetters,
    counters: Counters,
}

impl GuardedTransform {
    /// `guest` under a policy. `inputs` holds the schema of each input, `plugin` the plugin's file for dead letters.
    pub fn new(guest: Box<dyn Transform>, inputs: Vec<Schema>, plugin: String, letters: DeadLetters) -> Self {
        Self {
            guest,
            inputs,
            plugin,
            letters,
            counters: Counters::default(),
        }
    }

    /// What the operator has counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn refuse(
        &mut self,
        input: usize,
        batch: &Batch,
        kind: Kind,
        rows: &[Reject],
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let refused = Refused {
            batch,
            schema: &self.inputs[input],
            plugin: Some(&self.plugin),
            kind,
            rows,
        };
        self.letters.refuse(&refused, &mut self.counters, out)
    }
}

impl std::fmt::Debug for GuardedTransform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardedTransform")
            .field("plugin", &self.plugin)
            .field("letters", &self.letters)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Operator for GuardedTransform {
    fn batch(&mut self, input: usize, batch: Batch, out: &mut dyn Emit) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        self.counters.rows_in += batch.rows() as u64;
        let Self { guest, letters, .. } = self;
        let attempt = match letters.on_fault {
            OnFault::Fail => Attempt::Whole,
            OnFault::DeadLetter | OnFault::Skip => Attempt::Blame,
        };
        let call = |rows: Option<&[u32]>| match rows {
            None => guest.process(input, &batch),
            Some(rows) => guest.process(input, &batch.select(rows)),
        };
        let renumber = |done: &mut Transformed, rows: &[u32]| {
            for reject in &mut done.rejects {
                reject.row = rows[reject.row as usize];
            }
        };
        let (done, at_fault) = blame(batch.rows(), attempt, call, renumber).map_err(|fault| fault.at(&letters.node))?;
        for transformed in done {
            for (port, output) in transformed.outputs {
                self.counters.rows_out += output.rows() as u64;
                out.emit(port, output);
            }
            self.refuse(input, &batch, Kind::Rejected, &transformed.rejects, out)?;
        }
        for (kind, reject) in at_fault {
            self.refuse(input, &batch, Kind::Fault(kind.name()), &[reject], out)?;
        }
        Ok(())
    }

    fn watermark(&mut self, _to: Timestamp, _out: &mut dyn Emit) -> Result<Step, Fault> {
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
        Err(
            Fault::fatal(Domain::Internal, "this operator has no state, so there is none to load")
                .at(&self.letters.node),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::batch::{Hidden, Slot};
    use wasmill_core::column::{Column, Value};
    use wasmill_core::fault::{Domain, GuestDetail, GuestFault};
    use wasmill_core::id::NodeId;
    use wasmill_core::schema::{DataType, Field};
    use wasmill_core::watermark::RowWatermarks;

    /// Passes rows on, rejects zeros and traps on negative numbers.
    struct Guest;

    impl Transform for Guest {
        fn process(&mut self, _input: usize, batch: &Batch) -> Result<Transformed, Fault> {
            let column = batch.column(0);
            let number = |row: u32| match column.value(row as usize) {
                Value::Int64(v) => v,
                value => panic!("{value:?}"),
            };
            let rows: Vec<u32> = (0..batch.rows() as u32).collect();
            if rows.iter().any(|&row| number(row) < 0) {
                let mut fault = Fault::fatal(Domain::User, "wasm trap: unreachable");
                fault.guest = Some(Box::new(GuestDetail {
                    kind: GuestFault::Trap,
                    plugin: "p.wasm".into(),
                    function: "process",
                    row: None,
                    rows: rows.len() as u32,
                    backtrace: Vec::new(),
                }));
                return Err(fault);
            }
            let (zeros, others): (Vec<u32>, Vec<u32>) = rows.into_iter().partition(|&row| number(row) == 0);
            let reject = |row| Reject {
                row,
                message: "zero".into(),
            };
            Ok(Transformed {
                outputs: vec![(0, batch.select(&others))],
                rejects: zeros.into_iter().map(reject).collect(),
            })
        }
    }

    const LETTERS: usize = 7;

    /// What comes out of 5, 0, -1, 6, -2, 7: the rows at each port, and the counters.
    fn check(on_fault: OnFault, port: Option<usize>) -> Result<(Vec<i64>, Vec<i64>, Counters), String> {
        let letters = DeadLetters {
            node: NodeId::new("op"),
            port,
            on_fault,
        };
        let schema = Schema::new(vec![Field::required("n", DataType::Int64)]).expect("one name");
        let mut operator = GuardedTransform::new(Box::new(Guest), vec![schema], "p.wasm".into(), letters);
        let numbers = [99, 5, 0, -1, 6, -2, 7];
        let hidden = Hidden {
            times: numbers.to_vec().into(),
            watermarks: RowWatermarks::Constant(0),
            order: None,
            kinds: None,
        };
        let batch = Batch::new(vec![Slot::Base(Column::Int64(numbers.to_vec().into()))], hidden);
        let mut out: Vec<(usize, Batch)> = Vec::new();
        operator
            .batch(0, batch.select(&[1, 2, 3, 4, 5, 6]), &mut out)
            .map_err(|fault| fault.message)?;
        let times = |port| {
            let batches = out.iter().filter(|emitted| emitted.0 == port);
            batches.flat_map(|emitted| emitted.1.times().into_owned()).collect()
        };
        Ok((times(0), times(LETTERS), operator.counters()))
    }

    #[test]
    fn rows_at_fault_become_dead_letters_and_the_others_go_on() {
        let (rows, letters, counters) = check(OnFault::DeadLetter, Some(LETTERS)).expect("no fault");
        assert_eq!((rows, letters), (vec![5, 6, 7], vec![0, -1, -2]));
        assert_eq!((counters.rows_in, counters.rows_out, counters.rejected), (6, 3, 3));
    }

    #[test]
    fn skipped_rows_are_counted() {
        let (rows, letters, counters) = check(OnFault::Skip, None).expect("no fault");
        assert_eq!((rows, letters.len(), counters.skipped), (vec![5, 6, 7], 0, 3));
        // Where there is a sink, an invalid row is a dead letter all the same, a fault is not.
        let (_, letters, counters) = check(OnFault::Skip, Some(LETTERS)).expect("no fault");
        assert_eq!((letters, counters.skipped), (vec![0], 2));
    }

    #[test]
    fn a_fault_ends_the_generation_where_the_policy_says_so() {
        assert_eq!(
            check(OnFault::Fail, Some(LETTERS)),
            Err("wasm trap: unreachable".into())
        );
    }
}
