//! The joins oracle: every left row beside every right row, by the definition of each join.
//!
//! A row r is late when t < W(r), and takes no part. A null key equals nothing.

use std::collections::BTreeMap;

use wasmill_core::column::Scalar;
use wasmill_core::key;

use crate::Row;
use crate::windows;

/// Which rows come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pairs.
    Inner,
    /// Pairs and left rows alone.
    Left,
    /// Pairs and right rows alone.
    Right,
    /// Pairs and rows of both sides alone.
    Full,
    /// Left rows that have a partner.
    Semi,
    /// Left rows that have none.
    Anti,
}

/// Which rows are partners, if their keys are equal.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// `left.t - before <= right.t <= left.t + after`.
    Within {
        /// How much earlier the right row may be.
        before: i64,
        /// How much later.
        after: i64,
    },
    /// The last right row that is not after the left row.
    AsOf {
        /// How old it may be.
        within: Option<i64>,
    },
    /// Those in a common window; tumbling or sliding.
    Window(windows::Windows),
    /// Those in a common window [s, s + k step), k = 1 to size / step, s a multiple of the size.
    Cumulative {
        /// The length of the longest.
        size: i64,
        /// The length of the shortest.
        step: i64,
    },
    /// Those of one session of both sides' rows.
    Session {
        /// Rows less than this apart are together.
        gap: i64,
    },
}

/// A join.
#[derive(Clone, Debug, PartialEq)]
pub struct Joins {
    /// Which rows come out.
    pub kind: Kind,
    /// Which are partners.
    pub bound: Bound,
    /// The key columns of both sides.
    pub key: [Vec<usize>; 2],
    /// Rows of partitions below this are of the left side.
    pub left_partitions: usize,
}

/// A row that comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The left row, by number.
    pub left: Option<usize>,
    /// The right row.
    pub right: Option<usize>,
    /// The window.
    pub window: Option<(i64, i64)>,
    /// Its event time.
    pub time: i64,
    /// Its watermark.
    pub watermark: i64,
}

/// What becomes of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// In no order.
    pub joined: Vec<Joined>,
    /// The late rows, by number.
    pub late: Vec<usize>,
}

impl Joins {
    /// The side of a row: 0 is the left one.
    pub fn side(&self, row: &Row) -> usize {
        usize::from(row.partition >= self.left_partitions)
    }

    /// The canonical bytes of a row's key, and whether none of it is null.
    pub fn key_of(&self, row: &Row) -> (Vec<u8>, bool) {
        let values: Vec<&Scalar> = self.key[self.side(row)].iter().map(|&c| &row.values[c]).collect();
        let mut encoded = Vec::new();
        for value in &values {
            key::encode(value.as_value(), &mut encoded);
        }
        (encoded, values.iter().all(|value| **value != Scalar::Null))
    }

    /// How far the output is behind the input.
    pub fn lag(&self) -> i64 {
        match (&self.bound, self.kind) {
            (Bound::Within { after, .. }, Kind::Left | Kind::Semi | Kind::Anti) => *after,
            (Bound::Within { before, .. }, Kind::Right) => *before,
            (Bound::Within { before, after }, Kind::Full) => *before.max(after),
            _ => 0,
        }
    }

    /// What becomes of rows. `adds` says of a right row of a changelog whether it is one that is there.
    pub fn evaluate(&self, rows: &[Row], adds: impl Fn(&Row) -> bool) -> Outcome {
        let mut outcome = Outcome::default();
        let mut sides: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
        for (number, row) in rows.iter().enumerate() {
            if row.time < row.watermark {
                outcome.late.push(number);
            } else {
                sides[self.side(row)].push(number);
            }
        }
        let equal = |left: &Row, right: &Row| {
            let ((a, whole), (b, _)) = (self.key_of(left), self.key_of(right));
            whole && a == b
        };
        outcome.joined = match &self.bound {
            Bound::Within { before, after } => self.within(rows, &sides, (*before, *after), equal),
            Bound::AsOf { within } => self.as_of(rows, &sides, *within, equal, adds),
            Bound::Window(spec) => self.windows(rows, &sides, equal, |row| spec.of(row.time)),
            Bound::Cumulative { size, step } => self.windows(rows, &sides, equal, |row| {
                let start = row.time.div_euclid(*size) * size;
                let ends = (1..=size / step).map(|k| start + k * step);
                ends.filter(|&end| row.time < end).map(|end| (start, end)).collect()
            }),
            Bound::Session { gap } => {
                let sessions = self.sessions(rows, &sides, *gap);
                self.windows(rows, &sides, equal, |row| {
                    let (key, _) = self.key_of(row);
                    let of_key = sessions[&key].iter().copied();
                    of_key
                        .filter(|&(first, end)| first <= row.time && row.time < end)
                        .collect()
                })
            }
        };
        outcome
    }

    fn left_alone(&self) -> bool {
        matches!(self.kind, Kind::Left | Kind::Full | Kind::Anti)
    }

    fn right_alone(&self) -> bool {
        matches!(self.kind, Kind::Right | Kind::Full)
    }

    fn shows_pairs(&self) -> bool {
        matches!(self.kind, Kind::Inner | Kind::Left | Kind::Right | Kind::Full)
    }

    fn within(
        &self,
        rows: &[Row],
        sides: &[Vec<usize>; 2],
        (before, after): (i64, i64),
        equal: impl Fn(&Row, &Row) -> bool,
    ) -> Vec<Joined> {
        let partners = |left: usize, right: usize| {
            let (l, r) = (&rows[left], &rows[right]);
            equal(l, r) && l.time - before <= r.time && r.time <= l.time + after
        };
        let mut joined = Vec::new();
        let mut push = |left: Option<usize>, right: Option<usize>, time: i64, decided: i64| {
            joined.push(Joined {
                left,
                right,
                window: None,
                time,
                watermark: decided - self.lag(),
            });
        };
        for &left in &sides[0] {
            let time = rows[left].time;
            let of_left: Vec<usize> = sides[1]
                .iter()
                .copied()
                .filter(|&right| partners(left, right))
                .collect();
            if self.shows_pairs() {
                for &right in &of_left {
                    let both = time.max(rows[right].time);
                    push(Some(left), Some(right), both, both);
                }
            }
            if self.kind == Kind::Semi
                && let Some(first) = of_left.iter().map(|&right| rows[right].time).min()
            {
                push(Some(left), None, time, time.max(first));
            }
            if of_left.is_empty() && self.left_alone() {
                push(Some(left), None, time, time + after);
            }
        }
        for &right in &sides[1] {
            if self.right_alone() && !sides[0].iter().any(|&left| partners(left, right)) {
                let time = rows[right].time;
                push(None, Some(right), time, time + before);
            }
        }
        joined
    }

    fn as_of(
        &self,
        rows: &[Row],
        sides: &[Vec<usize>; 2],
        within: Option<i64>,
        equal: impl Fn(&Row, &Row) -> bool,
        adds: impl Fn(&Row) -> bool,
    ) -> Vec<Joined> {
        let mut joined = Vec::new();
        for &left in &sides[0] {
            let row = &rows[left];
            let before = sides[1]
                .iter()
                .copied()
                .filter(|&right| equal(row, &rows[right]) && rows[right].time <= row.time);
            let version = before
                .max_by_key(|&right| rows[right].order())
                .filter(|&right| adds(&rows[right]))
                .filter(|&right| within.is_none_or(|within| row.time - rows[right].time <= within));
            let right = match (self.kind, version) {
                (Kind::Inner | Kind::Left, Some(right)) => Some(right),
                (Kind::Left | Kind::Anti, None) | (Kind::Semi, Some(_)) => None,
                (Kind::Inner | Kind::Semi, None) | (Kind::Anti, Some(_)) => continue,
                (Kind::Right | Kind::Full, _) => panic!("no kind of an as-of join"),
            };
            joined.push(Joined {
                left: Some(left),
                right,
                window: None,
                time: row.time,
                watermark: row.time,
            });
        }
        joined
    }

    /// The sessions of each key: first time, and last time with the gap.
    fn sessions(&self, rows: &[Row], sides: &[Vec<usize>; 2], gap: i64) -> BTreeMap<Vec<u8>, Vec<(i64, i64)>> {
        let mut times: BTreeMap<Vec<u8>, Vec<i64>> = BTreeMap::new();
        for &number in sides.iter().flatten() {
            let row = &rows[number];
            times.entry(self.key_of(row).0).or_default().push(row.time);
        }
        let sessions = times.into_iter().map(|(key, mut times)| {
            times.sort_unstable();
            let mut sessions: Vec<(i64, i64)> = Vec::new();
            for time in times {
                match sessions.last_mut() {
                    Some((_, end)) if time < *end => *end = time + gap,
                    _ => sessions.push((time, time + gap)),
                }
            }
            (key, sessions)
        });
        sessions.collect()
    }

    fn windows(
        &self,
        rows: &[Row],
        sides: &[Vec<usize>; 2],
        equal: impl Fn(&Row, &Row) -> bool,
        of: impl Fn(&Row) -> Vec<(i64, i64)>,
    ) -> Vec<Joined> {
        let mut joined = Vec::new();
        let mut push = |left: Option<usize>, right: Option<usize>, window: (i64, i64)| {
            joined.push(Joined {
                left,
                right,
                window: Some(window),
                time: window.1 - 1,
                watermark: window.1 - 1,
            });
        };
        for &left in &sides[0] {
            for window in of(&rows[left]) {
                let in_it = |right: &usize| equal(&rows[left], &rows[*right]) && of(&rows[*right]).contains(&window);
                let of_left: Vec<usize> = sides[1].iter().copied().filter(in_it).collect();
                if self.shows_pairs() {
                    for &right in &of_left {
                        push(Some(left), Some(right), window);
                    }
                }
                let comes_alone = if of_left.is_empty() {
                    self.left_alone()
                } else {
                    self.kind == Kind::Semi
                };
                if comes_alone {
                    push(Some(left), None, window);
                }
            }
        }
        for &right in sides[1].iter().filter(|_| self.right_alone()) {
            for window in of(&rows[right]) {
                let in_it = |left: &usize| equal(&rows[*left], &rows[right]) && of(&rows[*left]).contains(&window);
                if !sides[0].iter().any(in_it) {
                    push(None, Some(right), window);
                }
            }
        }
        joined
    }
}
