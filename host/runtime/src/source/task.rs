//! A worker's part of a source: takes pieces while it has credit, decodes them, sends what is stamped.

use std::sync::Arc;

use wasmill_connector_api::format::Decoder;
use wasmill_core::fault::Fault;
use wasmill_core::time::Timestamp;
use wasmill_engine::{SourceOutput, SourceState, SourceTask};

use super::block::decode;
use super::shared::{Shared, Taken};

/// Pieces that one activation decodes at most, before others get a turn.
const PIECES_PER_TURN: usize = 4;
/// The main output.
const RECORDS: usize = 0;
/// Dead letters, where the source has a sink for them.
const DEAD_LETTERS: usize = 1;

/// One worker's part of a source.
pub(crate) struct Task {
    pub(crate) shared: Arc<Shared>,
    pub(crate) decoder: Option<Box<dyn Decoder>>,
    /// Batches sent between two promises.
    pub(crate) watermark_every: usize,
    pub(crate) since_promise: usize,
}

impl SourceTask for Task {
    fn poll(&mut self, out: &mut SourceOutput<'_>) -> Result<SourceState, Fault> {
        for _ in 0..PIECES_PER_TURN {
            if !out.has_credit() {
                self.promise(out);
                return Ok(SourceState::Parked);
            }
            match self.shared.take() {
                Taken::Nothing => {
                    self.promise(out);
                    return Ok(SourceState::Parked);
                }
                Taken::Finished => {
                    out.promise(self.shared.last());
                    self.shared.announce();
                    return Ok(SourceState::Ended);
                }
                Taken::Piece(partition, piece) => {
                    let sequence = piece.sequence;
                    let rows = decode(piece, self.decoder.as_mut()).map_err(|fault| fault.at(&self.shared.plan.id))?;
                    for stamped in self.shared.release(partition, sequence, rows)? {
                        for batch in stamped.batches {
                            out.emit(RECORDS, batch);
                            self.since_promise += 1;
                        }
                        if let Some(letters) = stamped.dead_letters {
                            out.emit(DEAD_LETTERS, letters);
                        }
                    }
                    if self.since_promise >= self.watermark_every {
                        self.promise(out);
                    }
                }
            }
        }
        Ok(SourceState::Ready)
    }
}

impl Task {
    fn promise(&mut self, out: &mut SourceOutput<'_>) {
        self.since_promise = 0;
        // That the source has ended is told by its end, and by its end alone.
        out.promise(match self.shared.published() {
            Timestamp::MAX => self.shared.last(),
            published => published,
        });
        self.shared.announce();
    }
}
