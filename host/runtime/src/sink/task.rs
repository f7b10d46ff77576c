//! A worker's part of a sink: orders rows where asked for, encodes them, and hands them to the writer while it has room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;

use wasmill_connector_api::format::{EncodeSpec, Encoded, Encoder};
use wasmill_connector_api::sink::Chunk;
use wasmill_core::batch::{Batch, OutputColumn};
use wasmill_core::column::{ColumnBuilder, Value};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::Epoch;
use wasmill_core::operator::Emit;
use wasmill_core::plan::{SinkNode, kind_field};
use wasmill_core::schema::{DataType, Schema};
use wasmill_core::time::Timestamp;
use wasmill_engine::{SinkState, SinkTask, Ticket};
use wasmill_operators::Counters;
use wasmill_operators::dead_letters::{DeadLetters, Kind, Refused};

use super::order::OrderBuffer;
use super::writer::{Message, Messages};
use crate::metrics::SinkMetrics;

/// Rows in order that are written at once, where so many are ready, however small the batches of the job are: each time every
/// batch that waits is looked at.
const SLICE_ROWS_MIN: usize = 1_024;

/// What a sink's task is made of.
pub(crate) struct Parts {
    pub(crate) encoder: Box<dyn Encoder>,
    /// The input's schema.
    pub(crate) schema: Schema,
    /// Whether what rows do is written, in a first column.
    pub(crate) changelog: bool,
    /// Set: rows are written by event time, in batches of so many.
    pub(crate) ordered: Option<usize>,
    pub(crate) messages: Messages,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) metrics: Arc<SinkMetrics>,
}

/// What is written of the input's columns, and before them what rows do where that is asked for.
///
/// # Errors
/// The input has a column of that name.
pub(crate) fn encoding(sink: &SinkNode, input: &Schema) -> Result<EncodeSpec, Fault> {
    if !sink.changelog {
        return Ok(EncodeSpec {
            schema: input.clone(),
            columns: sink.columns.clone(),
        });
    }
    let fields = std::iter::once(kind_field()).chain(input.fields().iter().cloned());
    let schema = Schema::new(fields.collect()).map_err(|error| Fault::fatal(Domain::User, error.to_string()))?;
    let columns = std::iter::once(0).chain(sink.columns.iter().map(|column| column + 1));
    Ok(EncodeSpec {
        schema,
        columns: columns.collect(),
    })
}

/// The rows with what they do as a first column.
fn with_kinds(batch: &Batch) -> Batch {
    let mut kinds = ColumnBuilder::new(DataType::Utf8, batch.rows());
    for row in 0..batch.rows() {
        kinds.push(Value::Utf8(batch.kind(row).name()));
    }
    let kinds = OutputColumn::Computed(kinds.finish());
    let columns = (0..batch.slots().len()).map(OutputColumn::Input);
    batch.with_columns(std::iter::once(kinds).chain(columns))
}

/// One worker's part of a sink.
pub(crate) struct Task {
    parts: Parts,
    order: Option<OrderBuffer>,
    ready: VecDeque<(Batch, Option<Ticket>)>,
    /// Encoded, but the writer had no room.
    blocked: Option<Message>,
    input_ended: bool,
    finish_sent: bool,
}

impl Task {
    pub(crate) fn new(parts: Parts) -> Self {
        let order = parts.ordered.map(|rows| OrderBuffer::new(rows.max(SLICE_ROWS_MIN)));
        Self {
            parts,
            order,
            ready: VecDeque::new(),
            blocked: None,
            input_ended: false,
            finish_sent: false,
        }
    }

    fn next_message(&mut self, out: &mut dyn Emit) -> Result<Option<Message>, Fault> {
        if let Some(message) = self.blocked.take() {
            return Ok(Some(message));
        }
        let ordered = self
            .order
            .as_mut()
            .and_then(OrderBuffer::next_batch)
            .map(|batch| (batch, None));
        match ordered.or_else(|| self.ready.pop_front()) {
            Some((batch, ticket)) => self.encode(&batch, ticket, out).map(Some),
            None => Ok(self.input_ended.then_some(Message::Finish)),
        }
    }

    fn encode(&mut self, batch: &Batch, ticket: Option<Ticket>, out: &mut dyn Emit) -> Result<Message, Fault> {
        let Parts {
            encoder,
            schema,
            changelog,
            dead_letters,
            metrics,
            ..
        } = &mut self.parts;
        let mut encoded = Encoded::default();
        let rejects = if *changelog {
            encoder.encode(&with_kinds(batch), &mut encoded)
        } else {
            encoder.encode(batch, &mut encoded)
        };
        if !rejects.is_empty() {
            metrics.rejected.fetch_add(rejects.len() as u64, Ordering::Relaxed);
            let mut counters = Counters::default();
            let refused = Refused {
                batch,
                schema,
                plugin: None,
                kind: Kind::Rejected,
                rows: &rejects,
            };
            dead_letters.refuse(&refused, &mut counters, out)?;
        }
        let chunk = Chunk {
            bytes: Bytes::from(encoded.bytes),
            ends: encoded.ends,
        };
        Ok(Message::Chunk(chunk, ticket.into_iter().collect()))
    }

    /// Rows that are still to be encoded may become dead letters, with the W that they have.
    fn open(&self) -> SinkState {
        let ready = self.ready.iter().map(|(batch, _)| batch.watermark_min());
        let waiting = self.order.iter().flat_map(OrderBuffer::watermarks_min);
        SinkState::Open {
            earliest: Timestamp(ready.chain(waiting).min().unwrap_or(i64::MAX)),
        }
    }
}

impl SinkTask for Task {
    /// Not while the writer has no room: else what waits for it would grow without bound.
    fn takes_input(&self) -> bool {
        self.blocked.is_none()
    }

    fn batch(&mut self, input: usize, batch: Batch, ticket: Option<Ticket>) -> Result<(), Fault> {
        match &mut self.order {
            // The buffer is state: what it holds is no longer on the way.
            Some(order) => order.push(input, batch),
            None => self.ready.push_back((batch, ticket)),
        }
        Ok(())
    }

    fn watermark(&mut self, to: Timestamp) -> Result<(), Fault> {
        if let Some(order) = &mut self.order {
            order.rise(to);
        }
        self.input_ended = to == Timestamp::MAX;
        Ok(())
    }

    fn end_epoch(&mut self, _: Epoch) -> Result<bool, Fault> {
        Ok(true)
    }

    fn poll(&mut self, out: &mut dyn Emit) -> Result<SinkState, Fault> {
        while !self.finish_sent {
            let Some(message) = self.next_message(out)? else {
                return Ok(self.open());
            };
            let finish = matches!(message, Message::Finish);
            match self.parts.messages.try_send(message) {
                Ok(()) => self.finish_sent = finish,
                Err(TrySendError::Full(message)) => {
                    self.blocked = Some(message);
                    return Ok(self.open());
                }
                // The writer has failed, and its fault ends the generation.
                Err(TrySendError::Closed(_)) => return Ok(self.open()),
            }
        }
        // The writer lets go of its end when it is done.
        Ok(if self.parts.messages.is_closed() {
            SinkState::Finished
        } else {
            self.open()
        })
    }
}
