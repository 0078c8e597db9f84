//! Any text is a configuration, perhaps one of problems only.
//!
//! From the repository's root, with cargo-fuzz (`cargo install cargo-fuzz`):
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run config -- -max_total_time=60`.
//! Without it, on plain stable (no address sanitizer): `cd fuzz && cargo run --release --bin config -- -max_total_time=60`,
//! with folders of inputs, such as `../tests/queries/sound`, at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_lambda_exporter::config::{Config, Naming};
use pg_lambda_exporter::problem::Severity;

fuzz_target!(|text: &str| {
    let files =
        [("a.yml".to_owned(), text.to_owned()), ("b.yml".to_owned(), "z: {query: SELECT 1}".to_owned())];
    let config = Config::parse(&files, &Naming::default());
    assert!(config.queries.iter().any(|query| query.namespace == "z"), "one file disabled another");
    let error = config.problems.iter().any(|problem| problem.severity == Severity::Error);
    assert!(error || config.disabled.is_empty(), "a namespace is disabled and nothing says why");
});
