//! What becomes of late rows: dropped, to a port, or dead letters. All are counted.

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::operator::Emit;
use wasmill_core::plan::OnFault;
use wasmill_core::schema::Schema;
use wasmill_core::transform::Reject;
use wasmill_core::window::Late;

use crate::counters::Counters;
use crate::dead_letters::{DeadLetters, Kind, Refused};

/// The policy of an operator's input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal<'a> {
    /// What becomes of them.
    pub(crate) late: Late,
    /// The port of late rows, under [`Late::Port`].
    pub(crate) port: usize,
    /// The operator's dead letters.
    pub(crate) letters: &'a DeadLetters,
    /// The schema of the input.
    pub(crate) schema: &'a Schema,
}

impl Refusal<'_> {
    /// Deals with the late rows of a batch, which keep their time, W and place.
    ///
    /// # Errors
    /// None that comes from the rows: a late row is never a reason to stop.
    pub(crate) fn refuse(
        &self,
        batch: &Batch,
        late: &[u32],
        counters: &mut Counters,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        if late.is_empty() {
            return Ok(());
        }
        counters.late += late.len() as u64;
        match self.late {
            Late::Drop => Ok(()),
            Late::Port => {
                out.emit(self.port, batch.select(late));
                Ok(())
            }
            Late::DeadLetter => {
                let rejects: Vec<Reject> = late
                    .iter()
                    .map(|&row| Reject {
                        row,
                        message: "late: before its partition's watermark".into(),
                    })
                    .collect();
                let letters = DeadLetters {
                    on_fault: OnFault::Skip,
                    ..self.letters.clone()
                };
                let refused = Refused {
                    batch,
                    schema: self.schema,
                    plugin: None,
                    kind: Kind::Late,
                    rows: &rejects,
                };
                letters.refuse(&refused, counters, out)
            }
        }
    }
}
