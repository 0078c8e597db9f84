//! What is sent is accepted as it is, and says nothing else than what was written. How to run: see config.rs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_lambda_exporter::sql::Sql;

fuzz_target!(|text: &str| {
    let Ok(sql) = Sql::parse(text) else { return };
    if !sql.is_localized() {
        assert_eq!(sql.as_str().trim_end_matches('\n'), text.trim_end_matches('\n'));
    }
    let again = Sql::parse(sql.as_str()).expect("what is sent is sound");
    assert_eq!(again.as_str(), sql.as_str());
    assert_eq!(again.statement_count(), sql.statement_count());
    assert!(!again.is_localized());
    assert_eq!(again.prologue_settings_read(), sql.prologue_settings_read());
    assert_eq!(again.needs_standard_strings(), sql.needs_standard_strings());
});
