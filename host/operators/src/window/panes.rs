//! The panes that windows may still need, and the tree that puts windows together from them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wasmill_core::batch::Batch;
use wasmill_core::fault::Fault;
use wasmill_core::plan::{LateResults, Lateness as Judging, WindowFrame};
use wasmill_core::time::Micros;
use wasmill_core::window::{Assigner, Pane, PaneNumber, Span, WindowNumber};

use super::firing::{Context, Firing};
use super::late::{Class, Lateness, judge};
use super::part::{Blueprint, Part, Selected};
use super::plugin::Plugin;
use super::results::{KeyWindow, Results};
use super::spilled::Filter;
use crate::counters::Counters;
use crate::keys::{KeyId, Keys};

/// Up to so many panes of a batch are looked through one by one.
const COUNTED_PANES_MAX: usize = 8;

/// The panes of a window operator.
#[derive(Debug)]
pub(crate) struct Panes {
    pub(super) assigner: Assigner,
    pub(super) allowed: Micros,
    /// Whether rows are judged by the merged watermark instead of their own.
    best_effort: bool,
    /// Whether somebody reads which result a row is.
    pub(super) numbered: bool,
    pub(super) blueprint: Blueprint,
    /// By number.
    pub(super) list: VecDeque<OpenPane>,
    /// Merged main parts of 2^level panes, by the first pane and the level. All of those panes are in the list.
    pub(super) nodes: BTreeMap<(PaneNumber, u32), Part>,
    /// Windows before this have given their result.
    pub(super) next: WindowNumber,
    /// Windows that owe a correction.
    pub(super) corrections: BTreeSet<WindowNumber>,
    pub(super) firing: Option<Firing>,
    pub(super) results: Results,
    /// The rows of the batch at hand, by pane.
    pub(super) sorted: Vec<Bucket>,
    /// The last microsecond of each of those panes.
    lasts: Vec<i64>,
    /// The first microsecond of panes that were given up and have entries in the store.
    pub(super) closed: Vec<i64>,
}

/// A pane that has rows.
#[derive(Debug)]
pub(super) struct OpenPane {
    pub(super) bounds: Pane,
    /// Where its first window ends.
    first_end: i64,
    /// When no row can come any more that is not late for its last window.
    final_at: i64,
    /// The rows that were on time for each of its windows.
    pub(super) main: Part,
    /// All other rows, by class.
    pub(super) others: Vec<(Class, Part)>,
    /// The keys of which the store may have entries, where it has some.
    pub(super) stored: Option<Filter>,
}

impl OpenPane {
    pub(super) fn number(&self) -> PaneNumber {
        self.bounds.number
    }

    /// The part of a class, made where there is none.
    pub(super) fn part_of(&mut self, class: Class, blueprint: &Blueprint, expected: usize, keys: &Keys) -> &mut Part {
        let place = self.others.iter().position(|other| other.0 == class);
        let place = place.unwrap_or_else(|| {
            self.others.push((class, blueprint.part(keys, expected)));
            self.others.len() - 1
        });
        &mut self.others[place].1
    }

    /// The parts beside the main one that count for a window.
    fn counting(&self, window: WindowNumber, correction: bool) -> impl Iterator<Item = &(Class, Part)> {
        self.others
            .iter()
            .filter(move |other| other.0.counts(window, correction))
    }
}

/// Rows of a batch that fall into one pane.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) bounds: Pane,
    first_end: i64,
    pub(super) main: Rows,
    pub(super) others: Vec<(Class, Vec<u32>)>,
}

#[derive(Debug)]
pub(super) enum Rows {
    /// All of the batch: so many.
    All(usize),
    Some(Vec<u32>),
}

/// A result that comes as soon as a row is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtOnce {
    /// The row of the batch at hand.
    pub(crate) row: u32,
    pub(crate) of: KeyWindow,
}

/// What a window is put together from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) window: WindowNumber,
    pub(super) correction: bool,
}

/// A stretch of the tree.
#[derive(Clone, Copy, Debug)]
enum Found {
    Nothing,
    /// The main part of the one pane with rows, by place in the list.
    Pane(usize),
    /// A node of the tree.
    Node((PaneNumber, u32)),
}

impl Panes {
    pub(crate) fn new(assigner: Assigner, frame: &WindowFrame, numbered: bool, blueprint: Blueprint) -> Self {
        let allowed = frame.allowed_lateness;
        // Without allowed lateness nothing comes after a result.
        let immediate = frame.late_results == LateResults::Immediate && allowed > Micros::ZERO;
        Self {
            assigner,
            allowed,
            best_effort: frame.lateness == Judging::BestEffort,
            numbered,
            results: Results::new(frame.early, immediate),
            blueprint,
            list: VecDeque::new(),
            nodes: BTreeMap::new(),
            next: WindowNumber::MIN,
            corrections: BTreeSet::new(),
            firing: None,
            sorted: Vec::new(),
            lasts: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// Puts the rows of a batch before their panes and gives back those that are late for all windows. `merged` is the merged watermark.
    pub(crate) fn sort_in(&mut self, batch: &Batch, times: &[i64], merged: i64, counters: &mut Counters) -> Vec<u32> {
        self.sorted.clear();
        self.lasts.clear();
        let mut late = Vec::new();
        let least = times.iter().copied().min().unwrap_or(i64::MAX);
        let greatest = times.iter().copied().max().unwrap_or(i64::MIN);
        let first = self.bucket(least);
        let first = &mut self.sorted[first];
        // Ends ascend with times, so no row of a batch is late where the earliest with the greatest watermark is not.
        let greatest_watermark = if self.best_effort {
            merged
        } else {
            batch.watermark_max()
        };
        let on_time = greatest_watermark < first.first_end;
        if on_time && greatest <= first.bounds.last && !first.bounds.windows.is_empty() {
            first.main = Rows::All(times.len());
            return late;
        }
        let mut watermarks = batch.hidden().watermarks.cursor();
        for (row, &time) in times.iter().enumerate() {
            let place = self.bucket(time);
            let bucket = &mut self.sorted[place];
            if bucket.bounds.windows.is_empty() {
                counters.unassigned += 1;
                continue;
            }
            let lateness = if on_time {
                Lateness::OnTime
            } else {
                let watermark = if self.best_effort {
                    merged
                } else {
                    watermarks.at(batch.base_row(row))
                };
                judge(
                    &self.assigner,
                    self.allowed,
                    &bucket.bounds,
                    bucket.first_end,
                    watermark,
                )
            };
            match lateness {
                Lateness::OnTime => bucket.main.push(row as u32),
                Lateness::All => late.push(row as u32),
                Lateness::Some(mut class) => {
                    counters.corrected += u64::from(class.admitted < class.on_time);
                    if self.results.immediate {
                        // It counts for results that are not there yet, and corrects the others at once.
                        class.on_time = class.admitted;
                    }
                    match bucket.others.iter_mut().find(|other| other.0 == class) {
                        Some((_, rows)) => rows.push(row as u32),
                        None => bucket.others.push((class, vec![row as u32])),
                    }
                }
            }
        }
        late
    }

    /// The place of the bucket for rows at `time`, made where there is none.
    fn bucket(&mut self, time: i64) -> usize {
        // Few panes, whose rows are mixed: to count is quicker than to branch.
        let place = if self.lasts.len() <= COUNTED_PANES_MAX {
            self.lasts.iter().map(|&last| usize::from(last < time)).sum()
        } else {
            self.lasts.partition_point(|&last| last < time)
        };
        if self.sorted.get(place).is_some_and(|bucket| bucket.bounds.first <= time) {
            return place;
        }
        let open = self.list.partition_point(|pane| pane.bounds.last < time);
        let (bounds, first_end) = match self.list.get(open) {
            Some(pane) if pane.bounds.first <= time => (pane.bounds, pane.first_end),
            _ => {
                let bounds = self.assigner.pane(time);
                (bounds, self.assigner.end(bounds.windows.first))
            }
        };
        let bucket = Bucket {
            bounds,
            first_end,
            main: Rows::Some(Vec::new()),
            others: Vec::new(),
        };
        self.lasts.insert(place, bounds.last);
        self.sorted.insert(place, bucket);
        place
    }

    /// Counts the rows that were sorted in and gives back the results that come before the next row, by row. `ids` holds
    /// the key of each row.
    pub(crate) fn at_once(&mut self, ids: &[KeyId]) -> Vec<AtOnce> {
        let mut at_once = Vec::new();
        if !self.results.tracks() {
            return at_once;
        }
        let mut rows: Vec<(u32, &Pane, WindowNumber)> = Vec::new();
        for Bucket {
            bounds, main, others, ..
        } in &self.sorted
        {
            match main {
                Rows::All(count) => rows.extend((0..*count as u32).map(|row| (row, bounds, bounds.windows.first))),
                Rows::Some(main) => rows.extend(main.iter().map(|&row| (row, bounds, bounds.windows.first))),
            }
            for (class, others) in others {
                rows.extend(others.iter().map(|&row| (row, bounds, class.on_time)));
            }
        }
        rows.sort_unstable_by_key(|row| row.0);
        for (row, bounds, first) in rows {
            let id = ids[row as usize];
            for window in first..=bounds.windows.last {
                if self.assigner.repeats(window) {
                    continue;
                }
                let of = (window, id);
                let due = if window < self.next {
                    self.results.immediate
                } else {
                    self.results.count(of)
                };
                if due {
                    at_once.push(AtOnce { row, of });
                }
            }
        }
        at_once
    }

    /// Hands each part the rows of `range` that were sorted in for it: `None` for all of the batch.
    pub(crate) fn for_each_sorted(
        &mut self,
        range: std::ops::Range<u32>,
        keys: &mut Keys,
        mut add: impl FnMut(&mut Part, &mut [Plugin], &mut Keys, Option<&[u32]>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let sorted = std::mem::take(&mut self.sorted);
        for bucket in &sorted {
            let stretch: Vec<u32>;
            let (main, expected) = match &bucket.main {
                Rows::All(rows) if range.len() == *rows => (Some(None), *rows),
                Rows::All(_) => {
                    stretch = range.clone().collect();
                    (Some(Some(&stretch[..])), stretch.len())
                }
                Rows::Some(rows) => {
                    let rows = within(rows, &range);
                    ((!rows.is_empty()).then_some(Some(rows)), rows.len())
                }
            };
            if main.is_none() && bucket.others.iter().all(|other| within(&other.1, &range).is_empty()) {
                continue;
            }
            let place = self.open(bucket.bounds, bucket.first_end, expected, keys);
            let pane = &mut self.list[place];
            if let Some(chosen) = main {
                add(&mut pane.main, &mut self.blueprint.plugins, keys, chosen)?;
            }
            for (class, rows) in &bucket.others {
                let rows = within(rows, &range);
                if rows.is_empty() {
                    continue;
                }
                let part = pane.part_of(*class, &self.blueprint, rows.len(), keys);
                add(part, &mut self.blueprint.plugins, keys, Some(rows))?;
                let owed = class.owed(pane.bounds.windows);
                self.corrections
                    .extend(owed.filter(|&window| !self.assigner.repeats(window)));
            }
        }
        self.sorted = sorted;
        Ok(())
    }

    /// The place of a pane in the list, opened where it is not there.
    pub(super) fn open(&mut self, bounds: Pane, first_end: i64, expected: usize, keys: &Keys) -> usize {
        let number = bounds.number;
        let place = self.list.partition_point(|pane| pane.bounds.number < number);
        if self.list.get(place).is_none_or(|pane| pane.bounds.number != number) {
            let last_end = self.assigner.end(bounds.windows.last);
            let pane = OpenPane {
                bounds,
                first_end,
                final_at: last_end.saturating_add_unsigned(self.allowed.0),
                main: self.blueprint.part(keys, expected),
                others: Vec::new(),
                stored: None,
            };
            self.list.insert(place, pane);
        }
        place
    }

    /// The window whose result or correction is due first, where that is by `to`. Of two due at once, the correction,
    /// whose window ends earlier, comes first.
    pub(super) fn due(&self, to: i64) -> Option<Wanted> {
        let place = self.list.partition_point(|pane| pane.bounds.windows.last < self.next);
        let on_time = self.list.get(place).map(|pane| {
            let window = pane.bounds.windows.first.max(self.next);
            (self.assigner.end(window), true, window)
        });
        let correction = self.corrections.first().map(|&window| {
            let end = self.assigner.end(window);
            (end.saturating_add_unsigned(self.allowed.0), false, window)
        });
        let (at, is_result, window) = on_time.into_iter().chain(correction).min()?;
        (at <= to).then_some(Wanted {
            window,
            correction: !is_result,
        })
    }

    /// Everything that ends by `to` has given its result: what comes later for it does not open it again.
    pub(super) fn open_from(&mut self, to: i64) {
        if i64::MIN < to && to < i64::MAX {
            self.next = self.next.max(self.assigner.first_open(to));
        }
    }

    /// Finds out again, at merged watermark `merged`, which results the panes have given and which corrections they owe.
    pub(super) fn resume(&mut self, merged: i64) {
        self.open_from(merged);
        let Self {
            list,
            corrections,
            assigner,
            allowed,
            ..
        } = self;
        for pane in &*list {
            let owed = pane.others.iter().flat_map(|other| other.0.owed(pane.bounds.windows));
            corrections.extend(owed.filter(|&window| {
                let due = assigner.end(window).saturating_add_unsigned(allowed.0);
                due > merged && !assigner.repeats(window)
            }));
        }
    }

    /// Takes a window that is due off the list of those, and puts its rows together.
    pub(super) fn begin(&mut self, wanted: Wanted, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Wanted { window, correction } = wanted;
        if !correction && self.assigner.repeats(window) {
            self.next = window + 1;
            return Ok(());
        }
        let span = self.assigner.panes(window);
        let only = if correction {
            self.corrections.remove(&window);
            Some(self.keys_to_correct(window, span, cx))
        } else {
            self.next = window + 1;
            None
        };
        let numbers = only
            .as_deref()
            .filter(|_| self.numbered)
            .map(|ids| self.numbers(window, span, ids));
        let places = self.places(span);
        let apart = !correction && places.len() == 1 && {
            let pane = &self.list[places.start];
            pane.counting(window, correction).next().is_none()
        };
        let (part, ids) = if apart {
            self.settle(places.start, cx)?;
            let pane = &self.list[places.start];
            (None, pane.main.ids_in_order(cx.keys))
        } else {
            let part = self.collect(wanted, span, only.as_deref(), cx)?;
            let ids = only.unwrap_or_else(|| part.ids_in_order(cx.keys));
            (Some(part), ids)
        };
        self.firing = Some(Firing::new(
            wanted,
            &self.assigner,
            self.allowed,
            span.first,
            part,
            ids,
            numbers,
        ));
        Ok(())
    }

    /// Which results of their keys' window corrections are: the first where no row was on time.
    pub(super) fn numbers(&self, window: WindowNumber, span: Span, ids: &[KeyId]) -> Vec<u32> {
        let panes = self.list.range(self.places(span));
        let has_result = |id: KeyId| {
            panes.clone().any(|pane| {
                let mut others = pane.counting(window, false);
                pane.main.group_of(id).is_some() || others.any(|other| other.1.group_of(id).is_some())
            })
        };
        ids.iter().map(|&id| u32::from(has_result(id))).collect()
    }

    /// Puts some keys' rows of a window together as they are, whether all have come or not, without the tree. `Err`: the
    /// main part of the one pane with rows, by place in the list, has them all.
    pub(super) fn collect_now(
        &mut self,
        window: WindowNumber,
        only: &[KeyId],
        cx: &mut Context<'_>,
    ) -> Result<Result<Part, usize>, Fault> {
        let wanted = Wanted {
            window,
            correction: false,
        };
        let places = self.places(self.assigner.panes(window));
        let ordered = self.blueprint.plugins.iter().any(|plugin| !plugin.commutative());
        let alone = places.len() == 1 && !ordered && {
            let pane = &self.list[places.start];
            pane.counting(window, false).next().is_none()
        };
        if alone {
            return Ok(Err(places.start));
        }
        let mut whole = self.blueprint.merged(cx.keys, only.len());
        for place in places {
            if ordered {
                let part = self.leaf(place, wanted, Some(only), cx)?;
                let selected = Selected {
                    only: Some(only),
                    ordered: true,
                };
                self.merge(&mut whole, &part, selected, cx)?;
                continue;
            }
            let Self { list, blueprint, .. } = self;
            let pane = &list[place];
            let counting = pane.counting(window, false).map(|other| &other.1);
            for part in std::iter::once(&pane.main).chain(counting) {
                let selected = Selected {
                    only: Some(only),
                    ordered: true,
                };
                whole.merge(part, selected, &mut blueprint.plugins, cx.keys, cx.scratch)?;
            }
        }
        Ok(Ok(whole))
    }

    /// Which keys have rows that call for a correction, in order.
    fn keys_to_correct(&self, window: WindowNumber, span: Span, cx: &mut Context<'_>) -> Vec<u32> {
        let panes = self.list.range(self.places(span));
        let mut ids: Vec<u32> = panes
            .flat_map(|pane| &pane.others)
            .filter(|other| other.0.corrects(window))
            .flat_map(|other| other.1.touched())
            .copied()
            .collect();
        ids.sort_unstable();
        ids.dedup();
        cx.keys.sort(&mut ids);
        ids
    }

    /// The places in the list of the panes of a span.
    pub(super) fn places(&self, span: Span) -> std::ops::Range<usize> {
        let from = self.list.partition_point(|pane| pane.bounds.number < span.first);
        let to = self.list.partition_point(|pane| pane.bounds.number <= span.last);
        from..to
    }

    /// Puts a window together: all its keys, or only some.
    pub(super) fn collect(
        &mut self,
        wanted: Wanted,
        span: Span,
        only: Option<&[u32]>,
        cx: &mut Context<'_>,
    ) -> Result<Part, Fault> {
        let mut whole = self.blueprint.merged(cx.keys, only.map_or(cx.keys.len(), <[u32]>::len));
        let ordered = self.blueprint.plugins.iter().any(|plugin| !plugin.commutative());
        let mut from = span.first;
        while from <= span.last {
            let mut level = from.trailing_zeros().min(i128::BITS - 2);
            while from + ((1 << level) - 1) > span.last {
                level -= 1;
            }
            let last = from + ((1 << level) - 1);
            if ordered && self.any_counting(Span { first: from, last }, wanted) {
                if let Some(part) = self.assemble(level, from >> level, wanted, only, cx)? {
                    self.merge(&mut whole, &part, Selected { only, ordered: true }, cx)?;
                }
            } else {
                let found = self.node(level, from >> level, cx)?;
                self.merge_found(&mut whole, found, only, cx)?;
            }
            from = last + 1;
        }
        if !ordered {
            for place in self.places(span) {
                let Self { list, blueprint, .. } = self;
                for (_, part) in list[place].counting(wanted.window, wanted.correction) {
                    whole.merge(
                        part,
                        Selected { only, ordered: true },
                        &mut blueprint.plugins,
                        cx.keys,
                        cx.scratch,
                    )?;
                }
            }
        }
        Ok(whole)
    }

    fn any_counting(&self, span: Span, wanted: Wanted) -> bool {
        let mut panes = self.list.range(self.places(span));
        panes.any(|pane| pane.counting(wanted.window, wanted.correction).next().is_some())
    }

    /// A stretch of panes some of which have rows beside their main ones that count. The same merges as in the tree are
    /// made, so that each key's rows are put together in one way whatever other keys have.
    fn assemble(
        &mut self,
        level: u32,
        number: i128,
        wanted: Wanted,
        only: Option<&[u32]>,
        cx: &mut Context<'_>,
    ) -> Result<Option<Part>, Fault> {
        let first = number << level;
        let span = Span {
            first,
            last: first + ((1 << level) - 1),
        };
        let places = self.places(span);
        if places.is_empty() {
            return Ok(None);
        }
        if level == 0 {
            return self.leaf(places.start, wanted, only, cx).map(Some);
        }
        let mut whole = self.blueprint.merged(cx.keys, only.map_or(cx.keys.len(), <[u32]>::len));
        if self.any_counting(span, wanted) {
            for half in [2 * number, 2 * number + 1] {
                if let Some(part) = self.assemble(level - 1, half, wanted, only, cx)? {
                    self.merge(&mut whole, &part, Selected { only, ordered: true }, cx)?;
                }
            }
        } else {
            let found = self.node(level, number, cx)?;
            self.merge_found(&mut whole, found, only, cx)?;
        }
        Ok(Some(whole))
    }

    /// All rows of one pane that count for a window.
    fn leaf(
        &mut self,
        place: usize,
        wanted: Wanted,
        only: Option<&[u32]>,
        cx: &mut Context<'_>,
    ) -> Result<Part, Fault> {
        let mut whole = self.blueprint.merged(cx.keys, only.map_or(cx.keys.len(), <[u32]>::len));
        let selected = Selected { only, ordered: false };
        let Self { list, blueprint, .. } = self;
        let plugins = &mut blueprint.plugins;
        let pane = &mut list[place];
        whole.merge(&pane.main, selected, plugins, cx.keys, cx.scratch)?;
        for (_, part) in pane.counting(wanted.window, wanted.correction) {
            whole.merge(part, selected, plugins, cx.keys, cx.scratch)?;
        }
        let others = pane
            .others
            .iter_mut()
            .filter(|other| other.0.counts(wanted.window, wanted.correction));
        let mut parts: Vec<&mut Part> = std::iter::once(&mut pane.main)
            .chain(others.map(|o| &mut o.1))
            .collect();
        whole.accumulate_kept(&mut parts, plugins, &mut cx.rejects)?;
        Ok(whole)
    }

    /// The merged main parts of 2^level panes. All of them are complete: their first window is due.
    fn node(&mut self, level: u32, number: i128, cx: &mut Context<'_>) -> Result<Found, Fault> {
        let first = number << level;
        let last = first + ((1 << level) - 1);
        if self.nodes.contains_key(&(first, level)) {
            return Ok(Found::Node((first, level)));
        }
        let mut with_rows = self
            .places(Span { first, last })
            .filter(|&place| !self.list[place].main.is_empty());
        let (one, more) = (with_rows.next(), with_rows.next());
        let Some(one) = one else {
            return Ok(Found::Nothing);
        };
        if more.is_none() {
            self.settle(one, cx)?;
            return Ok(Found::Pane(one));
        }
        let left = self.node(level - 1, 2 * number, cx)?;
        let right = self.node(level - 1, 2 * number + 1, cx)?;
        let expected = self.keys_of(left).max(self.keys_of(right));
        let mut whole = self.blueprint.merged(cx.keys, expected);
        self.merge_found(&mut whole, left, None, cx)?;
        self.merge_found(&mut whole, right, None, cx)?;
        self.nodes.insert((first, level), whole);
        Ok(Found::Node((first, level)))
    }

    fn keys_of(&self, found: Found) -> usize {
        match found {
            Found::Nothing => 0,
            Found::Pane(place) => self.list[place].main.touched().len(),
            Found::Node(node) => self.nodes[&node].touched().len(),
        }
    }

    fn merge_found(
        &mut self,
        into: &mut Part,
        found: Found,
        only: Option<&[u32]>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let part = match found {
            Found::Nothing => return Ok(()),
            Found::Pane(place) => &self.list[place].main,
            Found::Node(node) => &self.nodes[&node],
        };
        let selected = Selected { only, ordered: true };
        into.merge(part, selected, &mut self.blueprint.plugins, cx.keys, cx.scratch)
    }

    fn merge(
        &mut self,
        into: &mut Part,
        part: &Part,
        selected: Selected<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        into.merge(part, selected, &mut self.blueprint.plugins, cx.keys, cx.scratch)
    }

    /// Gives the aggregates that want their rows in order those of a pane's main part, which is complete.
    fn settle(&mut self, place: usize, cx: &mut Context<'_>) -> Result<(), Fault> {
        let pane = &mut self.list[place];
        let rows_come_again = self.allowed > Micros::ZERO || pane.bounds.windows.first < pane.bounds.windows.last;
        pane.main
            .settle(&mut self.blueprint.plugins, rows_come_again, &mut cx.rejects)
    }

    /// Gives up the panes that no window needs any more.
    pub(super) fn close(&mut self, to: i64, keys: &mut Keys) {
        while let Some(pane) = self.list.front() {
            let last = pane.bounds.windows.last;
            let owed = self.corrections.first().is_some_and(|&window| window <= last);
            if pane.final_at > to || self.next <= last || owed {
                break;
            }
            if let Some(pane) = self.list.pop_front() {
                if pane.stored.is_some() {
                    self.closed.push(pane.bounds.first);
                }
                keys.release(&pane.main.into_touched());
                for (_, part) in pane.others {
                    keys.release(&part.into_touched());
                }
            }
        }
        self.forget_results(to);
        if self.nodes.is_empty() {
            return;
        }
        let window = self.corrections.first().map_or(self.next, |&owed| owed.min(self.next));
        let first = self.assigner.panes(window).first;
        self.nodes = self.nodes.split_off(&(first, 0));
    }

    /// Forgets what was known of the results of windows that give none any more.
    fn forget_results(&mut self, to: i64) {
        if !self.results.tracks() {
            return;
        }
        while let Some(window) = self.results.first_window().filter(|&window| self.is_over(window, to)) {
            self.results.forget(window);
        }
    }

    /// Whether a window gives no result any more at merged watermark `to`.
    pub(super) fn is_over(&self, window: WindowNumber, to: i64) -> bool {
        let open = self.corrections.first().map_or(self.next, |&owed| owed.min(self.next));
        window < open && self.assigner.end(window).saturating_add_unsigned(self.allowed.0) <= to
    }

    /// When the clock is to tick.
    pub(crate) fn wake_at(&self) -> Option<i64> {
        self.results.wake_at()
    }

    /// About how many bytes the panes take.
    pub(crate) fn size_bytes(&self) -> usize {
        let panes: usize = self
            .list
            .iter()
            .map(|pane| pane.main.size_bytes() + pane.others.iter().map(|o| o.1.size_bytes()).sum::<usize>())
            .sum();
        panes + self.nodes.values().map(Part::size_bytes).sum::<usize>() + self.results.size_bytes()
    }
}

/// Those of ascending rows that lie in a range.
fn within<'a>(rows: &'a [u32], range: &std::ops::Range<u32>) -> &'a [u32] {
    let from = rows.partition_point(|&row| row < range.start);
    let to = rows.partition_point(|&row| row < range.end);
    &rows[from..to]
}

impl Rows {
    fn push(&mut self, row: u32) {
        match self {
            Self::Some(rows) => rows.push(row),
            Self::All(_) => unreachable!("all rows are taken at once"),
        }
    }
}
