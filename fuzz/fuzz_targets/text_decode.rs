//! Lines of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasmill_connector_api::format::Format;
use wasmill_connector_api::format::text::{Config, Text};

fuzz_target!(|bytes: &[u8]| {
    let columns = Text::source_columns(&Config {}, None).expect("text has a column of its own");
    wasmill_fuzz::check::<Text>(&Config {}, &columns, bytes);
});
