//! Runs a window operator in the process of a test.

use std::{collections::BTreeMap, fmt};

use super::{
    Imports, LogLine, Table,
    table::{self, Cells},
};
use crate::{
    Failure, Window,
    bindings::{types as wit, window_operator as window},
    buffer::{self, BitBuilder, Buffer},
    testing::Output,
    window::{Opened, WindowOperator, describe, open},
};

/// A window operator that has been opened. See [`Windowed`](crate::Windowed) for an example.
pub struct WindowTest<T> {
    operator: Opened<T>,
    description: window::Description,
    imports: Imports,
    schema: wit::Schema,
    key: Vec<usize>,
    pane: u32,
}

/// A firing of a test, as far as it came.
struct Fired {
    key: Cells,
    /// The rows that are left.
    rows: Vec<usize>,
    carry: Vec<u8>,
    begun: bool,
}

impl<T> fmt::Debug for WindowTest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowTest")
            .field("description", &self.description)
            .field("imports", &self.imports)
            .finish_non_exhaustive()
    }
}

impl<T: WindowOperator> WindowTest<T> {
    /// Describes and opens the operator with a configuration, as JSON, for a key of these columns and an input with the
    /// columns of a table.
    ///
    /// # Errors
    ///
    /// What `describe` or `open` says against the configuration, the key or the columns.
    pub fn open(config: &str, key: &[&str], input: &Table) -> Result<Self, Failure> {
        let names: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
        let described = wit::Input {
            name: "input".to_owned(),
            schema: input.schema(),
            changelog: false,
        };
        let mut imports = Imports::default();
        let (description, operator) = imports
            .during(|| {
                Ok((
                    describe::<T>(config, &described, &names)?,
                    open::<T>(config, &described, &names)?,
                ))
            })
            .map_err(Failure::from_wit)?;
        let place = |name: &String| {
            let at = described.schema.fields.iter().position(|field| field.name == *name);
            at.expect("`describe` found the key columns")
        };
        Ok(Self {
            key: names.iter().map(place).collect(),
            operator,
            description,
            imports,
            schema: described.schema,
            pane: 0,
        })
    }

    /// Results are asked for as those of this number.
    pub fn in_pane(&mut self, pane: u32) {
        self.pane = pane;
    }

    /// Fires a window for each key of the rows, which stand in the order of event time. A port's rows are the key columns
    /// and what the operator computes, by key.
    ///
    /// The rows come in one part, and once more in parts of one row each, which must give the same.
    ///
    /// # Errors
    ///
    /// When the operator fails a call.
    ///
    /// # Panics
    ///
    /// When the table has other columns than the one that the operator was opened for, the operator breaks the contract,
    /// or parts give something else than the whole.
    pub fn fire(&mut self, window: Window, rows: &Table) -> Result<Output, Failure> {
        assert_eq!(rows.schema(), self.schema, "the operator was opened for other columns");
        let whole = self.fire_in_parts(window, rows, usize::MAX)?;
        let parts = self.fire_in_parts(window, rows, 1)?;
        assert_eq!(whole, parts, "a window gives something else when it comes in parts");
        Ok(whole)
    }

    /// What the operator logged so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.imports.logs()
    }

    /// The sum of a counter or histogram, or the last value of a gauge; `None` when it was not declared.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.imports.metric(name)
    }

    fn fire_in_parts(&mut self, window: Window, rows: &Table, rows_max: usize) -> Result<Output, Failure> {
        let mut by_key: BTreeMap<Cells, Vec<usize>> = BTreeMap::new();
        for row in 0..rows.rows() {
            by_key.entry(rows.cells(&self.key, row)).or_default().push(row);
        }
        let fired = |(key, rows)| Fired {
            key,
            rows,
            carry: Vec::new(),
            begun: false,
        };
        let mut firings: Vec<Fired> = by_key.into_iter().map(fired).collect();
        let mut emitted: Vec<Vec<(Cells, Cells)>> = vec![Vec::new(); self.description.outputs.len()];
        let mut rejects = Vec::new();
        while !firings.is_empty() {
            self.call(window, rows, rows_max, &mut firings, &mut emitted, &mut rejects)?;
            firings.retain(|firing| !firing.rows.is_empty());
        }
        rejects.sort_unstable();
        let key: Vec<wit::Field> = self.key.iter().map(|at| self.schema.fields[*at].clone()).collect();
        let ports = self.description.outputs.iter().zip(emitted).map(|(port, mut emitted)| {
            emitted.sort_by(|(a, _), (b, _)| a.cmp(b));
            let fields: Vec<wit::Field> = key.iter().chain(&port.schema.fields).cloned().collect();
            let rows: Vec<Cells> = emitted
                .into_iter()
                .map(|(key, row)| key.into_iter().chain(row).collect())
                .collect();
            (port.name.clone(), Table::of(&fields, &rows))
        });
        Ok(Output::new(ports.collect(), rejects))
    }

    fn call(
        &mut self,
        window: Window,
        rows: &Table,
        rows_max: usize,
        firings: &mut [Fired],
        emitted: &mut [Vec<(Cells, Cells)>],
        rejects: &mut Vec<(u32, String)>,
    ) -> Result<(), Failure> {
        let (mut first, mut last) = (BitBuilder::default(), BitBuilder::default());
        let mut offsets = buffer::encode(&[0_u32]);
        let mut selected = Vec::new();
        for firing in &mut *firings {
            first.push(!firing.begun);
            last.push(firing.rows.len() <= rows_max);
            firing.begun = true;
            selected.extend(firing.rows.drain(..firing.rows.len().min(rows_max)));
            buffer::push(&mut offsets, selected.len() as u32);
        }
        let (fields, count) = (&self.schema.fields, firings.len());
        let key: Vec<wit::Field> = self.key.iter().map(|at| fields[*at].clone()).collect();
        let call = window::Firings {
            keys: table::encode(&key, firings.iter().map(|firing| &firing.key)),
            start: buffer::encode(&vec![window.start; count]),
            end: buffer::encode(&vec![window.end; count]),
            pane: buffer::encode(&vec![self.pane; count]),
            offsets,
            first: first.into_bytes(),
            last: last.into_bytes(),
            carry: firings
                .iter_mut()
                .map(|firing| std::mem::take(&mut firing.carry))
                .collect(),
        };
        let batch = rows.select(selected.iter().copied()).batch(&self.description.input);
        let outputs = self
            .imports
            .during(|| self.operator.process(call, batch))
            .map_err(Failure::from_wit)?;
        for (firing, carry) in firings.iter_mut().zip(outputs.carry) {
            assert!(
                carry.is_empty() || !firing.rows.is_empty(),
                "the operator carries something from a window that has ended"
            );
            firing.carry = carry;
        }
        for output in outputs.outputs {
            let of = Buffer::new(output.firing);
            let of = of.values::<u32>().expect("firings are u32");
            let fields = &self.description.outputs[output.port as usize].schema.fields;
            let columns: Vec<wit::Column> = output
                .columns
                .into_iter()
                .map(|column| match column {
                    wit::OutputColumn::Computed(column) => column,
                    wit::OutputColumn::Input(_) => panic!("a window operator computes its columns"),
                })
                .collect();
            for (firing, row) in of.iter().zip(table::decode(fields, &columns, of.len())) {
                emitted[output.port as usize].push((firings[*firing as usize].key.clone(), row));
            }
        }
        for reject in outputs.rejects {
            rejects.push((selected[reject.row as usize] as u32, reject.message));
        }
        Ok(())
    }
}
