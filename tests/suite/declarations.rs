//! What query files declare, on a real server and by the real binary: settings that a query is sent with, words for
//! booleans, names that only OpenMetrics needs twice, entries that hold anchors, and columns that become labels.

use pg_lambda_exporter::sql::Sql;

use crate::cli::Terminal;
use crate::lambda::{Queries, function, scrape};
use crate::postgres::{ROLE, Server, TestDatabase};

fn terminal(queries: &str, database: &TestDatabase) -> Terminal {
    Terminal::new().file("queries.yml", queries).with("DATABASE_URL", database.url())
}

/// The lines of the queries' metrics in an exposition.
fn of_queries(exposition: &str) -> String {
    let own = |line: &&str| {
        let name = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
        name.starts_with("pg_exporter_") || name.starts_with("pg_up")
    };
    exposition.lines().filter(|line| !own(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_check_names_the_settings_that_a_query_does_not_see_as_they_are() {
    let file = "
settings:
  query: |
    SELECT name, setting::float8 AS value FROM pg_settings WHERE name IN ('statement_timeout', 'extra_float_digits')
  metrics: [{name: {usage: LABEL}}, {value: {usage: GAUGE}}]
standby:
  predicate_query: SELECT current_setting('transaction_read_only') = 'on'
  query: SELECT 1 AS v
  query_aurora: SHOW DateStyle
sound:
  predicate_query: SELECT current_setting('archive_mode') = 'on'
  query: SELECT name, reset_val::float8 AS value FROM pg_settings WHERE name = 'statement_timeout'
  metrics: [{name: {usage: LABEL}}, {value: {usage: GAUGE}}]
";
    let expected = "\
warning: queries.yml:3: settings.query: the query reads the exporter's own value of statement_timeout, extra_float_digits; read `reset_val` of pg_settings instead
warning: queries.yml:7: standby.predicate_query: the query reads the exporter's own value of transaction_read_only; read pg_is_in_recovery(), or `reset_val` of default_transaction_read_only in pg_settings
warning: queries.yml:9: standby.query_aurora: the query reads the exporter's own value of DateStyle; read `reset_val` of pg_settings instead

3 queries, 0 errors, 3 warnings
";
    assert_eq!(Terminal::new().file("queries.yml", file).run(&["check"]).succeeded(), expected);
}

/// Whoever sets it: the server's file, the database or the role, in this order. The connection is kept.
#[tokio::test]
async fn reset_val_is_what_the_server_the_database_and_the_role_say() {
    let server = Server::private();
    for line in [
        "statement_timeout = '7min'",
        "DateStyle = 'German'",
        "IntervalStyle = 'iso_8601'",
        "extra_float_digits = 2",
        "client_min_messages = 'warning'",
    ] {
        server.set(line);
    }
    server.reload();
    let database = server.database("settings");
    database.admin(&format!(
        "ALTER DATABASE settings SET extra_float_digits = -3; ALTER DATABASE settings SET bytea_output = 'escape';
         ALTER ROLE {ROLE} SET extra_float_digits = -2; ALTER ROLE {ROLE} SET DateStyle = 'SQL, DMY'"
    ));
    let queries = Queries::new(
        "
own:
  query: SELECT name, setting FROM pg_settings
  metrics: [{name: {usage: LABEL}}, {setting: {usage: INFO}}]
settings:
  query: SELECT name, reset_val AS value, unit FROM pg_settings
  metrics: [{name: {usage: LABEL}}, {unit: {usage: LABEL}}, {value: {usage: INFO}}]
",
    );
    let lambda = function(&queries, &database).await;
    let series = |name: &str, unit: &str, value: &str| {
        format!(r#"settings_value_info{{name="{name}",unit="{unit}",value="{value}"}}"#)
    };
    let samples = scrape(&lambda).await;
    for (name, unit, value) in [
        ("statement_timeout", "ms", "420000"),
        ("client_min_messages", "", "warning"),
        ("DateStyle", "", "SQL, DMY"),
        ("IntervalStyle", "", "iso_8601"),
        ("extra_float_digits", "", "-2"),
        ("bytea_output", "", "escape"),
    ] {
        let shown = Sql::parse(&format!("SHOW {name}")).unwrap();
        assert_eq!(shown.prologue_settings_read(), [name]);
        assert_eq!(samples.value(&series(name, unit, value)), 1.0, "{name}: {samples:?}");
        let own = format!(r#"{{name="{name}",setting="{value}"}}"#);
        let is_own = samples.of("own_setting_info").iter().any(|(labels, _)| *labels == own);
        assert!(!is_own, "{own} is not the exporter's");
    }
    server.set("statement_timeout = '8min'");
    server.reload();
    let samples = scrape(&lambda).await;
    assert_eq!(samples.value(&series("statement_timeout", "ms", "480000")), 1.0, "{samples:?}");
}

#[test]
fn booleans_are_mapped_and_are_states() {
    let database = Server::shared().database("declared_booleans");
    let file = "
slot:
  query: SELECT 'a' AS name, true AS active, false AS temporary
  metrics:
    - name: {usage: LABEL}
    - active: {usage: MAPPEDMETRIC, metric_mapping: {true: 1, false: 0}}
    - temporary: {usage: STATESET, states: [true, false]}
";
    let terminal = terminal(file, &database);
    let checked = terminal.run(&["check", "--database"]).succeeded();
    assert!(checked.contains("1 row, 3 series") && !checked.contains("dropped"), "{checked}");
    let expected = r#"# TYPE slot_active gauge
slot_active{name="a"} 1
# TYPE slot_temporary stateset
slot_temporary{name="a",slot_temporary="true"} 0
slot_temporary{name="a",slot_temporary="false"} 1
# EOF
"#;
    assert_eq!(of_queries(&terminal.run(&["scrape", "--openmetrics"]).succeeded()), expected);
}

/// In one query, in two of either order, while the gauge's query is skipped, and where the gauge is not listed.
#[test]
fn a_gauge_stands_beside_a_counter_of_its_name_with_total() {
    const RUNS: &str = "[{runs: {usage: GAUGE}}]";
    const TOTAL: &str = "[{runs_total: {usage: COUNTER}}]";
    let database = Server::shared().database("declared_suffixes");
    let two = |gauge: &str, first: bool| {
        let gauge = format!("gauge: {{name: jobs, query: SELECT 4 AS runs, {gauge}}}\n");
        let counter = format!("counter: {{name: jobs, query: SELECT 9 AS runs_total, metrics: {TOTAL}}}\n");
        if first { gauge + &counter } else { counter + &gauge }
    };
    let listed = format!("metrics: {RUNS}");
    let skipped = format!("{listed}, runonserver: <9");
    let one = "jobs:
  query: SELECT 4 AS runs, 9 AS runs_total
  metrics: [{runs: {usage: GAUGE}}, {runs_total: {usage: COUNTER}}]
";
    for (file, gauge_type) in [
        (one.to_owned(), Some("gauge")),
        (two(&listed, true), Some("gauge")),
        (two(&listed, false), Some("gauge")),
        (two(&skipped, true), None),
        (two(&skipped, false), None),
        (two("metrics: []", true), Some("unknown")),
        (two("metrics: []", false), Some("unknown")),
    ] {
        let terminal = terminal(&file, &database);
        let checked = terminal.run(&["check", "--database"]).succeeded();
        assert!(checked.contains("0 errors, 0 warnings, 0 failed"), "{file}{checked}");
        let openmetrics = of_queries(&terminal.run(&["scrape", "--openmetrics"]).succeeded());
        let text = of_queries(&terminal.run(&["scrape"]).succeeded());
        let has = |exposition: &str, line: &str| exposition.lines().any(|it| it == line);
        for (exposition, counter_type) in [(&openmetrics, "unknown"), (&text, "counter")] {
            assert!(has(exposition, &format!("# TYPE jobs_runs_total {counter_type}")), "{file}{exposition}");
            assert!(has(exposition, "jobs_runs_total 9"), "{file}{exposition}");
            assert_eq!(has(exposition, "jobs_runs 4"), gauge_type.is_some(), "{file}{exposition}");
        }
        if let Some(gauge_type) = gauge_type {
            assert!(has(&openmetrics, &format!("# TYPE jobs_runs {gauge_type}")), "{openmetrics}");
        }
        assert_eq!(openmetrics, of_queries(&terminal.run(&["scrape", "--openmetrics"]).succeeded()));
    }
}

#[test]
fn an_entry_that_holds_anchors_is_no_query() {
    let database = Server::shared().database("declared_anchors");
    let file = "
x-defaults: &defaults
  timeout: 3s
.columns: [&value {v: {usage: GAUGE}}]
labels: &labels {env: prod}
jobs:
  <<: *defaults
  query: SELECT 4 AS v
  labels: *labels
  metrics: [*value]
";
    let terminal = terminal(file, &database);
    assert_eq!(terminal.run(&["check"]).succeeded(), "1 query, 0 errors, 0 warnings\n");
    let answer = terminal.run(&["scrape"]).succeeded();
    assert_eq!(of_queries(&answer), "# TYPE jobs_v gauge\njobs_v{env=\"prod\"} 4\n");
    assert!(!answer.contains("pg_exporter_query_error{"), "{answer}");
    // What nothing takes from is a query that is not there.
    let file = file.replace("timeout: 3s", "timeout: 3s\njobz: &jobz {metrics: []}");
    let said = terminal.file("queries.yml", file).run(&["check"]).failed(1);
    assert!(said.output.starts_with("error: queries.yml:4: jobz: the query is missing; "), "{}", said.output);
}

#[test]
fn columns_of_one_name_become_a_label() {
    let database = Server::shared().database("declared_pivot");
    let file = "
shop_order:
  query: SELECT 'open' AS state, 100 AS smallest, 900 AS largest, 20 AS placed, 30 AS paid
  metrics:
    - state: {usage: LABEL}
    - smallest: {usage: GAUGE, name: cents, labels: {size: smallest}, description: Cents}
    - largest: {usage: GAUGE, name: cents, labels: {size: largest}}
    - placed: {usage: COUNTER, name: events_total, labels: {event: placed, by: any}}
    - paid: {usage: COUNTER, name: events_total, labels: {event: paid}}
";
    let terminal = terminal(file, &database);
    let checked = terminal.run(&["check", "--database"]).succeeded();
    for line in [
        r#"  smallest  integer  gauge shop_order_cents{size="smallest"}"#,
        r#"  largest   integer  gauge shop_order_cents{size="largest"}"#,
        r#"  placed    integer  counter shop_order_events_total{event="placed",by="any"}"#,
    ] {
        assert!(checked.lines().any(|it| it == line), "{line} in {checked}");
    }
    assert!(checked.contains("1 row, 4 series"), "{checked}");
    let expected = r#"# HELP shop_order_cents Cents
# TYPE shop_order_cents gauge
shop_order_cents{size="smallest",state="open"} 100
shop_order_cents{size="largest",state="open"} 900
# TYPE shop_order_events_total counter
shop_order_events_total{by="any",event="placed",state="open"} 20
shop_order_events_total{event="paid",state="open"} 30
"#;
    assert_eq!(of_queries(&terminal.run(&["scrape"]).succeeded()), expected);
}
