//! The shapes in which a test is run: what must show in no result.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;

use wasmill_component::Isolation;
use wasmill_core::plan::StateBackend;

use crate::simulation::Shape;

/// Points of restoring that are tried for a test at most; of more steps so many are drawn.
pub(crate) const RESTORES_MAX: usize = 12;

/// Rows of a batch that hold all rows of a step.
const ALL_ROWS: usize = 1 << 20;

/// How operators run between two restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) shape: Shape,
    pub(crate) backend: StateBackend,
}

/// A way to run a test.
#[derive(Clone, Debug)]
pub(crate) struct Variation {
    /// "with 3 subtasks and a restore after step 4".
    pub(crate) name: String,
    pub(crate) form: Form,
    /// After which steps, from 0, everything is saved and restored, and in which form it goes on.
    pub(crate) restores: BTreeMap<usize, Form>,
}

/// What a test allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freedom {
    /// Results may not depend on how rows are cut and spread.
    pub(crate) cuts: bool,
    /// There are plugins, whose instances may be fresh.
    pub(crate) plugins: bool,
    pub(crate) steps: usize,
    pub(crate) seed: u64,
}

/// Variations, and whether points of restoring were drawn.
#[derive(Debug)]
pub(crate) struct Variations {
    pub(crate) all: Vec<Variation>,
    pub(crate) drawn: bool,
}

fn form(workers: usize, rows: usize) -> Form {
    Form {
        shape: Shape {
            workers: NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN),
            batch_rows: NonZeroUsize::new(rows).unwrap_or(NonZeroUsize::MIN),
            isolation: Isolation::Instance,
        },
        backend: StateBackend::Memory,
    }
}

fn disk(form: Form) -> Form {
    Form {
        backend: StateBackend::Disk,
        ..form
    }
}

fn subtasks(workers: usize) -> String {
    if workers == 1 {
        "1 subtask".to_owned()
    } else {
        format!("{workers} subtasks")
    }
}

fn batches(rows: usize) -> String {
    if rows == 1 {
        "batches of 1 row".to_owned()
    } else {
        format!("batches of {rows} rows")
    }
}

/// The way in which expectations are judged: one subtask, whole batches, state in memory.
pub(crate) fn plain() -> Variation {
    Variation {
        name: "as written".to_owned(),
        form: form(1, ALL_ROWS),
        restores: BTreeMap::new(),
    }
}

/// All others.
pub(crate) fn others(freedom: Freedom) -> Variations {
    let mut all = Vec::new();
    let mut simple = |name: String, form: Form| {
        all.push(Variation {
            name,
            form,
            restores: BTreeMap::new(),
        });
    };
    if freedom.cuts {
        for rows in [1, 2, 7] {
            simple(format!("with {}", batches(rows)), form(1, rows));
        }
        for (workers, rows) in [(2, 1), (3, 2), (4, 7)] {
            simple(format!("with {}", subtasks(workers)), form(workers, ALL_ROWS));
            simple(
                format!("with {} and {}", subtasks(workers), batches(rows)),
                form(workers, rows),
            );
        }
    }
    simple("with state on disk".to_owned(), disk(form(1, ALL_ROWS)));
    if freedom.plugins {
        let mut fresh = form(1, if freedom.cuts { 1 } else { ALL_ROWS });
        fresh.shape.isolation = Isolation::Call;
        simple("with a fresh instance of the plugin for each call".to_owned(), fresh);
    }
    let points = draw(freedom.steps, RESTORES_MAX, freedom.seed);
    let drawn = points.len() < freedom.steps;
    all.extend(
        points
            .into_iter()
            .enumerate()
            .map(|(number, step)| restore(number, step, freedom.cuts)),
    );
    if freedom.steps > 0 {
        all.push(every_step(freedom));
    }
    Variations { all, drawn }
}

/// One restore after a step: each with another number of subtasks before and after, and another backend.
fn restore(number: usize, step: usize, cuts: bool) -> Variation {
    let (before, after) = if cuts {
        ([1, 2, 3, 4][number % 4], [3, 1, 4, 2][number % 4])
    } else {
        (1, 1)
    };
    let rows = if cuts {
        [ALL_ROWS, 1, 7, 2][number / 2 % 4]
    } else {
        ALL_ROWS
    };
    let to_disk = number % 2 == 1;
    let first = form(before, rows);
    let second = form(after, rows);
    let (first, second) = if to_disk {
        (first, disk(second))
    } else {
        (disk(first), second)
    };
    let mut name = format!("with {}", subtasks(before));
    if rows != ALL_ROWS {
        let _ = write!(name, ", {}", batches(rows));
    }
    let place = if to_disk { "on disk" } else { "in memory" };
    let _ = write!(
        name,
        " and a restore after step {}, to {} with state {place}",
        step + 1,
        subtasks(after)
    );
    Variation {
        name,
        form: first,
        restores: BTreeMap::from([(step, second)]),
    }
}

/// A restore after every step, on disk, so that nothing but what is saved goes on.
fn every_step(freedom: Freedom) -> Variation {
    let workers = |step: usize| if freedom.cuts { [2, 3, 1, 4][step % 4] } else { 1 };
    let at = |step: usize| disk(form(workers(step), ALL_ROWS));
    Variation {
        name: "with a restore after every step".to_owned(),
        form: at(0),
        restores: (0..freedom.steps).map(|step| (step, at(step + 1))).collect(),
    }
}

/// Which of so many steps: all, or `max` that are drawn, in ascending order.
fn draw(steps: usize, max: usize, seed: u64) -> Vec<usize> {
    let mut left: Vec<usize> = (0..steps).collect();
    let mut state = seed;
    while left.len() > max {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
        let mut random = state;
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        random ^= random >> 31;
        left.remove((random % left.len() as u64) as usize);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_a_short_test_is_a_point_of_restoring() {
        assert_eq!(draw(5, 12, 7), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn points_of_a_long_test_are_drawn_the_same_for_the_same_seed() {
        let drawn = draw(100, 12, 7);
        assert_eq!(drawn.len(), 12);
        assert!(drawn.is_sorted());
        assert_eq!(drawn, draw(100, 12, 7));
        assert_ne!(drawn, draw(100, 12, 8));
    }

    #[test]
    fn what_goes_by_arrival_is_not_cut_or_spread() {
        let freedom = Freedom {
            cuts: false,
            plugins: true,
            steps: 3,
            seed: 0,
        };
        for variation in others(freedom).all {
            for form in std::iter::once(&variation.form).chain(variation.restores.values()) {
                assert_eq!((form.shape.workers.get(), form.shape.batch_rows.get()), (1, ALL_ROWS));
            }
        }
    }
}
