//! What the ports of a keyed operator emitted, as the contract wants it: rows of events apart from rows of timers that
//! fired within the call.
//!
//! The rows of a key keep their order: they are laid out in waves, and a wave holds rows of one class. A key whose rows
//! change class goes on in a later wave; all keys share the waves, so there are as many as one key needs.

use crate::{
    bindings::{keyed_operator as keyed, types as wit},
    buffer::{self, Buffer},
    fault::Failure,
    port::{Passing, PortRows, PortSpec},
    schema,
    take::take,
};

/// Where each column of a port comes from.
pub(super) type Layout = Vec<Source>;

#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Input(u32),
    Key(u32),
    Computed(usize),
}

/// The port of a specification, and where its columns come from.
pub(super) fn layout(spec: &PortSpec, input: &wit::Schema, key: &wit::Schema) -> (wit::Port, Layout) {
    let (passing, source): (&[wit::Field], fn(u32) -> Source) = match spec.passes {
        Passing::Nothing => (&[], Source::Input),
        Passing::Input => (&input.fields, Source::Input),
        Passing::Key => (&key.fields, Source::Key),
    };
    let mut fields = Vec::new();
    let mut layout = Layout::new();
    for (field, at) in passing.iter().zip(0..) {
        if let Some(computed) = spec.columns.iter().position(|column| column.name == field.name) {
            fields.push(schema::field(&spec.columns[computed]));
            layout.push(Source::Computed(computed));
        } else {
            fields.push(field.clone());
            layout.push(source(at));
        }
    }
    for (at, column) in spec.columns.iter().enumerate() {
        if !fields.iter().any(|field| field.name == column.name) {
            fields.push(schema::field(column));
            layout.push(Source::Computed(at));
        }
    }
    let port = wit::Port {
        name: spec.name.to_owned(),
        schema: wit::Schema { fields },
        changelog: spec.changelog,
    };
    (port, layout)
}

/// What a port emitted.
pub(super) struct Sent<'a> {
    pub(super) port: u32,
    pub(super) spec: &'a PortSpec,
    pub(super) layout: &'a [Source],
    pub(super) rows: PortRows,
}

/// What the numbers of emitted rows mean: events of the call, then timers that were fired in it.
pub(super) struct Sources<'a> {
    pub(super) offsets: &'a [u32],
    /// Empty: every event is a row of input 0.
    pub(super) source: &'a [u8],
    pub(super) events: usize,
    pub(super) fired: &'a [(u32, i64)],
}

/// What may stand together in one output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Events,
    /// Rows of one input, whose columns pass through.
    Input(u8),
    Fired,
}

struct Wave {
    class: Class,
    /// Places in what the port emitted.
    rows: Vec<u32>,
}

impl Sources<'_> {
    pub(super) fn send(&self, sent: Sent<'_>, to: &mut Vec<keyed::Output>) -> Result<(), Failure> {
        let numbers = match sent.rows.rows {
            wit::Selection::All => Buffer::new(buffer::filled(self.events, |numbers: &mut [u32]| {
                numbers.iter_mut().zip(0..).for_each(|(number, at)| *number = at);
            })),
            wit::Selection::Rows(numbers) => Buffer::new(numbers),
        };
        let numbers = numbers.values::<u32>().expect("row numbers are u32");
        if numbers.is_empty() {
            return Ok(());
        }
        let (port, kinds, mut computed) = (sent.port, sent.rows.kinds, sent.rows.computed);
        let waves = self.waves(sent.spec, numbers)?;
        if let [wave] = &*waves {
            to.push(keyed::Output {
                port,
                origins: self.origins(wave.class, numbers.iter().copied()),
                kinds,
                columns: columns(sent.layout, &mut computed.into_iter().map(Some).collect::<Vec<_>>()),
            });
            return Ok(());
        }
        for wave in waves {
            let rows = &wave.rows;
            let mut taken: Vec<_> = computed
                .iter_mut()
                .zip(sent.spec.columns)
                .map(|(column, spec)| Some(take(column, spec.data_type, rows)))
                .collect();
            to.push(keyed::Output {
                port,
                origins: self.origins(wave.class, rows.iter().map(|row| numbers[*row as usize])),
                kinds: rows
                    .iter()
                    .filter_map(|row| kinds.get(*row as usize).copied())
                    .collect(),
                columns: columns(sent.layout, &mut taken),
            });
        }
        Ok(())
    }

    fn waves(&self, spec: &PortSpec, numbers: &[u32]) -> Result<Vec<Wave>, Failure> {
        if self.fired.is_empty() && spec.passes != Passing::Input {
            return Ok(vec![Wave {
                class: Class::Events,
                rows: Vec::new(),
            }]);
        }
        let mut waves: Vec<Wave> = Vec::new();
        let (mut key, mut wave) = (0, 0);
        for (row, &number) in (0..).zip(numbers) {
            let class = self.class(spec, number)?;
            let of = self.key(number, key);
            if of != key {
                (key, wave) = (of, 0);
            }
            let later = waves[wave.min(waves.len())..].iter();
            if let Some(further) = later.map(|wave| wave.class).position(|of| of == class) {
                wave += further;
            } else {
                wave = waves.len();
                waves.push(Wave {
                    class,
                    rows: Vec::new(),
                });
            }
            waves[wave].rows.push(row);
        }
        Ok(waves)
    }

    fn class(&self, spec: &PortSpec, number: u32) -> Result<Class, Failure> {
        let event = number as usize;
        if spec.passes != Passing::Input {
            return Ok(if event < self.events {
                Class::Events
            } else {
                Class::Fired
            });
        }
        let source = if self.source.is_empty() {
            Some(0)
        } else {
            self.source.get(event).copied()
        };
        match source {
            Some(input) if event < self.events && input != super::driver::TIMER => Ok(Class::Input(input)),
            _ => Err(Failure::new(format!(
                "a timer emitted a row to port `{}`, which gives the columns of the input row, and a timer has none: make \
                 the port `WithKey` or `Only`, or emit timers' rows to another",
                spec.name
            ))),
        }
    }

    /// The key of an emitted row. Rows come in the order of the keys, so the search goes on from the last.
    fn key(&self, number: u32, mut from: usize) -> usize {
        if let Some(fired) = (number as usize).checked_sub(self.events) {
            return self.fired[fired].0 as usize;
        }
        if self.offsets[from] > number {
            from = 0;
        }
        while self.offsets[from + 1] <= number {
            from += 1;
        }
        from
    }

    fn origins(&self, class: Class, numbers: impl Iterator<Item = u32>) -> keyed::Origins {
        if class != Class::Fired {
            let mut events = Vec::new();
            numbers.for_each(|number| buffer::push(&mut events, number));
            return keyed::Origins::Events(events);
        }
        let (mut key, mut time) = (Vec::new(), Vec::new());
        for number in numbers {
            let (of, at) = self.fired[number as usize - self.events];
            buffer::push(&mut key, of);
            buffer::push(&mut time, at);
        }
        keyed::Origins::Fired(keyed::Fired { key, time })
    }
}

fn columns(layout: &[Source], computed: &mut [Option<wit::Column>]) -> Vec<keyed::OutputColumn> {
    let column = |source: &Source| match *source {
        Source::Input(at) => keyed::OutputColumn::Input(at),
        Source::Key(at) => keyed::OutputColumn::Key(at),
        Source::Computed(at) => {
            keyed::OutputColumn::Computed(computed[at].take().expect("a layout names each computed column once"))
        }
    };
    layout.iter().map(column).collect()
}
