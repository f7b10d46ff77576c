//! A lookup: the table that is loaded, and what of it comes out.

use wasmill_core::id::StreamIndex;
use wasmill_core::plan::{LookupNode, NodeKind};
use wasmill_core::schema::Field;

use super::{Checker, Fields, Planned, Port};
use crate::codes;
use crate::place::{Place, Word};
use crate::spec::{Kind, Lookup, Node, Source};

impl Checker<'_> {
    pub(super) fn lookup(
        &mut self,
        at: usize,
        node: &Node,
        lookup: &Lookup,
        inputs: Option<Vec<StreamIndex>>,
    ) -> Option<Planned> {
        self.pointless_dead_letter(node, false);
        let table = lookup
            .table
            .as_ref()
            .and_then(|(source, place)| self.table(at, node, source, place));
        let (input, schema) = self.single_input(node, inputs, "a lookup")?;
        let table = table?;
        let NodeKind::Source(source) = table.kind else {
            return None;
        };
        let table_schema = table.outputs.into_iter().next()?.schema;
        let on = self.lookup_pairs(node, lookup, &schema, &table_schema)?;
        let errors = self.problems().errors();
        let mut fields = Fields::new(self.problems());
        let place = node.inputs.first().map_or(&node.id_place, |input| &input.place);
        for field in schema.fields() {
            fields.push(field.clone(), place, "by the input");
        }
        let mut columns = Vec::new();
        for (column, field) in table_schema.fields().iter().enumerate() {
            if on.iter().any(|&(_, equal)| equal == column) {
                continue;
            }
            let place = lookup.table.as_ref().map_or(&node.id_place, |(_, place)| place);
            let field = Field {
                name: format!("{}{}", lookup.prefix, field.name).into(),
                data_type: field.data_type,
                nullable: field.nullable || lookup.keeps_unmatched,
            };
            fields.push(field, place, "by the input; tell them apart with `prefix = \"table_\"`");
            columns.push(column);
        }
        let output = fields.finish();
        (self.problems().errors() == errors).then(|| {
            Planned::plain(
                vec![input],
                vec![Port::new("out", output)],
                NodeKind::Lookup(Box::new(LookupNode {
                    on,
                    keeps_unmatched: lookup.keeps_unmatched,
                    table: *source,
                    schema: table_schema,
                    refresh: lookup.refresh,
                    columns,
                })),
            )
        })
    }

    /// The table as a source of its own.
    fn table(&mut self, at: usize, node: &Node, source: &Source, place: &Place) -> Option<Planned> {
        let table = Node {
            id: node.id.clone(),
            name: format!("`table` of {}", node.name),
            id_place: node.id_place.clone(),
            place: place.clone(),
            inputs: Vec::new(),
            renamed_from: Vec::new(),
            has_input: false,
            dead_letter: None,
            sound: node.sound,
            kind: Kind::Unknown,
        };
        let planned = self.source(at, &table, source)?;
        let bounded = self
            .world
            .registry
            .find_source(&source.connector.text)
            .and_then(|connector| match &planned.kind {
                NodeKind::Source(source) => connector.describe(&source.connector.config, &self.folder).ok(),
                _ => None,
            })
            .is_none_or(|description| description.bounded);
        if !bounded {
            self.problems().error(
                codes::INVALID_VALUE,
                format!("{} never ends, so it cannot be loaded as a whole", table.name),
                &source.connector.place,
                "use a source that ends; a stream whose rows are versions is joined with `type = \"join\"` and `as-of = {}`",
            );
            return None;
        }
        Some(planned)
    }

    fn lookup_pairs(
        &self,
        node: &Node,
        lookup: &Lookup,
        schema: &wasmill_core::schema::Schema,
        table: &wasmill_core::schema::Schema,
    ) -> Option<Vec<(usize, usize)>> {
        let of_input: Vec<Word> = lookup.on.iter().map(|pair| pair.0.clone()).collect();
        let of_table: Vec<Word> = lookup.on.iter().map(|pair| pair.1.clone()).collect();
        let left = self.columns(schema, &of_input, &node.called(0));
        let right = self.columns(table, &of_table, "the table");
        let pairs: Vec<(usize, usize)> = left?.into_iter().zip(right?).collect();
        let mut same = true;
        for (&(left, right), (_, word)) in pairs.iter().zip(&lookup.on) {
            let (a, b) = (&schema.fields()[left], &table.fields()[right]);
            if a.data_type != b.data_type {
                same = false;
                self.problems().error(
                    codes::COLUMN_TYPE,
                    format!(
                        "`{}` of the input is {}, and `{}` of the table is {}: they are never equal",
                        a.name, a.data_type, b.name, b.data_type
                    ),
                    &word.place,
                    "give both the same type in the schemas",
                );
            }
        }
        same.then_some(pairs)
    }
}
