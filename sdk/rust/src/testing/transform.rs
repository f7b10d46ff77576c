//! Runs a transform in the process of a test.

use super::{Imports, LogLine, Table};
use crate::{
    Failure,
    bindings::{transformer, types as wit},
    transform::{Opened, TransformOperator, describe, open},
};

/// A transform that has been opened. See the [module](super) for an example.
pub struct TransformTest<T> {
    operator: Opened<T>,
    description: transformer::Description,
    imports: Imports,
    config: String,
    schema: wit::Schema,
}

/// What a batch gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    ports: Vec<(String, Table)>,
    /// The rejected rows, with their messages.
    pub rejects: Vec<(u32, String)>,
}

impl Output {
    pub(super) fn new(ports: Vec<(String, Table)>, rejects: Vec<(u32, String)>) -> Self {
        Self { ports, rejects }
    }

    /// The rows of a port; the single one of an operator without side outputs is `out`.
    ///
    /// # Panics
    ///
    /// When the operator has no such port.
    pub fn port(&self, name: &str) -> &Table {
        let port = self.ports.iter().find(|(port, _)| port == name);
        let names = || {
            self.ports
                .iter()
                .map(|(port, _)| port.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        &port
            .unwrap_or_else(|| panic!("there is no port `{name}`: the operator has {}", names()))
            .1
    }
}

impl<T> std::fmt::Debug for TransformTest<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            description, imports, ..
        } = self;
        f.debug_struct("TransformTest")
            .field("description", description)
            .field("imports", imports)
            .finish_non_exhaustive()
    }
}

impl<T: TransformOperator> TransformTest<T> {
    /// Describes and opens the operator with a configuration, as JSON, for inputs with the columns of a table.
    ///
    /// # Errors
    ///
    /// What `describe` or `open` says against the configuration or the columns.
    pub fn open(config: &str, input: &Table) -> Result<Self, Failure> {
        let schema = input.schema();
        let inputs = [wit::Input {
            name: "input".to_owned(),
            schema: schema.clone(),
            changelog: false,
        }];
        let mut imports = Imports::default();
        let (description, operator) = imports
            .during(|| Ok((describe::<T>(config, &inputs)?, open::<T>(config, &inputs)?)))
            .map_err(Failure::from_wit)?;
        Ok(Self {
            operator,
            description,
            imports,
            config: config.to_owned(),
            schema,
        })
    }

    /// Gives the operator one batch.
    ///
    /// # Errors
    ///
    /// When the operator fails the call.
    ///
    /// # Panics
    ///
    /// When the table has other columns than the one that the operator was opened for, or the operator breaks the
    /// contract.
    pub fn process(&mut self, input: &Table) -> Result<Output, Failure> {
        assert_eq!(input.schema(), self.schema, "the operator was opened for other columns");
        let batch = input.batch(&self.description.inputs[0]);
        let outputs = self
            .imports
            .during(|| self.operator.process(batch))
            .map_err(Failure::from_wit)?;
        let mut ports = Vec::new();
        for (output, port) in outputs.outputs.into_iter().zip(&self.description.outputs) {
            let table = input.output(port, &output.rows, output.columns);
            let table = match &self.description.event_time {
                Some(retime) if output.port == 0 => table.retimed(&retime.column),
                _ => table,
            };
            ports.push((port.name.clone(), table));
        }
        let rejects = outputs
            .rejects
            .into_iter()
            .map(|reject| (reject.row, reject.message))
            .collect();
        Ok(Output { ports, rejects })
    }

    /// Checks that the result does not depend on how rows are cut into calls, nor on the calls before: each row alone,
    /// in an operator of its own, must give what the batch gives.
    ///
    /// # Errors
    ///
    /// When the operator fails a call.
    ///
    /// # Panics
    ///
    /// When the results differ.
    pub fn check_cuts(&mut self, input: &Table) -> Result<(), Failure> {
        let whole = self.process(input)?;
        let ports = whole.ports.iter().map(|(name, table)| (name.clone(), table.select([])));
        let mut cut = Output {
            ports: ports.collect(),
            rejects: Vec::new(),
        };
        for row in 0..input.rows() {
            let alone = Self::open(&self.config, input)?.process(&input.select([row]))?;
            for ((_, table), (_, more)) in cut.ports.iter_mut().zip(alone.ports) {
                table.append(more);
            }
            cut.rejects
                .extend(alone.rejects.into_iter().map(|(_, message)| (row as u32, message)));
        }
        assert_eq!(whole, cut, "a batch gives something else than its rows one by one");
        Ok(())
    }

    /// What the operator logged so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.imports.logs()
    }

    /// The sum of a counter or histogram, or the last value of a gauge; `None` when it was not declared.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.imports.metric(name)
    }
}
