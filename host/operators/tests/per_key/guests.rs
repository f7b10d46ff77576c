//! Guests, played by native code: two aggregates and a window operator. They refuse some values and fail on others.

use wasmill_core::aggregate::{Accumulated, Accumulator, Aggregate, AggregateDescription, Groups};
use wasmill_core::batch::Batch;
use wasmill_core::column::{Column, ColumnBuilder, Scalar, Value};
use wasmill_core::content::{Content, ContentColumn, ContentOutput, ContentOutputs, Firings};
use wasmill_core::fault::{Domain, Fault, GuestDetail, GuestFault};
use wasmill_core::plan::AggregatePlugin;
use wasmill_core::plugin::{Limits, PluginRef};
use wasmill_core::schema::{DataType, Field};
use wasmill_core::transform::{Reject, Requirement};

use super::harness::{Filling, INT, TEXT};

pub(crate) fn is_refused(value: i64) -> bool {
    value % 5 == 0
}

pub(crate) fn is_fatal(value: i64) -> bool {
    value % 7 == 0
}

/// A value as the guests write it.
pub(crate) fn spell(value: i64) -> String {
    format!("{value},")
}

fn check_rows(batch: &Batch, column: usize, function: &'static str) -> Result<Vec<Option<i64>>, Fault> {
    let column = batch.column(column);
    let values = (0..batch.rows()).map(|row| match column.value(row) {
        Value::Int64(v) => Some(v),
        _ => None,
    });
    let values: Vec<Option<i64>> = values.collect();
    if values.iter().flatten().any(|&v| is_fatal(v)) {
        let mut fault = Fault::fatal(Domain::User, "trapped");
        fault.guest = Some(Box::new(GuestDetail {
            kind: GuestFault::Trap,
            plugin: "p.wasm".into(),
            function,
            row: None,
            rows: batch.rows() as u32,
            backtrace: Vec::new(),
        }));
        return Err(fault);
    }
    Ok(values)
}

fn refused(values: &[Option<i64>]) -> Vec<Reject> {
    let refused = values.iter().enumerate().filter(|(_, v)| v.is_some_and(is_refused));
    refused
        .map(|(row, _)| Reject {
            row: row as u32,
            message: "a multiple of five".into(),
        })
        .collect()
}

/// Writes values one after the other, and merges as parentheses: nothing about it is commutative.
struct Spell;

impl Aggregate for Spell {
    fn accumulate(
        &mut self,
        batch: &Batch,
        group_of_row: &[u32],
        accumulators: &[Column],
    ) -> Result<Accumulated, Fault> {
        let values = check_rows(batch, 0, "accumulate")?;
        let mut texts: Vec<String> = (0..accumulators[0].len())
            .map(|group| text(&accumulators[0], group))
            .collect();
        for (value, &group) in values.iter().zip(group_of_row) {
            if let Some(value) = value.filter(|&v| !is_refused(v)) {
                texts[group as usize] += &spell(value);
            }
        }
        Ok(Accumulated {
            accumulators: vec![texts_column(&texts)],
            rejects: refused(&values),
        })
    }

    fn merge(&mut self, earlier: &[Column], later: &[Column]) -> Result<Vec<Column>, Fault> {
        let merged = (0..earlier[0].len()).map(|i| format!("({}|{})", text(&earlier[0], i), text(&later[0], i)));
        Ok(vec![texts_column(&merged.collect::<Vec<_>>())])
    }

    fn finish(&mut self, groups: &Groups<'_>, accumulators: &[Column]) -> Result<Vec<Column>, Fault> {
        assert!(groups.keys.iter().all(|key| key.len() == groups.starts.len()));
        Ok(accumulators.to_vec())
    }
}

/// Sums values.
struct Add;

impl Aggregate for Add {
    fn accumulate(
        &mut self,
        batch: &Batch,
        group_of_row: &[u32],
        accumulators: &[Column],
    ) -> Result<Accumulated, Fault> {
        let values = check_rows(batch, 0, "accumulate")?;
        let mut sums = ints(&accumulators[0]);
        for (value, &group) in values.iter().zip(group_of_row) {
            sums[group as usize] += value.filter(|&v| !is_refused(v)).unwrap_or(0);
        }
        Ok(Accumulated {
            accumulators: vec![Column::Int64(sums.into())],
            rejects: refused(&values),
        })
    }

    fn merge(&mut self, earlier: &[Column], later: &[Column]) -> Result<Vec<Column>, Fault> {
        let sums = ints(&earlier[0]).into_iter().zip(ints(&later[0])).map(|(a, b)| a + b);
        Ok(vec![Column::Int64(sums.collect::<Vec<_>>().into())])
    }

    fn finish(&mut self, _groups: &Groups<'_>, accumulators: &[Column]) -> Result<Vec<Column>, Fault> {
        Ok(vec![accumulators[0].clone()])
    }
}

fn text(column: &Column, row: usize) -> String {
    match column.value(row) {
        Value::Utf8(v) => v.to_owned(),
        value => panic!("{value:?}"),
    }
}

fn texts_column(texts: &[String]) -> Column {
    let mut builder = ColumnBuilder::new(DataType::Utf8, texts.len());
    for text in texts {
        builder.push(Value::Utf8(text));
    }
    builder.finish()
}

fn ints(column: &Column) -> Vec<i64> {
    let int = |row| match column.value(row) {
        Value::Int64(v) => v,
        value => panic!("{value:?}"),
    };
    (0..column.len()).map(int).collect()
}

fn plugin(initial: Scalar, data_type: DataType, result: &str, commutative: bool) -> AggregatePlugin {
    AggregatePlugin {
        plugin: PluginRef {
            path: "p.wasm".into(),
            digest: [0; 32],
        },
        config: "{}".into(),
        description: AggregateDescription {
            input: Requirement {
                columns: vec![0],
                event_times: false,
                changelog: false,
            },
            accumulators: vec![Accumulator {
                field: Field::required("a", data_type),
                initial,
            }],
            results: vec![Field::required(result, data_type)],
            commutative,
            version: 1,
        },
        input: vec![INT],
        limits: Limits::default(),
    }
}

/// A plugin as planned, and how its instance is made.
pub(crate) type PluginCase = (AggregatePlugin, fn() -> Box<dyn Aggregate>);

/// An aggregate that wants its rows in order, and one that takes them in any.
pub(crate) fn plugins() -> Vec<PluginCase> {
    vec![
        (
            plugin(Scalar::Utf8(String::new()), DataType::Utf8, "spelt", false),
            || Box::new(Spell),
        ),
        (plugin(Scalar::Int64(0), DataType::Int64, "sum", true), || Box::new(Add)),
    ]
}

/// Tells each window's values in order, how many rows and parts it had, and a column of its last row.
struct Tell;

impl Content for Tell {
    fn process(&mut self, firings: &Firings, batch: &Batch) -> Result<ContentOutputs, Fault> {
        let values = check_rows(batch, INT, "process")?;
        let mut outputs = ContentOutputs::default();
        let (mut firing, mut rows) = (Vec::new(), Vec::new());
        let (mut texts, mut counts) = (Vec::new(), Vec::new());
        assert_eq!(*firings.offsets.last().expect("an end") as usize, batch.rows());
        for number in 0..firings.starts.len() {
            let own = firings.offsets[number]..firings.offsets[number + 1];
            assert!(!own.is_empty(), "a firing has rows");
            let carry = std::str::from_utf8(&firings.carry[number]).expect("text");
            assert!(!firings.first[number] || carry.is_empty());
            let (mut count, mut text) = carry.split_once(' ').map_or((0, String::new()), |(count, text)| {
                (count.parse().expect("a count"), text.to_owned())
            });
            for row in own.clone() {
                count += 1;
                if let Some(value) = values[row as usize].filter(|&v| !is_refused(v)) {
                    text += &spell(value);
                }
            }
            if firings.last[number] {
                firing.push(number as u32);
                rows.push(own.end - 1);
                texts.push(text);
                counts.push(count);
                outputs.carry.push(Vec::new());
            } else {
                text += "/";
                outputs.carry.push(format!("{count} {text}").into_bytes());
            }
        }
        outputs.outputs.push(ContentOutput {
            port: 0,
            firing,
            rows: Some(rows),
            columns: vec![
                ContentColumn::Computed(texts_column(&texts)),
                ContentColumn::Computed(Column::Int64(counts.into())),
                ContentColumn::Input(TEXT),
            ],
        });
        outputs.rejects = refused(&values);
        Ok(outputs)
    }
}

/// A window operator.
pub(crate) fn tell() -> Filling {
    let columns = vec![
        ("told", DataType::Utf8),
        ("rows", DataType::Int64),
        ("last_text", DataType::Utf8),
    ];
    Filling::Guest(columns, || Box::new(Tell))
}
