//! Any Accept header is answered in a format that is known. How to run: see config.rs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_lambda_exporter::exposition::Format;

fuzz_target!(|accept: &str| {
    let format = Format::negotiate(Some(accept));
    assert!(format == Format::Text || accept.to_ascii_lowercase().contains("openmetrics"));
});
