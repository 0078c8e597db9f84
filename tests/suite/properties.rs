//! What holds for any input: expositions read back as what was written, and nothing is lost without being counted.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicU64;

use pg_lambda_exporter::config::{Config, Naming, Query};
use pg_lambda_exporter::exposition::{Format, encode, end};
use pg_lambda_exporter::metric::{
    Bucket, Family, Histogram, Kind, LabelName, LabelNames, Labels, Metric, MetricName, Value,
};
use pg_lambda_exporter::sampling::{merge, sample};
use pg_lambda_exporter::table::Table;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as ClientFamily;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram as ClientHistogram;
use prometheus_client::registry::Registry;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::reading::{ReadFamily, ReadSample, read_openmetrics, read_text};

type LabelMap = BTreeMap<String, String>;

/// Text with the characters that escaping is about.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), r#"[\\"n{}=, #\r\n\t\x01é🐘-]{0,12}"#]
}

fn label_maps() -> impl Strategy<Value = LabelMap> {
    btree_map("[a-d]", any_text(), 0..4)
}

/// Label sets that differ to Prometheus if they differ at all.
fn distinct_label_maps() -> impl Strategy<Value = LabelMap> {
    btree_map("[a-d]", any_text().prop_filter("an empty label is none", |text| !text.is_empty()), 0..4)
}

fn labels(map: &LabelMap) -> Labels {
    let names = map.keys().map(|name| LabelName::new(name).unwrap()).collect();
    LabelNames::new(names).unwrap().with(&map.values().map(String::as_str).collect::<Vec<_>>())
}

fn metric(map: &LabelMap, value: f64) -> Metric {
    Metric { labels: labels(map), value: Value::Number(value), timestamp_seconds: None }
}

fn family(name: &str, kind: Kind, metrics: Vec<Metric>) -> Family {
    Family { name: MetricName::new(name).unwrap(), help: "Help".into(), kind, metrics }
}

fn exposition(families: &[Family], format: Format) -> String {
    encode(families, format) + end(format)
}

/// The query of a file with one namespace, `q`.
fn query(yaml: &str) -> Query {
    let mut config = Config::parse(&[("queries.yml".into(), yaml.into())], &Naming::default());
    assert_eq!(config.queries.len(), 1, "{:?}", config.problems);
    config.queries.remove(0)
}

/// What a GAUGE column makes of a cell.
fn gauge(text: &str) -> Option<f64> {
    let query = query("q: {query: SELECT 1 AS v, metrics: [{v: {usage: GAUGE}}]}");
    let mut table = Table::new(vec!["v".into()]);
    table.push_row([Some(text)]);
    let sampled = sample(&query, &table).unwrap();
    sampled.families[0].metrics.first().map(|metric| match &metric.value {
        Value::Number(number) => *number,
        other => panic!("{other:?}"),
    })
}

proptest! {
    #[test]
    fn text_survives_in_both_formats(help in any_text(), map in label_maps(), value in any::<f64>()) {
        let mut written = family("x", Kind::Gauge, vec![metric(&map, value)]);
        written.help = help.clone();
        let expected = [ReadFamily {
            name: "x".into(),
            help: Some(help).filter(|help| !help.is_empty()),
            kind: "gauge".into(),
            samples: vec![ReadSample { name: "x".into(), labels: map.into_iter().collect(), value }],
        }];
        let families = [written];
        prop_assert_eq!(read_text(&exposition(&families, Format::Text)).unwrap(), expected.clone());
        prop_assert_eq!(read_openmetrics(&exposition(&families, Format::OpenMetrics)).unwrap(), expected);
    }

    #[test]
    fn bounds_survive_in_both_formats(bounds in vec(any::<f64>().prop_filter("finite", |bound| bound.is_finite()), 1..6)) {
        let buckets = bounds.iter().map(|&upper_bound| Bucket { upper_bound, cumulative_count: 1.0 }).collect();
        let value = Value::Histogram(Box::new(Histogram { buckets, sum: None, count: 1.0 }));
        let families = [family("x", Kind::Histogram, vec![Metric { labels: Labels::default(), value, timestamp_seconds: None }])];
        for format in [Format::Text, Format::OpenMetrics] {
            let text = encode(&families, format);
            let read: Vec<f64> = text.lines().filter_map(|line| line.split_once("le=\"")?.1.split_once('"')?.0.parse().ok()).collect();
            prop_assert_eq!(&read[..bounds.len()], &bounds[..]);
            prop_assert_eq!(read[bounds.len()], f64::INFINITY);
        }
    }

    #[test]
    fn a_float_is_read_as_it_was_written(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
        prop_assert_eq!(gauge(&format!("{value}")), Some(value));
        prop_assert_eq!(gauge(&format!(" {value:e} ")), Some(value));
    }

    #[test]
    fn no_text_is_too_strange(text in prop_oneof![any::<String>(), r#"[-+0-9:./ _eE]{0,30}"#, r#"[-+0-9]{0,9}( (BC|days?|mons?|years?|[0-9:.]{0,16}))*"#]) {
        if let Some(number) = gauge(&text) {
            prop_assert!(number.is_finite() || text.to_ascii_lowercase().contains("inf") || text.to_ascii_lowercase().contains("nan"));
        }
    }

    #[test]
    fn no_array_is_too_strange(text in prop_oneof![any::<String>(), r#"[{}\[\]=:,"\\N0-9 .-]{0,20}"#, r#"\{[0-9,"]{0,12}\}"#]) {
        let query = query("q: {query: SELECT 1 AS h, metrics: [{h: {usage: HISTOGRAM}}]}");
        let mut table = Table::new(["h", "h_bucket", "h_sum", "h_count"].map(String::from).into());
        table.push_row([Some(&*text), Some("{1,2}"), Some("1"), Some("9")]);
        table.push_row([Some("{1,2}"), Some(&*text), Some("1"), Some("9")]);
        let sampled = sample(&query, &table).unwrap();
        for format in [Format::Text, Format::OpenMetrics] {
            encode(&sampled.families, format);
        }
    }

    #[test]
    fn no_accept_is_too_strange(accept in prop_oneof![any::<String>(), r#"((application/openmetrics-text|text/plain|\*/\*|[;=,"\\q.01 ]|version|1\.0\.0){0,12})"#]) {
        Format::negotiate(Some(&accept));
    }

    /// Each metric is exposed or counted, once; the exposition has no series twice; queries and names may clash.
    #[test]
    fn nothing_is_lost_uncounted(
        rows in vec((prop_oneof!["", "a", "b"], vec(proptest::option::of(prop_oneof!["[0-9]", "x", "-1", "NaN", "t", "2024-01-01"]), 4)), 0..12),
        names in vec(prop_oneof!["v", "v_total", "v_count", "v_created", "w", "up", r"\?column\?"], 3),
        prefix in prop_oneof!["q", "pg"],
    ) {
        let yaml = format!("q: {{query: SELECT 1, name: {prefix}, metrics: [{{l: {{usage: LABEL}}}}, {{c_total: {{usage: COUNTER}}}}]}}");
        let query = query(&yaml);
        let columns = ["l".to_owned(), "c_total".to_owned()].into_iter().chain(names);
        let mut table = Table::new(columns.collect());
        for (label, cells) in &rows {
            table.push_row(std::iter::once(Some(&**label)).chain(cells.iter().map(Option::as_deref)));
        }
        let result = || {
            let sampled = sample(&query, &table).unwrap();
            (sampled.families, sampled.dropped)
        };
        let (families, dropped) = merge(vec![result(), result()]);
        let exposed: usize = families.iter().map(|family| family.metrics.len()).sum();
        let counted: u64 = dropped.iter().flat_map(|dropped| dropped.iter()).map(|(_, count)| count).sum();
        prop_assert_eq!(exposed as u64 + counted, 2 * 4 * rows.len() as u64);
        read_text(&exposition(&families, Format::Text)).unwrap();
        read_openmetrics(&exposition(&families, Format::OpenMetrics)).unwrap();
    }

    /// prometheus-client is the judge of what both can express.
    #[test]
    fn openmetrics_is_what_prometheus_client_writes(
        gauges in btree_map(distinct_label_maps(), any::<f64>().prop_filter("finite", |value| value.is_finite()), 1..4),
        counters in btree_map(distinct_label_maps(), 0.0..1e20_f64, 1..4),
        histograms in btree_map(distinct_label_maps(), vec(0.0..20.0_f64, 0..9), 1..4),
        bounds in proptest::collection::btree_set(1..2000_u32, 1..6),
    ) {
        let bounds: Vec<f64> = bounds.into_iter().map(|bound| f64::from(bound) / 100.0).collect();
        let histogram = |observations: &Vec<f64>| {
            let up_to = |bound: f64| observations.iter().filter(|&&observation| observation <= bound).count() as f64;
            let buckets = bounds.iter().map(|&upper_bound| Bucket { upper_bound, cumulative_count: up_to(upper_bound) });
            Histogram { buckets: buckets.collect(), sum: Some(observations.iter().fold(0.0, |sum, &x| sum + x)), count: observations.len() as f64 }
        };
        let numbers = |map: &BTreeMap<LabelMap, f64>| map.iter().map(|(map, &value)| metric(map, value)).collect();
        let families = [
            family("g", Kind::Gauge, numbers(&gauges)),
            family("c_total", Kind::Counter, numbers(&counters)),
            family("h", Kind::Histogram, histograms.iter().map(|(map, observations)| Metric {
                labels: labels(map),
                value: Value::Histogram(Box::new(histogram(observations))),
                timestamp_seconds: None,
            }).collect()),
        ];

        let pairs = |map: &LabelMap| -> Vec<(String, String)> { map.clone().into_iter().collect() };
        let mut registry = Registry::default();
        let client = ClientFamily::<Vec<(String, String)>, Gauge<f64, AtomicU64>>::default();
        gauges.iter().for_each(|(map, &value)| { client.get_or_create(&pairs(map)).set(value); });
        registry.register("g", "Help", client);
        let client = ClientFamily::<Vec<(String, String)>, Counter<f64, AtomicU64>>::default();
        counters.iter().for_each(|(map, &value)| { client.get_or_create(&pairs(map)).inc_by(value); });
        registry.register("c", "Help", client);
        let of_client = bounds.clone();
        let client = ClientFamily::<Vec<(String, String)>, ClientHistogram, _>::new_with_constructor(move || ClientHistogram::new(of_client.clone()));
        for (map, observations) in &histograms {
            let one = client.get_or_create(&pairs(map));
            observations.iter().for_each(|&observation| one.observe(observation));
        }
        registry.register("h", "Help", client);
        let mut theirs = String::new();
        prometheus_client::encoding::text::encode(&mut theirs, &registry).unwrap();

        let ours = read_openmetrics(&exposition(&families, Format::OpenMetrics)).unwrap();
        prop_assert_eq!(comparable(&ours), comparable(&read_openmetrics(&theirs).unwrap()));
    }
}

type Comparable = (String, String, String, Vec<(String, String)>, u64);

/// Names, types and samples, in no order; values by their bits.
fn comparable(families: &[ReadFamily]) -> HashSet<Comparable> {
    let samples =
        families.iter().flat_map(|family| family.samples.iter().map(move |sample| (family, sample)));
    samples
        .map(|(family, sample)| {
            let mut labels = sample.labels.clone();
            labels.sort();
            (family.name.clone(), family.kind.clone(), sample.name.clone(), labels, sample.value.to_bits())
        })
        .collect()
}
