//! What an operator reads is what was written, whatever the values: columns go through the buffers of the contract and
//! back, into views and out of builders.

use proptest::{collection::vec, option, prelude::*};
use wasmill_sdk::{
    prelude::*,
    testing::{Output, Table, TransformTest},
};

#[derive(InputRow)]
struct Everything<'a> {
    boolean: bool,
    int64: i64,
    float64: f64,
    utf8: &'a str,
    binary: &'a [u8],
    timestamp: Timestamp,
    json: Json<&'a str>,
    boolean_or_null: Option<bool>,
    int64_or_null: Option<i64>,
    utf8_or_null: Option<&'a str>,
}

#[derive(OutputRow)]
struct Copied<'a> {
    boolean: bool,
    int64: i64,
    float64: f64,
    utf8: &'a str,
    binary: &'a [u8],
    timestamp: Timestamp,
    json: Json<&'a str>,
    boolean_or_null: Option<bool>,
    int64_or_null: Option<i64>,
    utf8_or_null: Option<&'a str>,
}

/// Copies each row into computed columns, as often as the configuration says, if its number is even.
#[transform]
struct Copy {
    times: usize,
    only_even: bool,
}

impl Transform for Copy {
    type Input<'a> = Everything<'a>;
    type Output = Only<Copied<'static>>;

    fn row(&self, row: Everything<'_>, out: &mut Self::Output) -> Result<(), Reject> {
        if self.only_even && row.int64 % 2 != 0 {
            return Ok(());
        }
        for _ in 0..self.times {
            out.emit(Copied {
                boolean: row.boolean,
                int64: row.int64,
                float64: row.float64,
                utf8: row.utf8,
                binary: row.binary,
                timestamp: row.timestamp,
                json: row.json,
                boolean_or_null: row.boolean_or_null,
                int64_or_null: row.int64_or_null,
                utf8_or_null: row.utf8_or_null,
            });
        }
        Ok(())
    }
}

#[derive(InputColumns)]
struct Numbers<'a> {
    int64: &'a [i64],
    utf8: Text<'a>,
    int64_or_null: Nullable<'a, &'a [i64]>,
}

#[derive(OutputColumns)]
struct Derived {
    doubled: Values<i64>,
    lengths: Vec<u32>,
    or_null: Vec<Option<i64>>,
}

/// Keeps the even rows, and computes whole columns for them.
#[transform(columns)]
struct Columns;

impl TransformColumns for Columns {
    type Input<'a> = Numbers<'a>;
    type Output = Add<Derived>;

    fn batch(&self, batch: Batch<Numbers<'_>>, out: &mut Self::Output) -> Result<Rejects, Failure> {
        let Numbers {
            int64,
            utf8,
            int64_or_null,
        } = batch.columns;
        let even: Vec<usize> = (0..batch.rows).filter(|row| int64[*row] % 2 == 0).collect();
        let rows = Rows::filter(batch.rows, |row| int64[row] % 2 == 0);
        let derived = Derived {
            doubled: Values::from_fn(even.len(), |at| int64[even[at]].wrapping_mul(2)),
            lengths: even.iter().map(|row| utf8.get(*row).len() as u32).collect(),
            or_null: even.iter().map(|row| int64_or_null.get(*row)).collect(),
        };
        out.set(rows, derived);
        Ok(Rejects::none())
    }
}

#[derive(Debug, Clone)]
struct Record {
    boolean: bool,
    int64: i64,
    /// As bits, so that each NaN is one of its own.
    float64: u64,
    utf8: String,
    binary: Vec<u8>,
    boolean_or_null: Option<bool>,
    int64_or_null: Option<i64>,
    utf8_or_null: Option<String>,
}

fn record() -> impl Strategy<Value = Record> {
    let bytes = vec(any::<u8>(), 0..20);
    let nullable = (
        option::of(any::<bool>()),
        option::of(any::<i64>()),
        option::of(".{0,8}"),
    );
    (any::<(bool, i64, u64)>(), ".{0,12}", bytes, nullable).prop_map(
        |((boolean, int64, float64), utf8, binary, (boolean_or_null, int64_or_null, utf8_or_null))| Record {
            boolean,
            int64,
            float64,
            utf8,
            binary,
            boolean_or_null,
            int64_or_null,
            utf8_or_null,
        },
    )
}

/// A float that is equal to itself.
fn float(bits: u64) -> f64 {
    let float = f64::from_bits(bits);
    if float.is_nan() { 0.5 } else { float }
}

fn table(records: &[Record]) -> Table {
    Table::new()
        .with("boolean", records.iter().map(|record| record.boolean))
        .with("int64", records.iter().map(|record| record.int64))
        .with("float64", records.iter().map(|record| float(record.float64)))
        .with("utf8", records.iter().map(|record| record.utf8.as_str()))
        .with("binary", records.iter().map(|record| record.binary.as_slice()))
        .with(
            "timestamp",
            records.iter().map(|record| Timestamp::from_micros(record.int64)),
        )
        .with("json", records.iter().map(|record| Json(format!("[{}]", record.int64))))
        .with("boolean_or_null", records.iter().map(|record| record.boolean_or_null))
        .with("int64_or_null", records.iter().map(|record| record.int64_or_null))
        .with(
            "utf8_or_null",
            records.iter().map(|record| record.utf8_or_null.as_deref()),
        )
}

fn copy(config: &str, input: &Table) -> Output {
    let copied = TransformTest::<Copy>::open(config, input).and_then(|mut test| test.process(input));
    copied.expect("the table fits")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_copied_is_the_same(records in vec(record(), 1..40)) {
        let input = table(&records);
        let output = copy(r#"{"times":1,"only-even":false}"#, &input);
        prop_assert_eq!(output.port("out"), &input);
    }

    #[test]
    fn a_flat_map_repeats_each_row(records in vec(record(), 1..20), times in 0_usize..4) {
        let input = table(&records);
        let output = copy(&format!(r#"{{"times":{times},"only-even":true}}"#), &input);
        let rows = (0..records.len()).filter(|row| records[*row].int64 % 2 == 0);
        let expect = input.select(rows.flat_map(|row| std::iter::repeat_n(row, times)));
        prop_assert_eq!(output.port("out"), &expect);
    }

    #[test]
    fn columns_give_what_rows_give(records in vec(record(), 1..40)) {
        let input = table(&records);
        let mut columns = TransformTest::<Columns>::open("{}", &input).unwrap();
        columns.check_cuts(&input).unwrap();
        let output = columns.process(&input).unwrap();
        let even: Vec<_> = records.iter().filter(|record| record.int64 % 2 == 0).cloned().collect();
        let expect = table(&even)
            .with("doubled", even.iter().map(|record| record.int64.wrapping_mul(2)))
            .with("lengths", even.iter().map(|record| record.utf8.len() as i64))
            .with("or_null", even.iter().map(|record| record.int64_or_null));
        prop_assert_eq!(output.port("out"), &expect);
    }
}
