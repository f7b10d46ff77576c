//! What a source's watermark follows, and whether something waits for one that may never come.

use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::id::NodeIndex;
use wasmill_core::plan::{NodeKind, Plan, WatermarkSpec, WatermarkStrategy};
use wasmill_core::schema::{DataType, Schema};

use super::Checker;
use crate::codes;
use crate::place::At as _;
use crate::reproducible::reader_of_time;
use crate::spec::{Node, Source, StrategySpec};

impl Checker<'_> {
    /// The strategy with its column. `of_data`: so many columns of the schema are the data's; metadata follows them.
    pub(super) fn watermark(
        &self,
        node: &Node,
        source: &Source,
        schema: &Schema,
        of_data: usize,
    ) -> Option<WatermarkSpec> {
        let spec = &source.watermark;
        let strategy = match &spec.strategy {
            StrategySpec::Bounded { delay } => WatermarkStrategy::BoundedOutOfOrderness { delay: *delay },
            StrategySpec::Clock { delay } => WatermarkStrategy::Clock { delay: *delay },
            StrategySpec::Column(word) => {
                let at = self.column(schema, word, &node.name)?;
                let field = &schema.fields()[at];
                if field.data_type != DataType::Timestamp || at >= of_data {
                    let is = if at < of_data {
                        format!("is {}", field.data_type)
                    } else {
                        "is metadata".to_owned()
                    };
                    self.problems().error(
                        codes::COLUMN_TYPE,
                        format!(
                            "the watermark's column must be a timestamp of the data, and `{}` {is}",
                            field.name
                        ),
                        &word.place,
                        "declare it as `type = \"timestamp\"`, with a `unit` where it is a number, or name another one",
                    );
                    return None;
                }
                WatermarkStrategy::Column(at)
            }
        };
        Some(WatermarkSpec {
            strategy,
            max_ahead: spec.max_ahead,
            align: spec.align,
            idle_after: spec.idle_after,
        })
    }

    /// Warns of sources that never end and have several partitions, or are read together with other sources, where
    /// something waits for their watermark: one partition in which nothing happens holds all back.
    pub(super) fn held_back(&self, plan: &Plan) {
        let is_source = |index: &NodeIndex| matches!(plan.node(*index).kind, NodeKind::Source(_));
        let sources: Vec<NodeIndex> = (0..plan.nodes.len() as u32).map(NodeIndex).filter(is_source).collect();
        for &index in &sources {
            let planned = plan.node(index);
            let NodeKind::Source(source) = &planned.kind else {
                continue;
            };
            let follows_rows = !matches!(source.watermark.strategy, WatermarkStrategy::Clock { .. });
            if !follows_rows || source.watermark.idle_after.is_some() {
                continue;
            }
            let connector = self.world.registry.find_source(&source.connector.name);
            let described = connector.and_then(|found| found.describe(&source.connector.config, &self.folder).ok());
            let downstream = plan.downstream(index);
            let alone = !sources
                .iter()
                .any(|other| *other != index && !plan.downstream(*other).is_disjoint(&downstream));
            let falls_silent =
                described.is_some_and(|described| !(described.bounded || described.one_partition && alone));
            let waiting = reader_of_time(plan, planned, false).filter(|_| falls_silent);
            let written = self
                .topology
                .nodes
                .iter()
                .find(|node| node.id.as_ref() == Some(&planned.id));
            if let (Some(waiting), Some(node)) = (waiting, written) {
                self.problems().push(
                    Diagnostic::warning(
                        codes::HELD_BACK,
                        format!(
                            "{} has no `idle-after`, and {waiting} waits for its watermark",
                            node.name
                        ),
                    )
                    .at(
                        &node.id_place,
                        "a partition to which nothing is added holds back all others",
                    )
                    .help(
                        "if one may fall silent, write `idle-after` into its `watermark`, as in `idle-after = \"1m\"`; \
                         what comes after such a silence may be late",
                    ),
                );
            }
        }
    }
}
