//! What a call of a `keyed` plugin answered, held to the contract: its caller can then take it as it is.

use std::rc::Rc;

use wasmill_core::keyed::{
    Clear, KeyedCall, KeyedColumn, KeyedOutput, KeyedOutputs, KeysOf, Origins, TIMER_SOURCE, TableDescription,
    TableKind, TimeDomain, TimerChange, TimerKind, Update,
};
use wasmill_core::kind::Kind;
use wasmill_core::plugin::Limits;
use wasmill_core::schema::Field;
use wasmill_core::time::Timestamp;
use wasmill_core::transform::Reject;

use crate::bindings::exports::wasmill::operator::keyed_operator as raw;
use crate::bindings::wasmill::operator::{state_types, types};
use crate::imports::state::kind_name;
use crate::lift::{self, Violation};
use crate::shape::{InputShape, OutputShape, RowLimit, first_null, null_in};
use crate::subtask::clipped;

/// What was described, and what of it is wanted.
pub(super) struct Shape {
    pub(super) inputs: Vec<InputShape>,
    pub(super) key: Vec<Field>,
    pub(super) outputs: Vec<OutputShape>,
    pub(super) tables: Rc<[TableDescription]>,
    pub(super) timers: Vec<TimerKind>,
}

impl Shape {
    /// All of an answer.
    pub(super) fn assemble(
        &self,
        call: &KeyedCall,
        answer: raw::Outputs,
        limits: &Limits,
    ) -> Result<KeyedOutputs, Violation> {
        let mut limit = RowLimit::new(limits.output_rows);
        let mut outputs = Vec::with_capacity(answer.outputs.len());
        for output in answer.outputs {
            outputs.extend(self.output(call, output, &mut limit)?);
        }
        let keys = call.until.len();
        let updates = answer.updates.into_iter().map(|update| self.update(update, keys));
        let clears = answer.clears.into_iter().map(|clear| self.clear(&clear, keys));
        Ok(KeyedOutputs {
            outputs,
            updates: updates.collect::<Result<_, _>>()?,
            clears: clears.collect::<Result<_, _>>()?,
            timers: self
                .timer_changes(call, answer.timers)
                .map_err(|violation| violation.of("changes of timers"))?,
            rejects: rejects(call, answer.rejects)?,
        })
    }

    /// An output; none where it has no rows.
    fn output(
        &self,
        call: &KeyedCall,
        output: raw::Output,
        limit: &mut RowLimit,
    ) -> Result<Option<KeyedOutput>, Violation> {
        let shape = OutputShape::find(&self.outputs, output.port)?;
        let origins = self.origins(call, output.origins)?;
        let rows = match &origins {
            Origins::Events(events) => events.len(),
            Origins::Fired { key, .. } => key.len(),
        };
        limit.add(rows)?;
        shape.check_kinds(&output.kinds, rows)?;
        shape.check_columns(output.columns.len())?;
        let of_column = ColumnsOf {
            shape: self,
            call,
            origins: &origins,
            rows,
        };
        let columns = output.columns.into_iter().zip(shape.schema.fields()).zip(&shape.live);
        let columns = columns
            .map(|((column, field), &live)| of_column.lift(column, field, live))
            .collect::<Result<_, _>>()
            .map_err(|violation| Violation {
                row: violation.row.and_then(|row| of_column.event(row)),
                ..violation
            })?;
        if rows == 0 {
            return Ok(None);
        }
        let kinds = if output.kinds.is_empty() && shape.changelog {
            kinds_of_events(call, &origins)
        } else {
            output.kinds
        };
        Ok(Some(KeyedOutput {
            port: output.port as usize,
            origins,
            kinds,
            columns,
        }))
    }

    fn origins(&self, call: &KeyedCall, origins: raw::Origins) -> Result<Origins, Violation> {
        let of = |violation: Violation| violation.of("origins");
        match origins {
            raw::Origins::Events(events) => lift::numbers(&events, call.events.index.len(), "event")
                .map(Origins::Events)
                .map_err(of),
            raw::Origins::Fired(raw::Fired { key, time }) => {
                if !self.timers.iter().any(|timer| timer.domain == TimeDomain::Event) {
                    return Err(of(Violation::new(
                        "timers that it fired itself, but it described none of event time",
                    )));
                }
                let key = lift::numbers(&key, call.until.len(), "key").map_err(of)?;
                let time = lift::int64s(time, key.len(), "times").map_err(of)?;
                let later = |(&key, &time): (&u32, &i64)| time > call.until[key as usize];
                if lift::any(key.iter().zip(&time).map(later)) {
                    let row = key.iter().zip(&time).position(later).unwrap_or_default();
                    return Err(of(Violation::new(format!(
                        "a timer of key {} that it fired itself at {}, which is after {}, the key's `until`",
                        key[row],
                        Timestamp(time[row]),
                        Timestamp(call.until[key[row] as usize])
                    ))));
                }
                Ok(Origins::Fired {
                    key,
                    time: time.to_vec(),
                })
            }
        }
    }

    fn table(&self, number: u32, what: &str) -> Result<&TableDescription, Violation> {
        self.tables.get(number as usize).ok_or_else(|| {
            Violation::new(format!(
                "{what} of table {number}, but it described {} tables",
                self.tables.len()
            ))
        })
    }

    fn update(&self, update: state_types::Update, keys: usize) -> Result<Update, Violation> {
        let table = self.table(update.table, "an update")?;
        let of = |violation: Violation| Violation {
            row: None,
            ..violation.of(format_args!("an update of table \"{}\"", table.name))
        };
        if !matches!(table.kind, TableKind::Value | TableKind::ValueOnDemand) {
            return Err(of(Violation::new(format!(
                "it is of the kind `{}`, which is changed by the functions of `state`",
                kind_name(table.kind)
            ))));
        }
        let (of_keys, rows) = keys_of(&update.keys, keys).map_err(of)?;
        let fields = table.schema.fields();
        let mut columns: Vec<(usize, _)> = Vec::with_capacity(update.columns.len());
        for (number, column) in update.columns {
            let place = number as usize;
            let Some(field) = fields.get(place) else {
                return Err(of(Violation::new(format!(
                    "column {number}, but it has {}",
                    fields.len()
                ))));
            };
            if columns.iter().any(|(earlier, _)| *earlier == place) {
                return Err(of(Violation::new(format!("column {number} twice"))));
            }
            columns.push((place, lift::column(column, field, rows).map_err(of)?));
        }
        Ok(Update {
            table: update.table as usize,
            keys: of_keys,
            columns,
        })
    }

    fn clear(&self, clear: &state_types::Clear, keys: usize) -> Result<Clear, Violation> {
        let table = self.table(clear.table, "a clear")?;
        let (keys, _) = keys_of(&clear.keys, keys)
            .map_err(|violation| violation.of(format_args!("a clear of table \"{}\"", table.name)))?;
        Ok(Clear {
            table: clear.table as usize,
            keys,
        })
    }

    fn timer_changes(
        &self,
        call: &KeyedCall,
        changes: state_types::TimerChanges,
    ) -> Result<Vec<TimerChange>, Violation> {
        let keys = lift::numbers(&changes.key, call.until.len(), "key")?;
        let rows = keys.len();
        let kinds = lift::numbers(&changes.kind, self.timers.len(), "kind of timer")?;
        if kinds.len() != rows {
            return Err(Violation::new(format!("{} kinds of {rows} changes", kinds.len())));
        }
        let tags = lift::int64s(changes.tag, rows, "tags")?;
        let times = lift::int64s(changes.time, rows, "times")?;
        let cancel = lift::bitmap(changes.cancel, rows, "cancel")?;
        let changes = (0..rows).map(|row| {
            let (key, kind, time) = (keys[row], kinds[row], times[row]);
            let timer = &self.timers[kind as usize];
            let until = call.until[key as usize];
            let is_set = !cancel.value(row);
            if is_set && timer.domain == TimeDomain::Event && time <= until {
                return Err(Violation::new(format!(
                    "timer \"{}\" of key {key} at {}, which is not after {}, the key's `until`: it has to be fired in \
                     the call that sets it",
                    timer.name,
                    Timestamp(time),
                    Timestamp(until)
                )));
            }
            Ok(TimerChange {
                key,
                kind,
                tag: tags[row],
                time: is_set.then_some(time),
            })
        });
        changes.collect()
    }
}

/// Where the columns of one output come from.
struct ColumnsOf<'a> {
    shape: &'a Shape,
    call: &'a KeyedCall,
    origins: &'a Origins,
    rows: usize,
}

impl ColumnsOf<'_> {
    fn lift(&self, column: raw::OutputColumn, field: &Field, live: bool) -> Result<KeyedColumn, Violation> {
        Ok(match column {
            raw::OutputColumn::Input(index) => {
                self.check_input(index, field)
                    .map_err(|violation| violation.of(format_args!("column \"{}\"", field.name)))?;
                if live {
                    KeyedColumn::Input(index as usize)
                } else {
                    KeyedColumn::Absent
                }
            }
            raw::OutputColumn::Key(index) => {
                self.check_key(index, field)
                    .map_err(|violation| violation.of(format_args!("column \"{}\"", field.name)))?;
                if live {
                    KeyedColumn::Key(index as usize)
                } else {
                    KeyedColumn::Absent
                }
            }
            raw::OutputColumn::Computed(raw) if live => KeyedColumn::Computed(lift::column(raw, field, self.rows)?),
            raw::OutputColumn::Computed(_) => KeyedColumn::Absent,
        })
    }

    /// The event that an output row comes from.
    fn event(&self, row: usize) -> Option<usize> {
        match self.origins {
            Origins::Events(events) => events.get(row).map(|&event| event as usize),
            Origins::Fired { .. } => None,
        }
    }

    /// The key that an output row is of.
    fn key(&self, row: usize) -> usize {
        match self.origins {
            Origins::Events(events) => {
                let ends = &self.call.events.offsets[1..];
                ends.partition_point(|&end| end <= events[row])
            }
            Origins::Fired { key, .. } => key[row] as usize,
        }
    }

    fn check_input(&self, index: u32, field: &Field) -> Result<(), Violation> {
        let Origins::Events(events) = self.origins else {
            return Err(Violation::new(
                "an input column for rows that come from timers that it fired itself",
            ));
        };
        let source = |event: u32| self.call.events.source[event as usize];
        let Some(input) = events.first().map(|&event| source(event)) else {
            return Ok(());
        };
        if let Some(&timer) = events.iter().find(|&&event| source(event) == TIMER_SOURCE) {
            return Err(Violation::new(format!(
                "an input column for rows of which one comes from event {timer}, a timer"
            )));
        }
        if lift::any(events.iter().map(|&event| source(event) != input)) {
            return Err(Violation::new(
                "an input column for rows that come from more than one input",
            ));
        }
        self.shape.inputs[usize::from(input)].check_reference(index, field)?;
        if !field.nullable {
            let rows = events
                .iter()
                .map(|&event| self.call.events.index[event as usize] as usize);
            let batch = &self.call.inputs[usize::from(input)];
            if let Some(row) = first_null(batch, index as usize, rows) {
                return Err(null_in(row));
            }
        }
        Ok(())
    }

    fn check_key(&self, index: u32, field: &Field) -> Result<(), Violation> {
        let Some(key) = self.shape.key.get(index as usize) else {
            return Err(Violation::new(format!(
                "key column {index}, but there are {}",
                self.shape.key.len()
            )));
        };
        if key.data_type != field.data_type {
            return Err(Violation::new(format!(
                "key column \"{key}\" for output column \"{field}\", which is of another type"
            )));
        }
        if !field.nullable
            && let Some(nulls) = self.call.keys[index as usize].nulls()
            && let Some(row) = (0..self.rows).find(|&row| nulls.is_null(self.key(row)))
        {
            return Err(null_in(row));
        }
        Ok(())
    }
}

/// The keys that something is for, and how many they are.
fn keys_of(keys: &state_types::Keys, count: usize) -> Result<(KeysOf, usize), Violation> {
    Ok(match keys {
        state_types::Keys::All => (KeysOf::All, count),
        state_types::Keys::Some(some) => {
            let some = lift::distinct_numbers(some, count, "key")?;
            let rows = some.len();
            (KeysOf::Some(some), rows)
        }
    })
}

/// The kinds of the rows that output rows come from; what comes from a timer is an insert. Empty where all are.
fn kinds_of_events(call: &KeyedCall, origins: &Origins) -> Vec<u8> {
    let Origins::Events(events) = origins else {
        return Vec::new();
    };
    if call.inputs.iter().all(|batch| batch.hidden().kinds.is_none()) {
        return Vec::new();
    }
    let kind = |&event: &u32| {
        let event = event as usize;
        match call.events.source[event] {
            TIMER_SOURCE => Kind::Insert,
            input => call.inputs[usize::from(input)].kind(call.events.index[event] as usize),
        }
    };
    events.iter().map(|event| kind(event).byte()).collect()
}

/// Rejects of events that are rows.
fn rejects(call: &KeyedCall, raw: Vec<types::Reject>) -> Result<Vec<Reject>, Violation> {
    let checked = raw.into_iter().map(
        |types::Reject { row, message }| match call.events.source.get(row as usize) {
            None => Err(Violation::new(format!(
                "a reject of event {row}, but there are {}",
                call.events.source.len()
            ))),
            Some(&TIMER_SOURCE) => Err(Violation::new(format!(
                "a reject of event {row}, which is a timer and no row"
            ))),
            Some(_) => Ok(Reject {
                row,
                message: clipped(message),
            }),
        },
    );
    checked.collect()
}
