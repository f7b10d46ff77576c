//! `Keyed` over an instance of a `keyed` plugin: keys, rows, timers and states in, rows, updates and timers out.
//!
//! A call goes to the guest as it is given: who makes calls keeps them small. What comes back is checked in `answer`;
//! what the guest reads and writes while it runs, in the import `state`.

mod answer;

use std::rc::Rc;

use arrow_buffer::ToByteSlice;
use wasmill_core::fault::Fault;
use wasmill_core::keyed::{Keyed, KeyedCall, KeyedDescription, KeyedOutputs, TableDescription};
use wasmill_core::plugin::World;
use wasmill_core::schema::Field;
use wasmtime::Store;
use wasmtime::component::Instance as ComponentInstance;

use crate::bindings::exports::wasmill::operator::keyed_operator;
use crate::bindings::wasmill::operator::types;
use crate::blamed::{self, Repeated};
use crate::imports::Context;
use crate::lower::{Lowered, lower, params, size_bytes};
use crate::program::Exports;
use crate::shape::{InputShape, LoweredBatch, OutputShape, Required};
use crate::subtask::{Answer, Call, Guest, Subtask};

impl Guest for keyed_operator::Guest {
    fn load(exports: &Exports, store: &mut Store<Context>, instance: &ComponentInstance) -> wasmtime::Result<Self> {
        match exports {
            Exports::Keyed(indices) => indices.load(store, instance),
            other => Err(other.is_not(World::Keyed)),
        }
    }

    fn call_open(
        &self,
        store: &mut Store<Context>,
        config: &str,
        inputs: &[types::Input<'_>],
        key: &[&str],
    ) -> Answer<()> {
        self.call_open(store, config, inputs, key)
    }
}

/// One subtask's instance of a `keyed` plugin.
pub(crate) struct WasmKeyed {
    subtask: Subtask<keyed_operator::Guest>,
    shape: answer::Shape,
}

impl WasmKeyed {
    /// Over a subtask that has been opened.
    pub(crate) fn new(
        subtask: Subtask<keyed_operator::Guest>,
        key: &[Field],
        description: &KeyedDescription,
        tables: Rc<[TableDescription]>,
        live: &[Vec<bool>],
    ) -> Self {
        let described = subtask.inputs().iter().zip(&description.inputs);
        let shape = answer::Shape {
            inputs: described
                .map(|(described, requirement)| InputShape::new(described, requirement))
                .collect(),
            key: key.to_vec(),
            outputs: OutputShape::of_ports(&description.outputs, live),
            tables,
            timers: description.timers.clone(),
        };
        Self { subtask, shape }
    }
}

impl Keyed for WasmKeyed {
    fn process(&mut self, call: &KeyedCall) -> Result<KeyedOutputs, Fault> {
        check_call(call);
        let events = call.events.index.len();
        if events == 0 {
            return Ok(KeyedOutputs::default());
        }
        let keys = lower(&call.keys);
        let required = call
            .inputs
            .iter()
            .zip(&self.shape.inputs)
            .map(|(batch, shape)| Required::new(batch, shape))
            .collect::<Result<Vec<_>, _>>()?;
        let inputs: Vec<LoweredBatch<'_>> = required.iter().map(Required::lowered).collect();
        let states: Vec<Vec<Lowered<'_>>> = call.states.iter().map(|columns| lower(columns)).collect();
        let order = Order::of(call);

        let input_bytes = size_bytes(&keys)
            + inputs.iter().map(LoweredBatch::size_bytes).sum::<usize>()
            + states.iter().map(|columns| size_bytes(columns)).sum::<usize>()
            + size_of_val(&call.until[..])
            + size_of_val(&call.events.offsets[..])
            + order.source.len()
            + order.index.len();
        let limits = self.subtask.limits().clone();
        let shape = &self.shape;
        let keys = params(&keys);
        let columns: Vec<Vec<types::ColumnParam<'_>>> = inputs.iter().map(LoweredBatch::params).collect();
        let batches: Vec<types::Batch<'_>> = inputs
            .iter()
            .zip(&columns)
            .map(|(input, columns)| input.batch(columns))
            .collect();
        let states: Vec<Vec<types::ColumnParam<'_>>> = states.iter().map(|columns| params(columns)).collect();
        let states: Vec<&[types::ColumnParam<'_>]> = states.iter().map(Vec::as_slice).collect();
        self.subtask
            .repeat(if call.is_last_try { Repeated::No } else { Repeated::Yes });
        let outputs = self.subtask.call(
            Call {
                function: "process",
                rows: events,
                keys: Some(call.until.len()),
                input_bytes,
            },
            |guest, store| {
                let call = keyed_operator::Call {
                    keys: &keys,
                    inputs: &batches,
                    timers: keyed_operator::DueTimers {
                        kind: call.timers.kind.to_byte_slice(),
                        tag: call.timers.tag.to_byte_slice(),
                        time: call.timers.time.to_byte_slice(),
                    },
                    events: keyed_operator::Events {
                        offsets: call.events.offsets.to_byte_slice(),
                        source: order.source,
                        index: order.index,
                    },
                    until: call.until.to_byte_slice(),
                    processing_time: call.processing_time,
                    end_of_input: call.end_of_input,
                    states: &states,
                };
                guest.call_process(store, call)
            },
            |answer| shape.assemble(call, answer, &limits),
        );
        let outputs = outputs.inspect_err(|fault| self.subtask.log_blame(fault, || blamed::event(call)))?;
        self.subtask.commit();
        Ok(outputs)
    }
}

/// Where events are from, as they cross: nothing where event i is row i of the only input.
struct Order<'a> {
    source: &'a [u8],
    index: &'a [u8],
}

impl<'a> Order<'a> {
    fn of(call: &'a KeyedCall) -> Self {
        let events = &call.events;
        let is_plain = call.inputs.len() == 1
            && call.timers.kind.is_empty()
            && events.index.iter().enumerate().all(|(i, &row)| i == row as usize);
        if is_plain {
            return Self {
                source: &[],
                index: &[],
            };
        }
        Self {
            source: &events.source,
            index: events.index.to_byte_slice(),
        }
    }
}

/// What the caller promises.
fn check_call(call: &KeyedCall) {
    let keys = call.until.len();
    debug_assert!(call.keys.iter().all(|column| column.len() == keys), "a row a key");
    debug_assert!(
        call.states.iter().flatten().all(|column| column.len() == keys),
        "a row of state a key"
    );
    debug_assert_eq!(call.events.offsets.len(), keys + 1, "a stretch of events a key");
    debug_assert_eq!(
        call.events.offsets.last().map(|&end| end as usize),
        Some(call.events.index.len()),
        "the stretches are of all events"
    );
    debug_assert_eq!(call.events.source.len(), call.events.index.len(), "a source an event");
    debug_assert_eq!(call.timers.kind.len(), call.timers.tag.len(), "a tag a timer");
    debug_assert_eq!(call.timers.kind.len(), call.timers.time.len(), "a time a timer");
}
