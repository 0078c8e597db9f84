//! The two text formats, which differ in few places.

use super::{Format, number};
use crate::metric::{Family, Histogram, Kind, Labels, Value};

/// The families in their order, each with its HELP, its TYPE and its samples; families without metrics are left
/// out, and so is a HELP without text. In OpenMetrics, [`end`] must follow as the last line.
pub fn encode(families: &[Family], format: Format) -> String {
    let mut lines = Lines { out: String::new(), format };
    for family in families.iter().filter(|family| !family.metrics.is_empty()) {
        lines.family(family);
    }
    lines.out
}

/// What the last line of an answer is.
pub fn end(format: Format) -> &'static str {
    match format {
        Format::Text => "",
        Format::OpenMetrics => "# EOF\n",
    }
}

struct Lines {
    out: String,
    format: Format,
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
        for metric in &family.metrics {
            match &metric.value {
                Value::Number(number) => self.sample(family, "", &metric.labels, None, *number),
                Value::Histogram(histogram) => self.histogram(family, &metric.labels, histogram),
                Value::Info => self.sample(family, "", &metric.labels, None, 1.0),
                // No query file can declare these yet.
                Value::Summary(_) | Value::StateSet(_) => {}
            }
        }
    }

    /// What HELP and TYPE say. Samples have the family's own name in either format, with a suffix if need be.
    fn name_and_type<'a>(&self, family: &'a Family) -> (&'a str, &'static str) {
        let name = family.name.as_str();
        match (self.format, family.kind, family.name.without_total()) {
            (Format::OpenMetrics, Kind::Counter, Some(base)) => (base, "counter"),
            // OpenMetrics has no counter without `_total`. Renaming it would part it from its past.
            (Format::OpenMetrics, Kind::Counter, None) => (name, "unknown"),
            (Format::OpenMetrics, Kind::Untyped, _) => (name, "unknown"),
            (Format::Text, Kind::Untyped, _) => (name, "untyped"),
            (Format::Text, Kind::Counter, _) => (name, "counter"),
            (_, Kind::Gauge, _) => (name, "gauge"),
            (_, Kind::Histogram, _) => (name, "histogram"),
            (_, Kind::Summary, _) => (name, "summary"),
            (_, Kind::Info | Kind::StateSet, _) => (name, "gauge"),
        }
    }

    fn histogram(&mut self, family: &Family, labels: &Labels, histogram: &Histogram) {
        for bucket in &histogram.buckets {
            let bound = match self.format {
                Format::Text => number::text_bound(bucket.upper_bound),
                Format::OpenMetrics => number::openmetrics_bound(bucket.upper_bound),
            };
            self.sample(family, "_bucket", labels, Some(("le", &bound)), bucket.cumulative_count);
        }
        self.sample(family, "_bucket", labels, Some(("le", "+Inf")), histogram.count);
        let (sum, has_count) = match self.format {
            Format::Text => (histogram.sum, true),
            Format::OpenMetrics => {
                let sum = openmetrics_sum(histogram);
                (sum, sum.is_some())
            }
        };
        if let Some(sum) = sum {
            self.sample(family, "_sum", labels, None, sum);
        }
        if has_count {
            self.sample(family, "_count", labels, None, histogram.count);
        }
    }

    fn sample(
        &mut self,
        family: &Family,
        suffix: &str,
        labels: &Labels,
        own: Option<(&str, &str)>,
        value: f64,
    ) {
        self.push(&[family.name.as_str(), suffix]);
        let labels = labels.iter().map(|(name, value)| (name.as_str(), value)).chain(own);
        let mut before = "{";
        for (name, value) in labels {
            self.push(&[before, name, "=\""]);
            self.push_escaped(value, &['\\', '\n', '"']);
            self.push(&["\""]);
            before = ",";
        }
        self.push(&[if before == "," { "} " } else { " " }]);
        number::push_value(&mut self.out, value);
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

/// The sum, where OpenMetrics (1.0, "Histogram") allows one: not with negative bounds, and it is a number that is
/// not negative. Sum and count stand together there or not at all.
fn openmetrics_sum(histogram: &Histogram) -> Option<f64> {
    let has_negative_bounds = histogram.buckets.iter().any(|bucket| bucket.upper_bound < 0.0);
    histogram.sum.filter(|&sum| sum >= 0.0 && !has_negative_bounds)
}
