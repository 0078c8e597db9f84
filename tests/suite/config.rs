//! Query files: what sound ones say, and every mistake with its place.
//!
//! Each `tests/queries/*/NAME.yml` has beside it `NAME.expected`: the problems, and what is left to run.
//! `UPDATE_GOLDEN=1 cargo test` writes those anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use pg_lambda_exporter::config::{AuroraQuery, Config, Naming, Query, Usage};
use pg_lambda_exporter::metric::LabelName;
use pg_lambda_exporter::problem::{Origin, Problem, Severity};
use proptest::prelude::*;

fn parse(texts: &[&str]) -> Config {
    let name = |index| format!("{index}.yml");
    let files: Vec<_> = texts.iter().enumerate().map(|(i, text)| (name(i), (*text).to_owned())).collect();
    Config::parse(&files, &Naming::default())
}

fn line(problem: &Problem) -> String {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Ignored => "ignored",
        Severity::Warning => "warning",
    };
    format!("{severity}: {problem}\n")
}

fn describe(query: &Query) -> String {
    let mut text = format!("query {} prefix {}", query.namespace, query.prefix);
    for (name, value) in &query.labels {
        let _ = write!(text, " {name}={value:?}");
    }
    if let Some(timeout) = query.timeout {
        let _ = write!(text, " timeout {timeout:?}");
    }
    if let Some(cache) = query.cache {
        let _ = write!(text, " cache {cache:?}");
    }
    if query.primary_only {
        text.push_str(" primary");
    }
    let _ = writeln!(text, "\n  {:?}", query.sql.as_str());
    if let Some(predicate) = &query.predicate {
        let _ = writeln!(text, "  if {:?}", predicate.as_str());
    }
    match &query.aurora {
        Some(AuroraQuery::Skip) => text.push_str("  not on Aurora\n"),
        Some(AuroraQuery::Instead(sql)) => {
            let _ = writeln!(text, "  on Aurora {:?}", sql.as_str());
        }
        None => {}
    }
    if let Some(versions) = &query.server_versions {
        let majors: Vec<_> = (9..19).filter(|major| versions.contains(major * 10_000 + 1)).collect();
        let _ = writeln!(text, "  majors {majors:?}");
    }
    if !query.databases.is_empty() {
        let names = ["app", "app1", "shop", "postgres"];
        let matching: Vec<_> =
            names.into_iter().filter(|name| query.databases.iter().any(|p| p.matches(name))).collect();
        let _ = writeln!(text, "  databases {matching:?}");
    }
    for column in &query.columns {
        let _ = match &column.usage {
            Usage::Timestamp => writeln!(text, "  {}: timestamp", column.name),
            Usage::Discard => writeln!(text, "  {}: nothing", column.name),
            Usage::Label(name) => writeln!(text, "  {}: label {name}", column.name),
            Usage::Metric(m) => {
                let _ = write!(text, "  {}: {:?} {} {:?}", column.name, m.reading, m.family, m.help);
                if let Some(default) = m.default {
                    let _ = write!(text, " default {default}");
                }
                if let Some(scale) = m.scale {
                    let _ = write!(text, " scale {scale}");
                }
                for (name, value) in &m.labels {
                    let _ = write!(text, " {name}={value:?}");
                }
                writeln!(text)
            }
        };
    }
    text
}

/// The sound files in full, the others by their problems and the names of what they leave.
fn report(config: &Config, in_full: bool) -> String {
    let mut text: String = config.problems.iter().map(line).collect();
    if in_full {
        text.extend(config.queries.iter().map(describe));
    } else {
        let queries = config.queries.iter().map(|query| query.namespace.as_str());
        let _ = writeln!(text, "runs: {:?}", queries.collect::<Vec<_>>());
        let _ = writeln!(text, "disabled: {:?}", config.disabled);
    }
    text
}

fn files(folder: &str, extension: &str) -> io::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queries").join(folder);
    let entries: Result<Vec<_>, _> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let mut files: Vec<_> = entries.map_err(|error: io::Error| error)?;
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    Ok(files)
}

/// The files whose report is not what is expected, and both.
fn differences(folder: &str) -> io::Result<String> {
    let mut differences = String::new();
    for path in files(folder, "yml")? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let found = report(
            &Config::parse(&[(name.clone(), fs::read_to_string(&path)?)], &Naming::default()),
            folder == "sound",
        );
        let expected = path.with_extension("expected");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &found)?;
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if found != expected {
            let _ = writeln!(differences, "--- {name} expected\n{expected}--- found\n{found}");
        }
    }
    Ok(differences)
}

#[test]
fn mistakes_are_reported_as_expected() {
    assert_eq!(differences("mistakes").unwrap(), "", "UPDATE_GOLDEN=1 cargo test writes what is found");
}

#[test]
fn sound_files_are_read_as_expected() {
    assert_eq!(differences("sound").unwrap(), "", "UPDATE_GOLDEN=1 cargo test writes what is found");
}

#[test]
fn every_expectation_has_its_file_and_says_that_it_is_a_mistake() {
    let mut expectations = 0;
    for expected in files("mistakes", "expected").unwrap() {
        assert!(expected.with_extension("yml").exists(), "{}", expected.display());
        let text = fs::read_to_string(&expected).unwrap();
        assert!(["error: ", "ignored: ", "warning: "].iter().any(|word| text.starts_with(word)), "{text}");
        expectations += 1;
    }
    assert_eq!(expectations, files("mistakes", "yml").unwrap().len());
    assert!(expectations > 30);
    for expected in files("sound", "expected").unwrap() {
        assert!(!fs::read_to_string(&expected).unwrap().contains("error: "), "{}", expected.display());
    }
}

#[test]
fn five_mistakes_in_five_namespaces_leave_the_sixth() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queries/mistakes/five_mistakes.yml");
    let config = parse(&[&fs::read_to_string(path).unwrap()]);
    assert_eq!(config.disabled.len(), 5);
    for (problem, namespace) in config.problems.iter().zip(&config.disabled) {
        assert_eq!(problem.severity, Severity::Error);
        assert!(problem.place.starts_with(namespace.as_str()), "{problem}");
    }
    assert_eq!(config.problems.len(), 5);
    assert_eq!(config.queries.len(), 1);
}

#[test]
fn a_later_file_replaces_a_namespace_and_switches_another_off() {
    let config = parse(&[
        "a: {query: SELECT 1, usage: typo}\nb: {query: SELECT 2}\nc: {query: COMMIT}",
        "d: {query: SELECT 4}\na: {query: SELECT 11}\nc: {query: ''}",
    ]);
    let found: Vec<_> = config.queries.iter().map(|q| (q.namespace.as_str(), q.sql.as_str())).collect();
    assert_eq!(found, [("b", "SELECT 2"), ("d", "SELECT 4"), ("a", "SELECT 11")]);
    let problems: Vec<_> =
        config.problems.iter().map(|p| (p.severity, p.origin.clone(), p.place.as_str())).collect();
    let second = Origin::File("1.yml".into());
    assert_eq!(problems, [(Severity::Warning, second.clone(), "a"), (Severity::Warning, second, "c")]);
    assert!(config.disabled.is_empty());
}

#[test]
fn a_file_that_cannot_be_read_does_not_touch_the_others() {
    let config = parse(&["a: {query: SELECT 1}", "b: {query: [}", "c: {query: SELECT 3}"]);
    assert_eq!(report(&config, false).lines().next_back(), Some("disabled: []"));
    assert_eq!(config.queries.len(), 2);
    let problem = &config.problems[0];
    assert_eq!((problem.line, problem.place.as_str()), (Some(1), ""));
    assert_eq!(problem.origin, Origin::File("1.yml".into()));
    assert_eq!((problem.severity, config.problems.len()), (Severity::Error, 1));
}

#[test]
fn a_disabled_namespace_takes_no_names() {
    let config = parse(&["
a: {query: COMMIT, metrics: [{x: {usage: GAUGE}}], name: same}
b: {query: SELECT 1, metrics: [{x: {usage: COUNTER}}], name: same}
c: {query: SELECT 1, metrics: [{x: {usage: GAUGE}}], name: same}
"]);
    assert_eq!(config.disabled, ["a", "c"]);
    assert_eq!(config.queries[0].namespace, "b");
}

#[test]
fn twenty_mistakes_are_twenty_problems_each_at_its_place() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queries/mistakes/twenty_mistakes.yml");
    let text = fs::read_to_string(path).unwrap();
    let config = parse(&[&text]);
    // Each mistake has its place beside it, in a comment.
    let expected: Vec<_> = text
        .lines()
        .zip(1..)
        .filter_map(|(text, line)| Some((text.split_once("# at ")?.1, Some(line))))
        .collect();
    let found: Vec<_> =
        config.problems.iter().map(|problem| (problem.place.as_str(), problem.line)).collect();
    assert_eq!(found, expected);
    assert_eq!(found.len(), 20);
    let messages: BTreeSet<_> = config.problems.iter().map(|problem| &problem.message).collect();
    assert_eq!(messages.len(), 20);
    assert!(config.problems.iter().all(|problem| problem.severity != Severity::Warning));
}

#[test]
fn names_are_completed_where_the_query_does_not_say_otherwise() {
    let label = |name, value: &str| (LabelName::new(name).unwrap(), value.to_owned());
    let naming = Naming {
        prefix: "cnpg_".into(),
        labels: vec![label("server", "db1"), label("env", "prod"), label("le", "x"), label("v", "y")],
    };
    let text = "
pg_a: {query: SELECT 1, labels: {env: test}, metrics: [{v: {usage: GAUGE}}]}
pg_b: {query: SELECT 1, metrics: [{host: {usage: LABEL, name: server}}, {h: {usage: HISTOGRAM}}, {v: {usage: INFO}}]}
1: {query: SELECT 1, metrics: [{s: {usage: STATESET, states: [on, off]}}]}
pg_c: {query: SELECT 1, metrics: [{v: {usage: GAUGE, labels: {env: test}}}, {w: {usage: GAUGE}}]}
";
    let config = Config::parse(&[("queries.yml".into(), text.into())], &naming);
    assert_eq!(config.problems, []);
    let described: String = config.queries.iter().map(describe).collect();
    let expected = r#"query pg_a prefix cnpg_pg_a env="test" server="db1" le="x" v="y"
  "SELECT 1"
  v: Gauge cnpg_pg_a_v ""
query pg_b prefix cnpg_pg_b env="prod"
  "SELECT 1"
  host: label server
  h: HistogramArrays cnpg_pg_b_h ""
  v: Info { label: LabelName("v") } cnpg_pg_b_v_info ""
query 1 prefix cnpg_1 server="db1" env="prod" le="x" v="y"
  "SELECT 1"
  s: StateSet { states: ["on", "off"], label: LabelName("cnpg_1_s") } cnpg_1_s ""
query pg_c prefix cnpg_pg_c server="db1" le="x" v="y"
  "SELECT 1"
  v: Gauge cnpg_pg_c_v "" env="test"
  w: Gauge cnpg_pg_c_w ""
"#;
    assert_eq!(described, expected);
}

/// Lines that are made of what the format is made of, right or wrong.
fn yaml_like() -> impl Strategy<Value = String> {
    let pieces = proptest::sample::select(vec![
        "a:",
        "query:",
        "metrics:",
        "usage:",
        "labels:",
        "name:",
        "timeout:",
        "  ",
        "    ",
        "- ",
        "\n",
        "\n",
        "\n  ",
        "\n    ",
        "GAUGE",
        "LABEL",
        "HISTOGRAM",
        "COUNTER",
        "SELECT 1",
        "COMMIT",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&x ",
        "*x",
        "<<: ",
        "|",
        ">",
        "'",
        "\"",
        "#",
        "!t ",
        "---\n",
        "null",
        "~",
        "1",
        "2s",
        "le",
        "\t",
        "\r\n",
        "? ",
        ": ",
        "é",
    ]);
    proptest::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_gives_a_config(text in any::<String>()) {
        parse(&[&text]);
    }

    #[test]
    fn a_namespace_runs_or_has_an_error(text in yaml_like()) {
        let config = parse(&[&text, "z: {query: SELECT 1}"]);
        prop_assert!(config.queries.iter().chain(None).any(|query| query.namespace == "z"));
        let is_in = |problem: &Problem, namespace: &str| {
            problem.place.starts_with(namespace) || problem.place.starts_with(&format!("{namespace:?}"))
        };
        let errors = || config.problems.iter().filter(|problem| problem.severity == Severity::Error);
        for namespace in &config.disabled {
            prop_assert!(errors().any(|problem| is_in(problem, namespace)), "{}", namespace);
        }
        for problem in errors() {
            let disables = config.disabled.iter().any(|namespace| is_in(problem, namespace));
            prop_assert!(problem.place.is_empty() || disables, "{}", problem);
        }
    }

    #[test]
    fn texts_come_out_as_they_went_in(help in "\\PC*", value in "\\PC*", sql in "SELECT [a-z0-9 ]{1,9}") {
        // JSON is YAML, and serde_json's quoting is not what is tested here.
        let file = serde_json::json!({"q": {
            "query": sql,
            "labels": {"l": value},
            "metrics": [{"v": {"usage": "gauge", "description": help}}],
        }});
        // These end lines in YAML 1.1, and not in JSON.
        let text = file.to_string().replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
        let config = parse(&[&text]);
        prop_assert_eq!(&config.problems, &[]);
        for query in &config.queries {
            prop_assert_eq!(query.sql.as_str(), &sql);
            prop_assert_eq!(&query.labels[0].1, &value);
            let Usage::Metric(metric) = &query.columns[0].usage else { unreachable!() };
            prop_assert_eq!(&metric.help, &help);
        }
    }
}
