//! The two text formats, which differ in few places.

use super::{Format, number};
use crate::mapping::{Merged, MergedFamily, Part};
use crate::metric::{Family, Histogram, Kind, LabelName, Quantile, StateSet, Summary, Values};

/// The characters that both formats escape in the value of a label, and OpenMetrics in HELP.
const SPECIAL: [char; 3] = ['\\', '\n', '"'];
/// The characters that 0.0.4 escapes in HELP.
const SPECIAL_IN_TEXT_HELP: [char; 2] = ['\\', '\n'];

/// Encodes the families in order, each with HELP, TYPE and samples. Families without metrics and empty HELP
/// texts are omitted. In OpenMetrics, [`end`] must follow as the last line.
pub fn encode(merged: &Merged<'_>, format: Format) -> String {
    let mut out = String::new();
    encode_in_pieces(merged, format, &mut out, |_| {});
    out
}

/// Does the same, and calls `flush` with the text so far after each sample, so that it may be sent and cleared.
pub fn encode_in_pieces(
    merged: &Merged<'_>,
    format: Format,
    out: &mut String,
    mut flush: impl FnMut(&mut String),
) {
    for family in &merged.families {
        Lines::family(out, family, format, &mut flush);
    }
}

/// The last line of an answer.
pub fn end(format: Format) -> &'static str {
    match format {
        Format::Text => "",
        Format::OpenMetrics => "# EOF\n",
    }
}

/// Writes the samples of one part of a family.
struct Lines<'a, F> {
    out: &'a mut String,
    flush: &'a mut F,
    format: Format,
    name: &'a str,
    part: &'a Part<'a>,
    has_times: bool,
    needs_escaping: bool,
    /// The names of the current label set, and the text before each of its values.
    names: &'a [LabelName],
    before_values: Vec<String>,
}

/// Whether some metrics have a time and others do not. To an OpenMetrics parser, an info family is one group,
/// in which all samples or none have a time (1.0, "MetricPoint").
fn is_mixed(family: &MergedFamily<'_>) -> bool {
    let mut has_time =
        family.parts.iter().filter(|part| !part.is_empty()).map(|part| part.family.times.is_empty());
    has_time.next().is_some_and(|first| has_time.any(|other| other != first))
}

impl<'a, F: FnMut(&mut String)> Lines<'a, F> {
    fn family(out: &'a mut String, merged: &'a MergedFamily<'a>, format: Format, flush: &'a mut F) {
        let Some(first) = merged.first() else { return };
        let (name, kind) = name_and_type(first, merged.is_retyped, format);
        if !first.help.is_empty() {
            out.extend(["# HELP ", name, " "]);
            match format {
                Format::Text => push_escaped(out, &first.help, &SPECIAL_IN_TEXT_HELP),
                Format::OpenMetrics => push_escaped(out, &first.help, &SPECIAL),
            }
            out.push('\n');
        }
        out.extend(["# TYPE ", name, " ", kind, "\n"]);
        let without_times = kind == "info" && is_mixed(merged);
        for part in &merged.parts {
            let has_times = !without_times && !part.family.times.is_empty();
            let name = first.name.as_str();
            let mut lines = Lines {
                out: &mut *out,
                flush: &mut *flush,
                format,
                name,
                part,
                has_times,
                needs_escaping: part.sets.needs_escaping(),
                names: &[],
                before_values: Vec::new(),
            };
            for index in part.indices() {
                lines.metric(index);
            }
        }
    }

    fn metric(&mut self, index: usize) {
        match &self.part.family.values {
            Values::Numbers(values) => {
                let value = values.get(index).copied().unwrap_or(f64::NAN);
                self.sample(index, "", None, value);
            }
            Values::Info => self.sample(index, "", None, 1.0),
            Values::StateSets(values) => {
                values.get(index).into_iter().for_each(|set| self.state_set(index, set))
            }
            Values::Histograms(values) => {
                values.get(index).into_iter().for_each(|histogram| self.histogram(index, histogram));
            }
            Values::Summaries(values) => {
                values.get(index).into_iter().for_each(|summary| self.summary(index, summary));
            }
        }
    }

    fn state_set(&mut self, index: usize, set: &StateSet) {
        for (place, state) in set.states.iter().enumerate() {
            let is_current = set.current == Some(place);
            self.sample(index, "", Some((set.label.as_str(), state)), f64::from(u8::from(is_current)));
        }
    }

    fn summary(&mut self, index: usize, summary: &Summary) {
        for Quantile { quantile, value } in &summary.quantiles {
            if self.allows(*value) || value.is_nan() {
                let quantile = self.bound(*quantile);
                self.sample(index, "", Some(("quantile", &quantile)), *value);
            }
        }
        if let Some(sum) = summary.sum.filter(|&sum| self.allows(sum)) {
            self.sample(index, "_sum", None, sum);
        }
        if let Some(count) = summary.count {
            self.sample(index, "_count", None, count);
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

    fn histogram(&mut self, index: usize, histogram: &Histogram) {
        for bucket in &histogram.buckets {
            let bound = self.bound(bucket.upper_bound);
            self.sample(index, "_bucket", Some(("le", &bound)), bucket.cumulative_count);
        }
        self.sample(index, "_bucket", Some(("le", "+Inf")), histogram.count);
        let (sum, has_count) = match self.format {
            Format::Text => (histogram.sum, true),
            Format::OpenMetrics => {
                let sum = openmetrics_sum(histogram);
                (sum, sum.is_some())
            }
        };
        if let Some(sum) = sum {
            self.sample(index, "_sum", None, sum);
        }
        if has_count {
            self.sample(index, "_count", None, histogram.count);
        }
    }

    fn sample(&mut self, index: usize, suffix: &str, own: Option<(&str, &str)>, value: f64) {
        let Part { sets, family, .. } = self.part;
        let set = family.sets.get(index).copied().unwrap_or(u32::MAX);
        let names = sets.names_of(set);
        if !std::ptr::eq(names, self.names) {
            self.names = names;
            let before = names.iter().enumerate();
            self.before_values = before
                .map(|(place, name)| format!("{}{name}=\"", if place == 0 { "{" } else { "\"," }))
                .collect();
        }
        self.out.push_str(self.name);
        if !suffix.is_empty() {
            self.out.push_str(suffix);
        }
        for ((_, value), before) in sets.pairs(set).zip(&self.before_values) {
            self.out.push_str(before);
            match self.needs_escaping {
                true => push_escaped(self.out, value, &SPECIAL),
                false => self.out.push_str(value),
            }
        }
        if let Some((name, value)) = own {
            self.out.extend([if names.is_empty() { "{" } else { "\"," }, name, "=\""]);
            push_escaped(self.out, value, &SPECIAL);
        }
        match names.is_empty() && own.is_none() {
            true => self.out.push(' '),
            false => self.out.push_str("\"} "),
        }
        number::push_value(self.out, value);
        if let Some(&seconds) = family.times.get(index).filter(|_| self.has_times) {
            self.out.push(' ');
            match self.format {
                Format::Text => number::push_milliseconds(self.out, seconds),
                Format::OpenMetrics => number::push_value(self.out, seconds),
            }
        }
        self.out.push('\n');
        (self.flush)(self.out);
    }
}

/// The name and the type for HELP and TYPE. Samples have the family's name in both formats, with a suffix
/// where needed.
fn name_and_type(family: &Family, is_retyped: bool, format: Format) -> (&str, &'static str) {
    let name = family.name.as_str();
    match (format, family.kind) {
        (Format::Text, Kind::Counter) => (name, "counter"),
        (Format::OpenMetrics, Kind::Counter) => match family.name.without_total() {
            Some(base) if !is_retyped => (base, "counter"),
            // In OpenMetrics a counter needs `_total`, and its name without `_total` must not belong to
            // another family. Renaming the counter would break its series.
            _ => (name, "unknown"),
        },
        (Format::OpenMetrics, Kind::Info) => match family.name.without_info() {
            Some(base) if !is_retyped => (base, "info"),
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

fn push_escaped(out: &mut String, text: &str, special: &[char]) {
    for piece in text.split_inclusive(special) {
        match piece.strip_suffix(special) {
            Some(clean) if piece.ends_with('\n') => out.extend([clean, "\\n"]),
            Some(clean) if piece.ends_with('"') => out.extend([clean, "\\\""]),
            Some(clean) => out.extend([clean, "\\\\"]),
            None => out.push_str(piece),
        }
    }
}

/// The sum, if OpenMetrics (1.0, "Histogram") allows one: without negative bounds, and if the sum is neither
/// negative nor NaN. The format requires sum and count together or neither.
fn openmetrics_sum(histogram: &Histogram) -> Option<f64> {
    let has_negative_bounds = histogram.buckets.iter().any(|bucket| bucket.upper_bound < 0.0);
    histogram.sum.filter(|&sum| sum >= 0.0 && !has_negative_bounds)
}
