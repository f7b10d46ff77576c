//! The aggregates of one group at a time: rows into cells, cells into bytes, bytes into results.

use wasmill_core::aggregate::{Aggregate, Groups};
use wasmill_core::batch::Batch;
use wasmill_core::column::{Column, ColumnBuilder};
use wasmill_core::fault::Fault;
use wasmill_core::plan::{AggregateFunction, WindowNode};
use wasmill_core::schema::{DataType, Schema};

use super::rows::Opened;
use crate::aggregate::{self, Accumulators, CELLS_VERSION, Rows};
use crate::codec::{damaged, take_byte};
use crate::window::plugin::Rejects;
use crate::window::{Plugin, PluginCells};

/// The aggregates of a window, without their cells.
#[derive(Debug)]
pub(crate) struct Aggregates {
    builtins: Vec<Box<dyn Accumulators>>,
    pub(crate) plugins: Vec<Plugin>,
    /// Whether rows come in event-time order, so that every plugin can have them as they come.
    ordered: bool,
}

/// Cells of some groups.
#[derive(Debug)]
pub(crate) struct Cells {
    builtins: Vec<Box<dyn Accumulators>>,
    plugins: Vec<PluginCells>,
}

impl Aggregates {
    /// The aggregates of a node that somebody reads: `live` says so of each. `guests` are those of the Wasm aggregates.
    pub(crate) fn new(
        plan: &WindowNode,
        schema: &Schema,
        live: &[bool],
        guests: Vec<Box<dyn Aggregate>>,
        ordered: bool,
    ) -> Self {
        let mut guests = guests.into_iter();
        let (mut builtins, mut plugins) = (Vec::new(), Vec::new());
        for (node, live) in plan.aggregates.iter().zip(live) {
            match &node.function {
                AggregateFunction::Builtin(function) if *live => {
                    builtins.extend(aggregate::accumulators(function, schema));
                }
                AggregateFunction::Builtin(_) => {}
                AggregateFunction::Plugin(plugin) => plugins.push(Plugin::new(
                    guests.next().expect("an instance for each Wasm aggregate"),
                    plugin.description.clone(),
                    plugin.input.clone(),
                    plugin.plugin.path.display().to_string(),
                )),
            }
        }
        assert!(guests.next().is_none(), "an instance for each Wasm aggregate, no more");
        Self {
            builtins,
            plugins,
            ordered,
        }
    }

    /// Whether a plugin gets rows as they come. Any other gets those of a window when its result is due.
    fn is_direct(&self, plugin: &Plugin) -> bool {
        self.ordered || plugin.commutative()
    }

    /// Whether rows are kept until a result is due.
    pub(crate) fn keep_rows(&self) -> bool {
        !self.plugins.iter().all(|plugin| self.is_direct(plugin))
    }

    /// Cells of no group yet.
    pub(crate) fn cells(&self) -> Cells {
        Cells {
            builtins: self.builtins.iter().map(|builtin| builtin.fresh()).collect(),
            plugins: self.plugins.iter().map(|_| PluginCells::default()).collect(),
        }
    }

    /// Makes room for groups up to `groups`; new ones are empty.
    pub(crate) fn grow(&self, cells: &mut Cells, groups: usize) {
        for builtin in &mut cells.builtins {
            builtin.grow(groups);
        }
        for (plugin, cells) in self.plugins.iter().zip(&mut cells.plugins) {
            plugin.grow(cells, groups);
        }
    }

    /// Adds the ascending rows `chosen` to their groups. There is room for them.
    pub(crate) fn update(
        &mut self,
        cells: &mut Cells,
        opened: &Opened<'_>,
        chosen: &[u32],
        groups: &[u32],
        rejects: &mut Rejects<'_>,
    ) -> Result<(), Fault> {
        if chosen.is_empty() {
            return Ok(());
        }
        let rows = Rows {
            columns: &opened.columns,
            times: &opened.times,
            order: opened.order.as_deref(),
            chosen: Some(chosen),
            groups,
        };
        for builtin in &mut cells.builtins {
            builtin.update(&rows);
        }
        if self.plugins.is_empty() {
            return Ok(());
        }
        let selected = opened.batch.select(chosen);
        let ordered = self.ordered;
        for (plugin, cells) in self.plugins.iter_mut().zip(&mut cells.plugins) {
            if ordered || plugin.commutative() {
                plugin.accumulate(cells, &selected, groups, |_| true, rejects)?;
            }
        }
        Ok(())
    }

    /// Gives the plugins that want a window's rows in order some of them.
    pub(crate) fn update_kept(
        &mut self,
        cells: &mut Cells,
        batch: &Batch,
        groups: &[u32],
        tell: impl Fn(u32) -> bool,
        rejects: &mut Rejects<'_>,
    ) -> Result<(), Fault> {
        let ordered = self.ordered;
        for (plugin, cells) in self.plugins.iter_mut().zip(&mut cells.plugins) {
            if !ordered && !plugin.commutative() {
                plugin.accumulate(cells, batch, groups, &tell, rejects)?;
            }
        }
        Ok(())
    }

    /// Appends a group's bytes.
    pub(crate) fn encode(&self, cells: &Cells, group: u32, out: &mut Vec<u8>) {
        out.push(CELLS_VERSION);
        for builtin in &cells.builtins {
            builtin.encode(group, out);
        }
        for (plugin, cells) in self.plugins.iter().zip(&cells.plugins) {
            if self.is_direct(plugin) {
                cells.encode(group, plugin, out);
            }
        }
    }

    /// Puts a group read off the front of bytes into place, for which there is room.
    pub(crate) fn decode(&self, cells: &mut Cells, group: u32, from: &mut &[u8]) -> Result<(), Fault> {
        if take_byte(from)? != CELLS_VERSION {
            return Err(damaged("the cells of aggregates have another version"));
        }
        for builtin in &mut cells.builtins {
            builtin.decode(group, from)?;
        }
        for (plugin, cells) in self.plugins.iter().zip(&mut cells.plugins) {
            if self.is_direct(plugin) {
                cells.decode(group, plugin, from)?;
            }
        }
        Ok(())
    }

    /// Adds group `from` of `later` to group `into`.
    pub(crate) fn merge(&mut self, cells: &mut Cells, into: u32, later: &Cells, from: u32) -> Result<(), Fault> {
        for (own, other) in cells.builtins.iter_mut().zip(&later.builtins) {
            own.merge(&[into], &**other, &[from]);
        }
        let ordered = self.ordered;
        let pairs = cells.plugins.iter_mut().zip(&later.plugins);
        for (plugin, (own, other)) in self.plugins.iter_mut().zip(pairs) {
            if ordered || plugin.commutative() {
                plugin.merge(own, &[into], other, &[from], |_| false)?;
            }
        }
        Ok(())
    }

    /// Adds cells as bytes, which are later, to a group; where it `is_empty`, they take its place.
    pub(crate) fn take_in(
        &mut self,
        cells: &mut Cells,
        group: u32,
        is_empty: bool,
        mut bytes: &[u8],
    ) -> Result<(), Fault> {
        if is_empty {
            return self.decode(cells, group, &mut bytes);
        }
        let mut later = self.cells();
        self.grow(&mut later, 1);
        self.decode(&mut later, 0, &mut bytes)?;
        self.merge(cells, group, &later, 0)
    }

    /// Two groups as bytes put together, the earlier one first.
    pub(crate) fn merge_bytes(&mut self, earlier: &[u8], later: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut cells = self.cells();
        self.grow(&mut cells, 1);
        self.take_in(&mut cells, 0, true, earlier)?;
        self.take_in(&mut cells, 0, false, later)?;
        let mut out = Vec::new();
        self.encode(&cells, 0, &mut out);
        Ok(out)
    }

    /// The results of a built-in aggregate for all of some groups.
    pub(crate) fn finish_builtin(
        cells: &Cells,
        builtin: usize,
        groups: &[u32],
        data_type: DataType,
    ) -> Result<Column, Fault> {
        let mut column = ColumnBuilder::new(data_type, groups.len());
        cells.builtins[builtin].finish(groups, &mut column)?;
        Ok(column.finish())
    }

    /// The results of the plugins for all of some groups, a column each.
    pub(crate) fn finish_plugins(
        &mut self,
        cells: &Cells,
        groups: &[u32],
        bounds: &Groups<'_>,
    ) -> Result<Vec<Vec<Column>>, Fault> {
        let plugins = self.plugins.iter_mut().zip(&cells.plugins);
        plugins
            .map(|(plugin, cells)| plugin.finish(cells, groups, bounds))
            .collect()
    }
}
