//! Records of a fixed length in any bytes.
#![no_main]

use std::num::NonZeroU32;

use libfuzzer_sys::fuzz_target;
use wasmill_connector_api::format::Format;
use wasmill_connector_api::format::raw::{Config, Raw};

fuzz_target!(|bytes: &[u8]| {
    let columns = Raw::source_columns(&Config::default(), None).expect("raw has a column of its own");
    for record_bytes in [None, NonZeroU32::new(3)] {
        wasmill_fuzz::check::<Raw>(&Config { record_bytes }, &columns, bytes);
    }
});
