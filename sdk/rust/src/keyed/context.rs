//! What an operator can do while it handles a row or a timer of a key.

use std::fmt;

use super::{
    Keyed, Timers,
    timer::{Changes, Due, Id, KeyTimers},
};
use crate::{
    output::{OutputRow, Shape},
    port::{EmitPort, Kind, Outputs, Port},
    types::Timestamp,
};

/// The ports, clocks and timers of the row or timer that is being handled.
pub struct Context<T: Keyed> {
    /// The ports. `cx.out.emit(row)` of an operator with one port, `cx.out.alerts.emit(row)` of one with several.
    pub out: T::Output,
    event_time: Timestamp,
    /// What event time is, as far as the key is concerned.
    now: i64,
    kind: Kind,
    processing_time: Timestamp,
    end_of_input: bool,
    timers: KeyTimers,
}

impl<T: Keyed> fmt::Debug for Context<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("event_time", &self.event_time)
            .field("processing_time", &self.processing_time)
            .field("end_of_input", &self.end_of_input)
            .field("timers", &self.timers)
            .finish_non_exhaustive()
    }
}

impl<T: Keyed> Context<T> {
    /// Emits a row, where the operator has one port. It has the event time of the row or timer that is handled.
    #[inline]
    pub fn emit<R, P>(&mut self, row: R)
    where
        T: Keyed<Output = P>,
        P: SinglePort,
        R: OutputRow<Shape = P::Shape>,
    {
        self.out.emit_row(row);
    }

    /// The event time of the row, or the time of the timer.
    #[inline]
    pub fn event_time(&self) -> Timestamp {
        self.event_time
    }

    /// The machine's time. Not the same on every run.
    pub fn processing_time(&self) -> Timestamp {
        self.processing_time
    }

    /// What the row does, where the input is a changelog; else, and for timers, [`Kind::Insert`].
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether this is a timer that was still to come when the input ended: it fires once, at its own time, and what is
    /// set then is discarded. Never so for rows, the last ones included, nor for timers that the watermark reached.
    pub fn end_of_input(&self) -> bool {
        self.end_of_input
    }

    /// Sets a timer of the key, in the place of the same timer if it is set already.
    ///
    /// It fires once event time, or for a timer of processing time the machine's, has come to `at`; before rows of that
    /// time. A time before that of the row or timer that is handled becomes that time.
    #[expect(clippy::needless_pass_by_value, reason = "it reads `set_timer(Timer::Clear, at)`")]
    pub fn set_timer(&mut self, timer: T::Timer, at: Timestamp) {
        let id = timer.id();
        let event = T::Timer::KINDS[id.0 as usize].event;
        self.timers.set(id, event, at.as_micros(), self.now);
    }

    /// Cancels a timer of the key. One that is not set is passed over.
    #[expect(clippy::needless_pass_by_value, reason = "it reads `cancel_timer(Timer::Clear)`")]
    pub fn cancel_timer(&mut self, timer: T::Timer) {
        self.timers.cancel(timer.id());
    }

    pub(super) fn new(events: usize, processing_time: i64, end_of_input: bool) -> Self {
        Self {
            out: T::Output::start(events),
            event_time: Timestamp::default(),
            now: i64::MIN,
            kind: Kind::Insert,
            processing_time: Timestamp::from_micros(processing_time),
            end_of_input,
            timers: KeyTimers::default(),
        }
    }

    pub(super) fn begin_key(&mut self, until: i64) {
        if !T::Timer::KINDS.is_empty() {
            self.timers.begin(until);
        }
    }

    /// What is handled next: where its outputs come from, its time, and event time as it stands then.
    #[inline]
    pub(super) fn at(&mut self, origin: u32, time: i64, now: i64, kind: Kind) {
        self.out.at(origin);
        self.event_time = Timestamp::from_micros(time);
        self.now = now;
        self.kind = kind;
    }

    #[inline]
    pub(super) fn is_void(&self, id: Id) -> bool {
        self.timers.is_void(id)
    }

    #[inline]
    pub(super) fn next_before(&mut self, before: impl FnOnce(Due) -> bool) -> Option<Due> {
        self.timers.next_before(before)
    }

    #[inline]
    pub(super) fn end_key(&mut self, key: u32, changes: &mut Changes) {
        if !T::Timer::KINDS.is_empty() {
            self.timers.end(key, changes);
        }
    }
}

/// The port of an operator that has one, and is no changelog: what [`Context::emit`] writes to.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say where a row is to go",
    label = "`cx.emit` needs an operator with one port that is no changelog",
    note = "with several ports write `cx.out.PORT.emit(row)`; to a changelog write `cx.out.insert(row)`, `update` or `delete`"
)]
pub trait SinglePort: EmitPort {}
impl<S: Shape, const PASS: bool> SinglePort for Port<S, PASS> {}
impl<S: Shape> SinglePort for crate::port::WithKey<S> {}
