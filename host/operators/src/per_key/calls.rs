//! Calls of a Wasm `window`: firings with all their rows, put together to calls and cut into parts.
//!
//! Small firings share a call. A firing that does not fit into what is left of a call begins in one of its own, and one
//! that does not fit into a call comes in parts, so that how a window is cut depends on its rows alone.
//!
//! A call that fails is put down to firings where the policy allows it: the call is halved until the firings that fail
//! alone are known. Their rows become dead letters; of a window in parts, those of the part that fails and of all parts
//! after it. What the parts before gave stands.

use wasmill_core::batch::Batch;
use wasmill_core::batch::Slot;
use wasmill_core::column::Column;
use wasmill_core::content::{Content as Guest, ContentColumn, ContentOutputs, Firings};
use wasmill_core::fault::{Fault, GuestFault};
use wasmill_core::kind::Kind as RowKind;
use wasmill_core::operator::Emit;
use wasmill_core::plan::{ContentNode, OnFault, Stream};
use wasmill_core::transform::Reject;
use wasmill_state::Page;

use super::base::Base;
use super::results::{Content, Firing, HiddenRow, hidden};
use super::rows::{Building, Range, head, tell};
use crate::blame::{Attempt, blame};
use crate::dead_letters::{Kind, Refused};

/// Bounds of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Rows at most. Default 65,536.
    pub rows: usize,
    /// Bytes of kept rows at most, but for one row that has more. Default 16 MiB.
    pub bytes: usize,
    /// Firings at most. Default 4,096.
    pub firings: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            rows: 65_536,
            bytes: 16 << 20,
            firings: 4_096,
        }
    }
}

/// A port of a Wasm `window`.
#[derive(Clone, Debug)]
struct Port {
    live: Vec<bool>,
    order: bool,
}

/// Puts calls together and emits what they give.
pub(crate) struct Calls {
    guest: Box<dyn Guest>,
    plugin: String,
    limits: CallLimits,
    ports: Vec<Port>,
    pane: bool,
    open: Vec<Open>,
    batch: Building,
    bytes: usize,
    /// Where each row of the call stands.
    at: Vec<Vec<u8>>,
    /// Rows that go when the call was made.
    gone: Vec<Range>,
    /// Whether a call was made since somebody asked.
    called: bool,
    /// Entries on their way from the store.
    page: Page,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls")
            .field("plugin", &self.plugin)
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}

/// A firing, or a part of one, in a call that is put together.
#[derive(Debug)]
struct Open {
    firing: Firing,
    /// The first row of the call that is its own.
    from: usize,
    first: bool,
    last: bool,
    carry: Vec<u8>,
    /// How many rows came of the parts before.
    children: u32,
}

/// What the next part of a window goes on with.
#[derive(Debug)]
enum Then {
    Goes(Vec<u8>, u32),
    /// An earlier part failed.
    Failed(GuestFault, String),
}

impl Calls {
    /// `outputs` are the streams of the described ports.
    pub(crate) fn new(
        plan: &ContentNode,
        guest: Box<dyn Guest>,
        outputs: &[&Stream],
        limits: CallLimits,
        batch: Building,
    ) -> Self {
        Self {
            guest,
            plugin: plan.plugin.path.display().to_string(),
            limits,
            ports: outputs
                .iter()
                .map(|stream| Port {
                    live: stream.live.clone(),
                    order: stream.order,
                })
                .collect(),
            pane: plan.frame.pane,
            open: Vec::new(),
            batch,
            bytes: 0,
            at: Vec::new(),
            gone: Vec::new(),
            called: false,
            page: Page::default(),
        }
    }

    /// Whether a call was made since this was asked last, or `firings` wait for one.
    pub(crate) fn take_full(&mut self, firings: usize) -> bool {
        std::mem::take(&mut self.called) || self.open.len() >= firings
    }

    /// Makes the call that was put together, the last one of a slice.
    pub(crate) fn end_slice(&mut self, base: &mut Base, out: &mut dyn Emit) -> Result<(), Fault> {
        let done = self.flush(base, out);
        self.called = false;
        done
    }

    /// Removes rows once the calls that need them were made.
    pub(crate) fn forget(&mut self, range: Range) {
        self.gone.push(range);
    }

    /// Takes a firing with its rows. One that has none is none.
    pub(crate) fn add(
        &mut self,
        firing: &Firing,
        content: &Content,
        base: &mut Base,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let rows_left = self.limits.rows.saturating_sub(self.batch.len());
        let bytes_left = self.limits.bytes.saturating_sub(self.bytes);
        let is_full = self.open.len() >= self.limits.firings;
        let mut range = content.range.clone();
        let mut page = std::mem::take(&mut self.page);
        let mut more = range.next(&base.store, &mut page)?;
        let is_small =
            !more && page.len() <= rows_left && page.iter().map(|(_, value)| value.len()).sum::<usize>() <= bytes_left;
        if !self.open.is_empty() && (is_full || !is_small && !fits(content, rows_left, bytes_left, base)?) {
            self.flush(base, out)?;
        }
        let mut then = Then::Goes(Vec::new(), 0);
        let mut first = true;
        self.begin(firing, first, &then);
        loop {
            for (at, value) in page.iter() {
                let row = head(value)?;
                if content.before.is_some_and(|before| !before.holds(&row)) {
                    continue;
                }
                let own = self.batch.len() - self.open.last().map_or(0, |open| open.from);
                let full = self.batch.len() >= self.limits.rows || self.bytes + value.len() > self.limits.bytes;
                if own > 0 && full {
                    then = self.end_part(firing, then, base, out)?;
                    first = false;
                    self.begin(firing, first, &then);
                }
                self.batch.push(&row)?;
                self.bytes += value.len();
                self.at.push(at.to_vec());
            }
            if !more {
                break;
            }
            more = range.next(&base.store, &mut page)?;
        }
        self.page = page;
        let own = self.batch.len() - self.open.last().map_or(0, |open| open.from);
        if own == 0 && first {
            self.open.pop();
            return Ok(());
        }
        if let Some(open) = self.open.last_mut() {
            open.last = true;
        }
        if let Then::Failed(..) = then {
            self.end_part(firing, then, base, out)?;
        } else if !first {
            self.flush(base, out)?;
        }
        Ok(())
    }

    fn begin(&mut self, firing: &Firing, first: bool, then: &Then) {
        let (carry, children) = match then {
            Then::Goes(carry, children) => (carry.clone(), *children),
            Then::Failed(..) => (Vec::new(), 0),
        };
        self.open.push(Open {
            firing: firing.clone(),
            from: self.batch.len(),
            first,
            last: false,
            carry,
            children,
        });
    }

    /// Ends a part of a firing that is alone in its call.
    fn end_part(&mut self, firing: &Firing, then: Then, base: &mut Base, out: &mut dyn Emit) -> Result<Then, Fault> {
        if let Then::Failed(kind, message) = then {
            let batch = self.batch.finish();
            let rows: Vec<u32> = (0..batch.rows() as u32).collect();
            let at = std::mem::take(&mut self.at);
            self.open.clear();
            self.bytes = 0;
            self.refuse_firing(&batch, &at, &rows, kind, &message, base, out)?;
            return Ok(Then::Failed(kind, message));
        }
        debug_assert!(self.open.iter().all(|open| open.firing == *firing), "a part is alone");
        self.call(base, out)
    }

    /// Makes the call that was put together.
    fn flush(&mut self, base: &mut Base, out: &mut dyn Emit) -> Result<(), Fault> {
        if !self.open.is_empty() {
            self.call(base, out)?;
        }
        for range in std::mem::take(&mut self.gone) {
            base.store.remove_range(range.span())?;
        }
        Ok(())
    }

    /// Makes a call, and says what the next part of its last firing goes on with.
    fn call(&mut self, base: &mut Base, out: &mut dyn Emit) -> Result<Then, Fault> {
        self.called = true;
        let open = std::mem::take(&mut self.open);
        let batch = self.batch.finish();
        let at = std::mem::take(&mut self.at);
        self.bytes = 0;
        let ends = open.iter().skip(1).map(|open| open.from).chain([batch.rows()]);
        let spans: Vec<(u32, u32)> = open
            .iter()
            .zip(ends)
            .map(|(open, end)| (open.from as u32, end as u32))
            .collect();
        let guest = &mut self.guest;
        let all: Vec<u32> = (0..open.len() as u32).collect();
        let types = &*base;
        let call = |chosen: Option<&[u32]>| {
            let chosen = chosen.unwrap_or(&all);
            let firings = firings(types, &open, &spans, chosen);
            let part = if chosen.len() == open.len() {
                batch.clone()
            } else {
                let rows = chosen.iter().flat_map(|&number| {
                    let (from, to) = spans[number as usize];
                    from..to
                });
                batch.gather(&rows.collect::<Vec<_>>())
            };
            let done = guest.process(&firings, &part)?;
            Ok((chosen.to_vec(), part, done))
        };
        let attempt = match base.letters.on_fault {
            OnFault::Fail => Attempt::Whole,
            OnFault::DeadLetter | OnFault::Skip => Attempt::Blame,
        };
        let (done, at_fault) = blame(open.len(), attempt, call, |_, _| {})?;
        let mut then = Then::Goes(Vec::new(), 0);
        for (chosen, part, mut outputs) in done {
            let children = self.emit(&open, &chosen, &part, &outputs, base, out);
            let ends_with_last = chosen.last().is_some_and(|&number| number as usize + 1 == open.len());
            if ends_with_last && let (Some(carry), Some(&children)) = (outputs.carry.pop(), children.last()) {
                then = Then::Goes(carry, children);
            }
            let numbers: Vec<u32> = chosen
                .iter()
                .flat_map(|&number| {
                    let (from, to) = spans[number as usize];
                    from..to
                })
                .collect();
            let mut rejects = Vec::new();
            for reject in std::mem::take(&mut outputs.rejects) {
                let row = numbers[reject.row as usize];
                if tell(&mut base.store, &at[row as usize])? {
                    rejects.push(Reject { row, ..reject });
                }
            }
            self.refuse(&batch, Kind::Rejected, &rejects, base, out)?;
        }
        for (kind, reject) in at_fault {
            let (from, to) = spans[reject.row as usize];
            let rows: Vec<u32> = (from..to).collect();
            self.refuse_firing(&batch, &at, &rows, kind, &reject.message, base, out)?;
            if reject.row as usize + 1 == open.len() {
                then = Then::Failed(kind, reject.message);
            }
        }
        Ok(then)
    }

    #[expect(clippy::too_many_arguments, reason = "a dead letter tells all that is known")]
    fn refuse_firing(
        &self,
        batch: &Batch,
        at: &[Vec<u8>],
        rows: &[u32],
        kind: GuestFault,
        message: &str,
        base: &mut Base,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let mut rejects = Vec::new();
        for &row in rows {
            if tell(&mut base.store, &at[row as usize])? {
                rejects.push(Reject {
                    row,
                    message: message.to_owned(),
                });
            }
        }
        self.refuse(batch, Kind::Fault(kind.name()), &rejects, base, out)
    }

    fn refuse(
        &self,
        batch: &Batch,
        kind: Kind,
        rejects: &[Reject],
        base: &mut Base,
        out: &mut dyn Emit,
    ) -> Result<(), Fault> {
        let refused = Refused {
            batch,
            schema: &base.schema,
            plugin: Some(&self.plugin),
            kind,
            rows: rejects,
        };
        base.letters.refuse(&refused, &mut base.counters, out)
    }

    /// Emits what a call gave. For each of its firings how many rows have come of it so far.
    fn emit(
        &self,
        open: &[Open],
        chosen: &[u32],
        part: &Batch,
        outputs: &ContentOutputs,
        base: &mut Base,
        out: &mut dyn Emit,
    ) -> Vec<u32> {
        let mut children: Vec<u32> = chosen.iter().map(|&number| open[number as usize].children).collect();
        for output in &outputs.outputs {
            if output.firing.is_empty() {
                continue;
            }
            let port = &self.ports[output.port];
            let firing_of = |number: u32| &open[chosen[number as usize] as usize].firing;
            let times = |time: fn(&Firing) -> i64| {
                let times: Vec<i64> = output.firing.iter().map(|&number| time(firing_of(number))).collect();
                times
            };
            let mut columns: Vec<Option<Column>> = base
                .key_columns(output.firing.iter().map(|&number| &firing_of(number).key[..]))
                .into_iter()
                .map(Some)
                .collect();
            columns.push(Some(Column::Timestamp(times(|firing| firing.start).into())));
            columns.push(Some(Column::Timestamp(times(|firing| firing.end).into())));
            if self.pane {
                columns.push(Some(Column::Int64(times(|firing| i64::from(firing.pane)).into())));
            }
            columns.extend(output.columns.iter().map(|column| match column {
                ContentColumn::Absent => None,
                ContentColumn::Computed(column) => Some(column.clone()),
                ContentColumn::Input(input) => {
                    let rows = output.rows.as_deref().unwrap_or_default();
                    match part.slots()[*input] {
                        Slot::Absent => None,
                        _ => Some(part.column(*input).gather(rows)),
                    }
                }
            }));
            let slots = columns.into_iter().zip(&port.live).map(|(column, live)| match column {
                Some(column) if *live => Slot::Base(column),
                _ => Slot::Absent,
            });
            let places: Vec<Vec<u8>> = output
                .firing
                .iter()
                .map(|&number| {
                    let child = &mut children[number as usize];
                    let place = [&firing_of(number).place[..], &child.to_be_bytes()].concat();
                    *child += 1;
                    place
                })
                .collect();
            let rows: Vec<HiddenRow<'_>> = output
                .firing
                .iter()
                .zip(&places)
                .map(|(&number, place)| HiddenRow {
                    time: firing_of(number).time,
                    watermark: firing_of(number).watermark,
                    place,
                    kind: RowKind::Insert,
                })
                .collect();
            base.counters.rows_out += rows.len() as u64;
            out.emit(
                output.port,
                Batch::new(slots.collect(), hidden(&rows, port.order, false)),
            );
        }
        children
    }
}

/// Some of a call's firings as the guest sees them.
fn firings(base: &Base, open: &[Open], spans: &[(u32, u32)], chosen: &[u32]) -> Firings {
    let chosen_open = || chosen.iter().map(|&number| &open[number as usize]);
    let mut offsets = vec![0];
    let mut end = 0;
    for &number in chosen {
        let (from, to) = spans[number as usize];
        end += to - from;
        offsets.push(end);
    }
    Firings {
        keys: base.key_columns(chosen_open().map(|open| &open.firing.key[..])),
        starts: chosen_open().map(|open| open.firing.start).collect(),
        ends: chosen_open().map(|open| open.firing.end).collect(),
        panes: chosen_open().map(|open| open.firing.pane).collect(),
        offsets,
        first: chosen_open().map(|open| open.first).collect(),
        last: chosen_open().map(|open| open.last).collect(),
        carry: chosen_open().map(|open| open.carry.clone()).collect(),
    }
}

/// Whether a firing's rows are within bounds.
fn fits(content: &Content, rows: usize, bytes: usize, base: &Base) -> Result<bool, Fault> {
    let (mut count, mut size) = (0, 0);
    base.store
        .scan(content.range.span(), wasmill_state::Direction::Forwards, |_, value| {
            let is_in = match content.before {
                None => true,
                Some(before) => before.holds(&head(value)?),
            };
            if is_in {
                count += 1;
                size += value.len();
            }
            Ok(if count > rows || size > bytes {
                std::ops::ControlFlow::Break(())
            } else {
                std::ops::ControlFlow::Continue(())
            })
        })?;
    Ok(count <= rows && size <= bytes)
}
