//! Sampling of declarations that the parser of query files refuses, built by hand: a second line of defence.

use pg_lambda_exporter::config::{Config, Naming, Query, Usage};
use pg_lambda_exporter::metric::LabelName;
use pg_lambda_exporter::sampling::sample;
use pg_lambda_exporter::table::Table;

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
    let sampled = sample(&query_labelled(["a", "le"]), &table()).unwrap();
    let metrics: Vec<_> =
        sampled.families.iter().map(|family| (family.name.as_str(), family.metrics.len())).collect();
    assert_eq!(metrics, [("q_v", 1), ("q_h", 0)]);
    assert_eq!(sampled.dropped.label, 1);
}

#[test]
fn a_label_that_stands_twice_drops_the_row() {
    let sampled = sample(&query_labelled(["a", "a"]), &table()).unwrap();
    assert!(sampled.families.iter().all(|family| family.metrics.is_empty()));
    assert_eq!(sampled.dropped.label, 2);
    assert_eq!(sampled.notes.len(), 2);
}
