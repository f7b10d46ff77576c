//! A join: its sides, the columns that must be equal, the columns that come out.

use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{JoinBound, JoinColumn, JoinKind, JoinNode, NodeKind};
use wasmill_core::schema::{DataType, Field, Schema};
use wasmill_core::window::Late;

use super::{Checker, Fields, Planned, Port};
use crate::place::{Place, Word};
use crate::spec::{Join, Node};

/// The ports of late rows, by side.
pub(super) const LATE_PORTS: [&str; 2] = ["late-left", "late-right"];

impl Checker<'_> {
    pub(super) fn join(
        &self,
        at: usize,
        node: &Node,
        join: &Join,
        inputs: Option<Vec<StreamIndex>>,
    ) -> Option<Planned> {
        let late = self.late(at, join.late.as_ref(), &LATE_PORTS);
        self.pointless_dead_letter(node, late == Late::DeadLetter);
        let inputs = inputs?;
        let [left, right] = inputs[..] else { return None };
        // Versions of a table may be updated and deleted; nothing else may.
        let versioned = matches!(join.bound, Some(JoinBound::AsOf { .. }));
        self.takes_changelogs(node, &inputs, |input| versioned && input == 1);
        let on: [Vec<Word>; 2] = [
            join.on.iter().map(|pair| pair.0.clone()).collect(),
            join.on.iter().map(|pair| pair.1.clone()).collect(),
        ];
        let key = self.keys(node, &inputs, |input| &on[input])?;
        let [left_key, right_key] = <[Vec<usize>; 2]>::try_from(key).ok()?;
        let sides = [self.schema(left), self.schema(right)];
        let key = [left_key, right_key];
        let bound = join.bound.clone()?;
        let (schema, columns) = self.join_schema(node, join, &bound, sides, &key)?;
        let mut outputs = vec![Port::new("out", schema)];
        if late == Late::Port {
            for (name, &input) in LATE_PORTS.iter().zip(&inputs) {
                outputs.push(Port::new(name, self.schema(input).clone()).like(self.stream_at(input)));
            }
        }
        Some(Planned {
            inputs,
            outputs,
            dead_letters: late == Late::DeadLetter && self.takes_dead_letters(at),
            kind: NodeKind::Join(Box::new(JoinNode {
                key,
                kind: join.kind,
                bound,
                late,
                columns,
            })),
        })
    }

    /// The left side's columns, then the right's without its `on` columns, each with its side's prefix.
    fn join_schema(
        &self,
        node: &Node,
        join: &Join,
        bound: &JoinBound,
        sides: [&Schema; 2],
        key: &[Vec<usize>; 2],
    ) -> Option<(Schema, Vec<JoinColumn>)> {
        let errors = self.problems().errors();
        let mut fields = Fields::new(self.problems());
        let mut columns = Vec::new();
        if matches!(bound, JoinBound::Window(_)) {
            for name in ["window_start", "window_end"] {
                fields.push(
                    Field::required(name, DataType::Timestamp),
                    &node.id_place,
                    "a window join has it",
                );
            }
        }
        let left_may_miss = matches!(join.kind, JoinKind::Right | JoinKind::Full);
        let right_may_miss = matches!(join.kind, JoinKind::Left | JoinKind::Full);
        let place = |side: usize| node.inputs.get(side).map_or(&node.id_place, |input| &input.place);
        let mut push = |field: &Field, prefix: &str, nullable: bool, place: &Place| {
            let field = Field {
                name: format!("{prefix}{}", field.name).into(),
                data_type: field.data_type,
                nullable,
            };
            fields.push(
                field,
                place,
                "by this side; tell them apart with `prefix = { right = \"right_\" }`",
            );
        };
        for (column, field) in sides[0].fields().iter().enumerate() {
            let part = key[0].iter().position(|&part| part == column).filter(|_| left_may_miss);
            let (nullable, from) = match part {
                Some(part) => {
                    let right = &sides[1].fields()[key[1][part]];
                    (field.nullable || right.nullable, JoinColumn::On(part))
                }
                None => (field.nullable || left_may_miss, JoinColumn::Left(column)),
            };
            push(field, &join.prefix.left, nullable, place(0));
            columns.push(from);
        }
        if !matches!(join.kind, JoinKind::Semi | JoinKind::Anti) {
            for (column, field) in sides[1].fields().iter().enumerate() {
                if key[1].contains(&column) {
                    continue;
                }
                push(field, &join.prefix.right, field.nullable || right_may_miss, place(1));
                columns.push(JoinColumn::Right(column));
            }
        }
        let schema = fields.finish();
        (self.problems().errors() == errors).then_some((schema, columns))
    }
}
