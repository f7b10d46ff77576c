//! Results that come before a window ends, or at once after it, of keys that may be in the store.

use wasmill_core::fault::Fault;
use wasmill_core::operator::Step;
use wasmill_core::plan::EarlyWhen;
use wasmill_core::window::WindowNumber;
use wasmill_state::{Direction, Page, Span};

use super::{Spilled, keeps_rows, layout};
use crate::keys::KeyId;
use crate::window::firing::Context;
use crate::window::output::Output;
use crate::window::panes::{Panes, Wanted};
use crate::window::results::Wake;

/// Keys whose times are set at once.
const PAGE_ENTRIES: usize = 1_024;
const PAGE_BYTES: usize = 1 << 20;

impl Spilled {
    /// Reads all that counts for a result of a key's window and is not in memory.
    pub(in crate::window) fn fetch_window(
        &mut self,
        window: WindowNumber,
        id: KeyId,
        panes: &mut Panes,
        cx: &mut Context<'_>,
    ) -> Result<usize, Fault> {
        if !self.active {
            return Ok(0);
        }
        let wanted = Wanted {
            window,
            correction: false,
        };
        let span = panes.assigner.panes(window);
        self.load_key(wanted, span, id, false, panes, cx)
    }

    /// Emits the early results that are due at processing time `now`, at most `slice_rows` rows of them.
    pub(in crate::window) fn tick(
        &mut self,
        now: i64,
        watermark: i64,
        slice_rows: usize,
        panes: &mut Panes,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Result<Step, Fault> {
        self.evict(panes, cx.keys)?;
        self.set_times(now, panes)?;
        let count = (slice_rows / panes.rows_each()).max(1);
        let mut due = self.take_due(now, count, panes.next)?;
        let step = if due.len() == count { Step::More } else { Step::Done };
        due.sort_unstable();
        for of_window in due.chunk_by(|a, b| a.0 == b.0) {
            let window = of_window[0].0;
            let mut keys = of_window.iter().map(|of| &of.1);
            loop {
                let (mut ids, mut bytes) = (Vec::new(), 0);
                for key in keys.by_ref() {
                    let id = cx.keys.intern_canonical(key);
                    ids.push(id);
                    self.cached = true;
                    bytes += self.fetch_window(window, id, panes, cx)?;
                    self.fetch_record(&mut panes.results, window, id, cx.keys)?;
                    if bytes >= self.slice_bytes {
                        break;
                    }
                }
                if ids.is_empty() {
                    break;
                }
                panes.emit(window, &ids, watermark, output, cx)?;
                self.forget_read(panes, cx)?;
            }
        }
        self.wake = self.next_wake()?;
        cx.flush(output);
        Ok(step)
    }

    /// Gives up what was read for results. Kept rows were taken out of the store, so they go back.
    fn forget_read(&mut self, panes: &mut Panes, cx: &mut Context<'_>) -> Result<(), Fault> {
        if keeps_rows(&panes.blueprint.plugins) {
            return self.evict(panes, cx.keys);
        }
        self.put_records(&mut panes.results, cx.keys)?;
        *cx.keys = cx.keys.emptied();
        let Panes { list, blueprint, .. } = panes;
        for pane in list {
            super::empty(pane, blueprint, cx.keys);
        }
        self.cached = false;
        Ok(())
    }

    /// Rows since the last tick came at `now`.
    fn set_times(&mut self, now: i64, panes: &Panes) -> Result<(), Fault> {
        let Some(EarlyWhen::Every(every)) = panes.results.early.map(|early| early.when) else {
            return Ok(());
        };
        let due = now.saturating_add_unsigned(every.0);
        let asked = Span::Prefix(&[layout::ASKED]);
        let mut page = Page::default();
        loop {
            let more = self
                .store
                .page(asked, Direction::Forwards, PAGE_ENTRIES, PAGE_BYTES, &mut page)?;
            for (at, _) in page.iter() {
                self.store.remove(at)?;
                let (window, key) = layout::read_window(&at[1..])?;
                self.buffers.key.clear();
                self.buffers.key.extend_from_slice(key);
                let mut at = at.to_vec();
                at[0] = layout::RESULTS;
                if let Some(mut record) = self.record(&at)?
                    && record.wake == Wake::Asked
                {
                    record.wake = Wake::At(due);
                    self.put_record(window, &record)?;
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Takes at most `count` keys' windows, from `open` on, of which early results are due by `now`.
    fn take_due(&mut self, now: i64, count: usize, open: WindowNumber) -> Result<Vec<(WindowNumber, Vec<u8>)>, Fault> {
        let mut due = Vec::new();
        let mut page = Page::default();
        while due.len() < count {
            let timers = Span::Prefix(&[layout::TIMERS]);
            let wanted = (count - due.len()).min(PAGE_ENTRIES);
            self.store
                .page(timers, Direction::Forwards, wanted, PAGE_BYTES, &mut page)?;
            if page.is_empty() {
                break;
            }
            for (timer, _) in page.iter() {
                let at = layout::time_of(timer)?;
                if at > now {
                    return Ok(due);
                }
                self.store.remove(timer)?;
                let (window, key) = layout::read_window(&timer[layout::TIMER_HEAD_BYTES..])?;
                self.buffers.key.clear();
                self.buffers.key.extend_from_slice(key);
                let record_at = [&layout::of_window(layout::RESULTS, window)[..], key].concat();
                if let Some(mut record) = self.record(&record_at)?
                    && record.wake == Wake::At(at)
                    && window >= open
                {
                    record.wake = Wake::Never;
                    self.put_record(window, &record)?;
                    due.push((window, key.to_vec()));
                }
            }
        }
        Ok(due)
    }

    fn next_wake(&self) -> Result<Option<i64>, Fault> {
        let first = |table| self.store.first(Span::Prefix(&[table]), Direction::Forwards);
        if first(layout::ASKED)?.is_some() {
            return Ok(Some(i64::MIN));
        }
        first(layout::TIMERS)?
            .map(|(timer, _)| layout::time_of(&timer))
            .transpose()
    }
}
