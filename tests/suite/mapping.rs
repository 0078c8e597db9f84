//! Mapping of what no file of expected text suits: declarations that the parser of query files refuses, built by
//! hand as a second line of defence, and results of many rows.

use std::collections::HashSet;
use std::time::Duration;

use pg_lambda_exporter::config::{Column, Config, MetricColumn, Naming, Query, Reading, Usage};
use pg_lambda_exporter::database::Connection;
use pg_lambda_exporter::exposition::{Format, encode};
use pg_lambda_exporter::mapping::{DeclaredNames, Dropped, Mapped, Mapper, Merged, MissingLabel};
use pg_lambda_exporter::metric::{Families, Family, LabelName, MetricName, Value, Values};
use pg_lambda_exporter::table::{Rows, Table};

use crate::postgres::{ROLE, Server};
use crate::reading::read_text;

/// What the function has without a setting.
pub(crate) const LABEL_BYTES_MAX: usize = 4096;

/// An empty table with these columns.
pub(crate) fn table_of(columns: impl IntoIterator<Item = impl Into<String>>) -> Table {
    let mut table = Table::default();
    table.begin(columns.into_iter().map(Into::into).collect());
    table
}

pub(crate) fn push_row<'a>(table: &mut Table, cells: impl IntoIterator<Item = Option<&'a str>>) {
    let cells: Vec<_> = cells.into_iter().collect();
    assert_eq!(cells.len(), table.columns.len());
    table.row(&cells).unwrap();
}

/// What a query makes of these rows.
pub(crate) fn map(query: &Query, table: &Table, label_bytes_max: usize) -> Result<Mapped, MissingLabel> {
    let mut mapper = Mapper::new(query, label_bytes_max, usize::MAX);
    mapper.begin(table.columns.clone());
    for row in &table.rows {
        mapper.row(&row.iter().map(Option::as_deref).collect::<Vec<_>>()).unwrap();
    }
    mapper.finish()
}

/// Results as one exposition, in which all their names count as declared.
pub(crate) fn merge(results: &[Families]) -> Merged<'_> {
    Merged::new(&DeclaredNames::default(), results)
}

/// The reasons that dropped a metric, with their counts.
fn dropped_as(dropped: &Dropped) -> Vec<(&'static str, u64)> {
    dropped.iter().filter(|(_, count)| *count > 0).collect()
}

fn count(dropped: &Dropped, reason: &str) -> u64 {
    dropped.iter().find(|(known, _)| *known == reason).unwrap().1
}

/// A metric: the pairs that tell its series from others, its value and its time.
pub(crate) type Metric = (Vec<(String, String)>, Value, Option<f64>);

pub(crate) fn metrics(families: &Families, family: &Family) -> Vec<Metric> {
    let pair = |(name, value): (&LabelName, &str)| (name.to_string(), value.to_owned());
    let value = |index: usize| match &family.values {
        Values::Numbers(values) => Value::Number(values[index]),
        Values::Info => Value::Info,
        Values::Histograms(values) => Value::Histogram(values[index].clone()),
        Values::Summaries(values) => Value::Summary(values[index].clone()),
        Values::StateSets(values) => Value::StateSet(values[index].clone()),
    };
    let metric = |(index, &set): (usize, &u32)| {
        (families.sets.pairs(set).map(pair).collect(), value(index), family.times.get(index).copied())
    };
    family.sets.iter().enumerate().map(metric).collect()
}

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
    let mut table = table_of(["a", "b", "v", "h", "h_bucket", "h_sum", "h_count"]);
    push_row(&mut table, ["x", "y", "1", "{1}", "{1}", "1", "1"].map(Some));
    table
}

#[test]
fn a_histogram_that_is_labelled_le_is_dropped() {
    let mapped = map(&query_labelled(["a", "le"]), &table(), LABEL_BYTES_MAX).unwrap();
    let metrics: Vec<_> =
        mapped.families.families.iter().map(|family| (family.name.as_str(), family.sets.len())).collect();
    assert_eq!(metrics, [("q_v", 1), ("q_h", 0)]);
    assert_eq!(count(&mapped.dropped, "label"), 1);
}

#[test]
fn a_label_that_stands_twice_drops_the_row() {
    let mapped = map(&query_labelled(["a", "a"]), &table(), LABEL_BYTES_MAX).unwrap();
    assert!(mapped.families.families.iter().all(|family| family.sets.is_empty()));
    assert_eq!(count(&mapped.dropped, "label"), 2);
    assert_eq!(mapped.notes.len(), 2);
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
    let mut table = table_of(names);
    push_row(&mut table, ["x", "y", "{0.5}", "{1}", "1", "1", "1", "1", "x", "1"].map(Some));
    let mapped = map(&query, &table, LABEL_BYTES_MAX).unwrap();
    let exposed: usize = mapped.families.families.iter().map(|family| family.sets.len()).sum();
    assert_eq!((exposed, count(&mapped.dropped, "label")), (1, 4));
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
    let mut table = table_of(["a", "b", "v", "row", "arrays", "rows", "info", "gauge"]);
    push_row(&mut table, ["x", "y", "1", "1", "{1}", "1", "1", "1"].map(Some));
    let mapped = map(&query, &table, LABEL_BYTES_MAX).unwrap();
    let exposed = mapped.families.families.iter().filter(|family| !family.sets.is_empty());
    assert_eq!(exposed.map(|family| family.name.as_str()).collect::<Vec<_>>(), ["q_v", "q_gauge"]);
    assert_eq!(count(&mapped.dropped, "label"), 4);
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
        let mut table = table_of(row.iter().map(|(name, _)| *name));
        push_row(&mut table, row.iter().map(|(_, cell)| Some(*cell)));
        let mapped = map(&config.queries[0], &table, 8).unwrap();
        let metrics: usize = mapped.families.families.iter().map(|family| family.sets.len()).sum();
        assert_eq!(metrics, given, "{yaml}");
        assert_eq!(
            dropped_as(&mapped.dropped),
            [("label", dropped)].into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(),
            "{yaml}"
        );
        assert_eq!(mapped.notes.len(), usize::from(named.is_some()), "{:?}", mapped.notes);
        for note in &mapped.notes {
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
    let mut table = table_of(["a", "b", "c", "v"]);
    for row in (0..30_000).chain((0..30_000).step_by(15)) {
        let cells = [format!("table_{row}"), format!("schema_{}", row % 7), "app".into(), row.to_string()];
        push_row(&mut table, cells.iter().map(|cell| Some(&**cell)));
    }
    assert_eq!(table.rows.len(), 32_000);
    let Mapped { families, dropped, .. } = map(&query, &table, LABEL_BYTES_MAX).unwrap();
    assert_eq!(dropped_as(&dropped), [("duplicate", 2_000)]);
    let results = [families.clone(), families];
    let merged = merge(&results);
    assert_eq!(
        merged.dropped.iter().map(|dropped| count(dropped, "duplicate")).collect::<Vec<_>>(),
        [0, 30_000]
    );
    assert_eq!(merged.series(), [30_000, 0]);
    let series: HashSet<_> =
        metrics(&results[0], &results[0].families[0]).into_iter().map(|(labels, ..)| labels).collect();
    assert_eq!(series.len(), 30_000);
    let exposed = read_text(&encode(&merged, Format::Text)).unwrap();
    assert_eq!(exposed.iter().map(|family| family.samples.len()).collect::<Vec<_>>(), [30_000]);
}

/// A series of the second result that the first has too is left out, wherever it stands, and those around it stay.
#[test]
fn a_duplicate_in_the_middle_of_a_result_is_left_out_alone() {
    let query = query_labelled(["a", "b"]);
    let result = |labels: &[&str]| {
        let mut table = table_of(["a", "b", "v"]);
        labels.iter().for_each(|label| push_row(&mut table, [Some(*label), Some(""), Some("1")]));
        map(&query, &table, LABEL_BYTES_MAX).unwrap().families
    };
    let results = [result(&["x", "z"]), result(&["w", "x", "y", "z"])];
    let merged = merge(&results);
    assert_eq!(count(&merged.dropped[1], "duplicate"), 2);
    let text = encode(&merged, Format::Text);
    let series: Vec<_> = text.lines().filter(|line| line.starts_with("q_v{")).collect();
    assert_eq!(series, ["x", "z", "w", "y"].map(|label| format!("q_v{{a=\"{label}\",b=\"\"}} 1")));
}

/// A result that takes more memory than it may is refused while its rows arrive.
#[test]
fn a_result_that_is_too_large_is_refused_while_it_arrives() {
    let query = query_labelled(["a", "b"]);
    let mut mapper = Mapper::new(&query, LABEL_BYTES_MAX, 10_000);
    mapper.begin(["a", "b", "v"].map(String::from).to_vec());
    let rows = (0..).take_while(|row| mapper.row(&[Some(&row.to_string()), None, Some("1")]).is_ok()).count();
    assert!((100..1000).contains(&rows), "{rows}");
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
    let mut all = Vec::new();
    for query in &config.queries {
        let table = connection.run(&query.sql, LIMIT, LIMIT).await.unwrap();
        let families = map(query, &table, LABEL_BYTES_MAX).unwrap().families;
        all.push(metrics(&families, &families.families[0]));
    }
    assert_eq!(all[0].len(), 5);
    assert_eq!(all[0], all[1]);
}
