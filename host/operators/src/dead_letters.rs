//! Dead letters of operators: rows that were refused, with what is known of them.
//!
//! A dead letter keeps the row's event time, watermark and place, so a sink can put it in order. It quotes the row as one
//! JSON object of the columns that the batch carries. Its epoch is 0: only the engine knows epochs.

use wasmill_core::batch::{Batch, Hidden, Slot};
use wasmill_core::column::{ColumnBuilder, Value};
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::NodeId;
use wasmill_core::operator::Emit;
use wasmill_core::order;
use wasmill_core::plan::{OnFault, dead_letter_schema};
use wasmill_core::schema::Schema;
use wasmill_core::time::Timestamp;
use wasmill_core::transform::Reject;

use crate::counters::Counters;
use crate::json;

/// Why rows become dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The operator called the row invalid.
    Rejected,
    /// The operator failed on the row; the word of the fault.
    Fault(&'static str),
    /// The row was late for all its windows.
    Late,
}

impl Kind {
    /// The word in dead letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Fault(name) => name,
            Self::Late => "late",
        }
    }
}

/// Rows of a batch that an operator cannot use.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The batch.
    pub batch: &'a Batch,
    /// Its stream's schema.
    pub schema: &'a Schema,
    /// The plugin's file, where a guest had to do with it.
    pub plugin: Option<&'a str>,
    /// Why.
    pub kind: Kind,
    /// The rows, each with its message.
    pub rows: &'a [Reject],
}

/// What an operator does with rows that it cannot use.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    /// The operator.
    pub node: NodeId,
    /// The port of its dead letters, where the topology names a sink for them.
    pub port: Option<usize>,
    /// What becomes of rejected rows without a sink, and of rows at fault.
    pub on_fault: OnFault,
}

impl DeadLetters {
    /// Deals with rows: dead letters where there is a sink for them, else by the policy. Under the policy to skip, rows at
    /// fault are only counted.
    ///
    /// # Errors
    /// There is no sink and the policy is to fail.
    pub fn refuse(&self, refused: &Refused<'_>, counters: &mut Counters, out: &mut dyn Emit) -> Result<(), Fault> {
        let Some(first) = refused.rows.first() else {
            return Ok(());
        };
        if refused.kind != Kind::Late {
            counters.rejected += refused.rows.len() as u64;
        }
        let is_fault = matches!(refused.kind, Kind::Fault(_));
        match (self.port, self.on_fault) {
            (Some(port), on_fault) if !(is_fault && on_fault == OnFault::Skip) => {
                out.emit(port, self.letters(refused));
                Ok(())
            }
            (_, OnFault::Skip) => {
                if refused.kind != Kind::Late {
                    counters.skipped += refused.rows.len() as u64;
                }
                Ok(())
            }
            (_, OnFault::Fail | OnFault::DeadLetter) => Err(self.stop(refused, first)),
        }
    }

    fn stop(&self, refused: &Refused<'_>, reject: &Reject) -> Fault {
        let batch = refused.batch;
        let place = place_of(batch, reject.row);
        let at = place.as_deref().and_then(order::source_place).map_or_else(
            || format!("row {} of a batch of {}", reject.row, batch.rows()),
            |place| {
                format!(
                    "a row of source {}, partition {}, position {}",
                    place.source, place.partition, place.position
                )
            },
        );
        let mend = if refused.plugin.is_some() {
            "name a sink for such rows with `dead-letter`, or write `on-fault = \"skip\"`"
        } else {
            "name a sink for such rows with `dead-letter`"
        };
        let time = Timestamp(batch.time(reject.row as usize));
        let message = format!("{at}, with event time {time}, was rejected: {}; {mend}", reject.message);
        Fault::fatal(Domain::User, message).at(&self.node)
    }

    /// The dead letters of rows, in the schema of [`dead_letter_schema`].
    pub fn letters(&self, refused: &Refused<'_>) -> Batch {
        let Refused {
            batch,
            schema,
            plugin,
            kind,
            rows: rejects,
        } = *refused;
        let fields = dead_letter_schema();
        let mut builders: Vec<ColumnBuilder> = fields
            .fields()
            .iter()
            .map(|field| ColumnBuilder::new(field.data_type, rejects.len()))
            .collect();
        let mut record = String::new();
        for reject in rejects {
            let place = place_of(batch, reject.row);
            let origin = place.as_deref().and_then(order::source_place);
            record.clear();
            write_record(batch, schema, reject.row as usize, &mut record);
            let values = [
                Value::Utf8(self.node.as_str()),
                Value::Utf8(kind.name()),
                Value::Utf8(&reject.message),
                Value::Timestamp(batch.time(reject.row as usize)),
                origin.as_ref().map_or(Value::Null, |o| Value::Utf8(&o.source)),
                origin.as_ref().map_or(Value::Null, |o| Value::Utf8(&o.partition)),
                origin.as_ref().map_or(Value::Null, |o| Value::Int64(o.position as i64)),
                Value::Null,
                Value::Int64(0),
                plugin.map_or(Value::Null, Value::Utf8),
                Value::Utf8(&record),
                Value::Null,
            ];
            for (builder, value) in builders.iter_mut().zip(values) {
                builder.push(value);
            }
        }
        let rows: Vec<u32> = rejects.iter().map(|r| batch.base_row(r.row as usize) as u32).collect();
        let hidden = batch.hidden();
        let hidden = Hidden {
            times: rows.iter().map(|&row| hidden.times[row as usize]).collect(),
            watermarks: hidden.watermarks.gather(&rows),
            order: hidden.order.as_ref().map(|order| order.gather(&rows)),
            kinds: None,
        };
        let slots = builders.into_iter().map(|builder| Slot::Base(builder.finish()));
        Batch::new(slots.collect(), hidden)
    }
}

fn place_of(batch: &Batch, row: u32) -> Option<Vec<u8>> {
    let order = batch.hidden().order.as_ref()?;
    let mut place = Vec::new();
    order.write(batch.base_row(row as usize), &mut place);
    Some(place)
}

fn write_record(batch: &Batch, schema: &Schema, row: usize, out: &mut String) {
    out.push('{');
    for (slot, field) in batch.slots().iter().zip(schema.fields()) {
        let value = match slot {
            Slot::Absent => continue,
            Slot::Base(column) => column.value(batch.base_row(row)),
            Slot::Dense(column) => column.value(row),
        };
        if out.len() > 1 {
            out.push(',');
        }
        json::write_text(&field.name, out);
        out.push(':');
        json::write(value, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmill_core::column::Column;
    use wasmill_core::id::PartitionName;
    use wasmill_core::order::{Order, source_origin};
    use wasmill_core::schema::{DataType, Field};
    use wasmill_core::watermark::RowWatermarks;

    fn batch() -> (Batch, Schema) {
        let schema = Schema::new(vec![
            Field::required("id", DataType::Int64),
            Field::nullable("unread", DataType::Utf8),
            Field::nullable("name", DataType::Utf8),
        ])
        .expect("names differ");
        let hidden = Hidden {
            times: vec![10, 20, 30].into(),
            watermarks: RowWatermarks::from_values(&[1, 2, 3]),
            order: Some(Order::Positions {
                origin: source_origin(&NodeId::new("src"), &PartitionName::new("a.csv")),
                positions: vec![0, 100, 200].into(),
            }),
            kinds: None,
        };
        let slots = vec![
            Slot::Base(Column::Int64(vec![1, 2, 3].into())),
            Slot::Absent,
            Slot::Base(Column::Utf8(vec![Some("x"), Some("\"y\""), None].into())),
        ];
        (Batch::new(slots, hidden).select(&[1, 2]), schema)
    }

    fn refused<'a>(batch: &'a Batch, schema: &'a Schema, rows: &'a [Reject]) -> Refused<'a> {
        Refused {
            batch,
            schema,
            plugin: Some("p.wasm"),
            kind: Kind::Rejected,
            rows,
        }
    }

    fn rejects() -> [Reject; 1] {
        [Reject {
            row: 1,
            message: "no name".into(),
        }]
    }

    fn letters(port: Option<usize>, on_fault: OnFault) -> DeadLetters {
        DeadLetters {
            node: NodeId::new("op"),
            port,
            on_fault,
        }
    }

    #[test]
    fn a_dead_letter_says_where_its_row_came_from() {
        let (batch, schema) = batch();
        let mut out: Vec<(usize, Batch)> = Vec::new();
        let mut counters = Counters::default();
        letters(Some(2), OnFault::Fail)
            .refuse(&refused(&batch, &schema, &rejects()), &mut counters, &mut out)
            .expect("a sink takes it");
        let (port, letter) = &out[0];
        assert_eq!(
            (*port, letter.rows(), letter.time(0), letter.watermark_max()),
            (2, 1, 30, 3)
        );
        let fields = dead_letter_schema();
        let value = |name: &str| letter.slots()[fields.index_of(name).expect("a column")].clone();
        let check = |name: &str, expect: Value<'_>| match value(name) {
            Slot::Base(column) => assert_eq!(column.value(0), expect, "{name}"),
            slot => panic!("{slot:?}"),
        };
        check("node", Value::Utf8("op"));
        check("kind", Value::Utf8("rejected"));
        check("error", Value::Utf8("no name"));
        check("event_time", Value::Timestamp(30));
        check("source", Value::Utf8("src"));
        check("partition", Value::Utf8("a.csv"));
        check("position", Value::Int64(200));
        check("plugin", Value::Utf8("p.wasm"));
        check("record", Value::Utf8("{\"id\":3,\"name\":null}"));
    }

    #[test]
    fn without_a_sink_the_policy_decides() {
        let (batch, schema) = batch();
        let mut out: Vec<(usize, Batch)> = Vec::new();
        let mut counters = Counters::default();
        let mut refuse = |on_fault| {
            letters(None, on_fault)
                .refuse(&refused(&batch, &schema, &rejects()), &mut counters, &mut out)
                .map_err(|fault| fault.to_string())
        };
        assert_eq!(refuse(OnFault::Skip), Ok(()));
        let message = "op: a row of source src, partition a.csv, position 200, with event time \
                       1970-01-01T00:00:00.00003Z, was rejected: no name; name a sink for such rows with `dead-letter`, or write `on-fault = \"skip\"`";
        assert_eq!(refuse(OnFault::Fail), Err(message.into()));
        assert_eq!((counters.rejected, counters.skipped), (2, 1));
        assert!(out.is_empty());
    }
}
