//! Query files of other exporters run unchanged: each `tests/compat/NAME.yml` on a real server, as `scrape` prints it.
//!
//! `NAME.prom` beside it is what is expected, without what differs from one scrape to the next: the series that the
//! exporter gives for which the file was written, but for the differences that docs/migration.md lists.
//! `UPDATE_GOLDEN=1 cargo test` writes it anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::postgres::Server;

/// Each file, and the environment that completes its names as the other exporter does.
const CASES: [(&str, &[(&str, &str)]); 3] = [
    ("postgres_exporter", &[("EXTRA_LABELS", "server=db:5432")]),
    ("cloudnative_pg", &[("METRIC_PREFIX", "cnpg_")]),
    ("aurora", &[]),
];

#[test]
fn files_of_other_exporters_give_their_series() {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "yml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let mut cases = CASES.map(|(name, _)| name);
    cases.sort_unstable();
    assert_eq!(names, cases);

    let database = Server::shared().database("compat");
    let mut differences = vec![];
    for (name, environment) in CASES {
        let output = Command::new(env!("CARGO_BIN_EXE_pg-lambda-exporter"))
            .arg("scrape")
            .env_clear()
            .env("DATABASE_URL", database.url())
            .env("QUERIES_FILE", folder().join(format!("{name}.yml")))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{name}: {errors}");
        assert!(!errors.contains("mistake in a query file"), "{name}: {errors}");
        let answer = String::from_utf8(output.stdout).unwrap();
        let actual: String =
            answer.lines().filter(|line| is_fixed(line)).map(|line| format!("{line}\n")).collect();
        let path = folder().join(format!("{name}.prom"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        differences.extend(lines_of_one(&expected, &actual, &format!("{name}: missing")));
        differences.extend(lines_of_one(&actual, &expected, &format!("{name}: unexpected")));
        if differences.is_empty() {
            assert_eq!(actual, expected, "{name}: the lines are in another order");
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat")
}

/// Of the exporter's own metrics only those that the file and the server decide. They are last.
fn is_fixed(line: &str) -> bool {
    let name = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
    let own = ["error", "skipped", "success", "rows", "samples_dropped"];
    let is_own = name.starts_with("pg_exporter_") || name.starts_with("pg_up");
    !is_own || own.iter().any(|own| line.starts_with(&format!("pg_exporter_query_{own}{{")))
}

fn lines_of_one<'a>(one: &'a str, other: &'a str, what: &str) -> Vec<String> {
    let is_absent = |line: &&str| !other.lines().any(|known| known == *line);
    one.lines().filter(is_absent).map(|line| format!("{what}: {line}")).collect()
}
