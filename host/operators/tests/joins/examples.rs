//! The rules of joins by name, with what comes out worked out by hand.

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{Column, Scalar};
use wasmill_core::fault::Fault;
use wasmill_core::id::{KeyGroup, NodeId};
use wasmill_core::operator::{Operator, Step};
use wasmill_core::order::Order;
use wasmill_core::plan::{JoinBound, JoinColumn, JoinKind, JoinNode, Stream};
use wasmill_core::schema::{DataType, Field};
use wasmill_core::time::{Micros, Timestamp};
use wasmill_core::watermark::RowWatermarks;
use wasmill_core::window::{Alignment, Late, WindowSpec, Windows};
use wasmill_operators::{Join, Subtask};

use super::harness::{GROUPS, stream};

const LEFT: usize = 0;
const RIGHT: usize = 1;

fn side(name: &str) -> Stream {
    let fields = vec![
        Field::nullable(format!("{name}_key"), DataType::Int64),
        Field::nullable(format!("{name}_text"), DataType::Utf8),
    ];
    stream(fields, false)
}

/// A join that shows the texts of both sides, and the window where there is one.
struct Driver {
    join: Join,
    reached: i64,
    out: Vec<(usize, Batch)>,
}

impl Driver {
    fn new(kind: JoinKind, bound: JoinBound) -> Self {
        let mut columns = vec![Field::nullable("left", DataType::Utf8)];
        let mut shown = vec![JoinColumn::Left(1)];
        if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
            columns.push(Field::nullable("right", DataType::Utf8));
            shown.push(JoinColumn::Right(1));
        }
        if matches!(bound, JoinBound::Window(_)) {
            columns.insert(0, Field::required("window_start", DataType::Timestamp));
            columns.insert(1, Field::required("window_end", DataType::Timestamp));
        }
        let plan = JoinNode {
            key: [vec![0], vec![0]],
            kind,
            bound,
            late: Late::Port,
            columns: shown,
        };
        let subtask = Subtask::in_memory(NodeId::new("join"), GROUPS);
        let join = Join::new(subtask, &plan, [&side("l"), &side("r")], &stream(columns, false));
        Self {
            join: join.expect("no time zone"),
            reached: i64::MIN,
            out: Vec::new(),
        }
    }

    /// A row: key, text, event time. Its place is its text.
    fn row(&mut self, input: usize, key: Option<i64>, text: &str, time: i64) -> Result<&mut Self, Fault> {
        let hidden = Hidden {
            times: vec![time].into(),
            watermarks: RowWatermarks::Constant(self.reached),
            order: Some(Order::from_places([text.as_bytes()].into_iter())),
            kinds: None,
        };
        let slots = vec![
            Slot::Base(Column::Int64(vec![key].into())),
            Slot::Base(Column::Utf8(vec![text].into())),
        ];
        self.join.batch(input, Batch::new(slots, hidden), &mut self.out)?;
        Ok(self)
    }

    /// What comes out at a watermark: the event time, W, and the values, in words.
    fn at(&mut self, watermark: i64) -> Result<Vec<String>, Fault> {
        while self.join.watermark(Timestamp(watermark), &mut self.out)? == Step::More {}
        self.reached = watermark;
        let mut lines = Vec::new();
        for (port, batch) in self.out.drain(..) {
            for row in 0..batch.rows() {
                let values = (0..batch.slots().len()).map(|column| match batch.column(column).value(row).into() {
                    Scalar::Null => "-".to_owned(),
                    Scalar::Utf8(text) => text,
                    Scalar::Timestamp(time) => time.to_string(),
                    other => panic!("no column of this join: {other:?}"),
                });
                let values: Vec<String> = values.collect();
                let (time, watermark) = (batch.time(row), batch.watermarks().at(row));
                lines.push(format!("{port}: t {time} w {watermark}: {}", values.join(" ")));
            }
        }
        lines.sort();
        Ok(lines)
    }

    fn entries(&mut self) -> Result<usize, Fault> {
        let mut entries: Vec<(KeyGroup, Vec<u8>, Vec<u8>)> = Vec::new();
        self.join.save(&mut entries)?;
        Ok(entries.len())
    }
}

fn within(before: u64, after: u64) -> JoinBound {
    JoinBound::Within {
        before: Micros(before),
        after: Micros(after),
    }
}

#[test]
fn both_bounds_of_an_interval_belong_to_it() -> Result<(), Fault> {
    let mut join = Driver::new(JoinKind::Inner, within(5, 2));
    join.row(LEFT, Some(1), "a", 10)?;
    for (text, time) in [("four", 4), ("five", 5), ("twelve", 12), ("thirteen", 13)] {
        join.row(RIGHT, Some(1), text, time)?;
    }
    join.row(RIGHT, Some(2), "other", 10)?;
    assert_eq!(join.at(12)?, ["0: t 10 w 10: a five"]);
    assert_eq!(join.at(100)?, ["0: t 12 w 12: a twelve"]);
    Ok(())
}

#[test]
fn an_unmatched_left_row_comes_out_when_no_partner_can_come() -> Result<(), Fault> {
    let mut join = Driver::new(JoinKind::Left, within(5, 20));
    join.row(LEFT, Some(1), "alone", 10)?.row(LEFT, Some(1), "paired", 40)?;
    join.row(RIGHT, Some(1), "r", 60)?;
    assert_eq!(join.at(30)?, [""; 0]);
    assert_eq!(join.at(31)?, ["0: t 10 w 10: alone -"]);
    assert_eq!(join.at(61)?, ["0: t 60 w 40: paired r"]);
    assert_eq!(join.at(i64::MAX)?, [""; 0]);
    assert_eq!(join.entries()?, 0);
    Ok(())
}

#[test]
fn a_full_join_waits_for_the_longer_bound() -> Result<(), Fault> {
    let mut join = Driver::new(JoinKind::Full, within(5, 20));
    join.row(LEFT, Some(1), "l", 10)?.row(RIGHT, Some(2), "r", 10)?;
    assert_eq!(join.at(16)?, ["0: t 10 w -5: - r"]);
    assert_eq!(join.at(31)?, ["0: t 10 w 10: l -"]);
    Ok(())
}

#[test]
fn a_null_has_no_partner_but_comes_out_of_an_outer_join() -> Result<(), Fault> {
    for (bound, end) in [
        (within(5, 5), None),
        (JoinBound::AsOf { within: None }, None),
        (tumbling(10), Some(10)),
    ] {
        let shown = |kind: JoinKind| -> Result<usize, Fault> {
            let mut join = Driver::new(kind, bound.clone());
            join.row(LEFT, None, "l", 5)?.row(RIGHT, None, "r", 5)?;
            Ok(join.at(end.unwrap_or(i64::MAX))?.len())
        };
        assert_eq!((shown(JoinKind::Inner)?, shown(JoinKind::Semi)?), (0, 0));
        assert_eq!((shown(JoinKind::Left)?, shown(JoinKind::Anti)?), (1, 1));
        if Join::check(JoinKind::Full, &bound).is_ok() {
            assert_eq!((shown(JoinKind::Right)?, shown(JoinKind::Full)?), (1, 2));
        }
    }
    Ok(())
}

#[test]
fn a_left_row_of_a_semi_join_comes_out_once_at_its_first_partner() -> Result<(), Fault> {
    let mut join = Driver::new(JoinKind::Semi, within(5, 5));
    join.row(RIGHT, Some(1), "r", 12)?.row(RIGHT, Some(1), "r again", 13)?;
    join.row(LEFT, Some(1), "l", 10)?;
    assert_eq!(join.at(100)?, ["0: t 10 w 7: l"]);
    Ok(())
}

#[test]
fn rows_of_a_join_leave_as_soon_as_they_have_no_partners_to_come() -> Result<(), Fault> {
    let mut join = Driver::new(JoinKind::Inner, within(10, 0));
    for time in 0..1_000 {
        join.row(LEFT, Some(1), "l", time)?.row(RIGHT, Some(1), "r", time)?;
        join.at(time)?;
        // Right rows for the length of the interval, at most twice that; what waits; the watermark.
        assert!(join.entries()? <= 24, "{}", join.entries()?);
    }
    Ok(())
}

#[test]
fn the_version_of_the_same_time_is_seen_whatever_its_place() -> Result<(), Fault> {
    let mut join = Driver::new(JoinKind::Left, JoinBound::AsOf { within: None });
    join.row(LEFT, Some(1), "a", 10)?.row(RIGHT, Some(1), "z", 10)?;
    join.row(RIGHT, Some(1), "y", 10)?.row(LEFT, Some(1), "b", 9)?;
    assert_eq!(join.at(10)?, ["0: t 9 w 9: b -"]);
    assert_eq!(join.at(11)?, ["0: t 10 w 10: a z"]);
    Ok(())
}

#[test]
fn a_version_that_is_too_old_is_none_and_leaves() -> Result<(), Fault> {
    let within = Some(Micros(10));
    let mut join = Driver::new(JoinKind::Left, JoinBound::AsOf { within });
    join.row(RIGHT, Some(1), "v", 0)?;
    join.row(LEFT, Some(1), "ten", 10)?.row(LEFT, Some(1), "eleven", 11)?;
    assert_eq!(join.at(11)?, ["0: t 10 w 10: ten v"]);
    assert_eq!(join.at(12)?, ["0: t 11 w 11: eleven -"]);
    assert_eq!(join.entries()?, 0);
    Ok(())
}

fn tumbling(size: u64) -> JoinBound {
    JoinBound::Window(Windows::Aligned(WindowSpec::Tumbling {
        size: Micros(size),
        alignment: Alignment::default(),
    }))
}

#[test]
fn a_pair_is_in_each_window_that_has_both_rows() -> Result<(), Fault> {
    let sliding = WindowSpec::Sliding {
        size: Micros(10),
        every: Micros(5),
        alignment: Alignment::default(),
    };
    let mut join = Driver::new(JoinKind::Left, JoinBound::Window(Windows::Aligned(sliding)));
    join.row(LEFT, Some(1), "l", 6)?.row(RIGHT, Some(1), "r", 7)?;
    join.row(LEFT, Some(1), "m", 12)?;
    assert_eq!(join.at(10)?, ["0: t 9 w 9: 0 10 l r"]);
    assert_eq!(join.at(15)?, ["0: t 14 w 14: 5 15 l r", "0: t 14 w 14: 5 15 m r"]);
    assert_eq!(join.at(20)?, ["0: t 19 w 19: 10 20 m -"]);
    assert_eq!(join.at(21)?, [""; 0]);
    assert_eq!(join.entries()?, 0);
    Ok(())
}

#[test]
fn a_row_of_one_side_holds_a_session_of_both_together() -> Result<(), Fault> {
    let session = || JoinBound::Window(Windows::Session { gap: Micros(5) });
    let mut join = Driver::new(JoinKind::Full, session());
    // 0 and 8 are apart until 4 comes.
    join.row(LEFT, Some(1), "a", 0)?.row(LEFT, Some(1), "b", 8)?;
    join.row(RIGHT, Some(1), "r", 4)?.row(RIGHT, Some(1), "next", 13)?;
    assert_eq!(join.at(12)?, [""; 0]);
    assert_eq!(join.at(13)?, ["0: t 12 w 12: 0 13 a r", "0: t 12 w 12: 0 13 b r"]);
    assert_eq!(join.at(18)?, ["0: t 17 w 17: 13 18 - next"]);
    Ok(())
}

#[test]
fn a_large_window_comes_out_in_slices_of_every_pair() -> Result<(), Fault> {
    const SIDE: i64 = 1_500;
    let mut join = Driver::new(JoinKind::Inner, tumbling(10_000));
    for time in 0..SIDE {
        join.row(LEFT, Some(1), "l", time)?.row(RIGHT, Some(1), "r", time)?;
    }
    assert_eq!(join.at(10_000)?.len() as i64, SIDE * SIDE);
    Ok(())
}

#[test]
fn rows_at_the_ends_of_time_are_joined_too() -> Result<(), Fault> {
    let sliding = WindowSpec::Sliding {
        size: Micros(10),
        every: Micros(4),
        alignment: Alignment::default(),
    };
    let bounds = [
        (within(u64::MAX, u64::MAX), 4),
        (within(7, 7), 2),
        (JoinBound::AsOf { within: None }, 2),
        (
            JoinBound::AsOf {
                within: Some(Micros(7)),
            },
            2,
        ),
        (tumbling(10), 2),
        (JoinBound::Window(Windows::Session { gap: Micros(5) }), 2),
    ];
    for (bound, pairs) in bounds {
        let mut join = Driver::new(JoinKind::Inner, bound.clone());
        for time in [i64::MIN, i64::MAX] {
            join.row(LEFT, Some(1), "l", time)?.row(RIGHT, Some(1), "r", time)?;
        }
        assert_eq!(join.at(i64::MAX)?.len(), pairs, "{bound:?}");
        assert_eq!(join.entries()?, 0, "{bound:?}");
    }
    let mut join = Driver::new(JoinKind::Full, JoinBound::Window(Windows::Aligned(sliding)));
    join.row(LEFT, Some(1), "first", i64::MIN)?
        .row(RIGHT, Some(1), "last", i64::MAX)?;
    let lines = join.at(i64::MAX)?;
    assert!(lines.iter().any(|line| line.ends_with("first -")) && lines.iter().any(|line| line.ends_with("- last")));
    assert_eq!(join.entries()?, 0);
    Ok(())
}

#[test]
fn a_step_that_the_clock_skips_gives_no_second_pair() -> Result<(), Fault> {
    // The hours of 2013-03-10 in New York, where 02:00 to 03:00 is skipped; midnight is 05:00 UTC.
    let (midnight, hour) = (1_362_891_600_000_000_i64, 3_600_000_000_i64);
    let hours = WindowSpec::Cumulative {
        size: Micros(24 * hour.unsigned_abs()),
        step: Micros(hour.unsigned_abs()),
        alignment: Alignment {
            offset: Micros::ZERO,
            time_zone: Some("America/New_York".into()),
        },
    };
    let mut join = Driver::new(JoinKind::Inner, JoinBound::Window(Windows::Aligned(hours)));
    join.row(LEFT, Some(1), "l", midnight)?
        .row(RIGHT, Some(1), "r", midnight)?;
    let pairs = (1..=23).map(|hours| {
        let end = midnight + hours * hour;
        format!("0: t {last} w {last}: {midnight} {end} l r", last = end - 1)
    });
    assert_eq!(join.at(i64::MAX)?, pairs.collect::<Vec<_>>());
    Ok(())
}

#[test]
fn old_versions_leave_however_many_they_are() {
    let columns = vec![Field::nullable("left", DataType::Utf8)];
    let plan = JoinNode {
        key: [vec![0], vec![0]],
        kind: JoinKind::Semi,
        bound: JoinBound::AsOf {
            within: Some(Micros(10)),
        },
        late: Late::Drop,
        columns: vec![JoinColumn::Left(1)],
    };
    let subtask = Subtask {
        slice_rows: 8,
        ..Subtask::in_memory(NodeId::new("join"), GROUPS)
    };
    let join = Join::new(subtask, &plan, [&side("l"), &side("r")], &stream(columns, false));
    let mut driver = Driver {
        join: join.expect("no time zone"),
        reached: i64::MIN,
        out: Vec::new(),
    };
    for key in 0..50 {
        driver.row(RIGHT, Some(key), "version", 1).expect("no fault");
    }
    // 50 versions, 8 a slice.
    let step = driver.join.watermark(Timestamp(100), &mut driver.out);
    assert_eq!(step.expect("no fault"), Step::Done);
    assert!(driver.join.is_empty().expect("in memory") && driver.out.is_empty());
}
