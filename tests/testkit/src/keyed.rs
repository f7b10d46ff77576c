//! The keyed oracle: what comes of each key's events, one by one.
//!
//! A key's events are one sequence by time: at one time timers before rows, timers by (kind, tag), rows by place. A timer
//! that is set for a time before the event that sets it is due at once, at that event's time. At the end of input, after
//! the last watermark and the key's last row, each pending timer fires once, and what is set then is never due. A table
//! with a TTL is empty for each event at or after its key's last row + after.
//!
//! State is plain maps and lists of one key; an event that fails leaves what was before it.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_core::column::Scalar;
use wasmill_core::id::{NodeId, PartitionName};
use wasmill_core::key;
use wasmill_core::keyed::{TableDescription, TableKind, TimeDomain};
use wasmill_core::order::{derived_place, source_origin};

use crate::Row;

/// An event of a key, as the logic sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// A row: its values.
    Row(&'a [Scalar]),
    /// A timer: its kind and tag.
    Timer(u32, i64),
}

/// What the logic of a keyed operator does with one key.
pub trait Key {
    /// The time of the event.
    fn time(&self) -> i64;
    /// The key's row in a table of a value kind.
    fn value(&mut self, table: usize) -> Vec<Scalar>;
    /// Sets it.
    fn set(&mut self, table: usize, row: Vec<Scalar>);
    /// Takes it away.
    fn clear(&mut self, table: usize);
    /// The rows of a list.
    fn list(&mut self, table: usize) -> Vec<Vec<Scalar>>;
    /// Appends to a list.
    fn append(&mut self, table: usize, row: Vec<Scalar>);
    /// Removes the first rows of a list.
    fn truncate(&mut self, table: usize, first: u64);
    /// The row of a map whose sort key is one integer.
    fn lookup(&mut self, table: usize, at: i64) -> Option<Vec<Scalar>>;
    /// The rows of a map with sort keys in [from, to), from the last on, at most `limit`.
    fn last_of(&mut self, table: usize, from: i64, to: i64, limit: u32) -> Vec<Vec<Scalar>>;
    /// Sets a row of a map.
    fn put(&mut self, table: usize, row: Vec<Scalar>);
    /// Removes the rows of a map with sort keys in [from, to); how many.
    fn remove(&mut self, table: usize, from: i64, to: i64) -> u64;
    /// Sets a timer, or replaces it.
    fn set_timer(&mut self, kind: u32, tag: i64, time: i64);
    /// Cancels a timer.
    fn cancel_timer(&mut self, kind: u32, tag: i64);
    /// Gives a row.
    fn emit(&mut self, port: usize, values: Vec<Scalar>);
}

/// Why an event gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The guest calls the row invalid. It came all the same: it counts as a row of its key.
    Invalid(String),
    /// The guest fails. It is as if the event had never been.
    Failed(String),
}

/// The logic.
pub type Logic = fn(&Event<'_>, &mut dyn Key) -> Result<(), Refusal>;

/// What is tested.
#[derive(Clone, Debug)]
pub struct Keyed {
    /// The operator's id, for places.
    pub node: &'static str,
    /// The id of the source.
    pub source: &'static str,
    /// The tables. A map's sort key is one integer.
    pub tables: Vec<TableDescription>,
    /// The column of the key.
    pub key: usize,
    /// The last watermark before the end of input.
    pub last_watermark: i64,
}

/// A row that came out.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub struct Output {
    /// The port.
    pub port: usize,
    /// t, which is W too.
    pub time: i64,
    /// Its place.
    pub place: Vec<u8>,
    /// The key in canonical bytes.
    pub key: Vec<u8>,
    /// Its values, as text: they are compared as they are written.
    pub values: String,
}

/// What comes of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// By (port, time, place).
    pub outputs: Vec<Output>,
    /// The numbers of late rows.
    pub late: Vec<usize>,
    /// Events that failed or were invalid: the event's time, and the message.
    pub failed: Vec<(i64, String)>,
    /// Timers that were set when no more time was to come.
    pub discarded: u64,
}

/// What a key has.
#[derive(Clone, Debug, Default)]
struct State {
    values: BTreeMap<usize, Vec<Scalar>>,
    lists: BTreeMap<usize, Vec<Vec<Scalar>>>,
    maps: BTreeMap<usize, BTreeMap<i64, Vec<Scalar>>>,
    timers: BTreeSet<(i64, u32, i64)>,
    discarded: u64,
}

/// One event of one key at work.
struct Working<'a> {
    spec: &'a Keyed,
    state: State,
    time: i64,
    ended: bool,
    emitted: Vec<(usize, Vec<Scalar>)>,
}

impl Keyed {
    /// What comes of rows.
    pub fn evaluate(&self, rows: &[Row], logic: Logic) -> Outcome {
        let mut outcome = Outcome::default();
        let mut by_key: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (number, row) in rows.iter().enumerate() {
            if row.time < row.watermark {
                outcome.late.push(number);
                continue;
            }
            let mut encoded = Vec::new();
            key::encode(row.values[self.key].as_value(), &mut encoded);
            by_key.entry(encoded).or_default().push(number);
        }
        for (key, mut numbers) in by_key {
            numbers.sort_by_key(|&number| rows[number].order());
            let mut one = One {
                spec: self,
                logic,
                key: &key,
                state: State::default(),
                last_row: None,
                fired: BTreeMap::new(),
                outcome: &mut outcome,
            };
            let mut reached = self.last_watermark;
            for &number in &numbers {
                one.fire_up_to(rows[number].time);
                one.row(&rows[number]);
                reached = reached.max(rows[number].time);
            }
            one.fire_up_to(reached);
            while let Some(&timer) = one.state.timers.first() {
                one.timer(timer, true);
            }
            let discarded = one.state.discarded;
            outcome.discarded += discarded;
        }
        outcome
            .outputs
            .sort_by(|a, b| a.partial_cmp(b).expect("all can be compared"));
        outcome.failed.sort();
        outcome
    }
}

/// One key.
struct One<'a> {
    spec: &'a Keyed,
    logic: Logic,
    key: &'a [u8],
    state: State,
    last_row: Option<i64>,
    /// How many rows came from timers, by port and time.
    fired: BTreeMap<(usize, i64), u32>,
    outcome: &'a mut Outcome,
}

impl One<'_> {
    fn fire_up_to(&mut self, time: i64) {
        while let Some(&timer) = self.state.timers.first()
            && timer.0 <= time
        {
            self.timer(timer, false);
        }
    }

    fn timer(&mut self, timer: (i64, u32, i64), ended: bool) {
        let (time, kind, tag) = timer;
        self.state.timers.remove(&timer);
        let Some(emitted) = self.event(time, &Event::Timer(kind, tag), ended) else {
            return;
        };
        for (port, values) in emitted {
            let index = self.fired.entry((port, time)).or_default();
            let mut place = Vec::new();
            derived_place(&NodeId::new(self.spec.node), self.key, time, *index, &mut place);
            *index += 1;
            self.output(port, time, place, &values);
        }
    }

    fn row(&mut self, row: &Row) {
        let emitted = self.event(row.time, &Event::Row(&row.values), false);
        let Some(emitted) = emitted else {
            return;
        };
        self.last_row = self.last_row.max(Some(row.time));
        let mut children = [0_u32; 8];
        for (port, values) in emitted {
            let origin = source_origin(
                &NodeId::new(self.spec.source),
                &PartitionName::new(format!("p{}", row.partition)),
            );
            let mut place = origin.to_vec();
            place.extend(row.position.to_be_bytes());
            place.extend(children[port].to_be_bytes());
            children[port] += 1;
            self.output(port, row.time, place, &values);
        }
    }

    fn output(&mut self, port: usize, time: i64, place: Vec<u8>, values: &[Scalar]) {
        self.outcome.outputs.push(Output {
            port,
            time,
            place,
            key: self.key.to_vec(),
            values: format!("{values:?}"),
        });
    }

    /// What an event gives; `None` where it fails.
    fn event(&mut self, time: i64, event: &Event<'_>, ended: bool) -> Option<Vec<(usize, Vec<Scalar>)>> {
        for (number, table) in self.spec.tables.iter().enumerate() {
            let Some(ttl) = table.ttl else { continue };
            assert_eq!(ttl.domain, TimeDomain::Event, "the oracle knows event time only");
            if self
                .last_row
                .is_none_or(|last| time >= last.saturating_add_unsigned(ttl.after.0))
            {
                self.state.values.remove(&number);
                self.state.lists.remove(&number);
                self.state.maps.remove(&number);
            }
        }
        let mut working = Working {
            spec: self.spec,
            state: self.state.clone(),
            time,
            ended,
            emitted: Vec::new(),
        };
        match (self.logic)(event, &mut working) {
            Ok(()) => {
                self.state = working.state;
                Some(working.emitted)
            }
            Err(Refusal::Failed(message)) => {
                self.outcome.failed.push((time, message));
                None
            }
            Err(Refusal::Invalid(message)) => {
                self.outcome.failed.push((time, message));
                Some(Vec::new())
            }
        }
    }
}

impl Key for Working<'_> {
    fn time(&self) -> i64 {
        self.time
    }

    fn value(&mut self, table: usize) -> Vec<Scalar> {
        let description = &self.spec.tables[table];
        assert!(matches!(description.kind, TableKind::Value | TableKind::ValueOnDemand));
        self.state.values.get(&table).unwrap_or(&description.initial).clone()
    }

    fn set(&mut self, table: usize, row: Vec<Scalar>) {
        self.state.values.insert(table, row);
    }

    fn clear(&mut self, table: usize) {
        self.state.values.remove(&table);
    }

    fn list(&mut self, table: usize) -> Vec<Vec<Scalar>> {
        self.state.lists.get(&table).cloned().unwrap_or_default()
    }

    fn append(&mut self, table: usize, row: Vec<Scalar>) {
        self.state.lists.entry(table).or_default().push(row);
    }

    fn truncate(&mut self, table: usize, first: u64) {
        let list = self.state.lists.entry(table).or_default();
        list.drain(..list.len().min(first as usize));
    }

    fn lookup(&mut self, table: usize, at: i64) -> Option<Vec<Scalar>> {
        self.state.maps.get(&table)?.get(&at).cloned()
    }

    fn last_of(&mut self, table: usize, from: i64, to: i64, limit: u32) -> Vec<Vec<Scalar>> {
        let map = self.state.maps.entry(table).or_default();
        map.range(from..to)
            .rev()
            .take(limit as usize)
            .map(|(_, row)| row.clone())
            .collect()
    }

    fn put(&mut self, table: usize, row: Vec<Scalar>) {
        let Scalar::Int64(at) = row[0] else {
            panic!("the sort key is an integer")
        };
        self.state.maps.entry(table).or_default().insert(at, row);
    }

    fn remove(&mut self, table: usize, from: i64, to: i64) -> u64 {
        let map = self.state.maps.entry(table).or_default();
        let before = map.len();
        map.retain(|&at, _| at < from || at >= to);
        (before - map.len()) as u64
    }

    fn set_timer(&mut self, kind: u32, tag: i64, time: i64) {
        self.cancel_timer(kind, tag);
        if self.ended {
            self.state.discarded += 1;
        } else {
            self.state.timers.insert((time.max(self.time), kind, tag));
        }
    }

    fn cancel_timer(&mut self, kind: u32, tag: i64) {
        self.state.timers.retain(|timer| (timer.1, timer.2) != (kind, tag));
    }

    fn emit(&mut self, port: usize, values: Vec<Scalar>) {
        self.emitted.push((port, values));
    }
}
