//! What holds for any input: expositions read back as what was written, and nothing is lost without being counted.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicU64;

use pg_lambda_exporter::config::{Config, Naming, Query};
use pg_lambda_exporter::exposition::{Format, encode, end};
use pg_lambda_exporter::metric::{
    Bucket, Families, Family, Histogram, Kind, LabelName, MetricName, Quantile, StateSet, Summary, Value,
    Values,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as ClientFamily;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram as ClientHistogram;
use prometheus_client::registry::Registry;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::mapping::{LABEL_BYTES_MAX, map, merge, metrics, push_row, table_of};
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

/// The labels, the value and the time of a metric.
type Metric = (LabelMap, Value, Option<f64>);

fn metric(map: &LabelMap, value: f64) -> Metric {
    (map.clone(), Value::Number(value), None)
}

fn family(name: &str, kind: Kind, metrics: Vec<Metric>) -> Families {
    let mut families = Families::default();
    let mut family = Family::new(MetricName::new(name).unwrap(), kind, "Help".into());
    for (map, value, time) in metrics {
        let names: Vec<_> = map.keys().map(|name| LabelName::new(name).unwrap()).collect();
        let values: Vec<_> = map.values().collect();
        let names = families.sets.names(&names.iter().collect::<Vec<_>>()).unwrap();
        family.push(families.sets.number(&names, |place| values[place]), value, time);
    }
    families.families.push(family);
    families
}

fn exposition(families: &[Families], format: Format) -> String {
    encode(&merge(families), format) + end(format)
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
    let mut table = table_of(["v"]);
    push_row(&mut table, [Some(text)]);
    let mapped = map(&query, &table, LABEL_BYTES_MAX).unwrap();
    match &mapped.families.families[0].values {
        Values::Numbers(numbers) => numbers.first().copied(),
        other => panic!("{other:?}"),
    }
}

/// What a metric of any type may hold.
#[derive(Debug, Clone)]
struct AnyValue {
    number: f64,
    /// Not NaN, not negative.
    sum: f64,
    bounds: Vec<u32>,
    quantiles: Vec<(u32, f64)>,
    states: Vec<String>,
    current: usize,
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e308, 9_223_372_036_854_775_808.0];
    let numbers = || prop_oneof![any::<f64>(), proptest::sample::select(special.to_vec())];
    (
        numbers(),
        0.0..1e18_f64,
        proptest::collection::btree_set(any::<u32>(), 0..4),
        btree_map(0..=1000_u32, numbers(), 0..4),
        proptest::collection::hash_set(any_text().prop_filter("no state", |text| !text.is_empty()), 1..4),
        0..5_usize,
    )
        .prop_map(|(number, sum, bounds, quantiles, states, current)| AnyValue {
            number,
            sum,
            bounds: bounds.into_iter().collect(),
            quantiles: quantiles.into_iter().collect(),
            states: states.into_iter().collect(),
            current,
        })
}

impl AnyValue {
    fn of(&self, kind: Kind) -> Value {
        let count = self.bounds.len() as f64;
        match kind {
            Kind::Counter | Kind::Gauge | Kind::Untyped => Value::Number(self.number),
            Kind::Info => Value::Info,
            Kind::StateSet => Value::StateSet(StateSet {
                label: LabelName::new("x").unwrap(),
                states: self.states.as_slice().into(),
                current: Some(self.current).filter(|&current| current < self.states.len()),
            }),
            Kind::Histogram => {
                let bucket = |(&bound, count): (&u32, u32)| Bucket {
                    upper_bound: f64::from(bound) / 64.0,
                    cumulative_count: f64::from(count),
                };
                let buckets = self.bounds.iter().zip(0..).map(bucket).collect();
                Value::Histogram(Histogram { buckets, sum: Some(self.sum), count })
            }
            Kind::Summary => {
                let quantile =
                    |&(quantile, value): &_| Quantile { quantile: f64::from(quantile) / 1000.0, value };
                let quantiles = self.quantiles.iter().map(quantile).collect();
                Value::Summary(Summary { quantiles, sum: Some(self.number), count: Some(count) })
            }
        }
    }
}

/// The samples of a metric by the definitions of the formats, with `le` and `quantile` as floats.
fn samples(name: &str, (labels, value, time): &Metric, format: Format) -> Vec<ReadSample> {
    let is_text = format == Format::Text;
    let timestamp = time.map(|time| if is_text { (time * 1000.0).round() } else { time });
    let sample = |suffix: &str, own: Option<(&str, String)>, value: f64| {
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let labels = labels.iter().map(|(name, value)| (name.clone(), value.clone())).chain(own);
        ReadSample { name: format!("{name}{suffix}"), labels: labels.collect(), value, timestamp }
    };
    let float = |bound: f64| match bound {
        f64::INFINITY => "+Inf".into(),
        bound if bound >= 1e6 || (bound != 0.0 && bound < 1e-4) => {
            let text = format!("{bound:e}");
            let (digits, exponent) = text.split_once('e').unwrap();
            format!("{digits}e{:+03}", exponent.parse::<i32>().unwrap())
        }
        bound if is_text => format!("{bound}"),
        bound => format!("{bound:?}"),
    };
    match value {
        Value::Number(number) => vec![sample("", None, *number)],
        Value::Info => vec![sample("", None, 1.0)],
        Value::StateSet(set) => {
            let state = |(index, state): (usize, &String)| {
                let value = if set.current == Some(index) { 1.0 } else { 0.0 };
                sample("", Some((set.label.as_str(), state.clone())), value)
            };
            set.states.iter().enumerate().map(state).collect()
        }
        Value::Histogram(histogram) => {
            let buckets =
                histogram.buckets.iter().map(|bucket| (bucket.upper_bound, bucket.cumulative_count));
            let buckets = buckets.chain([(f64::INFINITY, histogram.count)]);
            let buckets = buckets.map(|(bound, count)| sample("_bucket", Some(("le", float(bound))), count));
            let sum_and_count =
                [sample("_sum", None, histogram.sum.unwrap()), sample("_count", None, histogram.count)];
            buckets.chain(sum_and_count).collect()
        }
        Value::Summary(summary) => {
            let is_allowed = |value: f64| is_text || value >= 0.0;
            let quantiles =
                summary.quantiles.iter().filter(|part| is_allowed(part.value) || part.value.is_nan());
            let quantiles =
                quantiles.map(|part| sample("", Some(("quantile", float(part.quantile))), part.value));
            let sum = summary.sum.filter(|&sum| is_allowed(sum)).map(|sum| sample("_sum", None, sum));
            quantiles.chain(sum).chain([sample("_count", None, summary.count.unwrap())]).collect()
        }
    }
}

proptest! {
    #[test]
    fn text_survives_in_both_formats(help in any_text(), map in label_maps(), value in any::<f64>()) {
        let mut written = family("x", Kind::Gauge, vec![metric(&map, value)]);
        written.families[0].help = help.clone();
        let expected = [ReadFamily {
            name: "x".into(),
            help: Some(help).filter(|help| !help.is_empty()),
            kind: "gauge".into(),
            samples: vec![ReadSample { name: "x".into(), labels: map.into_iter().collect(), value, timestamp: None }],
        }];
        let families = [written];
        prop_assert_eq!(read_text(&exposition(&families, Format::Text)).unwrap(), expected.clone());
        prop_assert_eq!(read_openmetrics(&exposition(&families, Format::OpenMetrics)).unwrap(), expected);
    }

    /// Every type, with any text in labels and states, any float, with and without a time.
    #[test]
    fn every_type_survives_in_both_formats(
        of_two_queries in vec((btree_map(distinct_label_maps(), any_value(), 1..4), proptest::option::of(-62e9..253e9_f64)), 1..3),
    ) {
        for kind in [Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Summary, Kind::Info, Kind::StateSet, Kind::Untyped] {
            let name = match kind {
                Kind::Counter => "x_total",
                Kind::Info => "x_info",
                _ => "x",
            };
            // Either all metrics of a query have a time, or none.
            let metrics: Vec<Vec<Metric>> = of_two_queries.iter().map(|(metrics, time)| {
                metrics.iter().map(|(map, values)| (map.clone(), values.of(kind), *time)).collect()
            }).collect();
            let families: Vec<_> = metrics.iter().map(|metrics| family(name, kind, metrics.clone())).collect();
            // The first of two with the same labels is exposed.
            let mut seen = HashSet::new();
            let metrics: Vec<_> = metrics.concat().into_iter().filter(|(map, ..)| seen.insert(map.clone())).collect();
            for format in [Format::Text, Format::OpenMetrics] {
                let text = exposition(&families, format);
                prop_assert_eq!(&text, &exposition(&families, format));
                let read = match format {
                    Format::Text => read_text(&text),
                    Format::OpenMetrics => read_openmetrics(&text),
                };
                let read = read.unwrap();
                let type_and_name = match (kind, format) {
                    (Kind::Counter, Format::Text) => ("counter", "x_total"),
                    (Kind::Counter, Format::OpenMetrics) => ("counter", "x"),
                    (Kind::Gauge, _) => ("gauge", "x"),
                    (Kind::Histogram, _) => ("histogram", "x"),
                    (Kind::Summary, _) => ("summary", "x"),
                    (Kind::Info, Format::Text) => ("gauge", "x_info"),
                    (Kind::Info, Format::OpenMetrics) => ("info", "x"),
                    (Kind::StateSet, Format::Text) => ("gauge", "x"),
                    (Kind::StateSet, Format::OpenMetrics) => ("stateset", "x"),
                    (Kind::Untyped, Format::Text) => ("untyped", "x"),
                    (Kind::Untyped, Format::OpenMetrics) => ("unknown", "x"),
                };
                prop_assert_eq!((&*read[0].kind, &*read[0].name), type_and_name);
                let mut expected: Vec<_> = metrics.iter().flat_map(|metric| samples(name, metric, format)).collect();
                // OpenMetrics takes an info family for one group, in which all samples have a time or none.
                let has_time = |metric: &Metric| metric.2.is_some();
                let is_mixed = metrics.iter().any(has_time) && !metrics.iter().all(has_time);
                if kind == Kind::Info && format == Format::OpenMetrics && is_mixed {
                    expected.iter_mut().for_each(|sample| sample.timestamp = None);
                }
                prop_assert_eq!(&read[0].samples, &expected);
            }
        }
    }

    #[test]
    fn bounds_survive_in_both_formats(bounds in vec(any::<f64>().prop_filter("finite", |bound| bound.is_finite()), 1..6)) {
        let buckets = bounds.iter().map(|&upper_bound| Bucket { upper_bound, cumulative_count: 1.0 }).collect();
        let value = Value::Histogram(Histogram { buckets, sum: None, count: 1.0 });
        let families = [family("x", Kind::Histogram, vec![(LabelMap::new(), value, None)])];
        for format in [Format::Text, Format::OpenMetrics] {
            let text = encode(&merge(&families), format);
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
        let mut table = table_of(["h", "h_bucket", "h_sum", "h_count"]);
        push_row(&mut table, [Some(&*text), Some("{1,2}"), Some("1"), Some("9")]);
        push_row(&mut table, [Some("{1,2}"), Some(&*text), Some("1"), Some("9")]);
        let families = [map(&query, &table, LABEL_BYTES_MAX).unwrap().families];
        for format in [Format::Text, Format::OpenMetrics] {
            encode(&merge(&families), format);
        }
    }

    #[test]
    fn no_accept_is_too_strange(accept in prop_oneof![any::<String>(), r#"((application/openmetrics-text|text/plain|\*/\*|[;=,"\\q.01 ]|version|1\.0\.0){0,12})"#]) {
        Format::negotiate(Some(&accept));
    }

    /// Each metric is exposed or counted, once; the exposition has no series twice; queries and names may clash.
    #[test]
    fn nothing_is_lost_uncounted(
        rows in vec((prop_oneof!["", "a", "b"], vec(proptest::option::of(prop_oneof!["[0-9]", "x", "-1", "NaN", "t", "2024-01-01"]), 8)), 0..12),
        names in vec(prop_oneof!["v", "v_total", "v_count", "v_created", "c", "c_created", "w", "up", r"\?column\?"], 3),
        prefix in prop_oneof!["q", "pg"],
    ) {
        let yaml = format!("q: {{query: SELECT 1, name: {prefix}, metrics: [{{l: {{usage: LABEL}}}}, {{c_total: {{usage: COUNTER}}}}, {{i: {{usage: INFO}}}}, {{d: {{usage: DURATION}}}}, {{m: {{usage: MAPPEDMETRIC, metric_mapping: {{x: 1}}}}}}, {{at: {{usage: TIMESTAMP}}}}]}}");
        let query = query(&yaml);
        let columns = ["l", "c_total", "i", "d", "m", "at"].map(String::from).into_iter().chain(names);
        let mut table = table_of(columns);
        for (label, cells) in &rows {
            let cells = cells.iter().take(table.columns.len() - 1).map(Option::as_deref);
            push_row(&mut table, std::iter::once(Some(&**label)).chain(cells));
        }
        let [first, second] = [(); 2].map(|()| map(&query, &table, LABEL_BYTES_MAX).unwrap());
        let families = [first.families, second.families];
        let merged = merge(&families);
        let exposed: usize = merged.series().into_iter().sum();
        let dropped = merged.dropped.iter().chain([&first.dropped, &second.dropped]);
        let counted: u64 = dropped.flat_map(|dropped| dropped.iter()).map(|(_, count)| count).sum();
        prop_assert_eq!(exposed as u64 + counted, 2 * 7 * rows.len() as u64);
        read_text(&exposition(&families, Format::Text)).unwrap();
        read_openmetrics(&exposition(&families, Format::OpenMetrics)).unwrap();
    }

    /// Every row is in a group's count or counted as dropped; groups come in the order of their first rows; buckets
    /// say what counting says.
    #[test]
    fn no_observation_is_lost_uncounted(
        rows in vec((prop_oneof!["", "a", "b"], proptest::option::of(prop_oneof!["-?[0-9]", "x", "NaN", "00:00:0[0-9]"])), 0..20),
    ) {
        let query = query("q: {query: SELECT 1, metrics: [{l: {usage: LABEL}}, {h: {usage: HISTOGRAM, buckets: [0, 2, 5]}}, {s: {usage: SUMMARY, quantiles: [0, 0.5, 1]}}]}");
        let mut table = table_of(["l", "h", "s"]);
        for (label, cell) in &rows {
            push_row(&mut table, [Some(&**label), cell.as_deref(), cell.as_deref()]);
        }
        let mapped = map(&query, &table, LABEL_BYTES_MAX).unwrap();
        let mut counted: u64 = mapped.dropped.iter().map(|(_, count)| count).sum();
        let mut groups: Vec<&str> = Vec::new();
        rows.iter().for_each(|(label, _)| if !groups.contains(&&**label) { groups.push(label) });
        for family in &mapped.families.families {
            let metrics = metrics(&mapped.families, family);
            let labels: Vec<&str> = metrics.iter().map(|(labels, ..)| &*labels[0].1).collect();
            prop_assert_eq!(&labels, &groups);
            for (labels, value, _) in &metrics {
                let label = &*labels[0].1;
                let of_group = rows.iter().filter(|(of, _)| *of == label).filter_map(|(_, cell)| gauge(cell.as_ref()?));
                let observations: Vec<f64> = of_group.filter(|number| !number.is_nan()).collect();
                counted += observations.len() as u64;
                match value {
                    Value::Histogram(histogram) => {
                        for bucket in &histogram.buckets {
                            let up_to = observations.iter().filter(|&&x| x <= bucket.upper_bound).count();
                            prop_assert_eq!(bucket.cumulative_count, up_to as f64);
                        }
                        prop_assert_eq!((histogram.count, histogram.sum), (observations.len() as f64, Some(observations.iter().sum::<f64>() + 0.0)));
                    }
                    Value::Summary(summary) => {
                        let ends = [summary.quantiles.first(), summary.quantiles.last()].map(|end| end.map(|end| end.value));
                        prop_assert_eq!(ends, [observations.iter().copied().reduce(f64::min), observations.iter().copied().reduce(f64::max)]);
                        prop_assert!(summary.quantiles.is_sorted_by(|a, b| a.value <= b.value));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        prop_assert_eq!(counted, 2 * rows.len() as u64);
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
            family("h", Kind::Histogram, histograms.iter().map(|(map, observations)| {
                (map.clone(), Value::Histogram(histogram(observations)), None)
            }).collect()),
            family("i_info", Kind::Info, gauges.keys().take(1).map(|map| (map.clone(), Value::Info, None)).collect()),
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
        // Theirs has one info metric in a family, with the labels of its own.
        let info = prometheus_client::metrics::info::Info::new(pairs(gauges.keys().next().unwrap()));
        registry.register("i", "Help", info);
        let mut theirs = String::new();
        prometheus_client::encoding::text::encode(&mut theirs, &registry).unwrap();

        let ours = read_openmetrics(&exposition(&families, Format::OpenMetrics)).unwrap();
        prop_assert_eq!(comparable(&ours), comparable(&read_openmetrics(&theirs).unwrap()));
    }
}

/// What the properties may miss by chance.
#[test]
fn long_text_and_special_numbers_survive_in_both_formats() {
    let text = "\"quoted\" \\ back\\\\slashes \\n\nnew\tline 🐘 # {a=\"b\"} ".repeat(200);
    assert!(text.len() > 10_000);
    let numbers =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 1e308, 5e-324, 9_223_372_036_854_775_808.0];
    for number in numbers {
        let map = LabelMap::from([("a".into(), text.clone())]);
        let mut families = family("x", Kind::Gauge, vec![metric(&map, number)]);
        families.families[0].help = text.clone();
        let families = [families];
        for read in [
            read_text(&exposition(&families, Format::Text)),
            read_openmetrics(&exposition(&families, Format::OpenMetrics)),
        ] {
            let read = read.unwrap().remove(0);
            assert_eq!(read.help.as_deref(), Some(&*text));
            assert_eq!(read.samples, samples("x", &metric(&map, number), Format::Text));
        }
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
