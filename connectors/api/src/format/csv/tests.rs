//! CSV against a second reader, and what neither may accept.

use proptest::prelude::*;

use wasmill_core::column::Value;
use wasmill_core::plan::{TimestampFormat, TimestampUnit};
use wasmill_core::schema::DataType;

use super::super::tests::{
    batch, column, decoder_rows, encoded, framed, framed_in_pieces, messages, reasons, stream, with_times,
};
use super::*;
use crate::format::Decoded;

fn decode(config: &Config, columns: &[SourceColumn], text: &[u8]) -> Decoded {
    let spec = DecodeSpec {
        columns: Csv::source_columns(config, Some(columns)).unwrap(),
        live: vec![true; columns.len()],
        validate_all: false,
    };
    let block = framed(Csv::framer(config), text);
    Csv::decoder(config, &spec).unwrap().decode(&block).unwrap()
}

fn id_and_note() -> Vec<SourceColumn> {
    vec![
        column("id", DataType::Int64, false),
        column("note", DataType::Utf8, true),
    ]
}

#[test]
fn columns_are_found_by_name_whatever_stands_around_them() {
    let decoded = decode(
        &Config::default(),
        &id_and_note(),
        b"\xEF\xBB\xBF\r\nx,\"note\",id\r\n1,a,7\r\n\r\n,,8\r\n",
    );
    assert_eq!(decoder_rows(&decoded), [["7", "\"a\""], ["8", "null"]]);
    assert_eq!(decoded.lines, [0, 2]);
    assert_eq!(decoded.starts, [0, 9]);
    assert_eq!(decoded.line_count, 3);
}

#[test]
fn without_a_header_columns_stand_in_the_order_of_the_schema() {
    let config = Config {
        header: false,
        delimiter: "\t".to_owned(),
        null: "NA".to_owned(),
        ..Config::default()
    };
    let decoded = decode(&config, &id_and_note(), b"1\t\n2\tNA\n3\tx\ty");
    assert_eq!(decoder_rows(&decoded), [["1", "\"\""], ["2", "null"]]);
    assert_eq!(reasons(&decoded), [(2, None, "3 fields where the schema has 2")]);
}

#[test]
fn quotes_hold_delimiters_quotes_and_line_ends() {
    let text = b"id,note\n1,\"a,b\"\n2,\"say \"\"hi\"\"\nthere\"\r\n3,5\" disk\n\"4\",\"\"\n\"\",x\n";
    let decoded = decode(&Config::default(), &id_and_note(), text);
    assert_eq!(
        decoder_rows(&decoded),
        [
            ["1", "\"a,b\""],
            ["2", "\"say \\\"hi\\\"\\nthere\""],
            ["3", "\"5\\\" disk\""],
            ["4", "\"\""]
        ]
    );
    assert_eq!(decoded.lines, [0, 1, 3, 4]);
    assert_eq!(reasons(&decoded), [(5, None, "column \"id\" is null and not nullable")]);
}

#[test]
fn broken_quotes_make_their_record_invalid() {
    let text = b"id,note\n1,\"a\"b\n2,c\n3,\"d\n4,e\n";
    let decoded = decode(&Config::default(), &id_and_note(), text);
    assert_eq!(decoder_rows(&decoded), [["2", "\"c\""]]);
    assert_eq!(
        reasons(&decoded),
        [
            (
                0,
                Some(4),
                "column \"note\": \"a\" is followed by more than a delimiter after its closing quote"
            ),
            (2, Some(4), "column \"note\": \"d\\n4,e\\n\" has no closing quote"),
        ]
    );
}

#[test]
fn values_are_strict_and_invalid_records_say_where() {
    let timed = |timestamp| SourceColumn {
        timestamp: Some(timestamp),
        ..column("t", DataType::Timestamp, true)
    };
    let check = |column: SourceColumn, text: &str, expect: Result<&str, &str>| {
        let columns = [column];
        let decoded = decode(
            &Config::default(),
            &columns,
            format!("{}\n{text}\n", columns[0].field.name).as_bytes(),
        );
        match expect {
            Ok(value) => assert_eq!(decoder_rows(&decoded), [[value]], "{text}"),
            Err(reason) => assert_eq!(reasons(&decoded), [(0, Some(1), reason)], "{text}"),
        }
    };
    let of = |data_type| column("x", data_type, true);
    check(of(DataType::Int64), "1.5", Err("column \"x\": \"1.5\" is not an int64"));
    check(
        of(DataType::Int64),
        "9223372036854775808",
        Err("column \"x\": \"9223372036854775808\" is out of the range of an int64"),
    );
    check(of(DataType::Float64), "1e-7", Ok("1e-7"));
    check(of(DataType::Float64), "NaN", Ok("NaN"));
    check(
        of(DataType::Boolean),
        "True",
        Err("column \"x\": \"True\" is not a boolean, which is true or false"),
    );
    check(of(DataType::Binary), "Zm9v", Ok("0x666f6f"));
    check(of(DataType::Json), "[1]", Ok("json [1]"));
    check(
        of(DataType::Json),
        "[1",
        Err("column \"x\": \"[1\" is not a JSON value"),
    );
    check(
        timed(TimestampFormat::Rfc3339),
        "2013-01-01T10:15:00Z",
        Ok("2013-01-01T10:15:00Z"),
    );
    check(
        timed(TimestampFormat::Unit(TimestampUnit::Ms)),
        "1500",
        Ok("1970-01-01T00:00:01.5Z"),
    );
    check(
        timed(TimestampFormat::Rfc3339),
        "soon",
        Err("column \"t\": \"soon\" is not a timestamp in RFC 3339, such as 2013-01-01T10:15:00Z"),
    );
}

#[test]
fn a_column_that_nothing_reads_is_not_checked_unless_asked_for() {
    let columns = id_and_note();
    for (validate_all, rows) in [(false, 1), (true, 0)] {
        let spec = DecodeSpec {
            columns: columns.clone(),
            live: vec![false, true],
            validate_all,
        };
        let block = framed(Csv::framer(&Config::default()), b"id,note\nx,a\n");
        let decoded = Csv::decoder(&Config::default(), &spec).unwrap().decode(&block).unwrap();
        assert_eq!(decoded.rows, rows);
        assert!(decoded.columns[0].is_none());
    }
}

#[test]
fn a_missing_or_doubled_column_is_a_fault_that_names_those_there_are() {
    let spec = DecodeSpec {
        columns: id_and_note(),
        live: vec![true, true],
        validate_all: false,
    };
    let fault = |header: &str| {
        let text = format!("{header}\n1\n");
        let block = framed(Csv::framer(&Config::default()), text.as_bytes());
        let mut decoder = Csv::decoder(&Config::default(), &spec).unwrap();
        decoder.decode(&block).unwrap_err().message
    };
    assert_eq!(
        fault("ID,x"),
        "the CSV header has no column \"id\", \"note\"; it has \"ID\", \"x\""
    );
    assert_eq!(fault("id,note,id"), "the CSV header names two columns \"id\"");
}

#[test]
fn a_decoder_follows_the_header_of_each_block() {
    let spec = DecodeSpec {
        columns: id_and_note(),
        live: vec![true, true],
        validate_all: false,
    };
    let mut decoder = Csv::decoder(&Config::default(), &spec).unwrap();
    for text in ["id,note\n1,a\n", "note,id\na,1\n", "id,note\n1,a\n"] {
        let decoded = decoder.decode(&framed(Csv::framer(&Config::default()), text.as_bytes()));
        assert_eq!(decoder_rows(&decoded.unwrap()), [["1", "\"a\""]]);
    }
    assert_eq!(decoder.decode(&stream(b"")).unwrap().rows, 0);
}

#[test]
fn messages_have_no_header() {
    let spec = DecodeSpec {
        columns: id_and_note(),
        live: vec![true, true],
        validate_all: false,
    };
    let config = Config {
        header: false,
        ..Config::default()
    };
    let block = messages(&[b"1,a\n", b"2,\"b\nc\"", b"3,d\n4,e"]);
    let decoded = Csv::decoder(&config, &spec).unwrap().decode(&block).unwrap();
    assert_eq!(decoder_rows(&decoded), [["1", "\"a\""], ["2", "\"b\\nc\""]]);
    assert_eq!(reasons(&decoded), [(2, None, "the message holds more than one record")]);
    assert!(Csv::decoder(&Config::default(), &spec).unwrap().decode(&block).is_err());
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let check = |config: Config, key: &str| {
        let problems = Csv::check_sink(&config, &[]).unwrap_err();
        assert_eq!(problems[0].path, [crate::config::Step::Key(key.to_owned())]);
    };
    let delimiter = |text: &str| Config {
        delimiter: text.to_owned(),
        ..Config::default()
    };
    for text in ["", ";;", "é", "\n"] {
        check(delimiter(text), "delimiter");
    }
    check(delimiter("\""), "quote");
    assert!(Csv::source_columns(&Config::default(), None).is_err());
    let mut nested = id_and_note();
    nested[0].path.push("deep".to_owned());
    assert!(Csv::source_columns(&Config::default(), Some(&nested)).is_err());
}

#[test]
fn rows_are_written_with_quotes_only_where_they_are_needed() {
    let (schema, rows) = batch(
        &[
            ("i", DataType::Int64),
            ("f", DataType::Float64),
            ("a,b", DataType::Utf8),
            ("t", DataType::Timestamp),
            ("x", DataType::Binary),
            ("ok", DataType::Boolean),
        ],
        &[
            &["1", "0.1", "plain text", "1500000", "foo", "true"],
            &["-", "NaN", "say \"hi\", ok?\n", "-", "-", "false"],
            &["-5", "-inf", "", "0", "", "-"],
            &["0", "1e300", "x", "9223372036854775807", "", "-"],
        ],
    );
    let columns = (0..6).collect();
    let encoder = Csv::encoder(&Config::default(), &EncodeSpec { schema, columns }).unwrap();
    assert_eq!(encoder.prologue(), "i,f,\"a,b\",t,x,ok\n");
    let (text, rejects) = encoded(encoder, &rows);
    assert_eq!(
        text,
        "1,0.1,plain text,1970-01-01T00:00:01.5Z,Zm9v,true\n\
         ,NaN,\"say \"\"hi\"\", ok?\n\",,,false\n\
         -5,-inf,\"\",1970-01-01T00:00:00Z,\"\",\n"
    );
    assert_eq!(rejects[0].row, 3);
    let message = &rejects[0].message;
    assert!(
        message.starts_with("column \"t\" is a timestamp outside of the years 0000 to 9999, "),
        "{message}"
    );
}

#[test]
fn what_cannot_be_read_back_is_rejected() {
    let (schema, rows) = batch(&[("a", DataType::Utf8)], &[&["-"], &["x,y"]]);
    let spec = EncodeSpec {
        schema,
        columns: vec![0],
    };
    let encoder = Csv::encoder(&Config::default(), &spec).unwrap();
    let (text, rejects) = encoded(encoder, &rows);
    assert_eq!((text.as_str(), rejects[0].row), ("\"x,y\"\n", 0));
    let config = Config {
        quote: String::new(),
        null: "NA".to_owned(),
        ..Config::default()
    };
    let (text, rejects) = encoded(Csv::encoder(&config, &spec).unwrap(), &rows);
    assert_eq!((text.as_str(), rejects[0].row), ("NA\n", 1));
}

/// What the crate `csv` reads: every record's fields.
fn oracle(text: &[u8]) -> Vec<Vec<String>> {
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text);
    reader
        .byte_records()
        .map(|record| {
            let record = record.unwrap();
            record
                .iter()
                .map(|field| String::from_utf8_lossy(field).into_owned())
                .collect()
        })
        .collect()
}

#[test]
fn an_open_quote_and_a_long_line_are_framed_in_linear_time() {
    let field = "x,\n\"\"".repeat(600_000);
    let text = format!("1,\"{field}\"\n2,3\n4");
    for header in [true, false] {
        let config = Config {
            header,
            ..Config::default()
        };
        let (prologue, blocks) = framed_in_pieces(Csv::framer(&config), text.as_bytes(), 97);
        assert!([prologue, blocks.concat()].concat() == text.as_bytes());
    }
}

proptest! {
    /// Where the crate `csv` and RFC 4180 agree: quotes stand only around whole fields, and no carriage return alone.
    #[test]
    fn records_are_those_that_the_crate_csv_finds(
        records in prop::collection::vec(prop::collection::vec("([a-z ]{0,3})|(\"([a,\n ]|\"\"){0,4}\")", 3), 0..8),
        crlf: bool,
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let text: String = records.iter().map(|fields| fields.join(",") + end).collect();
        let config = Config { header: false, null: "NULL".to_owned(), ..Config::default() };
        let columns: Vec<_> = ["a", "b", "c"].map(|name| column(name, DataType::Utf8, false)).into();
        let decoded = decode(&config, &columns, text.as_bytes());
        let expect: Vec<Vec<String>> = oracle(text.as_bytes())
            .into_iter()
            .map(|record| record.into_iter().map(|field| format!("{field:?}")).collect())
            .collect();
        prop_assert!(decoded.invalid.is_empty());
        prop_assert_eq!(decoder_rows(&decoded), expect);
        prop_assert_eq!(decoded.line_count as usize, text.matches('\n').count());
    }

    #[test]
    fn any_bytes_are_framed_and_decoded_alike_in_any_pieces(
        text in "[a1,\"\r\n\u{e9}]{0,60}", piece in 1_usize..20, header: bool,
    ) {
        let config = Config { header, ..Config::default() };
        let (prologue, blocks) = framed_in_pieces(Csv::framer(&config), text.as_bytes(), piece);
        let whole = framed(Csv::framer(&config), text.as_bytes());
        prop_assert_eq!(&prologue, &whole.prologue);
        let columns = [column("a", DataType::Utf8, true), column("b", DataType::Utf8, true)];
        let spec = DecodeSpec { columns: columns.to_vec(), live: vec![true; 2], validate_all: false };
        let by_place = Config { header: false, ..Config::default() };
        let mut decoder = Csv::decoder(&by_place, &spec).unwrap();
        let whole = decoder.decode(&whole).unwrap();
        let (mut rows, mut invalid, mut lines) = (Vec::new(), Vec::new(), 0);
        for block in blocks {
            let part = decoder.decode(&stream(&block)).unwrap();
            rows.extend(decoder_rows(&part));
            invalid.extend(part.invalid.iter().map(|bad| (bad.line + lines, bad.reason.clone())));
            lines += part.line_count;
        }
        prop_assert_eq!(rows, decoder_rows(&whole));
        prop_assert_eq!(lines, whole.line_count);
        let expect: Vec<_> = whole.invalid.iter().map(|bad| (bad.line, bad.reason.clone())).collect();
        prop_assert_eq!(invalid, expect);
    }

    #[test]
    fn what_is_written_is_read_back(
        rows in prop::collection::vec(
            (any::<Option<i64>>(), prop::option::of("[ab,\"\r\n\u{e9} ]{0,6}"), any::<Option<f64>>()), 1..20,
        ),
    ) {
        use wasmill_core::batch::Slot;
        use wasmill_core::column::ColumnBuilder;
        use wasmill_core::schema::Schema;
        let fields = [("i", DataType::Int64), ("s", DataType::Utf8), ("f", DataType::Float64)];
        let mut builders = fields.map(|(_, data_type)| ColumnBuilder::new(data_type, rows.len()));
        for (i, s, f) in &rows {
            builders[0].push(i.map_or(Value::Null, Value::Int64));
            builders[1].push(s.as_deref().map_or(Value::Null, Value::Utf8));
            builders[2].push(f.filter(|f| !f.is_nan()).map_or(Value::Null, Value::Float64));
        }
        let columns = builders.map(ColumnBuilder::finish);
        let slots = columns.iter().cloned().map(Slot::Base).collect();
        let schema = Schema::new(fields.map(|(name, t)| Field::nullable(name, t)).into()).unwrap();
        let spec = EncodeSpec { schema, columns: vec![0, 1, 2] };
        let encoder = Csv::encoder(&Config::default(), &spec).unwrap();
        let prologue = encoder.prologue();
        let (text, rejects) = encoded(encoder, &with_times(slots, rows.len()));
        prop_assert!(rejects.is_empty());
        let source: Vec<_> = fields.iter().map(|(name, t)| column(name, *t, true)).collect();
        let decoded = decode(&Config::default(), &source, &[&prologue[..], text.as_bytes()].concat());
        prop_assert!(decoded.invalid.is_empty(), "{:?}", decoded.invalid);
        let back: Vec<_> = decoded.columns.into_iter().map(Option::unwrap).collect();
        prop_assert_eq!(back, columns.to_vec());
    }
}
