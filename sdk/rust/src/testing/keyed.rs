//! Runs a keyed operator in the process of a test: rows, watermarks and the clock in; outputs, state and timers out.

mod round;
mod store;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
};

use super::{
    Imports, LogLine, Table,
    table::{Cell, Cells},
};
use crate::{
    Failure, Timestamp,
    bindings::{keyed_operator as keyed, state_types, types as wit},
    keyed::{KeyedOperator, Opened, describe, open},
    port::Kind,
};
use round::{KeyRows, Mode};
use store::Store;

/// A keyed operator that has been opened, with the state and the timers of all its keys.
///
/// It hands on rows as the host does with `order = "event-time"`: those before the watermark, each key's in the order of
/// time, due timers before rows of their time; state with a TTL goes when its time is over.
///
/// ```
/// use wasmill_sdk::{prelude::*, testing::{KeyedTest, Table}};
///
/// #[derive(InputRow)]
/// struct Reading {
///     value: i64,
/// }
///
/// #[derive(Timers)]
/// enum Timer {
///     Silent,
/// }
///
/// #[derive(OutputRow)]
/// struct Silence {
///     last: i64,
/// }
///
/// /// Says when a sensor was silent for a minute.
/// #[keyed]
/// struct Watch;
///
/// impl Keyed for Watch {
///     type Key<'a> = ();
///     type Input<'a> = Reading;
///     type State = Option<i64>;
///     type Timer = Timer;
///     type Output = WithKey<Silence>;
///
///     fn row(&self, _: &(), last: &mut Option<i64>, row: Reading, cx: &mut Context<Self>) -> Result<(), Reject> {
///         *last = Some(row.value);
///         cx.set_timer(Timer::Silent, cx.event_time().saturating_add_micros(60_000_000));
///         Ok(())
///     }
///
///     fn timer(&self, _: &(), last: &mut Option<i64>, _timer: Timer, cx: &mut Context<Self>) {
///         if let Some(last) = last.take() {
///             cx.emit(Silence { last });
///         }
///     }
/// }
///
/// let at = Timestamp::from_secs;
/// let readings = Table::new()
///     .with("sensor", ["a", "b", "a"])
///     .with("value", [1, 2, 3])
///     .with_event_times([at(0), at(10), at(50)]);
/// let mut test = KeyedTest::<Watch>::open("{}", &["sensor"], &[&readings])?;
/// test.push(&readings);
/// test.watermark(at(80))?;
/// let silence = Table::new().with("sensor", ["b"]).with("last", [2]);
/// assert_eq!(test.take("out"), silence.with_event_times([at(70)]));
/// assert_eq!(test.table("state"), Table::new().with("sensor", ["a"]).with("value", [Some(3)]));
/// let timers = Table::new().with("sensor", ["a"]).with("timer", ["silent"]).with("tag", [0]).with("due", [at(110)]);
/// assert_eq!(test.timers(), timers);
///
/// // The same, wherever the rows are cut into calls.
/// KeyedTest::<Watch>::check_cuts("{}", &["sensor"], &[&readings])?;
/// # Ok::<(), Failure>(())
/// ```
pub struct KeyedTest<T> {
    operator: Opened<T>,
    description: keyed::Description,
    imports: Imports,
    inputs: Vec<Input>,
    key: wit::Schema,
    store: Rc<RefCell<Store>>,
    keys: BTreeMap<Cells, KeyRows>,
    pushed: u64,
    watermark: i64,
    processing_time: i64,
    ported: Vec<Vec<Emitted>>,
    rejects: Vec<(Timestamp, String)>,
    late: usize,
}

/// What an input is.
struct Input {
    schema: wit::Schema,
    /// Without rows.
    empty: Table,
    /// The places of the key columns.
    key: Vec<usize>,
}

/// A row of an output.
#[derive(Debug, Clone, PartialEq)]
struct Emitted {
    time: i64,
    key: Cells,
    kind: Kind,
    row: Cells,
}

impl<T> fmt::Debug for KeyedTest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedTest")
            .field("description", &self.description)
            .field("watermark", &self.watermark)
            .field("imports", &self.imports)
            .finish_non_exhaustive()
    }
}

impl<T: KeyedOperator> KeyedTest<T> {
    /// Describes and opens the operator with a configuration, as JSON, for a key of these columns and inputs with the
    /// columns of these tables.
    ///
    /// # Errors
    ///
    /// What `describe` or `open` says against the configuration, the key or the columns.
    pub fn open(config: &str, key: &[&str], inputs: &[&Table]) -> Result<Self, Failure> {
        let names: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
        let described: Vec<wit::Input> = (0..)
            .zip(inputs)
            .map(|(number, table)| wit::Input {
                name: if inputs.len() == 1 {
                    "input".to_owned()
                } else {
                    format!("input-{number}")
                },
                schema: table.schema(),
                changelog: table.kinds().is_some(),
            })
            .collect();
        let mut imports = Imports::default();
        let (description, operator) = imports
            .during(|| {
                Ok((
                    describe::<T>(config, &described, &names)?,
                    open::<T>(config, &described, &names)?,
                ))
            })
            .map_err(Failure::from_wit)?;
        let place = |schema: &wit::Schema, name: &String| {
            let at = schema.fields.iter().position(|field| field.name == *name);
            at.unwrap_or_else(|| panic!("an input has no key column `{name}`"))
        };
        let inputs: Vec<Input> = described
            .into_iter()
            .zip(inputs)
            .map(|(input, table)| Input {
                key: names.iter().map(|name| place(&input.schema, name)).collect(),
                schema: input.schema,
                empty: table.select([]),
            })
            .collect();
        let fields = inputs[0].key.iter().map(|at| inputs[0].schema.fields[*at].clone());
        Ok(Self {
            key: wit::Schema {
                fields: fields.collect(),
            },
            store: Rc::new(RefCell::new(Store::new(description.tables.clone()))),
            ported: vec![Vec::new(); description.outputs.len()],
            operator,
            description,
            imports,
            inputs,
            keys: BTreeMap::new(),
            pushed: 0,
            watermark: i64::MIN,
            processing_time: 0,
            rejects: Vec::new(),
            late: 0,
        })
    }

    /// Gives rows to the first input. They need event times; they wait for the watermark. A row before the watermark is
    /// late, and counted.
    ///
    /// # Panics
    ///
    /// When the table has other columns than the one that the operator was opened for, or no event times.
    pub fn push(&mut self, rows: &Table) {
        self.push_to(0, rows);
    }

    /// Gives rows to the input of this number.
    ///
    /// # Panics
    ///
    /// As [`push`](Self::push), and when there is no such input.
    pub fn push_to(&mut self, input: usize, rows: &Table) {
        let of = &self.inputs[input];
        assert_eq!(rows.schema(), of.schema, "the operator was opened for other columns");
        let times = rows.event_times().expect("rows of a keyed operator need event times");
        for (row, time) in times.iter().enumerate() {
            let time = time.as_micros();
            if time < self.watermark {
                self.late += 1;
                continue;
            }
            let key = self.keys.entry(rows.cells(&of.key, row)).or_default();
            key.rows.insert((time, input, self.pushed), rows.select([row]));
            self.pushed += 1;
        }
    }

    /// The watermark comes to this time: the rows before it and the timers up to it are handled.
    ///
    /// # Errors
    ///
    /// When the operator fails a call.
    ///
    /// # Panics
    ///
    /// When the operator breaks the contract.
    pub fn watermark(&mut self, to: Timestamp) -> Result<(), Failure> {
        self.watermark = self.watermark.max(to.as_micros());
        self.run(Mode::Rows)?;
        self.expire();
        Ok(())
    }

    /// The clock comes to this time: the timers of processing time up to it are handled.
    ///
    /// # Errors
    ///
    /// When the operator fails a call.
    ///
    /// # Panics
    ///
    /// When the operator breaks the contract.
    pub fn processing_time(&mut self, to: Timestamp) -> Result<(), Failure> {
        self.processing_time = to.as_micros();
        self.run(Mode::Clock)
    }

    /// The input ends: the rows that wait are handled, then each timer that is set fires once.
    ///
    /// # Errors
    ///
    /// When the operator fails a call.
    ///
    /// # Panics
    ///
    /// When the operator breaks the contract.
    pub fn end(&mut self) -> Result<(), Failure> {
        self.run(Mode::LastRows)?;
        self.run(Mode::End(state_types::TimeDomain::Event))?;
        self.run(Mode::End(state_types::TimeDomain::Processing))
    }

    /// The rows that a port gave since they were last taken, with their event times: by time, then key, then as they were
    /// emitted. The single port of an operator without side outputs is `out`.
    ///
    /// # Panics
    ///
    /// When the operator has no such port.
    pub fn take(&mut self, port: &str) -> Table {
        let ports = &self.description.outputs;
        let at = ports.iter().position(|found| found.name == port).unwrap_or_else(|| {
            let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            panic!("there is no port `{port}`: the operator has {}", names.join(", "))
        });
        let mut emitted = std::mem::take(&mut self.ported[at]);
        emitted.sort_by(|a, b| (a.time, &a.key).cmp(&(b.time, &b.key)));
        let rows: Vec<Cells> = emitted.iter().map(|emitted| emitted.row.clone()).collect();
        let table = Table::of(&ports[at].schema.fields, &rows);
        let table = table.with_event_times(emitted.iter().map(|emitted| Timestamp::from_micros(emitted.time)));
        if ports[at].changelog {
            table.with_kinds(emitted.iter().map(|emitted| emitted.kind))
        } else {
            table
        }
    }

    /// The rows of a table of state: the key columns, then its own. A key that has the initial row may be left out.
    ///
    /// # Panics
    ///
    /// When the operator has no such table.
    pub fn table(&self, name: &str) -> Table {
        let store = self.store.borrow();
        let at = store
            .tables
            .iter()
            .position(|table| table.name == name)
            .unwrap_or_else(|| {
                let names: Vec<&str> = store.tables.iter().map(|table| table.name.as_str()).collect();
                panic!("there is no table `{name}`: the operator has {}", names.join(", "))
            });
        let mut fields = self.key.fields.clone();
        fields.extend(store.tables[at].fields.iter().cloned());
        let mut rows = Vec::new();
        for (key, of) in store.rows(at) {
            rows.extend(of.iter().map(|row| key.iter().chain(row).cloned().collect::<Cells>()));
        }
        Table::of(&fields, &rows)
    }

    /// The timers that are set: the key columns, `timer`, `tag` and `due`.
    pub fn timers(&self) -> Table {
        let mut fields = self.key.fields.clone();
        let field = |name: &str, data_type: &str| wit::Field {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            nullable: false,
        };
        fields.extend([field("timer", "utf8"), field("tag", "int64"), field("due", "timestamp")]);
        let mut rows = Vec::new();
        for (key, of) in &self.keys {
            for ((kind, tag), due) in &of.timers {
                let name = self.description.timers[*kind as usize].name.clone();
                let timer = [Cell::Text(name), Cell::Int64(*tag), Cell::Int64(*due)];
                rows.push(key.iter().cloned().chain(timer.map(Some)).collect::<Cells>());
            }
        }
        Table::of(&fields, &rows)
    }

    /// The rejected rows: their event times and messages.
    pub fn rejects(&self) -> &[(Timestamp, String)] {
        &self.rejects
    }

    /// How many rows were late.
    pub fn late(&self) -> usize {
        self.late
    }

    /// What the operator logged so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.imports.logs()
    }

    /// The sum of a counter or histogram, or the last value of a gauge; `None` when it was not declared.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.imports.metric(name)
    }

    /// Checks that the result does not depend on how rows are cut into calls: the rows of the inputs at once must give the
    /// outputs, the state and the timers that they give one time after the other.
    ///
    /// # Errors
    ///
    /// When the operator fails a call.
    ///
    /// # Panics
    ///
    /// When the results differ.
    pub fn check_cuts(config: &str, key: &[&str], inputs: &[&Table]) -> Result<(), Failure> {
        let mut whole = Self::open(config, key, inputs)?;
        let mut cut = Self::open(config, key, inputs)?;
        let mut times = BTreeSet::new();
        for (input, rows) in inputs.iter().enumerate() {
            whole.push_to(input, rows);
            cut.push_to(input, rows);
            let of = rows.event_times().unwrap_or_default();
            times.extend(of.iter().flat_map(|time| [*time, time.saturating_add_micros(1)]));
        }
        let Some(last) = times.last().copied() else {
            return Ok(());
        };
        whole.watermark(last)?;
        for time in times {
            cut.watermark(time)?;
        }
        whole.expect_same(&cut);
        whole.end()?;
        cut.end()?;
        whole.expect_same(&cut);
        Ok(())
    }

    fn expect_same(&self, cut: &Self) {
        let sorted = |emitted: &[Emitted]| {
            let mut emitted = emitted.to_vec();
            emitted.sort_by(|a, b| (a.time, &a.key).cmp(&(b.time, &b.key)));
            emitted
        };
        for ((port, whole), cut) in self.description.outputs.iter().zip(&self.ported).zip(&cut.ported) {
            let (whole, cut) = (sorted(whole), sorted(cut));
            assert_eq!(
                whole, cut,
                "port `{}` depends on how rows are cut into calls",
                port.name
            );
        }
        for table in &self.description.tables {
            let name = &table.name;
            assert_eq!(
                self.table(name),
                cut.table(name),
                "table `{name}` depends on how rows are cut into calls"
            );
        }
        assert_eq!(
            self.timers(),
            cut.timers(),
            "timers depend on how rows are cut into calls"
        );
    }
}
