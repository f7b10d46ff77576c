//! JSON against a second reader, and what neither may accept.

use proptest::prelude::*;

use wasmill_core::plan::{TimestampFormat, TimestampUnit};
use wasmill_core::schema::DataType;

use super::super::tests::{batch, column, decoder_rows, encoded, framed, messages, reasons, stream};
use super::*;
use crate::format::Decoded;

fn decode(columns: &[SourceColumn], text: &[u8]) -> Decoded {
    let spec = DecodeSpec {
        columns: Json::source_columns(&Config {}, Some(columns)).unwrap(),
        live: vec![true; columns.len()],
        validate_all: false,
    };
    let block = framed(Json::framer(&Config {}), text);
    Json::decoder(&Config {}, &spec).unwrap().decode(&block).unwrap()
}

fn at(path: &[&str], column: SourceColumn) -> SourceColumn {
    SourceColumn {
        path: path.iter().map(|name| (*name).to_owned()).collect(),
        ..column
    }
}

#[test]
fn fields_are_found_by_name_in_any_order_and_missing_ones_are_null() {
    let columns = [column("a", DataType::Int64, true), column("b", DataType::Utf8, true)];
    let decoded = decode(
        &columns,
        b"\xEF\xBB\xBF{\"b\":\"x\\u00e9\\n\",\"c\":[{}],\"a\":1}\r\n\n  \n{}\n { \"\\u0061\" : 2 , \"b\" : null } ",
    );
    assert_eq!(
        decoder_rows(&decoded),
        [["1", "\"xé\\n\""], ["null", "null"], ["2", "null"]]
    );
    assert_eq!(decoded.lines, [0, 3, 4]);
    assert_eq!(decoded.line_count, 5);
}

#[test]
fn nested_fields_are_found_by_path_and_the_last_of_a_name_counts() {
    let columns = [
        at(&["bid", "auction"], column("auction", DataType::Int64, true)),
        at(&["bid", "by", "id"], column("bidder", DataType::Utf8, true)),
        at(&["t"], column("t", DataType::Int64, true)),
    ];
    let check = |text: &str, expect: [&str; 3]| {
        let decoded = decode(&columns, text.as_bytes());
        assert_eq!(decoder_rows(&decoded), [expect], "{text} {:?}", decoded.invalid);
    };
    check(
        r#"{"bid":{"by":{"id":"x"},"auction":7},"auction":1}"#,
        ["7", "\"x\"", "null"],
    );
    check(
        r#"{"bid":{"auction":7,"by":{"id":"x"}},"bid":{"by":{}}}"#,
        ["null", "null", "null"],
    );
    check(r#"{"bid":{"auction":7},"bid":null,"t":1,"t":2}"#, ["null", "null", "2"]);
    check(
        r#"{"bid":{"by":{"id":"long"},"by":{"id":"b"}},"t":1,"t":null}"#,
        ["null", "\"b\"", "null"],
    );
    let decoded = decode(&columns, b"{\"bid\":7}\n{\"bid\":{\"auction\":1}}\n");
    assert_eq!(
        reasons(&decoded),
        [(0, Some(8), "the field is a number, not an object")]
    );
    assert_eq!(decoder_rows(&decoded), [["1", "null", "null"]]);
}

#[test]
fn values_are_strict_and_invalid_records_say_where() {
    let timed = |timestamp| SourceColumn {
        timestamp: Some(timestamp),
        ..column("x", DataType::Timestamp, true)
    };
    let check = |column: SourceColumn, value: &str, expect: Result<&str, &str>| {
        let decoded = decode(&[column], format!("{{\"x\": {value} }}\n").as_bytes());
        match expect {
            Ok(value) => assert_eq!(decoder_rows(&decoded), [[value]], "{value} {:?}", decoded.invalid),
            Err(reason) => assert_eq!(reasons(&decoded), [(0, Some(7), reason)], "{value}"),
        }
    };
    let of = |data_type| column("x", data_type, true);
    check(of(DataType::Int64), "-9223372036854775808", Ok("-9223372036854775808"));
    check(
        of(DataType::Int64),
        "9223372036854775808",
        Err("column \"x\": 9223372036854775808 is a number that is not an int64"),
    );
    check(
        of(DataType::Int64),
        "1.5",
        Err("column \"x\": 1.5 is a number that is not an int64"),
    );
    check(
        of(DataType::Int64),
        "1e3",
        Err("column \"x\": 1000.0 is a number that is not an int64"),
    );
    check(
        of(DataType::Int64),
        "\"12\"",
        Err("column \"x\": \"12\" is a string, not int64"),
    );
    check(
        of(DataType::Int64),
        "true",
        Err("column \"x\": true is a boolean, not int64"),
    );
    check(of(DataType::Float64), "12", Ok("12.0"));
    check(
        of(DataType::Float64),
        "18446744073709551615",
        Ok("1.8446744073709552e19"),
    );
    check(of(DataType::Float64), "0.1e-3", Ok("0.0001"));
    check(of(DataType::Boolean), "false", Ok("false"));
    check(of(DataType::Utf8), "12", Err("column \"x\": 12 is a number, not utf8"));
    check(of(DataType::Utf8), "\"\\ud83d\\ude00\"", Ok("\"😀\""));
    check(of(DataType::Binary), "\"Zm9v\"", Ok("0x666f6f"));
    check(
        of(DataType::Binary),
        "\"Zm9\"",
        Err("column \"x\": \"Zm9\" is not base64"),
    );
    check(
        of(DataType::Json),
        "{\"a\": [1.50, null]}",
        Ok("json {\"a\": [1.50, null]}"),
    );
    check(of(DataType::Json), "null", Ok("null"));
    check(of(DataType::Json), "\"\\u0041\"", Ok("json \"\\u0041\""));
    check(
        timed(TimestampFormat::Rfc3339),
        "\"2013-01-01T10:15:00Z\"",
        Ok("2013-01-01T10:15:00Z"),
    );
    check(
        timed(TimestampFormat::Rfc3339),
        "5",
        Err("column \"x\": 5 is a number where a timestamp is text; the column's `unit` makes it one"),
    );
    check(
        timed(TimestampFormat::Unit(TimestampUnit::S)),
        "5",
        Ok("1970-01-01T00:00:05Z"),
    );
    check(
        timed(TimestampFormat::Unit(TimestampUnit::S)),
        "\"5\"",
        Err("column \"x\": \"5\" is a string, not a timestamp as a number"),
    );
}

#[test]
fn what_is_not_json_is_invalid_also_where_no_column_reads() {
    let columns = [column("x", DataType::Int64, true)];
    for text in [
        "{\"x\":1",
        "{\"x\":1}}",
        "{\"x\":1} {}",
        "{\"x\":1,}",
        "{\"y\":01,\"x\":1}",
        "{\"y\":\"\\x\",\"x\":1}",
        "{\"y\":\"\t\",\"x\":1}",
        "{\"y\":\"\\u0e\"90\",\"x\":1}",
        "{\"y\":\"\\u00g0\",\"x\":1}",
        "{\"y\":\"\\u00",
        "{\"y\":[1,],\"x\":1}",
        "{\"y\":nul,\"x\":1}",
        "{x:1}",
        "[1]",
        "1",
        "null",
        "\"a\"",
        "nonsense",
    ] {
        let decoded = decode(&columns, format!("{text}\n{{\"x\":2}}\n").as_bytes());
        assert_eq!(decoder_rows(&decoded), [["2"]], "{text}");
        assert_eq!(decoded.invalid.len(), 1, "{text}");
        assert_eq!(decoded.invalid[0].end as usize, text.len(), "{text}");
    }
    let decoded = decode(&columns, b"{\"y\":\"\xFF\"}\n{\"x\":2}\n");
    assert_eq!(
        reasons(&decoded),
        [(0, Some(7), "is not JSON: a byte is not valid UTF-8")]
    );
}

#[test]
fn a_required_column_that_is_missing_makes_the_record_invalid() {
    let columns = [column("a", DataType::Utf8, false), column("b", DataType::Utf8, false)];
    let decoded = decode(
        &columns,
        b"{\"a\":\"1\",\"b\":\"2\"}\n{\"b\":\"3\"}\n{\"b\":\"4\",\"a\":\"5\"}\n",
    );
    assert_eq!(decoder_rows(&decoded), [["\"1\"", "\"2\""], ["\"5\"", "\"4\""]]);
    assert_eq!(reasons(&decoded), [(1, None, "column \"a\" is null and not nullable")]);
    assert_eq!(decoded.invalid[0].column.as_deref(), Some("a"));
}

#[test]
fn a_message_may_have_line_ends_in_it() {
    let spec = DecodeSpec {
        columns: vec![column("x", DataType::Int64, true)],
        live: vec![true],
        validate_all: false,
    };
    let block = messages(&[b"{\n\"x\":\n1}", b"{\"x\":2}\n", b"{\n}x"]);
    let decoded = Json::decoder(&Config {}, &spec).unwrap().decode(&block).unwrap();
    assert_eq!(decoder_rows(&decoded), [["1"], ["2"]]);
    assert_eq!(decoded.lines, [0, 1]);
    assert_eq!((decoded.invalid[0].line, decoded.invalid[0].byte_column), (2, None));
}

#[test]
fn messages_that_are_cut_within_a_character_are_invalid() {
    let spec = DecodeSpec {
        columns: vec![column("x", DataType::Int64, true)],
        live: vec![true],
        validate_all: false,
    };
    let block = messages(&[b"{\"a\":\"\xC3", b"\xA9\"}"]);
    let decoded = Json::decoder(&Config {}, &spec).unwrap().decode(&block).unwrap();
    let reason = "is not JSON: a byte is not valid UTF-8";
    assert_eq!(reasons(&decoded), [(0, Some(7), reason), (1, Some(1), reason)]);
}

#[test]
fn columns_of_one_field_are_refused() {
    let refused = |paths: [&[&str]; 2]| {
        let columns = paths.map(|path| at(path, column(path[path.len() - 1], DataType::Json, true)));
        Json::source_columns(&Config {}, Some(&columns)).is_err()
    };
    assert!(refused([&["a"], &["a", "b"]]));
    assert!(refused([&["a", "b"], &["a", "b"]]));
    assert!(!refused([&["a", "b"], &["a", "c"]]));
}

#[test]
fn rows_are_objects_with_every_column() {
    let (schema, rows) = batch(
        &[
            ("i", DataType::Int64),
            ("f\"", DataType::Float64),
            ("s", DataType::Utf8),
            ("t", DataType::Timestamp),
            ("x", DataType::Binary),
            ("ok", DataType::Boolean),
            ("j", DataType::Json),
        ],
        &[
            &["1", "0.1", "a\"\\\n\t\u{1}é", "1500000", "foo", "true", "{\"a\":\n[1]}"],
            &["-", "-", "-", "-", "-", "-", "-"],
            &["1", "NaN", "", "0", "", "false", "1"],
            &["-9", "1e300", "", "-1", "", "false", "1"],
            &["1", "1", "", "-9223372036854775808", "", "false", "1"],
        ],
    );
    let columns = (0..7).collect();
    let encoder = Json::encoder(&Config {}, &EncodeSpec { schema, columns }).unwrap();
    let (text, rejects) = encoded(encoder, &rows);
    assert_eq!(
        text,
        "{\"i\":1,\"f\\\"\":0.1,\"s\":\"a\\\"\\\\\\n\\t\\u0001é\",\"t\":\"1970-01-01T00:00:01.5Z\",\"x\":\"Zm9v\",\
         \"ok\":true,\"j\":{\"a\": [1]}}\n\
         {\"i\":null,\"f\\\"\":null,\"s\":null,\"t\":null,\"x\":null,\"ok\":null,\"j\":null}\n\
         {\"i\":-9,\"f\\\"\":1e+300,\"s\":\"\",\"t\":\"1969-12-31T23:59:59.999999Z\",\"x\":\"\",\"ok\":false,\"j\":1}\n"
    );
    let messages: Vec<_> = rejects
        .iter()
        .map(|reject| (reject.row, reject.message.split(", ").next().unwrap_or_default()))
        .collect();
    assert_eq!(
        messages,
        [
            (2, "column \"f\\\"\" is NaN"),
            (4, "column \"t\" is a timestamp outside of the years 0000 to 9999"),
        ]
    );
}

/// What `serde_json` makes of a line: the values of the columns, or nothing where the record is invalid. Of other fields
/// it looks at the structure alone.
fn oracle(line: &[u8]) -> Option<[String; 3]> {
    #[derive(Default)]
    struct Fields([serde_json::Value; 3]);
    impl<'de> Deserialize<'de> for Fields {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Fields::default())
        }
    }
    impl<'de> serde::de::Visitor<'de> for Fields {
        type Value = Fields;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(mut self, mut map: A) -> Result<Fields, A::Error> {
            while let Some(name) = map.next_key::<String>()? {
                match ["i", "f", "s"].iter().position(|known| *known == name) {
                    Some(place) => self.0[place] = map.next_value()?,
                    None => drop(map.next_value::<serde::de::IgnoredAny>()?),
                }
            }
            Ok(self)
        }
    }
    let text = std::str::from_utf8(line).ok()?;
    let Fields([int, float, string]) = serde_json::from_str(text).ok()?;
    let null = || "null".to_owned();
    Some([
        if int.is_null() {
            null()
        } else {
            int.as_i64()?.to_string()
        },
        if float.is_null() {
            null()
        } else {
            format!("{:?}", float.as_f64()?)
        },
        if string.is_null() {
            null()
        } else {
            format!("{:?}", string.as_str()?)
        },
    ])
}

/// Without the last digits of floats, which `serde_json` does not always get right.
fn rounded(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    let round = |(place, text): (usize, &String)| match text.parse::<f64>() {
        Ok(value) if place == 1 => format!("{value:.12e}"),
        _ => text.clone(),
    };
    rows.iter()
        .map(|row| row.iter().enumerate().map(round).collect())
        .collect()
}

/// Lines that are JSON, almost.
fn mutated_line() -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::sample::select(vec![
        r#"{"i":12,"f":0.25,"s":"plain","o":{"a":[1,2,{"b":null}],"i":3}}"#,
        r#"{"s":"esc \" \\ \n \u00e9 \ud83d\ude00","i":-7,"x":[[],{},"",true,false,null]}"#,
        r#" { "f" : 1.5e-7 , "i" : 9223372036854775807 , "k\"" : -0.0 } "#,
        r#"{"i":1,"i":2,"s":"a","s":"longer","f":-12,"f":123456789.123456789}"#,
    ]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, any::<u8>()), 0..4);
    (lines, edits).prop_map(|(line, edits)| {
        const SPECIAL: &[u8] = b"{}[]\",:\\ue0159.-+E \t\x01\xC3\xFFtfnals";
        let mut line = line.as_bytes().to_vec();
        for (at, kind, byte) in edits {
            let special = SPECIAL[byte as usize % SPECIAL.len()];
            let at = at.index(line.len().max(1));
            match kind {
                0 if at < line.len() => drop(line.remove(at)),
                1 if at < line.len() => line[at] = special,
                2 => line.truncate(at),
                _ => line.insert(at.min(line.len()), special),
            }
        }
        line
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn mutated_lines_are_read_as_serde_json_reads_them(line in mutated_line()) {
        let columns = [
            column("i", DataType::Int64, true),
            column("f", DataType::Float64, true),
            column("s", DataType::Utf8, true),
        ];
        let spec = DecodeSpec { columns: columns.to_vec(), live: vec![true; 3], validate_all: false };
        let decoded = Json::decoder(&Config {}, &spec).unwrap().decode(&stream(&line)).unwrap();
        let expect: Vec<Vec<String>> = oracle(&line).into_iter().map(Vec::from).collect();
        let text = String::from_utf8_lossy(&line);
        // Of a name that comes twice each value must fit here, in the oracle only the last.
        let twice = |name: &String| text.matches(&format!("\"{name}\"")).count() > 1;
        let misfit = decoded.invalid.first().and_then(|invalid| invalid.column.as_ref());
        if !misfit.is_some_and(twice) {
            prop_assert_eq!(rounded(&decoder_rows(&decoded)), rounded(&expect), "{:?} {:?}", text, decoded.invalid);
        }
        if !line.trim_ascii().is_empty() {
            prop_assert_eq!(decoded.rows + decoded.invalid.len(), 1);
        }
    }

    #[test]
    fn floats_are_read_as_the_standard_library_reads_them(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
        let expect: f64 = text.parse().unwrap();
        let decoded = decode(&[column("f", DataType::Float64, true)], format!("{{\"f\":{text}}}").as_bytes());
        if expect.is_finite() {
            prop_assert_eq!(decoder_rows(&decoded), [[format!("{expect:?}")]]);
        } else {
            prop_assert_eq!(decoded.rows, 0);
        }
    }

    #[test]
    fn what_is_written_is_read_back(value: f64, text: String, number: i64) {
        prop_assume!(value.is_finite());
        let row = [number.to_string(), value.to_string(), text];
        prop_assume!(row[2] != "-");
        let types = [("i", DataType::Int64), ("f", DataType::Float64), ("s", DataType::Utf8)];
        let (schema, rows) = batch(&types, &[&row.each_ref().map(String::as_str)]);
        let encoder = Json::encoder(&Config {}, &EncodeSpec { schema, columns: vec![0, 1, 2] }).unwrap();
        let (line, _) = encoded(encoder, &rows);
        let columns = types.map(|(name, data_type)| column(name, data_type, false));
        let expect = [row[0].clone(), format!("{value:?}"), format!("{:?}", row[2])];
        prop_assert_eq!(decoder_rows(&decode(&columns, line.as_bytes())), [expect]);
    }
}

#[test]
fn a_record_that_is_nested_too_deep_is_invalid() {
    let nested = |depth: usize| {
        let arrays = depth - 1;
        format!(
            "{{\"a\":1,\"s\":\"\\\"[[[\",\"z\":{}{}}}\n",
            "[".repeat(arrays),
            "]".repeat(arrays)
        )
    };
    for data_type in [DataType::Int64, DataType::Json] {
        let text = [nested(128), nested(129), nested(400_000)].concat();
        let columns = [column("a", DataType::Int64, true), column("z", data_type, true)];
        let columns = if data_type == DataType::Json {
            &columns[..]
        } else {
            &columns[..1]
        };
        let decoded = decode(columns, text.as_bytes());
        let reason = "is nested deeper than 128 arrays and objects";
        assert_eq!(reasons(&decoded), [(1, Some(151), reason), (2, Some(151), reason)]);
        assert_eq!(decoded.rows, 1);
    }
    let wide = format!("{{\"a\":1,\"z\":[{}[]]}}\n", "[],".repeat(1_000));
    assert_eq!(
        decoder_rows(&decode(&[column("a", DataType::Int64, true)], wide.as_bytes())),
        [["1"]]
    );
    for unclosed in ["[".repeat(200_000), "{\"a\":".repeat(200_000), "[\"".repeat(200_000)] {
        let decoded = decode(&[column("a", DataType::Int64, true)], unclosed.as_bytes());
        assert_eq!(decoded.invalid.len(), 1);
    }
}

#[test]
fn a_bad_string_of_backslashes_is_found_in_linear_time() {
    let text = format!("{{\"a\":\"{}\\\"\"}}\n", "\\\\".repeat(2_000_000));
    let decoded = decode(&[column("a", DataType::Int64, true)], text.as_bytes());
    assert_eq!(decoded.invalid[0].byte_column, Some(6));
}
