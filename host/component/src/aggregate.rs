//! `Aggregate` over an instance of an `aggregate` plugin: accumulators in, accumulators or results out.

use arrow_buffer::ToByteSlice;
use wasmill_core::aggregate::{Accumulated, Aggregate, AggregateDescription, Groups};
use wasmill_core::batch::Batch;
use wasmill_core::column::{Column, concat};
use wasmill_core::fault::Fault;
use wasmill_core::plugin::World;
use wasmill_core::schema::Field;
use wasmill_core::transform::Reject;
use wasmtime::Store;
use wasmtime::component::Instance as ComponentInstance;

use crate::bindings::exports::wasmill::operator::aggregator;
use crate::bindings::wasmill::operator::types;
use crate::blamed::{self, Repeated};
use crate::imports::Context;
use crate::lift;
use crate::lower::{lower, params, size_bytes};
use crate::program::Exports;
use crate::shape::{InputShape, Required, rejects};
use crate::subtask::{Answer, Call, Guest, Subtask};
use crate::transform::{CALL_BYTES_MAX, after, of_whole};

impl Guest for aggregator::Guest {
    fn load(exports: &Exports, store: &mut Store<Context>, instance: &ComponentInstance) -> wasmtime::Result<Self> {
        match exports {
            Exports::Aggregator(indices) => indices.load(store, instance),
            other => Err(other.is_not(World::Aggregate)),
        }
    }

    fn call_open(
        &self,
        store: &mut Store<Context>,
        config: &str,
        inputs: &[types::Input<'_>],
        _key: &[&str],
    ) -> Answer<()> {
        self.call_open(store, config, inputs[0].clone())
    }
}

/// One subtask's instance of an `aggregate` plugin.
pub(crate) struct WasmAggregate {
    subtask: Subtask<aggregator::Guest>,
    input: InputShape,
    accumulators: Vec<Field>,
    results: Vec<Field>,
}

impl WasmAggregate {
    /// Over a subtask that has been opened.
    pub(crate) fn new(subtask: Subtask<aggregator::Guest>, description: &AggregateDescription) -> Self {
        Self {
            input: InputShape::new(&subtask.inputs()[0], &description.input),
            subtask,
            accumulators: description.accumulators.iter().map(|a| a.field.clone()).collect(),
            results: description.results.clone(),
        }
    }

    /// Accumulates rows that begin at row `first` of the batch that the caller gave.
    fn rows(
        &mut self,
        batch: &Batch,
        first: usize,
        group_of_row: &[u32],
        accumulators: &[Column],
    ) -> Result<Accumulated, Fault> {
        let required = Required::new(batch, &self.input)?;
        let lowered = required.lowered();
        let groups_in = lower(accumulators);
        let batch_bytes = lowered.size_bytes() + size_of_val(group_of_row);
        let rows = batch.rows();
        if batch_bytes > CALL_BYTES_MAX && rows > 1 {
            let middle = rows / 2;
            let part = |from: usize, to: usize| batch.select(&(from as u32..to as u32).collect::<Vec<_>>());
            let earlier = self.rows(&part(0, middle), first, &group_of_row[..middle], accumulators)?;
            let mut later = self.rows(
                &part(middle, rows),
                first + middle,
                &group_of_row[middle..],
                &earlier.accumulators,
            )?;
            later.rejects.splice(0..0, earlier.rejects);
            return Ok(later);
        }

        let call = Call {
            function: "accumulate",
            rows,
            keys: None,
            input_bytes: batch_bytes + size_bytes(&groups_in),
        };
        let (params, groups_in) = (lowered.params(), params(&groups_in));
        let groups = accumulators.first().map_or(0, Column::len);
        let fields = &self.accumulators;
        let (accumulators, mut rejects) = self
            .subtask
            .call(
                call,
                |guest, store| {
                    guest.call_accumulate(store, lowered.batch(&params), group_of_row.to_byte_slice(), &groups_in)
                },
                |answer| {
                    let accumulators = lift::columns("accumulators", answer.accumulators, fields, groups)
                        .map_err(|violation| lift::Violation { row: None, ..violation })?;
                    Ok((accumulators, rejects(answer.rejects, rows)?))
                },
            )
            .map_err(|fault| after(fault, first))?;
        for Reject { row, .. } in &mut rejects {
            *row += first as u32;
        }
        Ok(Accumulated { accumulators, rejects })
    }

    fn merge_groups(&mut self, earlier: &[Column], later: &[Column]) -> Result<Vec<Column>, Fault> {
        let (earlier_in, later_in) = (lower(earlier), lower(later));
        let groups = rows_of(earlier);
        let input_bytes = size_bytes(&earlier_in) + size_bytes(&later_in);
        if input_bytes > CALL_BYTES_MAX && groups > 1 {
            return in_halves(groups, |from, len| {
                self.merge_groups(&slice(earlier, from, len), &slice(later, from, len))
            });
        }
        let call = Call {
            function: "merge",
            rows: groups,
            keys: None,
            input_bytes,
        };
        let (earlier_in, later_in) = (params(&earlier_in), params(&later_in));
        let fields = &self.accumulators;
        self.subtask.call(
            call,
            |guest, store| guest.call_merge(store, &earlier_in, &later_in),
            |answer| lift::columns("accumulators", answer, fields, groups),
        )
    }

    fn finish_groups(&mut self, of: &Groups<'_>, accumulators: &[Column]) -> Result<Vec<Column>, Fault> {
        let (keys_in, groups_in) = (lower(of.keys), lower(accumulators));
        let groups = of.starts.len();
        let input_bytes = size_bytes(&keys_in) + size_bytes(&groups_in) + size_of_val(of.starts) * 2;
        if input_bytes > CALL_BYTES_MAX && groups > 1 {
            return in_halves(groups, |from, len| {
                let part = Groups {
                    keys: &slice(of.keys, from, len),
                    starts: &of.starts[from..from + len],
                    ends: &of.ends[from..from + len],
                };
                self.finish_groups(&part, &slice(accumulators, from, len))
            });
        }
        let call = Call {
            function: "finish",
            rows: groups,
            keys: None,
            input_bytes,
        };
        let (keys_in, groups_in) = (params(&keys_in), params(&groups_in));
        let fields = &self.results;
        self.subtask.call(
            call,
            |guest, store| {
                let bounds = aggregator::GroupBounds {
                    start: of.starts.to_byte_slice(),
                    end: of.ends.to_byte_slice(),
                };
                guest.call_finish(store, &keys_in, bounds, &groups_in)
            },
            |answer| lift::columns("results", answer, fields, groups),
        )
    }
}

impl Aggregate for WasmAggregate {
    fn accumulate(
        &mut self,
        batch: &Batch,
        group_of_row: &[u32],
        accumulators: &[Column],
    ) -> Result<Accumulated, Fault> {
        debug_assert_eq!(group_of_row.len(), batch.rows(), "a group per row");
        debug_assert!(
            group_of_row
                .iter()
                .all(|&group| (group as usize) < rows_of(accumulators)),
            "each row's group is given"
        );
        if batch.is_empty() {
            return Ok(Accumulated {
                accumulators: accumulators.to_vec(),
                rejects: Vec::new(),
            });
        }
        self.subtask.repeat(Repeated::with_fewer(batch.rows()));
        let accumulated = self.rows(batch, 0, group_of_row, accumulators).map_err(|fault| {
            self.subtask.log_blame(&fault, || blamed::row(batch));
            of_whole(fault, batch.rows())
        });
        self.subtask.repeat(Repeated::No);
        let accumulated = accumulated?;
        self.subtask.commit();
        Ok(accumulated)
    }

    fn merge(&mut self, earlier: &[Column], later: &[Column]) -> Result<Vec<Column>, Fault> {
        debug_assert_eq!(rows_of(earlier), rows_of(later), "merged row by row");
        if rows_of(earlier) == 0 {
            return Ok(earlier.to_vec());
        }
        let merged = self.merge_groups(earlier, later);
        let merged = merged.map_err(|fault| of_whole(fault, rows_of(earlier)))?;
        self.subtask.commit();
        Ok(merged)
    }

    fn finish(&mut self, groups: &Groups<'_>, accumulators: &[Column]) -> Result<Vec<Column>, Fault> {
        debug_assert_eq!(groups.starts.len(), groups.ends.len(), "two bounds a group");
        if groups.starts.is_empty() {
            return Ok(self
                .results
                .iter()
                .map(|field| Column::empty(field.data_type))
                .collect());
        }
        let results = self.finish_groups(groups, accumulators);
        let results = results.map_err(|fault| of_whole(fault, groups.starts.len()))?;
        self.subtask.commit();
        Ok(results)
    }
}

/// The two halves of the groups, each by a call of its own. Groups do not know of each other.
fn in_halves(
    groups: usize,
    mut half: impl FnMut(usize, usize) -> Result<Vec<Column>, Fault>,
) -> Result<Vec<Column>, Fault> {
    let middle = groups / 2;
    let first = half(0, middle)?;
    let second = half(middle, groups - middle).map_err(|fault| after(fault, middle))?;
    let pairs = first.iter().zip(&second);
    Ok(pairs.map(|(a, b)| concat(a.data_type(), [a, b].into_iter())).collect())
}

fn rows_of(columns: &[Column]) -> usize {
    columns.first().map_or(0, Column::len)
}

fn slice(columns: &[Column], from: usize, len: usize) -> Vec<Column> {
    columns.iter().map(|column| column.slice(from, len)).collect()
}
