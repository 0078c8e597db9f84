//! No targets file is a panic, and no problem with it repeats a password. How to run: see config.rs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_lambda_exporter::config::TargetsFile;
use pg_lambda_exporter::connect_options::Parts;

fuzz_target!(|text: &str| {
    let file = TargetsFile::parse("targets.yml", text, &Parts::default());
    let disabled = file.targets.iter().filter(|target| target.access.is_none()).count();
    assert!(disabled <= file.problems.len());
});
