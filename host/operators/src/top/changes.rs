//! The first rows of all time, as a changelog.

use wasmill_core::fault::Fault;
use wasmill_core::kind::Kind;
use wasmill_core::plan::TopNode;
use wasmill_state::{Direction, Page, Span};

use super::Context;
use super::ranking::{Entered, NUMBERS, ROWS};
use crate::stored::building::Facts;
use crate::stored::ordered::Ordered;
use crate::stored::place_of;

/// The first bytes of its entries.
pub(super) const TABLES: [u8; 2] = [ROWS, NUMBERS];

/// What is known between calls, beside the store.
#[derive(Debug)]
pub(super) struct Changes {
    page: Page,
    has_ranks: bool,
}

impl Changes {
    pub(super) fn new(plan: &TopNode) -> Self {
        Self {
            page: Page::default(),
            has_ranks: plan.rank,
        }
    }

    /// Takes the rows with t < `to`, in order, until a slice is full. Whether all were.
    pub(super) fn take_due(&mut self, ordered: &mut Ordered, to: i64, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let (mut owner, mut place) = (Vec::new(), Vec::new());
        while let Some(input) = ordered.next(to, cx.store)? {
            if cx.building.is_full() {
                return Ok(false);
            }
            let (batch, row) = ordered.row(input);
            cx.input.owner(batch, row, &mut owner);
            place_of(batch, row, &mut place);
            let time = batch.time(row);
            let entered = cx
                .ranking
                .enter(cx.input, batch, row, &place, &owner, cx.serials, cx.store)?;
            if let Entered::Yes { out } = entered {
                self.tell(time, &place, out.as_deref(), cx)?;
            }
            ordered.advance(input);
        }
        Ok(true)
    }

    /// Tells what a row that is among the first has changed.
    fn tell(&mut self, time: i64, place: &[u8], out: Option<&[u8]>, cx: &mut Context<'_>) -> Result<(), Fault> {
        let all = Span::Prefix(&cx.ranking.key[..cx.ranking.start]);
        let n = cx.ranking.n.get();
        let entered = if self.has_ranks {
            cx.store.page(all, Direction::Forwards, n, usize::MAX, &mut self.page)?;
            self.page.iter().position(|(key, _)| key == cx.ranking.key)
        } else {
            None
        };
        let entered = entered.unwrap_or(0);
        let mut child = 0_u32;
        let mut push = |kept: &[u8], rank: usize, kind: Kind, cx: &mut Context<'_>| {
            let facts = Facts {
                time,
                watermark: time,
                kind,
            };
            let number = child;
            child += 1;
            cx.push(kept, rank, facts, |bytes| {
                bytes.extend_from_slice(place);
                bytes.extend(number.to_be_bytes());
            })
        };
        if let Some(out) = out {
            push(out, n, Kind::Delete, cx)?;
        }
        if self.has_ranks {
            for behind in (entered + 1..self.page.len()).rev() {
                let kept = self.page.entry(behind).1;
                push(kept, behind, Kind::UpdateBefore, cx)?;
                push(kept, behind + 1, Kind::UpdateAfter, cx)?;
            }
            let kept = self.page.entry(entered).1;
            push(kept, entered + 1, Kind::Insert, cx)
        } else {
            let kept = cx.store.get(&cx.ranking.key, <[u8]>::to_vec)?.unwrap_or_default();
            push(&kept, 0, Kind::Insert, cx)
        }
    }
}
