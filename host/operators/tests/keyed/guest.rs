//! A native guest: it runs the oracle's logic on whole calls, and fires the timers that it sets within a call itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use wasmill_core::batch::Batch;
use wasmill_core::column::{Column, ColumnBuilder, Scalar};
use wasmill_core::fault::{Domain, Fault, GuestDetail, GuestFault};
use wasmill_core::keyed::{
    Bound, Clear, Keyed, KeyedCall, KeyedColumn, KeyedDescription, KeyedOutput, KeyedOutputs, KeysOf, MapRange,
    Origins, StateAccess, TIMER_SOURCE, TableKind, TimeDomain, TimerChange, Update,
};
use wasmill_core::transform::Reject;
use wasmill_testkit::keyed::{Event, Key, Logic, Refusal};

pub(crate) struct Guest {
    pub(crate) state: Rc<RefCell<dyn StateAccess>>,
    pub(crate) description: KeyedDescription,
    pub(crate) logic: Logic,
    pub(crate) calls: Rc<RefCell<Calls>>,
}

/// What a guest has seen.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) calls: usize,
    pub(crate) keys_max: usize,
    /// Processing times.
    pub(crate) now: Vec<i64>,
}

/// One key of a call at work.
struct Working<'a> {
    guest: &'a Guest,
    row: u32,
    time: i64,
    until: i64,
    /// Whether the event is of event time.
    in_event_time: bool,
    /// The rows of the tables of value kinds.
    values: BTreeMap<usize, Vec<Scalar>>,
    written: BTreeMap<usize, bool>,
    /// Timers by (time, kind, tag), with their events where they are the host's.
    pending: BTreeMap<(i64, u32, i64), Option<u32>>,
    returned: BTreeMap<(u32, i64), Option<i64>>,
    emitted: Vec<(usize, Vec<Scalar>)>,
}

/// Rows for a port, as they grow.
struct Growing {
    port: usize,
    /// The input or the timers that they come from; `None`: timers fired within the call.
    source: Option<u8>,
    origins: Origins,
    columns: Vec<ColumnBuilder>,
}

fn trap(rows: usize, message: &str) -> Fault {
    let mut fault = Fault::fatal(Domain::User, message);
    fault.guest = Some(Box::new(GuestDetail {
        kind: GuestFault::Trap,
        plugin: "guest.wasm".into(),
        function: "process",
        row: None,
        rows: rows as u32,
        backtrace: Vec::new(),
    }));
    fault
}

fn values_of(batch: &Batch, row: usize) -> Vec<Scalar> {
    (0..batch.slots().len())
        .map(|column| batch.column(column).value(row).into())
        .collect()
}

impl Keyed for Guest {
    fn process(&mut self, call: &KeyedCall) -> Result<KeyedOutputs, Fault> {
        {
            let mut calls = self.calls.borrow_mut();
            calls.calls += 1;
            calls.keys_max = calls.keys_max.max(call.until.len());
            calls.now.push(call.processing_time);
        }
        check(call);
        let mut outputs = KeyedOutputs::default();
        let mut growing: Vec<Growing> = Vec::new();
        for key in 0..call.until.len() {
            let value_tables = self
                .description
                .tables
                .iter()
                .enumerate()
                .filter(|(_, t)| t.kind == TableKind::Value);
            let values = value_tables
                .zip(&call.states)
                .map(|((table, _), columns)| (table, columns.iter().map(|column| column.value(key).into()).collect()));
            let mut working = Working {
                guest: self,
                row: key as u32,
                time: i64::MIN,
                until: call.until[key],
                in_event_time: true,
                values: values.collect(),
                written: BTreeMap::new(),
                pending: BTreeMap::new(),
                returned: BTreeMap::new(),
                emitted: Vec::new(),
            };
            let events = call.events.offsets[key]..call.events.offsets[key + 1];
            for event in events.clone() {
                let at = call.events.index[event as usize] as usize;
                if call.events.source[event as usize] == TIMER_SOURCE {
                    let timer = (call.timers.time[at], call.timers.kind[at], call.timers.tag[at]);
                    working.pending.insert(timer, Some(event));
                }
            }
            for event in events {
                let source = call.events.source[event as usize];
                if source == TIMER_SOURCE {
                    continue;
                }
                let batch = &call.inputs[usize::from(source)];
                let row = call.events.index[event as usize] as usize;
                working.fire_up_to(batch.time(row), call, &mut growing)?;
                working.time = batch.time(row);
                working.in_event_time = true;
                let values = values_of(batch, row);
                match (self.logic)(&Event::Row(&values), &mut working) {
                    Ok(()) => {}
                    Err(Refusal::Invalid(message)) => {
                        working.emitted.clear();
                        outputs.rejects.push(Reject { row: event, message });
                    }
                    Err(Refusal::Failed(message)) => return Err(trap(call.events.source.len(), &message)),
                }
                working.give(Some(event), Some(source), &mut growing);
            }
            working.fire_up_to(i64::MAX, call, &mut growing)?;
            working.finish(&mut outputs);
        }
        outputs.outputs.extend(growing.into_iter().map(Growing::finish));
        Ok(outputs)
    }
}

/// What every call promises.
fn check(call: &KeyedCall) {
    let keys = call.until.len();
    assert_eq!(call.events.offsets.len(), keys + 1);
    assert!(call.keys.iter().all(|column| column.len() == keys));
    let rows: usize = call.inputs.iter().map(Batch::rows).sum();
    assert_eq!(
        call.events.source.len(),
        rows + call.timers.kind.len(),
        "each row and timer is an event, once"
    );
    for key in 0..keys {
        let events = call.events.offsets[key] as usize..call.events.offsets[key + 1] as usize;
        assert!(!events.is_empty(), "a key has an event");
    }
}

impl Working<'_> {
    fn fire_up_to(&mut self, time: i64, call: &KeyedCall, growing: &mut Vec<Growing>) -> Result<(), Fault> {
        while let Some((&(due, kind, tag), &event)) = self.pending.first_key_value()
            && due <= time
        {
            self.pending.remove(&(due, kind, tag));
            self.time = due;
            self.in_event_time = self.domain(kind) == TimeDomain::Event;
            (self.guest.logic)(&Event::Timer(kind, tag), self).map_err(|refusal| match refusal {
                Refusal::Failed(message) | Refusal::Invalid(message) => trap(call.events.source.len(), &message),
            })?;
            self.give(event, event.map(|_| TIMER_SOURCE), growing);
        }
        Ok(())
    }

    fn domain(&self, kind: u32) -> TimeDomain {
        self.guest.description.timers[kind as usize].domain
    }

    /// Puts what was emitted to what goes out: rows of one port and kind of origin together, as long as nothing of the port
    /// comes between them.
    fn give(&mut self, event: Option<u32>, source: Option<u8>, growing: &mut Vec<Growing>) {
        for (port, values) in self.emitted.drain(..) {
            let last = growing.iter().rposition(|growing| growing.port == port);
            let at = last.filter(|&at| growing[at].source == source).unwrap_or_else(|| {
                let fields = self.guest.description.outputs[port].schema.fields().iter().skip(1);
                growing.push(Growing {
                    port,
                    source,
                    origins: match event {
                        Some(_) => Origins::Events(Vec::new()),
                        None => Origins::Fired {
                            key: Vec::new(),
                            time: Vec::new(),
                        },
                    },
                    columns: fields.map(|field| ColumnBuilder::new(field.data_type, 0)).collect(),
                });
                growing.len() - 1
            });
            let last = &mut growing[at];
            match (&mut last.origins, event) {
                (Origins::Events(events), Some(event)) => events.push(event),
                (Origins::Fired { key, time }, None) => {
                    key.push(self.row);
                    time.push(self.time);
                }
                _ => unreachable!("they are of one kind"),
            }
            for (column, value) in last.columns.iter_mut().zip(&values) {
                column.push(value.as_value());
            }
        }
    }

    fn finish(self, outputs: &mut KeyedOutputs) {
        for (table, written) in self.written {
            let keys = KeysOf::Some(vec![self.row]);
            if !written {
                outputs.clears.push(Clear { table, keys });
                continue;
            }
            let columns = self.values[&table]
                .iter()
                .enumerate()
                .map(|(number, value)| (number, one(value)));
            outputs.updates.push(Update {
                table,
                keys,
                columns: columns.collect(),
            });
        }
        for ((kind, tag), time) in self.returned {
            outputs.timers.push(TimerChange {
                key: self.row,
                kind,
                tag,
                time,
            });
        }
    }

    fn on_demand(&self, table: usize) -> bool {
        self.guest.description.tables[table].kind == TableKind::ValueOnDemand
    }

    fn types(&self, table: usize) -> usize {
        self.guest.description.tables[table].schema.len()
    }
}

fn one(value: &Scalar) -> Column {
    many(&[value])
}

fn many(values: &[&Scalar]) -> Column {
    use wasmill_core::schema::DataType;
    let data_type = values.iter().find_map(|value| match value {
        Scalar::Utf8(_) => Some(DataType::Utf8),
        Scalar::Int64(_) => Some(DataType::Int64),
        _ => None,
    });
    let mut builder = ColumnBuilder::new(data_type.unwrap_or(DataType::Int64), values.len());
    for value in values {
        builder.push(value.as_value());
    }
    builder.finish()
}

fn row_of(columns: &[Column], row: usize) -> Vec<Scalar> {
    columns.iter().map(|column| column.value(row).into()).collect()
}

impl Growing {
    fn finish(self) -> KeyedOutput {
        let computed = self
            .columns
            .into_iter()
            .map(|column| KeyedColumn::Computed(column.finish()));
        // The second port's last column is a column of the input.
        let mut columns: Vec<KeyedColumn> = std::iter::once(KeyedColumn::Key(0)).chain(computed).collect();
        if self.port == 1 {
            columns.pop();
            columns.push(KeyedColumn::Input(2));
        }
        KeyedOutput {
            port: self.port,
            origins: self.origins,
            kinds: Vec::new(),
            columns,
        }
    }
}

impl Key for Working<'_> {
    fn time(&self) -> i64 {
        self.time
    }

    fn value(&mut self, table: usize) -> Vec<Scalar> {
        if self.on_demand(table) {
            let all: Vec<usize> = (0..self.types(table)).collect();
            let columns = self
                .guest
                .state
                .borrow_mut()
                .get(table, &[self.row], &all)
                .expect("in memory");
            return row_of(&columns, 0);
        }
        self.values[&table].clone()
    }

    fn set(&mut self, table: usize, row: Vec<Scalar>) {
        if self.on_demand(table) {
            let columns: Vec<(usize, Column)> = row.iter().map(one).enumerate().collect();
            self.guest
                .state
                .borrow_mut()
                .put(table, &[self.row], &columns)
                .expect("in memory");
            return;
        }
        self.values.insert(table, row);
        self.written.insert(table, true);
    }

    fn clear(&mut self, table: usize) {
        assert!(!self.on_demand(table));
        self.values
            .insert(table, self.guest.description.tables[table].initial.clone());
        self.written.insert(table, false);
    }

    fn list(&mut self, table: usize) -> Vec<Vec<Scalar>> {
        let mut rows = Vec::new();
        loop {
            let page = self
                .guest
                .state
                .borrow_mut()
                .scan_list(table, self.row, rows.len() as u64, 3)
                .expect("in memory");
            rows.extend((0..page.columns[0].len()).map(|row| row_of(&page.columns, row)));
            if !page.more {
                return rows;
            }
        }
    }

    fn append(&mut self, table: usize, row: Vec<Scalar>) {
        let columns: Vec<Column> = row.iter().map(one).collect();
        self.guest
            .state
            .borrow_mut()
            .append(table, &[self.row], &columns)
            .expect("in memory");
    }

    fn truncate(&mut self, table: usize, first: u64) {
        self.guest
            .state
            .borrow_mut()
            .truncate(table, self.row, first)
            .expect("in memory");
    }

    fn lookup(&mut self, table: usize, at: i64) -> Option<Vec<Scalar>> {
        let at = [one(&Scalar::Int64(at))];
        let lookup = self
            .guest
            .state
            .borrow_mut()
            .map_get(table, &[self.row], &at)
            .expect("in memory");
        lookup.found[0].then(|| row_of(&lookup.columns, 0))
    }

    fn last_of(&mut self, table: usize, from: i64, to: i64, limit: u32) -> Vec<Vec<Scalar>> {
        let range = MapRange {
            lower: Bound::Included(vec![Scalar::Int64(from)]),
            upper: Bound::Excluded(vec![Scalar::Int64(to)]),
            descending: true,
            limit,
        };
        let page = self
            .guest
            .state
            .borrow_mut()
            .scan(table, self.row, &range)
            .expect("in memory");
        (0..page.columns[0].len())
            .map(|row| row_of(&page.columns, row))
            .collect()
    }

    fn put(&mut self, table: usize, row: Vec<Scalar>) {
        let columns: Vec<Column> = row.iter().map(one).collect();
        self.guest
            .state
            .borrow_mut()
            .map_put(table, &[self.row], &columns)
            .expect("in memory");
    }

    fn remove(&mut self, table: usize, from: i64, to: i64) -> u64 {
        let range = MapRange {
            lower: Bound::Excluded(vec![Scalar::Int64(from - 1)]),
            upper: Bound::Included(vec![Scalar::Int64(to - 1)]),
            descending: false,
            limit: u32::MAX,
        };
        self.guest
            .state
            .borrow_mut()
            .remove_range(table, self.row, &range)
            .expect("in memory")
    }

    fn set_timer(&mut self, kind: u32, tag: i64, time: i64) {
        self.pending.retain(|timer, _| (timer.1, timer.2) != (kind, tag));
        let is_event = self.domain(kind) == TimeDomain::Event;
        let time = if is_event && self.in_event_time {
            time.max(self.time)
        } else {
            time
        };
        if is_event && time <= self.until {
            self.pending.insert((time, kind, tag), None);
            self.returned.insert((kind, tag), None);
        } else {
            self.returned.insert((kind, tag), Some(time));
        }
    }

    fn cancel_timer(&mut self, kind: u32, tag: i64) {
        self.pending.retain(|timer, _| (timer.1, timer.2) != (kind, tag));
        self.returned.insert((kind, tag), None);
    }

    fn emit(&mut self, port: usize, values: Vec<Scalar>) {
        self.emitted.push((port, values));
    }
}
