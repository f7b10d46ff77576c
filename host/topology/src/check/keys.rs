//! What operators over several columns and inputs have in common: keys, late rows, changelogs.

use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::id::StreamIndex;
use wasmill_core::plan::Stream;
use wasmill_core::schema::Schema;
use wasmill_core::window::Late;

use super::{Checker, Planned};
use crate::codes;
use crate::place::{At as _, Word};
use crate::spec::{LateSpec, Node};

impl Checker<'_> {
    /// The key columns of each input, by place; `None` where one does not exist, or their types differ.
    pub(super) fn keys<'w>(
        &self,
        node: &Node,
        inputs: &[StreamIndex],
        words: impl Fn(usize) -> &'w [Word],
    ) -> Option<Vec<Vec<usize>>> {
        let found: Vec<_> = inputs
            .iter()
            .enumerate()
            .map(|(input, &stream)| self.columns(self.schema(stream), words(input), &node.called(input)))
            .collect();
        let keys: Vec<Vec<usize>> = found.into_iter().collect::<Option<_>>()?;
        let type_of = |input: usize, part: usize| {
            let column = keys[input][part];
            self.schema(inputs[input]).fields()[column].data_type
        };
        let mut same = true;
        for input in 1..inputs.len() {
            for part in 0..words(0).len().min(words(input).len()) {
                let (first, other) = (type_of(0, part), type_of(input, part));
                if first != other {
                    same = false;
                    let (a, b) = (&words(0)[part], &words(input)[part]);
                    let mut diagnostic = Diagnostic::error(
                        codes::COLUMN_TYPE,
                        format!(
                            "`{}` of {} is {first}, and `{}` of {} is {other}: they are never equal",
                            a.text,
                            node.called(0),
                            b.text,
                            node.called(input)
                        ),
                    )
                    .at(&b.place, "");
                    if a.place != b.place {
                        diagnostic = diagnostic.at(&a.place, "");
                    }
                    self.problems().push(
                        diagnostic.help("give both the same type, in the sources' schemas or by a plugin before"),
                    );
                }
            }
        }
        same.then_some(keys)
    }

    /// What becomes of late rows; to a port without being asked, where someone reads one of `ports`.
    pub(super) fn late(&self, at: usize, spec: Option<&LateSpec>, ports: &[&str]) -> Late {
        match spec {
            Some(spec) => {
                if spec.late == Late::DeadLetter {
                    self.needs_dead_letters(at, "late rows", &spec.word.place);
                }
                spec.late
            }
            None if ports.iter().any(|port| self.wiring.reads(at, port)) => Late::Port,
            None => Late::Drop,
        }
    }

    /// Refuses `dead-letter` where nothing becomes one.
    pub(super) fn pointless_dead_letter(&self, node: &Node, has_any: bool) {
        if let (Some(word), false) = (&node.dead_letter, has_any) {
            self.problems().error(
                codes::POINTLESS_KEY,
                format!(
                    "`dead-letter` does nothing at {}: nothing of it becomes a dead letter",
                    node.name
                ),
                &word.place,
                "write `late = \"dead-letter\"` if late rows are to go there, or leave `dead-letter` out",
            );
        }
    }

    /// Refuses inputs that take rows back, where they cannot be taken.
    pub(super) fn takes_changelogs(&self, node: &Node, inputs: &[StreamIndex], takes: impl Fn(usize) -> bool) {
        for (input, &stream) in inputs.iter().enumerate() {
            let stream = self.stream_at(stream);
            if !stream.changelog || takes(input) {
                continue;
            }
            let mut diagnostic = Diagnostic::error(
                codes::CHANGELOG,
                format!("{} cannot read the changelog `{}`", node.name, stream.name),
            );
            if let Some(reference) = node.inputs.get(input) {
                diagnostic = diagnostic.at(&reference.place, "its rows may take earlier ones back");
            }
            self.problems().push(diagnostic.help(
                "a sink takes it with `mode = \"changelog\"`; retracting windows give plain rows with `mode = \
                 \"accumulating\"`, and a top with a `window` gives only new rows",
            ));
        }
    }

    /// The one input of a node that reads one stream, after it was refused where it is a changelog.
    pub(super) fn single_input(
        &self,
        node: &Node,
        inputs: Option<Vec<StreamIndex>>,
        what: &str,
    ) -> Option<(StreamIndex, Schema)> {
        if let [_, second, ..] = node.inputs.as_slice() {
            self.problems().error(
                codes::INPUT_COUNT,
                format!("{what} reads one stream"),
                &second.place,
                "put several streams of the same columns into one with `type = \"union\"`, and read that",
            );
            return None;
        }
        let input = inputs?.first().copied()?;
        self.takes_changelogs(node, &[input], |_| false);
        Some((input, self.schema(input).clone()))
    }

    pub(super) fn stream_at(&self, stream: StreamIndex) -> &Stream {
        &self.streams[stream.0 as usize]
    }

    /// The places of columns; `None` where one does not exist.
    pub(super) fn columns(&self, schema: &Schema, words: &[Word], of: &str) -> Option<Vec<usize>> {
        let found: Vec<_> = words.iter().map(|word| self.column(schema, word, of)).collect();
        found.into_iter().collect()
    }
}

impl Planned {
    /// A node without dead letters.
    pub(super) fn plain(
        inputs: Vec<StreamIndex>,
        outputs: Vec<super::Port>,
        kind: wasmill_core::plan::NodeKind,
    ) -> Self {
        Self {
            inputs,
            outputs,
            dead_letters: false,
            kind,
        }
    }
}
