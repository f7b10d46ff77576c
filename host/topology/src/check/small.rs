//! Union, deduplicate, top and split.

use wasmill_core::column::Scalar;
use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{Comparison, Condition, DeduplicateNode, NodeKind, SplitNode, Test, TopNode};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::window::Late;

use super::{Checker, Fields, LATE_PORT, Planned, Port};
use crate::codes;
use crate::document::{Item, Value};
use crate::spec::{Deduplicate, Node, Op, PortSpec, Split, Top};

impl Checker<'_> {
    pub(super) fn union(&self, node: &Node, inputs: Option<Vec<StreamIndex>>) -> Option<Planned> {
        let inputs = inputs?;
        let schema = self.common_schema(node, &inputs)?;
        let changelog = inputs.iter().any(|&input| self.stream_at(input).changelog);
        let mut port = Port::new("out", schema);
        port.changelog = changelog;
        Some(Planned::plain(inputs, vec![port], NodeKind::Union))
    }

    pub(super) fn deduplicate(
        &self,
        at: usize,
        node: &Node,
        spec: &Deduplicate,
        inputs: Option<Vec<StreamIndex>>,
    ) -> Option<Planned> {
        let late = self.late(at, spec.late.as_ref(), &[LATE_PORT]);
        self.pointless_dead_letter(node, late == Late::DeadLetter);
        let (input, schema) = self.single_input(node, inputs, "a deduplication")?;
        let key = self.columns(&schema, &spec.key, &node.called(0))?;
        let horizon = spec.horizon?;
        Some(Planned {
            inputs: vec![input],
            outputs: with_late(Port::new("out", schema.clone()), late, schema),
            dead_letters: late == Late::DeadLetter && self.takes_dead_letters(at),
            kind: NodeKind::Deduplicate(Box::new(DeduplicateNode { key, horizon, late })),
        })
    }

    pub(super) fn top(&self, at: usize, node: &Node, spec: &Top, inputs: Option<Vec<StreamIndex>>) -> Option<Planned> {
        let late = self.late(at, spec.late.as_ref(), &[LATE_PORT]);
        self.pointless_dead_letter(node, late == Late::DeadLetter);
        let (input, schema) = self.single_input(node, inputs, "a top")?;
        let of = node.called(0);
        let key = self.columns(&schema, &spec.key, &of);
        let by = self.column(&schema, spec.by.as_ref()?, &of);
        let errors = self.problems().errors();
        let mut fields = Fields::new(self.problems());
        if spec.window.is_some() {
            for name in ["window_start", "window_end"] {
                fields.push(
                    Field::required(name, DataType::Timestamp),
                    &node.id_place,
                    "every window has it",
                );
            }
        }
        for field in schema.fields() {
            fields.push(field.clone(), &node.id_place, "a window has it too");
        }
        if spec.rank {
            fields.push(Field::required("rank", DataType::Int64), &node.id_place, "by the input");
        }
        let output = fields.finish();
        if self.problems().errors() > errors {
            return None;
        }
        let mut port = Port::new("out", output);
        port.changelog = spec.window.is_none();
        Some(Planned {
            inputs: vec![input],
            outputs: with_late(port, late, schema),
            dead_letters: late == Late::DeadLetter && self.takes_dead_letters(at),
            kind: NodeKind::Top(Box::new(TopNode {
                key: key?,
                n: spec.n?,
                by: by?,
                descending: spec.descending,
                window: spec.window.clone(),
                rank: spec.rank,
                late,
            })),
        })
    }

    pub(super) fn split(&self, node: &Node, split: &Split, inputs: Option<Vec<StreamIndex>>) -> Option<Planned> {
        if let [_, second, ..] = node.inputs.as_slice() {
            self.problems().error(
                codes::INPUT_COUNT,
                "a split reads one stream",
                &second.place,
                "put several streams of the same columns into one with `type = \"union\"`, and read that",
            );
            return None;
        }
        let input = inputs?.first().copied()?;
        let schema = self.schema(input);
        let of = node.called(0);
        let conditions: Vec<_> = split
            .ports
            .iter()
            .map(|port| self.condition(port, schema, &of))
            .collect();
        let ports = conditions.into_iter().collect::<Option<Vec<_>>>()?;
        // A null goes to the ports that ask for nulls, and to no other of its column.
        let asks_for_nulls = |condition: &&Condition| condition.test == Test::IsNull;
        let without_nulls = ports.iter().filter(asks_for_nulls).map(|condition| condition.column);
        let mut outputs = vec![Port::new("out", narrowed(schema, without_nulls))];
        outputs.extend(ports.iter().zip(&split.ports).map(|(condition, port)| {
            let column = (condition.test != Test::IsNull).then_some(condition.column);
            Port::new(&port.name.text, narrowed(schema, column))
        }));
        let outputs = outputs
            .into_iter()
            .map(|port| port.like(self.stream_at(input)))
            .collect();
        let kind = NodeKind::Split(Box::new(SplitNode { ports }));
        Some(Planned::plain(vec![input], outputs, kind))
    }

    fn condition(&self, port: &PortSpec, schema: &Schema, of: &str) -> Option<Condition> {
        let column = self.column(schema, &port.column, of)?;
        let field = &schema.fields()[column];
        let scalar = |item: &Item| self.scalar(item, field);
        let compare = |how: Comparison| Some(Test::Compare(how, scalar(port.value.as_ref()?)?));
        let text = |what: &str| match (field.data_type, &port.value.as_ref()?.value) {
            (DataType::Utf8 | DataType::Json, Value::String(text)) => Some(text.value.clone()),
            (DataType::Utf8 | DataType::Json, _) => {
                self.wrong_value(port.value.as_ref()?, field);
                None
            }
            (other, _) => {
                self.problems().error(
                    codes::COLUMN_TYPE,
                    format!("`{what}` looks into text, and `{}` is {other}", field.name),
                    &port.op_place,
                    "compare it with `==`, `<` and the like",
                );
                None
            }
        };
        let ordered = || {
            let orders = field.data_type != DataType::Boolean && field.data_type != DataType::Json;
            if !orders {
                self.problems().error(
                    codes::COLUMN_TYPE,
                    format!(
                        "values of `{}`, which is {}, have no order",
                        field.name, field.data_type
                    ),
                    &port.op_place,
                    "compare them with `==` or `!=`",
                );
            }
            orders.then_some(())
        };
        let test = match port.op {
            Op::Equal => compare(Comparison::Equal)?,
            Op::NotEqual => compare(Comparison::NotEqual)?,
            Op::Less => ordered().and_then(|()| compare(Comparison::Less))?,
            Op::LessOrEqual => ordered().and_then(|()| compare(Comparison::LessOrEqual))?,
            Op::Greater => ordered().and_then(|()| compare(Comparison::Greater))?,
            Op::GreaterOrEqual => ordered().and_then(|()| compare(Comparison::GreaterOrEqual))?,
            Op::IsNull => Test::IsNull,
            Op::IsNotNull => Test::IsNotNull,
            Op::Contains => Test::Contains(text("contains")?),
            Op::StartsWith => Test::StartsWith(text("starts-with")?),
            Op::In => {
                let item = port.value.as_ref()?;
                let Value::Array(items) = &item.value else {
                    self.problems().error(
                        codes::WRONG_TYPE,
                        "`value` must be a list for `in`",
                        &item.place,
                        "write `value = [\"a\", \"b\"]`",
                    );
                    return None;
                };
                let values: Vec<_> = items.iter().map(scalar).collect();
                Test::In(values.into_iter().collect::<Option<_>>()?)
            }
        };
        Some(Condition { column, test })
    }

    /// A value of a column's type.
    fn scalar(&self, item: &Item, field: &Field) -> Option<Scalar> {
        let found = match (&item.value, field.data_type) {
            (Value::Boolean(v), DataType::Boolean) => Some(Scalar::Boolean(*v)),
            (Value::Integer(v), DataType::Int64) => Some(Scalar::Int64(*v)),
            (Value::Integer(v), DataType::Float64) => Some(Scalar::Float64(*v as f64)),
            (Value::Float(v), DataType::Float64) => Some(Scalar::Float64(*v)),
            (Value::String(v), DataType::Utf8) => Some(Scalar::Utf8(v.value.clone())),
            (Value::String(v), DataType::Json) => Some(Scalar::Json(v.value.clone())),
            (Value::String(v), DataType::Binary) => Some(Scalar::Binary(v.value.clone().into_bytes())),
            (Value::String(v), DataType::Timestamp) => {
                let parsed: Option<jiff::Timestamp> = v.value.parse().ok();
                parsed.map(|at| Scalar::Timestamp(at.as_microsecond()))
            }
            _ => None,
        };
        if found.is_none() {
            self.wrong_value(item, field);
        }
        found
    }

    fn wrong_value(&self, item: &Item, field: &Field) {
        let help = match field.data_type {
            DataType::Timestamp => "write it as RFC 3339 in quotes, as in \"2013-01-01T00:00:00Z\"".to_owned(),
            DataType::Utf8 | DataType::Json | DataType::Binary => "write it in quotes".to_owned(),
            DataType::Boolean => "write true or false".to_owned(),
            other => format!("write a value of type {other}"),
        };
        self.problems().error(
            codes::WRONG_TYPE,
            format!("this is no value of `{}`, which is {}", field.name, field.data_type),
            &item.place,
            help,
        );
    }
}

/// A schema whose rows have values in these columns.
fn narrowed(schema: &Schema, columns: impl IntoIterator<Item = usize>) -> Schema {
    let mut fields = schema.fields().to_vec();
    for column in columns {
        fields[column].nullable = false;
    }
    Schema::new(fields).expect("the names are those of a schema")
}

/// The main port, and `late` with the input's schema where late rows go to one.
fn with_late(main: Port, late: Late, schema: Schema) -> Vec<Port> {
    let mut ports = vec![main];
    if late == Late::Port {
        ports.push(Port::new(LATE_PORT, schema));
    }
    ports
}
