//! From `queries.yml` and the tables of its queries to both formats, as files: each folder of `tests/golden/` is a
//! case. `UPDATE_GOLDEN=1 cargo test` rewrites what is expected; the difference is then reviewed as any other.
//!
//! - `queries.yml`: the declaration, with queries that a real server answers alike
//! - `NAMESPACE.tsv`: the result of its query, as `COPY (…) TO STDOUT WITH (HEADER)` writes it
//! - `text.prom`, `openmetrics.prom`: the expected expositions
//! - `dropped.txt`: the expected counts, missing columns and notes

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pg_lambda_exporter::config::{Config, Naming};
use pg_lambda_exporter::database::Connection;
use pg_lambda_exporter::exposition::{Format, encode, end};
use pg_lambda_exporter::mapping::{DeclaredNames, Dropped, Merged};
use pg_lambda_exporter::metric::Families;
use pg_lambda_exporter::problem::Severity;
use pg_lambda_exporter::table::Table;

use crate::mapping::{LABEL_BYTES_MAX, map, push_row, table_of};
use crate::postgres::Server;

/// Long enough for a slow machine.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn expositions_are_as_expected() {
    let differences: Vec<String> = cases().iter().flat_map(|case| differences(case)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The results that the cases stand on are those of a real server, whatever its settings.
#[tokio::test]
async fn a_server_gives_the_same_expositions() {
    // A `timestamptz` that is a LABEL is in the role's time zone.
    let in_seoul = |text: String| text.replace("2020-01-02 03:04:05.678+00", "2020-01-02 12:04:05.678+09");
    for (name, settings, is_in_seoul) in [
        ("golden_plain", &["TimeZone = 'UTC'"][..], false),
        (
            "golden_set",
            &[
                "DateStyle = 'German'",
                "IntervalStyle = 'iso_8601'",
                "extra_float_digits = 0",
                "bytea_output = 'escape'",
                "TimeZone = 'Asia/Seoul'",
            ],
            true,
        ),
    ] {
        let database = Server::shared().database(name);
        for setting in settings {
            database.admin(&format!("ALTER DATABASE {name} SET {setting}"));
        }
        let mut connection = Connection::open(&database.target(), LIMIT).await.unwrap();
        let mut differences = Vec::new();
        for case in cases() {
            let config = config(&case);
            let mut tables = Vec::new();
            for query in &config.queries {
                let table = connection.run(&query.sql, LIMIT, LIMIT).await;
                tables.push(table.unwrap_or_else(|error| panic!("{}: {error}", query.namespace)));
            }
            for (file, actual) in outputs(&config, &tables) {
                let path = case.join(file);
                let expected = fs::read_to_string(&path).unwrap();
                let expected = if is_in_seoul { in_seoul(expected) } else { expected };
                if expected != actual {
                    differences.push(difference(&path, &expected, &actual));
                }
            }
        }
        assert!(differences.is_empty(), "{name}: {}", differences.join("\n"));
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn differences(case: &Path) -> Vec<String> {
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differences = Vec::new();
    let config = config(case);
    let tables: Vec<_> = config
        .queries
        .iter()
        .map(|query| read_table(&case.join(format!("{}.tsv", query.namespace))))
        .collect();
    for (name, actual) in outputs(&config, &tables) {
        let path = case.join(name);
        if is_update {
            fs::write(&path, &actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != actual {
            differences.push(difference(&path, &expected, &actual));
        }
    }
    differences
}

/// The first line that differs.
fn difference(path: &Path, expected: &str, actual: &str) -> String {
    let lines = expected.lines().map(Some).chain([None]).zip(actual.lines().map(Some).chain([None]));
    let (number, (expected, actual)) = lines.enumerate().find(|(_, (a, b))| a != b).unwrap_or_default();
    let (number, path) = (number + 1, path.display());
    format!("{path}:{number}:\n  expected {expected:?}\n    actual {actual:?}")
}

fn config(case: &Path) -> Config {
    let text = fs::read_to_string(case.join("queries.yml")).unwrap();
    let config = Config::parse(&[("queries.yml".into(), text)], &Naming::default());
    let errors: Vec<_> =
        config.problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{}: {errors:?}", case.display());
    config
}

/// Both expositions of what the queries gave, and what was dropped.
pub(crate) fn outputs(config: &Config, tables: &[Table]) -> [(&'static str, String); 3] {
    let mut results = Vec::new();
    let mut remarks = Vec::new();
    for (query, table) in config.queries.iter().zip(tables) {
        match map(query, table, LABEL_BYTES_MAX) {
            Ok(mapped) => {
                results.push(mapped.families);
                remarks.push((mapped.dropped, mapped.missing, mapped.notes));
            }
            Err(error) => {
                results.push(Families::default());
                remarks.push((Dropped::default(), Vec::new(), vec![format!("error: {error}")]));
            }
        }
    }
    let merged = Merged::new(&DeclaredNames::new(&config.queries), &results);

    let mut report = String::new();
    for ((query, (mapped, missing, notes)), dropped) in
        config.queries.iter().zip(remarks).zip(&merged.dropped)
    {
        let dropped: Dropped = [mapped, *dropped].into_iter().sum();
        let counts: Vec<_> = dropped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        writeln!(report, "{}: {}", query.namespace, counts.join(", ")).unwrap();
        missing.iter().for_each(|column| writeln!(report, "  missing: {column}").unwrap());
        notes.iter().for_each(|note| writeln!(report, "  {note}").unwrap());
    }
    let exposition = |format| encode(&merged, format) + end(format);
    [
        ("text.prom", exposition(Format::Text)),
        ("openmetrics.prom", exposition(Format::OpenMetrics)),
        ("dropped.txt", report),
    ]
}

/// The text form of `COPY` (PostgreSQL documentation, "COPY", "File Formats").
fn read_table(path: &Path) -> Table {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines().map(|line| line.split('\t').map(read_cell));
    let mut table = table_of(lines.next().unwrap().map(|name| name.unwrap()));
    for line in lines {
        let cells: Vec<Option<String>> = line.collect();
        assert_eq!(cells.len(), table.columns.len(), "{}: {cells:?}", path.display());
        push_row(&mut table, cells.iter().map(Option::as_deref));
    }
    table
}

fn read_cell(text: &str) -> Option<String> {
    if text == "\\N" {
        return None;
    }
    let mut cell = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        cell.push(match c {
            '\\' => match chars.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            },
            other => other,
        });
    }
    Some(cell)
}
