//! No secret's text is a panic, and no problem with it repeats it. How to run: see config.rs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_lambda_exporter::connect_options::{Parts, Target};

fuzz_target!(|text: &str| {
    let defaults = Parts::default();
    for result in [Target::from_secret(text, &defaults), Target::from_url(text, &defaults)] {
        match result {
            Ok(target) => assert!(target.is_same(&target.clone())),
            Err(problems) => assert!(!problems.is_empty()),
        }
    }
});
