//! From a call of the host to rows and timers of one key after the other, and back.
//!
//! The events of a key are handled in the order in which the host gives them. Between them fire the timers that the
//! operator sets at or before the key's `until`: a timer before rows of the same time, timers of one time in the order of
//! kind and tag, which is that of the host. So a key's events give the same wherever they are cut into calls.
//!
//! * A timer that is set or cancelled before its turn voids the event by which the host gave it as due.
//! * A timer of event time that is set into the past is due at the time of what is handled, so times never fall. While a
//!   timer of processing time is handled there is no such bound.
//! * Timers of processing time always go to the host.
//! * At the end of input `until` is the least time there is: what is set goes to the host, which discards it.

use super::{
    Inputs, Key, Keyed, KeyedOperator, Timers,
    context::Context,
    outputs::{Layout, Sent, Sources, layout},
    timer::Changes,
};
use crate::{
    bindings::{keyed_operator as keyed, state_types, types as wit},
    buffer::Buffer,
    column::RawBatch,
    config,
    fault::{Failure, Rejects},
    metrics,
    port::{Kind, Outputs, Passing},
    schema,
    state::{self, Effects, Given, State, TableSettings},
};

/// The number in `events.source` of a due timer.
pub(super) const TIMER: u8 = 255;

/// A keyed operator after `open`.
#[derive(Debug)]
pub struct Opened<T> {
    operator: T,
    layouts: Vec<Layout>,
    key: Vec<usize>,
}

/// `keyed-operator.describe`.
///
/// # Errors
///
/// When the configuration, an input or the key does not fit; the message says what to do.
pub fn describe<T: KeyedOperator>(
    config: &str,
    inputs: &[wit::Input],
    key: &[String],
) -> Result<keyed::Description, wit::Failure> {
    plan::<T>(config, inputs, key)
        .map(|(_, description)| description)
        .map_err(Failure::into_wit)
}

/// `keyed-operator.open`.
///
/// # Errors
///
/// As `describe`; and what the operator's own `open` says.
pub fn open<T: KeyedOperator>(config: &str, inputs: &[wit::Input], key: &[String]) -> Result<Opened<T>, wit::Failure> {
    let (mut opened, _) = plan::<T>(config, inputs, key).map_err(Failure::into_wit)?;
    opened.operator.open().map_err(Failure::into_wit)?;
    Ok(opened)
}

fn plan<T: KeyedOperator>(
    config: &str,
    inputs: &[wit::Input],
    key: &[String],
) -> Result<(Opened<T>, keyed::Description), Failure> {
    let operator = config::parse::<T>(config)?;
    operator.check()?;
    let requirements = requirements::<T>(inputs)?;
    let key_schema = schema::key(&inputs[0], key)?;
    let columns = <T::Key<'static> as Key<'static>>::columns(&key_schema)?;
    if <T::Output as Outputs>::PORTS
        .iter()
        .any(|port| port.passes == Passing::Input)
    {
        for input in inputs {
            schema::same(&inputs[0], input)?;
        }
    }
    let ports = <T::Output as Outputs>::PORTS.iter();
    let (outputs, layouts) = ports.map(|spec| layout(spec, &inputs[0].schema, &key_schema)).unzip();
    let mut settings = TableSettings::default();
    operator.tables(&mut settings);
    let timers = <T::Timer as Timers>::KINDS.iter().map(|kind| state_types::TimerKind {
        name: kind.name.to_owned(),
        domain: if kind.event {
            state_types::TimeDomain::Event
        } else {
            state_types::TimeDomain::Processing
        },
    });
    let description = keyed::Description {
        inputs: requirements,
        outputs,
        tables: state::describe::<T::State>(&settings)?,
        timers: timers.collect(),
    };
    let opened = Opened {
        operator,
        layouts,
        key: columns,
    };
    Ok((opened, description))
}

/// Event times are always asked for: by them timers find their place.
fn requirements<T: KeyedOperator>(inputs: &[wit::Input]) -> Result<Vec<wit::Requirement>, Failure> {
    let columns = <T::Input<'static> as Inputs<'static>>::COLUMNS;
    let alike = <T::Input<'static> as Inputs<'static>>::ALIKE;
    if inputs.is_empty() {
        return Err(Failure::new("the operator has no input"));
    }
    if !alike && inputs.len() != columns.len() {
        return Err(Failure::new(format!(
            "the operator reads {} different inputs, and is given {}: name them in their order, `input = [...]`",
            columns.len(),
            inputs.len()
        )));
    }
    let requirement = |(at, input): (usize, &wit::Input)| {
        let columns = if alike { columns[0] } else { columns[at] };
        schema::require(input, columns)?;
        Ok(wit::Requirement {
            changelog: T::CHANGELOG,
            ..schema::requirement(columns, true)
        })
    };
    inputs.iter().enumerate().map(requirement).collect()
}

impl<T: KeyedOperator> Opened<T> {
    /// `keyed-operator.process`.
    ///
    /// # Errors
    ///
    /// The call as a whole failed.
    pub fn process(&self, call: keyed::Call) -> Result<keyed::Outputs, wit::Failure> {
        let outputs = self.try_process(call).map_err(Failure::into_wit)?;
        metrics::flush();
        Ok(outputs)
    }

    fn try_process(&self, call: keyed::Call) -> Result<keyed::Outputs, Failure> {
        let sequence = Sequence::new(call.events, call.timers, call.until)?;
        let keys = sequence.keys()?;
        let key_batch = schema::key_columns(&self.key, call.keys, keys)?;
        let key_views = <T::Key<'_> as Key<'_>>::views(&key_batch)?;
        let mut batches = call.inputs;
        let kinds: Vec<Vec<u8>> = batches
            .iter_mut()
            .map(|input| std::mem::take(&mut input.kinds))
            .collect();
        let inputs: Vec<RawBatch> = batches.into_iter().map(RawBatch::new).collect();
        let input_views = <T::Input<'_> as Inputs<'_>>::views(&inputs)?;
        let times = inputs
            .iter()
            .map(RawBatch::event_times)
            .collect::<Result<Vec<_>, _>>()?;
        let tables: Vec<RawBatch> = call.states.into_iter().map(|columns| rows_of(keys, columns)).collect();
        let mut loaded = <T::State as State>::begin(&mut Given::new(&tables))?;
        let mut state = <T::State as State>::create();

        let timers = sequence.timers()?;
        let events = sequence.events()?;
        let mut run = Run::<T> {
            operator: &self.operator,
            cx: Context::new(events.len(), call.processing_time, call.end_of_input),
            events: events.len(),
            fired: Vec::new(),
        };
        let mut rejects = Rejects::none();
        let mut changes = Changes::default();
        let until = sequence.until()?;
        let stretches = events.offsets.array_windows::<2>();
        for ((number, &until), &[start, end]) in (0_u32..).zip(until).zip(stretches) {
            let key = <T::Key<'_> as Key<'_>>::read(&key_views, number as usize);
            state.enter(&loaded, number);
            run.cx.begin_key(until);
            for event in start as usize..end as usize {
                let (source, index) = events.get(event);
                if source == TIMER {
                    let (time, id) = timers.get(index)?;
                    let domain = T::Timer::KINDS.get(id.0 as usize).map(|kind| kind.event);
                    let (Some(is_event), Some(timer)) = (domain, T::Timer::from_id(id.0, id.1)) else {
                        return Err(Failure::new(format!(
                            "timer {index} is of kind {}, which there is not",
                            id.0
                        )));
                    };
                    if is_event {
                        run.fire_before(number, &key, &mut state, |due| due < (time, id));
                    }
                    if run.cx.is_void(id) {
                        continue;
                    }
                    let now = if is_event { time } else { i64::MIN };
                    run.cx.at(event as u32, time, now, Kind::Insert);
                    run.operator.timer(&key, &mut state, timer, &mut run.cx);
                } else {
                    let input = source as usize;
                    let Some(time) = times.get(input).and_then(|times| times.get(index)) else {
                        return Err(Failure::new(format!(
                            "event {event} is row {index} of input {input}, which is not there"
                        )));
                    };
                    let time = time.as_micros();
                    run.fire_before(number, &key, &mut state, |due| due.0 <= time);
                    let kind = if T::CHANGELOG {
                        kind(&kinds[input], index)?
                    } else {
                        Kind::Insert
                    };
                    run.cx.at(event as u32, time, time, kind);
                    let row = <T::Input<'_> as Inputs<'_>>::read(&input_views, input, index);
                    if let Err(reject) = run.operator.row(&key, &mut state, row, &mut run.cx) {
                        rejects.add(event as u32, reject);
                    }
                }
            }
            run.fire_before(number, &key, &mut state, |_| true);
            state.leave(&mut loaded, number);
            run.cx.end_key(number, &mut changes);
        }

        let mut effects = Effects::default();
        state.end(loaded, &mut effects);
        let sources = Sources {
            offsets: events.offsets,
            source: events.source,
            events: events.len(),
            fired: &run.fired,
        };
        let ports = run.cx.out.finish(events.len())?;
        let specs = <T::Output as Outputs>::PORTS;
        let mut outputs = Vec::new();
        for (port, (rows, (spec, layout))) in (0..).zip(ports.into_iter().zip(specs.iter().zip(&self.layouts))) {
            sources.send(
                Sent {
                    port,
                    spec,
                    layout,
                    rows,
                },
                &mut outputs,
            )?;
        }
        Ok(keyed::Outputs {
            outputs,
            updates: effects.updates,
            clears: effects.clears,
            timers: changes.into_wit(),
            rejects: rejects.into_wit(),
        })
    }
}

fn rows_of(rows: usize, columns: Vec<wit::Column>) -> RawBatch {
    RawBatch::new(wit::Batch {
        rows: rows as u32,
        event_times: Vec::new(),
        kinds: Vec::new(),
        columns,
    })
}

fn kind(kinds: &[u8], row: usize) -> Result<Kind, Failure> {
    if kinds.is_empty() {
        return Ok(Kind::Insert);
    }
    let kind = kinds.get(row).and_then(|kind| Kind::from_byte(*kind));
    kind.ok_or_else(|| Failure::new(format!("row {row} has no valid kind")))
}

/// A call on its way.
struct Run<'a, T: Keyed> {
    operator: &'a T,
    cx: Context<T>,
    /// How many events the host gave. Timers fired here are numbered from there on.
    events: usize,
    fired: Vec<(u32, i64)>,
}

impl<T: Keyed> Run<'_, T> {
    /// Fires what the operator set for the key, as long as it comes before the bound.
    #[inline]
    fn fire_before(
        &mut self,
        number: u32,
        key: &T::Key<'_>,
        state: &mut T::State,
        before: impl Fn(super::timer::Due) -> bool,
    ) {
        if T::Timer::KINDS.is_empty() {
            return;
        }
        while let Some((time, (kind, tag))) = self.cx.next_before(&before) {
            let timer = T::Timer::from_id(kind, tag).expect("it was set as a timer of the operator");
            let origin = (self.events + self.fired.len()) as u32;
            self.fired.push((number, time));
            self.cx.at(origin, time, time, Kind::Insert);
            self.operator.timer(key, state, timer, &mut self.cx);
        }
    }
}

/// What comes in which order, as buffers.
struct Sequence {
    offsets: Buffer,
    source: Vec<u8>,
    index: Buffer,
    kind: Buffer,
    tag: Buffer,
    time: Buffer,
    until: Buffer,
}

impl Sequence {
    fn new(events: keyed::Events, timers: keyed::DueTimers, until: Vec<u8>) -> Result<Self, Failure> {
        let sequence = Self {
            offsets: Buffer::new(events.offsets),
            source: events.source,
            index: Buffer::new(events.index),
            kind: Buffer::new(timers.kind),
            tag: Buffer::new(timers.tag),
            time: Buffer::new(timers.time),
            until: Buffer::new(until),
        };
        if sequence.keys()? == sequence.until()?.len() {
            Ok(sequence)
        } else {
            Err(misfit("until"))
        }
    }

    fn keys(&self) -> Result<usize, Failure> {
        let offsets = self.offsets.values::<u32>().ok_or_else(|| misfit("offsets"))?;
        offsets.len().checked_sub(1).ok_or_else(|| misfit("offsets"))
    }

    fn until(&self) -> Result<&[i64], Failure> {
        self.until.values().ok_or_else(|| misfit("until"))
    }

    fn events(&self) -> Result<Events<'_>, Failure> {
        let offsets = self.offsets.values::<u32>().ok_or_else(|| misfit("offsets"))?;
        let index = self.index.values::<u32>().ok_or_else(|| misfit("index"))?;
        let events = Events {
            offsets,
            source: &self.source,
            index,
        };
        if !offsets.is_sorted() {
            return Err(misfit("offsets"));
        }
        if self.source.len() == index.len() && (index.is_empty() || index.len() == events.len()) {
            Ok(events)
        } else {
            Err(misfit("source"))
        }
    }

    fn timers(&self) -> Result<Due<'_>, Failure> {
        let due = Due {
            kind: self.kind.values().ok_or_else(|| misfit("kind"))?,
            tag: self.tag.values().ok_or_else(|| misfit("tag"))?,
            time: self.time.values().ok_or_else(|| misfit("time"))?,
        };
        if due.kind.len() == due.tag.len() && due.kind.len() == due.time.len() {
            Ok(due)
        } else {
            Err(misfit("timer"))
        }
    }
}

fn misfit(buffer: &str) -> Failure {
    Failure::new(format!("the {buffer} buffer of a call does not fit the others"))
}

struct Events<'a> {
    offsets: &'a [u32],
    source: &'a [u8],
    index: &'a [u32],
}

impl Events<'_> {
    fn len(&self) -> usize {
        self.offsets.last().map_or(0, |last| *last as usize)
    }

    /// Where an event is from, and its place there.
    #[inline]
    fn get(&self, event: usize) -> (u8, usize) {
        if self.index.is_empty() {
            (0, event)
        } else {
            (self.source[event], self.index[event] as usize)
        }
    }
}

struct Due<'a> {
    kind: &'a [u32],
    tag: &'a [i64],
    time: &'a [i64],
}

impl Due<'_> {
    fn get(&self, at: usize) -> Result<super::timer::Due, Failure> {
        match (self.time.get(at), self.kind.get(at), self.tag.get(at)) {
            (Some(time), Some(kind), Some(tag)) => Ok((*time, (*kind, *tag))),
            _ => Err(misfit("timer")),
        }
    }
}
