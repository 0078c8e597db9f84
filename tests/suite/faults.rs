//! What docs/reliability.md says: each fault that it names is a test here, on real parts, and each test here is a row
//! of its tables. A fault is over when the test ends it, and what comes after it is part of what is asserted.

mod between;
mod connecting;
mod during;
mod fake_server;
mod floods;
mod forged;
pub(crate) mod observed;
mod requests;
mod secrets;
mod start;
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The rows of the tables, by the test that the last column of each names.
#[test]
fn every_fault_in_the_documentation_is_a_test_and_every_test_is_in_the_documentation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let rows: Vec<_> =
        document.lines().filter(|line| line.starts_with("| ") && line.ends_with("` |")).collect();
    let documented: BTreeSet<_> = rows.iter().map(|row| row.rsplit('`').nth(1).unwrap().to_owned()).collect();
    assert_eq!(documented.len(), rows.len(), "a test stands in two rows");
    let mut tests = BTreeSet::new();
    let parts =
        ["start", "secrets", "connecting", "between", "during", "floods", "requests", "forged", "targets"];
    for part in parts {
        let source = fs::read_to_string(root.join(format!("tests/suite/faults/{part}.rs"))).unwrap();
        for test in source.split("test]\n").skip(1) {
            let name = test.split("fn ").nth(1).unwrap().split('(').next().unwrap();
            tests.insert(format!("{part}::{name}"));
        }
    }
    assert_eq!(documented, tests);
}
