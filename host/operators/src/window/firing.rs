//! Windows on their way out: results and corrections in slices, and those that come at once.

use wasmill_core::fault::Fault;
use wasmill_core::operator::Step;
use wasmill_core::time::Micros;
use wasmill_core::window::{Assigner, PaneNumber, WindowNumber};

use super::output::{Bounds, Numbers, Output};
use super::panes::{Panes, Wanted};
use super::part::{Part, Scratch};
use super::plugin::Rejects;
use crate::keys::{KeyId, Keys};

/// The port of results.
const RESULTS_PORT: usize = 0;

/// What firing works with.
pub(crate) struct Context<'a> {
    pub(crate) keys: &'a mut Keys,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) rejects: Rejects<'a>,
}

impl Context<'_> {
    /// Sends what was collected.
    pub(super) fn flush(&mut self, output: &mut Output) {
        if let Some(batch) = output.flush() {
            self.rejects.counters.rows_out += batch.rows() as u64;
            self.rejects.out.emit(RESULTS_PORT, batch);
        }
    }
}

/// A window of which some rows may have been emitted.
#[derive(Debug)]
pub(crate) struct Firing {
    bounds: Bounds,
    /// The pane whose main part is read, where there is no part of the window's own.
    pane: PaneNumber,
    part: Option<Part>,
    /// The keys in order.
    ids: Vec<KeyId>,
    /// Which result of each key it is, where somebody reads that and it is not the first of all.
    numbers: Option<Vec<u32>>,
    emitted: usize,
}

impl Firing {
    pub(super) fn new(
        wanted: Wanted,
        assigner: &Assigner,
        allowed: Micros,
        pane: PaneNumber,
        part: Option<Part>,
        ids: Vec<KeyId>,
        numbers: Option<Vec<u32>>,
    ) -> Self {
        Self {
            bounds: Bounds::due(wanted, assigner, allowed),
            pane,
            part,
            ids,
            numbers,
            emitted: 0,
        }
    }
}

impl Bounds {
    /// Those of a result or a correction that is due.
    pub(super) fn due(wanted: Wanted, assigner: &Assigner, allowed: Micros) -> Self {
        let (start, end) = (assigner.start(wanted.window), assigner.end(wanted.window));
        let due = if wanted.correction {
            end.saturating_add_unsigned(allowed.0)
        } else {
            end
        };
        Self {
            window: wanted.window,
            start,
            end,
            watermark: due.saturating_sub(1),
            index: u32::from(wanted.correction),
            tie: assigner.tie(wanted.window),
        }
    }
}

impl Panes {
    /// Emits what is due at watermark `to`, at most `slice_rows` rows of it. A row stays with the one that it takes back.
    pub(crate) fn fire(
        &mut self,
        to: i64,
        slice_rows: usize,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Result<Step, Fault> {
        let rows_each = self.rows_each();
        let mut room = slice_rows.max(rows_each);
        let step = loop {
            if let Some(mut firing) = self.firing.take_if(|_| room >= rows_each) {
                let from = firing.emitted;
                let upto = firing.ids.len().min(from + room / rows_each);
                let ids = &firing.ids[from..upto];
                self.push(&firing, from..upto, output, cx.keys)?;
                room -= ids.len() * rows_each;
                firing.emitted = upto;
                if firing.emitted < firing.ids.len() {
                    self.firing = Some(firing);
                    break Step::More;
                }
                self.close(to, cx.keys);
            } else if self.firing.is_some() {
                break Step::More;
            } else {
                match self.due(to) {
                    None => {
                        self.open_from(to);
                        self.close(to, cx.keys);
                        break Step::Done;
                    }
                    Some(_) if room < rows_each => break Step::More,
                    Some(wanted) => self.begin(wanted, cx)?,
                }
            }
        };
        cx.flush(output);
        Ok(step)
    }

    fn push(
        &mut self,
        firing: &Firing,
        range: std::ops::Range<usize>,
        output: &mut Output,
        keys: &Keys,
    ) -> Result<(), Fault> {
        let Self {
            list,
            blueprint,
            results,
            ..
        } = self;
        let part = firing.part.as_ref().unwrap_or_else(|| {
            let place = list.partition_point(|open| open.number() < firing.pane);
            &list[place].main
        });
        let numbers = if results.tracks() {
            Numbers::Counted(results)
        } else {
            Numbers::Known(firing.numbers.as_ref().map(|numbers| &numbers[range.clone()]))
        };
        let ids = &firing.ids[range];
        output.push(part, ids, &firing.bounds, numbers, &mut blueprint.plugins, keys)
    }

    /// Rows of a result at most.
    pub(super) fn rows_each(&self) -> usize {
        if self.results.retracts() { 2 } else { 1 }
    }

    /// Emits results of a window's keys at once, with all rows that count so far. Their W is `watermark`, the last that
    /// the output was promised: a window downstream that holds the last microsecond of this one is still open then, or as
    /// late as the row that set off the result.
    pub(super) fn emit(
        &mut self,
        window: WindowNumber,
        ids: &[KeyId],
        watermark: i64,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let bounds = Bounds {
            window,
            start: self.assigner.start(window),
            end: self.assigner.end(window),
            watermark,
            index: 0,
            tie: self.assigner.tie(window),
        };
        let part = self.collect_now(window, ids, cx)?;
        let Self {
            list,
            blueprint,
            results,
            ..
        } = self;
        let part = match &part {
            Ok(part) => part,
            Err(place) => &list[*place].main,
        };
        let numbers = Numbers::Counted(results);
        output.push(part, ids, &bounds, numbers, &mut blueprint.plugins, cx.keys)
    }

    /// Emits the early results that are due at processing time `now`, at most `slice_rows` rows of them.
    pub(crate) fn tick(
        &mut self,
        now: i64,
        watermark: i64,
        slice_rows: usize,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Result<Step, Fault> {
        self.results.tick(now);
        let count = (slice_rows / self.rows_each()).max(1);
        let mut due = self.results.take_due(now, count, self.next);
        let step = if due.len() == count { Step::More } else { Step::Done };
        due.sort_unstable();
        for of_window in due.chunk_by(|a, b| a.0 == b.0) {
            let mut ids: Vec<KeyId> = of_window.iter().map(|of| of.1).collect();
            cx.keys.sort(&mut ids);
            self.emit(of_window[0].0, &ids, watermark, output, cx)?;
        }
        cx.flush(output);
        Ok(step)
    }
}
