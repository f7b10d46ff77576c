//! From a call of the host to windows, and back.

use std::{fmt, ops::Range, rc::Rc};

use serde::de::DeserializeOwned;

use super::{Firing, WindowRows, Windowed, WindowedParts, frame, rows::Views};
use crate::{
    aggregate::Window,
    bindings::{types as wit, window_operator as window},
    buffer::{self, Buffer, bit},
    column::RawBatch,
    config,
    fault::{Failure, Rejects},
    input::InputRow,
    keyed::Key,
    metrics,
    port::{Outputs, Passing, PortRows, PortSpec},
    schema,
    state::StateRow,
    take::take,
    types::{ColumnSpec, Timestamp},
};

/// What the attribute makes of either trait. Not for authors.
pub trait WindowOperator: DeserializeOwned + 'static {
    /// The columns that it reads.
    const COLUMNS: &'static [ColumnSpec];
    /// Whether it reads event times.
    const EVENT_TIMES: bool;
    /// Its ports.
    const PORTS: &'static [PortSpec];
    /// Which of the key columns it reads, in its order.
    ///
    /// # Errors
    ///
    /// When they do not fit.
    fn key(key: &wit::Schema) -> Result<Vec<usize>, Failure>;
    /// See [`Windowed::check`].
    ///
    /// # Errors
    ///
    /// See [`Windowed::check`].
    fn check(&self) -> Result<(), Failure>;
    /// See [`Windowed::open`].
    ///
    /// # Errors
    ///
    /// See [`Windowed::open`].
    fn open(&mut self) -> Result<(), Failure>;
    /// Handles one call.
    ///
    /// # Errors
    ///
    /// The call as a whole failed.
    fn run(&self, call: &Call) -> Result<Ran, Failure>;
}

/// Firings with their rows.
pub struct Call {
    keys: RawBatch,
    start: Buffer,
    end: Buffer,
    pane: Buffer,
    offsets: Buffer,
    last: Vec<u8>,
    carry: Vec<Vec<u8>>,
    /// The rows of firings that do not end in this call, where the operator wants all at once.
    kept: Vec<Option<wit::Batch>>,
    batch: RawBatch,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("firings", &self.carry.len())
            .finish_non_exhaustive()
    }
}

/// What a call gave.
#[derive(Debug)]
pub struct Ran {
    ports: Vec<PortRows>,
    carry: Vec<Vec<u8>>,
    rejects: Rejects,
}

impl Call {
    fn firings(&self) -> usize {
        self.carry.len()
    }

    fn rows(&self, firing: usize) -> Result<Range<usize>, Failure> {
        let offsets = self.offsets.values::<u32>().ok_or_else(|| misfit("offsets"))?;
        let rows = offsets[firing] as usize..offsets[firing + 1] as usize;
        if rows.start <= rows.end && rows.end <= self.batch.rows() {
            Ok(rows)
        } else {
            Err(misfit("offsets"))
        }
    }

    fn is_last(&self, firing: usize) -> bool {
        bit(&self.last, firing)
    }

    fn firing<K>(&self, at: usize, key: K) -> Result<Firing<K>, Failure> {
        let time = |times: &Buffer| times.values::<Timestamp>().and_then(|times| times.get(at).copied());
        let pane = self.pane.values::<u32>().and_then(|panes| panes.get(at).copied());
        match (time(&self.start), time(&self.end), pane) {
            (Some(start), Some(end), Some(pane)) => Ok(Firing {
                key,
                window: Window { start, end },
                pane,
            }),
            _ => Err(misfit("bounds")),
        }
    }
}

fn misfit(buffer: &str) -> Failure {
    Failure::new(format!("the {buffer} of a call do not fit its firings"))
}

/// Drives an operator that wants all rows of a window at once.
///
/// # Errors
///
/// When the call does not fit, or the operator fails.
pub fn run_whole<T: Windowed>(operator: &T, call: &Call) -> Result<Ran, Failure> {
    let keys = <T::Key<'_> as Key<'_>>::views(&call.keys)?;
    let before: Vec<Vec<RawBatch>> = (0..call.firings())
        .map(|firing| {
            let carried: &[u8] = if call.is_last(firing) { &call.carry[firing] } else { &[] };
            Ok(frame::decode(carried)?.into_iter().map(RawBatch::new).collect())
        })
        .collect::<Result<_, Failure>>()?;
    let views: Rc<Views<'_, T>> = Rc::new(<T::Input<'_> as InputRow<'_>>::views(&call.batch)?);
    let mut out = T::Output::start(call.firings());
    let mut carry = Vec::with_capacity(call.firings());
    for (at, before) in before.iter().enumerate() {
        if let Some(kept) = &call.kept[at] {
            let mut carried = call.carry[at].clone();
            frame::encode(kept, &mut carried);
            carry.push(carried);
            continue;
        }
        let mut parts = Vec::with_capacity(before.len() + 1);
        for batch in before {
            parts.push((Rc::new(<T::Input<'_> as InputRow<'_>>::views(batch)?), 0..batch.rows()));
        }
        parts.push((Rc::clone(&views), call.rows(at)?));
        let firing = call.firing(at, <T::Key<'_> as Key<'_>>::read(&keys, at))?;
        out.at(at as u32);
        operator.window(&firing, WindowRows::new(parts), &mut out)?;
        carry.push(Vec::new());
    }
    Ok(Ran {
        ports: out.finish(call.firings())?,
        carry,
        rejects: Rejects::none(),
    })
}

/// Drives an operator that takes a row at a time.
///
/// # Errors
///
/// When the call does not fit, or the operator fails.
pub fn run_parts<T: WindowedParts>(operator: &T, call: &Call) -> Result<Ran, Failure> {
    let keys = <T::Key<'_> as Key<'_>>::views(&call.keys)?;
    let views = <T::Input<'_> as InputRow<'_>>::views(&call.batch)?;
    let mut out = T::Output::start(call.firings());
    let mut carry = Vec::with_capacity(call.firings());
    let mut rejects = Rejects::none();
    for at in 0..call.firings() {
        let firing = call.firing(at, <T::Key<'_> as Key<'_>>::read(&keys, at))?;
        let mut carried = carried::<T::Carry>(&call.carry[at])?;
        for row in call.rows(at)? {
            if let Err(reject) = operator.row(&firing, &mut carried, InputRow::read(&views, row)) {
                rejects.add(row as u32, reject);
            }
        }
        if call.is_last(at) {
            out.at(at as u32);
            operator.finish(&firing, carried, &mut out)?;
            carry.push(Vec::new());
        } else {
            carry.push(carrying(&carried));
        }
    }
    Ok(Ran {
        ports: out.finish(call.firings())?,
        carry,
        rejects,
    })
}

fn carried<R: StateRow>(bytes: &[u8]) -> Result<R, Failure> {
    let mut row = R::default();
    for batch in frame::decode(bytes)? {
        let batch = RawBatch::new(batch);
        row.load(&R::views(&batch, 0)?, 0);
    }
    Ok(row)
}

fn carrying<R: StateRow>(row: &R) -> Vec<u8> {
    let mut builders = R::Builders::default();
    row.store(&mut builders);
    let batch = wit::Batch {
        rows: 1,
        event_times: Vec::new(),
        kinds: Vec::new(),
        columns: R::finish(builders),
    };
    let mut bytes = Vec::new();
    frame::encode(&batch, &mut bytes);
    bytes
}

/// A window operator after `open`.
#[derive(Debug)]
pub struct Opened<T> {
    operator: T,
    key: Vec<usize>,
}

/// `window-operator.describe`.
///
/// # Errors
///
/// When the configuration, the input or the key does not fit; the message says what to do.
pub fn describe<T: WindowOperator>(
    config: &str,
    input: &wit::Input,
    key: &[String],
) -> Result<window::Description, wit::Failure> {
    plan::<T>(config, input, key)
        .map(|(_, description)| description)
        .map_err(Failure::into_wit)
}

/// `window-operator.open`.
///
/// # Errors
///
/// As `describe`; and what the operator's own `open` says.
pub fn open<T: WindowOperator>(config: &str, input: &wit::Input, key: &[String]) -> Result<Opened<T>, wit::Failure> {
    let (mut opened, _) = plan::<T>(config, input, key).map_err(Failure::into_wit)?;
    opened.operator.open().map_err(Failure::into_wit)?;
    Ok(opened)
}

fn plan<T: WindowOperator>(
    config: &str,
    input: &wit::Input,
    key: &[String],
) -> Result<(Opened<T>, window::Description), Failure> {
    let operator = config::parse::<T>(config)?;
    operator.check()?;
    schema::require(input, T::COLUMNS)?;
    let columns = T::key(&schema::key(input, key)?)?;
    if let Some(passing) = T::PORTS.iter().find(|port| port.passes != Passing::Nothing) {
        return Err(Failure::new(format!(
            "port `{}` gives columns of the input or the key: a window has many rows, and its key stands before what the \
             operator computes. Make it `Only`",
            passing.name
        )));
    }
    if let Some(changelog) = T::PORTS.iter().find(|port| port.changelog) {
        return Err(Failure::new(format!(
            "port `{}` is a changelog: the results of windows are rows. Make it `Only`",
            changelog.name
        )));
    }
    let description = window::Description {
        input: schema::requirement(T::COLUMNS, T::EVENT_TIMES),
        outputs: T::PORTS.iter().map(port).collect(),
    };
    let opened = Opened { operator, key: columns };
    Ok((opened, description))
}

fn port(spec: &PortSpec) -> wit::Port {
    wit::Port {
        name: spec.name.to_owned(),
        schema: wit::Schema {
            fields: spec.columns.iter().map(schema::field).collect(),
        },
        changelog: spec.changelog,
    }
}

impl<T: WindowOperator> Opened<T> {
    /// `window-operator.process`.
    ///
    /// # Errors
    ///
    /// The call as a whole failed.
    pub fn process(&self, firings: window::Firings, batch: wit::Batch) -> Result<window::Outputs, wit::Failure> {
        let ran = self
            .call(firings, batch)
            .and_then(|call| self.operator.run(&call))
            .map_err(Failure::into_wit)?;
        metrics::flush();
        let firings = ran.carry.len();
        let outputs = (0..).zip(ran.ports).map(|(port, rows)| output(port, rows, firings));
        Ok(window::Outputs {
            outputs: outputs.collect(),
            carry: ran.carry,
            rejects: ran.rejects.into_wit(),
        })
    }

    fn call(&self, firings: window::Firings, batch: wit::Batch) -> Result<Call, Failure> {
        let offsets = Buffer::new(firings.offsets);
        let count = offsets.values::<u32>().and_then(|offsets| offsets.len().checked_sub(1));
        let count = count.ok_or_else(|| misfit("offsets"))?;
        if firings.carry.len() != count || firings.last.len() != count.div_ceil(8) {
            return Err(misfit("parts"));
        }
        let kept = (0..count)
            .map(|at| (!bit(&firings.last, at)).then(|| part(&batch, &offsets, at, T::COLUMNS)))
            .collect();
        Ok(Call {
            keys: schema::key_columns(&self.key, firings.keys, count)?,
            start: Buffer::new(firings.start),
            end: Buffer::new(firings.end),
            pane: Buffer::new(firings.pane),
            offsets,
            last: firings.last,
            carry: firings.carry,
            kept,
            batch: RawBatch::new(batch),
        })
    }
}

/// The rows of one firing.
fn part(batch: &wit::Batch, offsets: &Buffer, at: usize, columns: &[ColumnSpec]) -> wit::Batch {
    let offsets = offsets.values::<u32>().expect("the offsets were counted");
    let rows: Vec<u32> = (offsets[at]..offsets[at + 1]).collect();
    let times = || {
        let (from, to) = (offsets[at] as usize * 8, offsets[at + 1] as usize * 8);
        batch.event_times.get(from..to).unwrap_or_default().to_vec()
    };
    wit::Batch {
        rows: rows.len() as u32,
        event_times: times(),
        kinds: Vec::new(),
        columns: batch
            .columns
            .iter()
            .zip(columns)
            .map(|(column, spec)| take(column, spec.data_type, &rows))
            .collect(),
    }
}

fn output(port: u32, rows: PortRows, firings: usize) -> window::Output {
    let firing = match rows.rows {
        wit::Selection::All => buffer::filled(firings, |numbers: &mut [u32]| {
            numbers.iter_mut().zip(0..).for_each(|(number, at)| *number = at);
        }),
        wit::Selection::Rows(numbers) => numbers,
    };
    window::Output {
        port,
        firing,
        rows: None,
        columns: rows.computed.into_iter().map(wit::OutputColumn::Computed).collect(),
    }
}
