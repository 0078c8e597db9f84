//! Sampling of what no file of expected text suits: declarations that the parser of query files refuses, built by
//! hand as a second line of defence, and results of many rows.

use std::collections::HashSet;
use std::time::Duration;

use pg_lambda_exporter::config::{Column, Config, MetricColumn, Naming, Query, Reading, Usage};
use pg_lambda_exporter::database::Connection;
use pg_lambda_exporter::exposition::{Format, encode};
use pg_lambda_exporter::metric::{LabelName, MetricName};
use pg_lambda_exporter::sampling::{Dropped, Sampled, merge, sample};
use pg_lambda_exporter::table::Table;

use crate::postgres::{ROLE, Server};
use crate::reading::read_text;

/// What the function has without a setting.
pub(crate) const LABEL_BYTES_MAX: usize = 4096;

/// Two labels, a gauge and a histogram.
fn query_labelled(names: [&str; 2]) -> Query {
    let yaml = "q: {query: SELECT 1, metrics: [{a: {usage: LABEL}}, {b: {usage: LABEL}}, {v: {usage: GAUGE}}, {h: {usage: HISTOGRAM}}]}";
    let mut query =
        Config::parse(&[("queries.yml".into(), yaml.into())], &Naming::default()).queries.remove(0);
    for (column, name) in query.columns.iter_mut().zip(names) {
        column.usage = Usage::Label(LabelName::new(name).unwrap());
    }
    query
}

fn table() -> Table {
    let mut table = Table::new(["a", "b", "v", "h", "h_bucket", "h_sum", "h_count"].map(String::from).into());
    table.push_row(["x", "y", "1", "{1}", "{1}", "1", "1"].map(Some));
    table
}

#[test]
fn a_histogram_that_is_labelled_le_is_dropped() {
    let sampled = sample(&query_labelled(["a", "le"]), &table(), LABEL_BYTES_MAX).unwrap();
    let metrics: Vec<_> =
        sampled.families.iter().map(|family| (family.name.as_str(), family.metrics.len())).collect();
    assert_eq!(metrics, [("q_v", 1), ("q_h", 0)]);
    assert_eq!(sampled.dropped.label, 1);
}

#[test]
fn a_label_that_stands_twice_drops_the_row() {
    let sampled = sample(&query_labelled(["a", "a"]), &table(), LABEL_BYTES_MAX).unwrap();
    assert!(sampled.families.iter().all(|family| family.metrics.is_empty()));
    assert_eq!(sampled.dropped.label, 2);
    assert_eq!(sampled.notes.len(), 2);
}

/// What a column becomes, apart from any file.
fn column(name: &str, reading: Reading) -> Column {
    let usage = Usage::Metric(MetricColumn {
        family: MetricName::new(&format!("q_{name}")).unwrap(),
        help: String::new(),
        reading,
        default: None,
        scale: None,
        labels: vec![],
    });
    Column { name: name.into(), usage }
}

#[test]
fn metrics_that_have_the_labels_of_their_row_for_themselves_are_dropped() {
    let label = || LabelName::new("a").unwrap();
    let mut query = query_labelled(["a", "quantile"]);
    query.columns.truncate(2);
    query.columns.extend([
        column("s", Reading::SummaryArrays),
        column("o", Reading::SummaryObservations { quantiles: vec![0.5] }),
        column("i_info", Reading::Info { label: label() }),
        column("e", Reading::StateSet { states: vec!["x".into()], label: label() }),
        column("g", Reading::Gauge),
    ]);
    let names = ["a", "b", "s", "s_quantile", "s_sum", "s_count", "o", "i_info", "e", "g"];
    let mut table = Table::new(names.map(String::from).into());
    table.push_row(["x", "y", "{0.5}", "{1}", "1", "1", "1", "1", "x", "1"].map(Some));
    let sampled = sample(&query, &table, LABEL_BYTES_MAX).unwrap();
    let exposed: usize = sampled.families.iter().map(|family| family.metrics.len()).sum();
    assert_eq!((exposed, sampled.dropped.label), (1, 4));
}

#[test]
fn a_column_whose_labels_are_those_of_its_row_is_dropped() {
    let mut query = query_labelled(["a", "b"]);
    query.columns.truncate(3);
    for (name, reading, label) in [
        ("row", Reading::Gauge, "a"),
        ("arrays", Reading::HistogramArrays, "le"),
        ("rows", Reading::SummaryObservations { quantiles: vec![0.5] }, "quantile"),
        ("info", Reading::Info { label: LabelName::new("c").unwrap() }, "c"),
        ("gauge", Reading::Gauge, "le"),
    ] {
        let mut column = column(name, reading);
        let Usage::Metric(metric) = &mut column.usage else { unreachable!() };
        metric.labels.push((LabelName::new(label).unwrap(), "x".into()));
        query.columns.push(column);
    }
    let mut table =
        Table::new(["a", "b", "v", "row", "arrays", "rows", "info", "gauge"].map(String::from).into());
    table.push_row(["x", "y", "1", "1", "{1}", "1", "1", "1"].map(Some));
    let sampled = sample(&query, &table, LABEL_BYTES_MAX).unwrap();
    let exposed = sampled.families.iter().filter(|family| !family.metrics.is_empty());
    assert_eq!(exposed.map(|family| family.name.as_str()).collect::<Vec<_>>(), ["q_v", "q_gauge"]);
    assert_eq!(sampled.dropped.label, 4);
}

/// What may have a label that is longer than 8 bytes, in one row.
struct Long<'a> {
    metrics: &'a str,
    row: &'a [(&'a str, &'a str)],
    given: usize,
    dropped: u64,
    /// What the note begins with, if there is one.
    named: Option<&'a str>,
}

/// The limit counts bytes of UTF-8, of labels from columns and constants, of INFO and of states alike; what it does not
/// touch stays.
#[test]
fn a_label_that_is_too_long_drops_what_it_would_label() {
    let gauge = "[{a: {usage: LABEL}}, {v: {usage: GAUGE}}]";
    let cases = [
        Long { metrics: gauge, row: &[("a", "12345678"), ("v", "1")], given: 1, dropped: 0, named: None },
        Long { metrics: gauge, row: &[("a", "1"), ("v", "1234567890")], given: 1, dropped: 0, named: None },
        Long {
            metrics: gauge,
            row: &[("a", "123456789"), ("v", "1")],
            given: 0,
            dropped: 1,
            named: Some("column \"a\""),
        },
        // Eight characters, one of which is two bytes.
        Long {
            metrics: gauge,
            row: &[("a", "1234567ä"), ("v", "1")],
            given: 0,
            dropped: 1,
            named: Some("column \"a\""),
        },
        // A metric is dropped once, for the first label.
        Long {
            metrics: "[{a: {usage: LABEL}}, {b: {usage: LABEL}}, {v: {usage: GAUGE}}, {w: {usage: COUNTER}}]",
            row: &[("a", "123456789"), ("b", "123456789"), ("v", "1"), ("w", "1")],
            given: 0,
            dropped: 2,
            named: Some("column \"a\""),
        },
        Long {
            metrics: "[{v: {usage: GAUGE}}, {i: {usage: INFO}}]",
            row: &[("v", "1"), ("i", "123456789")],
            given: 1,
            dropped: 1,
            named: Some("column \"i\""),
        },
        Long {
            metrics: "[{v: {usage: GAUGE}}, {s: {usage: STATESET, states: [up, '123456789']}}]",
            row: &[("v", "1"), ("s", "up")],
            given: 1,
            dropped: 1,
            named: Some("column \"s\""),
        },
        Long {
            metrics: "[{v: {usage: GAUGE}}], labels: {env: '123456789'}",
            row: &[("v", "1")],
            given: 0,
            dropped: 1,
            named: Some("label \"env\""),
        },
        Long {
            metrics: "[{v: {usage: GAUGE}}, {w: {usage: GAUGE, labels: {env: '123456789'}}}]",
            row: &[("v", "1"), ("w", "1")],
            given: 1,
            dropped: 1,
            named: Some("column \"w\""),
        },
        Long {
            metrics: "[{a: {usage: LABEL}}, {h: {usage: HISTOGRAM, buckets: [1]}}]",
            row: &[("a", "123456789"), ("h", "1")],
            given: 0,
            dropped: 1,
            named: Some("column \"a\""),
        },
    ];
    for Long { metrics, row, given, dropped, named } in cases {
        let yaml = format!("q: {{query: SELECT 1, metrics: {metrics}}}");
        let config = Config::parse(&[("queries.yml".into(), yaml.clone())], &Naming::default());
        let mut table = Table::new(row.iter().map(|(name, _)| (*name).to_owned()).collect());
        table.push_row(row.iter().map(|(_, cell)| Some(*cell)));
        let sampled = sample(&config.queries[0], &table, 8).unwrap();
        let metrics: usize = sampled.families.iter().map(|family| family.metrics.len()).sum();
        assert_eq!(metrics, given, "{yaml}");
        assert_eq!(sampled.dropped, Dropped { label: dropped, ..Dropped::default() }, "{yaml}");
        assert_eq!(sampled.notes.len(), usize::from(named.is_some()), "{:?}", sampled.notes);
        for note in &sampled.notes {
            assert!(note.starts_with(named.unwrap()) && note.contains("MAX_LABEL_LENGTH"), "{note}");
            assert!(!note.contains("1234567"), "{note}");
        }
    }
}

/// 32,000 rows of which 2,000 repeat an earlier one.
#[test]
fn duplicates_among_many_series_are_counted_exactly() {
    let mut query = query_labelled(["a", "b"]);
    query.columns.truncate(3);
    query.columns.push(Column { name: "c".into(), usage: Usage::Label(LabelName::new("c").unwrap()) });
    let mut table = Table::new(["a", "b", "c", "v"].map(String::from).into());
    for row in (0..30_000).chain((0..30_000).step_by(15)) {
        let cells = [format!("table_{row}"), format!("schema_{}", row % 7), "app".into(), row.to_string()];
        table.push_row(cells.iter().map(|cell| Some(&**cell)));
    }
    assert_eq!(table.row_count(), 32_000);
    let Sampled { families, dropped, .. } = sample(&query, &table, LABEL_BYTES_MAX).unwrap();
    assert_eq!(dropped, Dropped { duplicate: 2_000, ..Dropped::default() });
    let (families, dropped) = merge(vec![(families.clone(), dropped), (families, Dropped::default())]);
    assert_eq!(dropped.iter().map(|dropped| dropped.duplicate).collect::<Vec<_>>(), [2_000, 30_000]);
    let series: HashSet<_> = families[0].metrics.iter().map(|metric| metric.labels.clone()).collect();
    assert_eq!((families.len(), families[0].metrics.len(), series.len()), (1, 30_000, 30_000));
    assert_eq!(read_text(&encode(&families, Format::Text)).unwrap()[0].samples.len(), 30_000);
}

/// A summary of observations says of any values what PostgreSQL's own aggregate says of them.
#[tokio::test]
async fn quantiles_are_those_of_percentile_cont() {
    const LIMIT: Duration = Duration::from_secs(30);
    let yaml = "
by_server:
  query: >
    SELECT l, ARRAY[0, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1] AS v, sum(v ORDER BY id) AS v_sum, count(v) AS v_count,
    percentile_cont(ARRAY[0, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1]) WITHIN GROUP (ORDER BY v) AS v_quantile
    FROM observations GROUP BY l ORDER BY min(id)
  metrics: [{l: {usage: LABEL}}, {v: {usage: SUMMARY}}]
by_rows:
  query: SELECT l, v FROM observations ORDER BY id
  metrics: [{l: {usage: LABEL}}, {v: {usage: SUMMARY, quantiles: [0, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1]}}]
";
    let database = Server::shared().database("sampling_quantiles");
    database.admin(&format!(
        "CREATE TABLE observations (id serial, l text, v float8);
         INSERT INTO observations (l, v)
         SELECT (ARRAY['one','two','three'])[1 + g % 3], (g * 7919 % 10007) / (1 + g % 13)::float8
         FROM generate_series(1, 1000) AS g;
         INSERT INTO observations (l, v) VALUES ('single', 0.1), ('pair', -3), ('pair', 1e300), ('pair', NULL);
         GRANT SELECT ON observations TO {ROLE}"
    ));
    let mut connection = Connection::open(&database.target(), LIMIT).await.unwrap();
    let config = Config::parse(&[("queries.yml".into(), yaml.into())], &Naming::default());
    assert_eq!(config.problems, []);
    let mut metrics = Vec::new();
    for query in &config.queries {
        let table = connection.run(&query.sql, LIMIT, LIMIT).await.unwrap();
        metrics.push(sample(query, &table, LABEL_BYTES_MAX).unwrap().families.remove(0).metrics);
    }
    assert_eq!(metrics[0].len(), 5);
    assert_eq!(metrics[0], metrics[1]);
}
