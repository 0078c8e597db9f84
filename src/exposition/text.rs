//! The two text formats, which differ in few places.

use super::{Format, number};
use crate::metric::{Family, Histogram, Kind, Metric, Quantile, StateSet, Summary, Value};

/// Encodes the families in order, each with HELP, TYPE and samples. Families without metrics and empty HELP
/// texts are omitted. In OpenMetrics, [`end`] must follow as the last line.
pub fn encode(families: &[Family], format: Format) -> String {
    let mut lines = Lines { out: String::new(), format, without_times: false };
    for family in families.iter().filter(|family| !family.metrics.is_empty()) {
        lines.family(family);
    }
    lines.out
}

/// The approximate size of these families in either format, rounded up.
pub fn estimated_bytes(families: &[Family]) -> usize {
    /// Quotes, commas, suffix, value and time of one sample.
    const SAMPLE_BYTES: usize = 48;
    let metric_bytes = |family: &Family, metric: &Metric| {
        let labels: usize =
            metric.labels.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        metric.value.sample_count() * (family.name.as_str().len() + labels + SAMPLE_BYTES)
    };
    families
        .iter()
        .flat_map(|family| family.metrics.iter().map(move |metric| metric_bytes(family, metric)))
        .sum()
}

/// The last line of an answer.
pub fn end(format: Format) -> &'static str {
    match format {
        Format::Text => "",
        Format::OpenMetrics => "# EOF\n",
    }
}

struct Lines {
    out: String,
    format: Format,
    /// Whether to omit the times of the current family's samples.
    without_times: bool,
}

/// Whether some metrics have a time and others do not. To an OpenMetrics parser, an info family is one group,
/// in which all samples or none have a time (1.0, "MetricPoint").
fn is_mixed(family: &Family) -> bool {
    let mut has_time = family.metrics.iter().map(|metric| metric.timestamp_seconds.is_some());
    has_time.next().is_some_and(|first| has_time.any(|other| other != first))
}

impl Lines {
    fn family(&mut self, family: &Family) {
        let (name, kind) = self.name_and_type(family);
        if !family.help.is_empty() {
            self.push(&["# HELP ", name, " "]);
            self.push_help(&family.help);
            self.push(&["\n"]);
        }
        self.push(&["# TYPE ", name, " ", kind, "\n"]);
        self.without_times = kind == "info" && is_mixed(family);
        for metric in &family.metrics {
            match &metric.value {
                Value::Number(number) => self.sample(family, metric, "", None, *number),
                Value::Info => self.sample(family, metric, "", None, 1.0),
                Value::StateSet(set) => self.state_set(family, metric, set),
                Value::Histogram(histogram) => self.histogram(family, metric, histogram),
                Value::Summary(summary) => self.summary(family, metric, summary),
            }
        }
    }

    /// The name and the type for HELP and TYPE. Samples have the family's name in both formats, with a suffix
    /// where needed.
    fn name_and_type<'a>(&self, family: &'a Family) -> (&'a str, &'static str) {
        let name = family.name.as_str();
        match (self.format, family.kind) {
            (Format::Text, Kind::Counter) => (name, "counter"),
            (Format::OpenMetrics, Kind::Counter) => match family.name.without_total() {
                Some(base) if !family.is_retyped => (base, "counter"),
                // In OpenMetrics a counter needs `_total`, and its name without `_total` must not belong to
                // another family. Renaming the counter would break its series.
                _ => (name, "unknown"),
            },
            (Format::OpenMetrics, Kind::Info) => match family.name.without_info() {
                Some(base) if !family.is_retyped => (base, "info"),
                _ => (name, "gauge"),
            },
            (Format::OpenMetrics, Kind::StateSet) => (name, "stateset"),
            // 0.0.4 lacks these types.
            (Format::Text, Kind::Info | Kind::StateSet) | (_, Kind::Gauge) => (name, "gauge"),
            (Format::Text, Kind::Untyped) => (name, "untyped"),
            (Format::OpenMetrics, Kind::Untyped) => (name, "unknown"),
            (_, Kind::Histogram) => (name, "histogram"),
            (_, Kind::Summary) => (name, "summary"),
        }
    }

    fn state_set(&mut self, family: &Family, metric: &Metric, set: &StateSet) {
        for (index, state) in set.states.iter().enumerate() {
            let is_current = set.current == Some(index);
            let label = (set.label.as_str(), state.as_str());
            self.sample(family, metric, "", Some(label), f64::from(u8::from(is_current)));
        }
    }

    fn summary(&mut self, family: &Family, metric: &Metric, summary: &Summary) {
        for Quantile { quantile, value } in &summary.quantiles {
            if self.allows(*value) || value.is_nan() {
                let quantile = self.bound(*quantile);
                self.sample(family, metric, "", Some(("quantile", &quantile)), *value);
            }
        }
        if let Some(sum) = summary.sum.filter(|&sum| self.allows(sum)) {
            self.sample(family, metric, "_sum", None, sum);
        }
        if let Some(count) = summary.count {
            self.sample(family, metric, "_count", None, count);
        }
    }

    /// Whether the format allows this sum, or this value of a quantile (OpenMetrics 1.0, "Summary"). It must
    /// not be negative; only a quantile may be NaN.
    fn allows(&self, value: f64) -> bool {
        self.format == Format::Text || value >= 0.0
    }

    fn bound(&self, bound: f64) -> String {
        match self.format {
            Format::Text => number::text_bound(bound),
            Format::OpenMetrics => number::openmetrics_bound(bound),
        }
    }

    fn histogram(&mut self, family: &Family, metric: &Metric, histogram: &Histogram) {
        for bucket in &histogram.buckets {
            let bound = self.bound(bucket.upper_bound);
            self.sample(family, metric, "_bucket", Some(("le", &bound)), bucket.cumulative_count);
        }
        self.sample(family, metric, "_bucket", Some(("le", "+Inf")), histogram.count);
        let (sum, has_count) = match self.format {
            Format::Text => (histogram.sum, true),
            Format::OpenMetrics => {
                let sum = openmetrics_sum(histogram);
                (sum, sum.is_some())
            }
        };
        if let Some(sum) = sum {
            self.sample(family, metric, "_sum", None, sum);
        }
        if has_count {
            self.sample(family, metric, "_count", None, histogram.count);
        }
    }

    fn sample(
        &mut self,
        family: &Family,
        metric: &Metric,
        suffix: &str,
        own: Option<(&str, &str)>,
        value: f64,
    ) {
        self.push(&[family.name.as_str(), suffix]);
        let labels = metric.labels.iter().map(|(name, value)| (name.as_str(), value)).chain(own);
        let mut before = "{";
        for (name, value) in labels {
            self.push(&[before, name, "=\""]);
            self.push_escaped(value, &['\\', '\n', '"']);
            self.push(&["\""]);
            before = ",";
        }
        self.push(&[if before == "," { "} " } else { " " }]);
        number::push_value(&mut self.out, value);
        if let Some(seconds) = metric.timestamp_seconds.filter(|_| !self.without_times) {
            self.push(&[" "]);
            match self.format {
                Format::Text => number::push_milliseconds(&mut self.out, seconds),
                Format::OpenMetrics => number::push_value(&mut self.out, seconds),
            }
        }
        self.push(&["\n"]);
    }

    fn push(&mut self, parts: &[&str]) {
        self.out.extend(parts.iter().copied());
    }

    fn push_help(&mut self, help: &str) {
        match self.format {
            Format::Text => self.push_escaped(help, &['\\', '\n']),
            Format::OpenMetrics => self.push_escaped(help, &['\\', '\n', '"']),
        }
    }

    fn push_escaped(&mut self, text: &str, special: &[char]) {
        for piece in text.split_inclusive(special) {
            match piece.strip_suffix(special) {
                Some(clean) if piece.ends_with('\n') => self.push(&[clean, "\\n"]),
                Some(clean) if piece.ends_with('"') => self.push(&[clean, "\\\""]),
                Some(clean) => self.push(&[clean, "\\\\"]),
                None => self.push(&[piece]),
            }
        }
    }
}

/// The sum, if OpenMetrics (1.0, "Histogram") allows one: without negative bounds, and if the sum is neither
/// negative nor NaN. The format requires sum and count together or neither.
fn openmetrics_sum(histogram: &Histogram) -> Option<f64> {
    let has_negative_bounds = histogram.buckets.iter().any(|bucket| bucket.upper_bound < 0.0);
    histogram.sum.filter(|&sum| sum >= 0.0 && !has_negative_bounds)
}
