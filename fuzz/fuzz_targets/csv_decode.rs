//! CSV of any bytes, with and without a header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasmill_connector_api::format::csv::{Config, Csv};

fuzz_target!(|bytes: &[u8]| {
    let columns = wasmill_fuzz::columns();
    wasmill_fuzz::check::<Csv>(&Config::default(), &columns, bytes);
    let by_place = Config {
        header: false,
        ..Config::default()
    };
    wasmill_fuzz::check::<Csv>(&by_place, &columns[2..5], bytes);
});
