//! JSON lines of any bytes: what is read as a row must be JSON for `serde_json` too.
#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use wasmill_connector_api::format::json::{Config, Json};
use wasmill_connector_api::format::{Block, DecodeSpec, Format};

fuzz_target!(|bytes: &[u8]| {
    let columns = wasmill_fuzz::columns();
    wasmill_fuzz::check::<Json>(&Config {}, &columns, bytes);
    let spec = DecodeSpec {
        live: vec![true; columns.len()],
        columns,
        validate_all: false,
    };
    let mut decoder = Json::decoder(&Config {}, &spec).expect("the columns fit");
    for line in bytes.split(|byte| *byte == b'\n') {
        let block = Block {
            prologue: Bytes::new(),
            bytes: Bytes::copy_from_slice(line),
            ends: None,
        };
        let decoded = decoder.decode(&block).expect("JSON has no faults");
        if decoded.rows == 1 {
            let text = std::str::from_utf8(line).expect("a row is valid UTF-8");
            serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text).expect("a row is an object");
        }
    }
});
