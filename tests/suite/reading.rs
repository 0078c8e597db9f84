//! A parser of both text formats, small and strict, that shares nothing with the encoder it judges: of 0.0.4 by
//! Prometheus's "Exposition formats", of OpenMetrics 1.0 by its ABNF, each as far as the exporter uses it.

use std::collections::HashSet;

/// A family as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReadFamily {
    pub(crate) name: String,
    pub(crate) help: Option<String>,
    pub(crate) kind: String,
    pub(crate) samples: Vec<ReadSample>,
}

/// A sample as it was read: labels in the order of the line.
#[derive(Debug, Clone)]
pub(crate) struct ReadSample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
    /// As it is written: milliseconds in 0.0.4, seconds in OpenMetrics.
    pub(crate) timestamp: Option<f64>,
}

impl PartialEq for ReadSample {
    /// NaN equals NaN, and 0 is not -0.
    fn eq(&self, other: &Self) -> bool {
        let bits = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        self.name == other.name
            && self.labels == other.labels
            && bits(self.value) == bits(other.value)
            && self.timestamp == other.timestamp
    }
}

/// Reads a whole 0.0.4 exposition.
pub(crate) fn read_text(exposition: &str) -> Result<Vec<ReadFamily>, String> {
    let families = read_families(exposition, "\\n")?;
    let mut times = families.iter().flat_map(|family| &family.samples).filter_map(|sample| sample.timestamp);
    if times.any(|time| time.fract() != 0.0) {
        return Err("a time that is no whole number of milliseconds".into());
    }
    let mut lines = exposition.split('\n');
    if lines.next_back() != Some("") || lines.any(|line| line == "# EOF") {
        return Err("ends as no 0.0.4 does".into());
    }
    refuse_clashes(&families, |family, suffix| {
        matches!(
            (&*family.kind, suffix),
            ("counter" | "gauge" | "untyped" | "summary", "")
                | ("histogram", "_bucket" | "_sum" | "_count")
                | ("summary", "_sum" | "_count")
        )
    })?;
    Ok(families)
}

/// Reads a whole OpenMetrics exposition.
pub(crate) fn read_openmetrics(exposition: &str) -> Result<Vec<ReadFamily>, String> {
    let body = exposition.strip_suffix("# EOF\n").ok_or("does not end in # EOF")?;
    let families = read_families(body, "\\n\"")?;
    refuse_clashes(&families, |family, suffix| {
        matches!(
            (&*family.kind, suffix),
            ("gauge" | "unknown" | "stateset" | "summary", "")
                | ("counter", "_total")
                | ("info", "_info")
                | ("histogram", "_bucket" | "_sum" | "_count")
                | ("summary", "_sum" | "_count")
        )
    })?;
    Ok(families)
}

fn read_families(exposition: &str, escapes_in_help: &str) -> Result<Vec<ReadFamily>, String> {
    let mut families: Vec<ReadFamily> = Vec::new();
    let mut help = None;
    for line in exposition.strip_suffix('\n').map(|body| body.split('\n')).into_iter().flatten() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').ok_or(line)?;
            if help.replace((name.to_owned(), unescape(text, escapes_in_help)?)).is_some() {
                return Err(format!("a second HELP: {line}"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or(line)?;
            if help.as_ref().is_some_and(|(of, _)| of != name) {
                return Err(format!("HELP of another: {line}"));
            }
            let help = help.take().map(|(_, help)| help);
            families.push(ReadFamily { name: name.into(), help, kind: kind.into(), samples: Vec::new() });
        } else {
            let sample = read_sample(line).filter(|_| help.is_none()).ok_or(line)?;
            families.last_mut().ok_or(line)?.samples.push(sample);
        }
    }
    Ok(families)
}

fn read_sample(line: &str) -> Option<ReadSample> {
    let name_end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inside.split_once("=\"")?;
            let (value, after) = after.split_at(end_of_quoted(after)?);
            labels.push((label.into(), unescape(value, "\\n\"").ok()?));
            inside = after.strip_prefix('"')?;
            match inside.strip_prefix(',') {
                Some(next) => inside = next,
                None => break,
            }
        }
        rest = inside.strip_prefix('}')?;
    }
    let mut numbers = rest.strip_prefix(' ')?.split(' ');
    let value = match numbers.next()? {
        "NaN" => f64::NAN,
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => read_number(text)?,
    };
    let timestamp = match numbers.next() {
        Some(text) => Some(read_number(text)?),
        None => None,
    };
    numbers.next().is_none().then(|| ReadSample { name: name.into(), labels, value, timestamp })
}

fn read_number(text: &str) -> Option<f64> {
    text.bytes().all(|byte| b"0123456789+-.e".contains(&byte)).then(|| text.parse().ok()).flatten()
}

fn end_of_quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end.then_some(at)
    })
}

fn unescape(text: &str, escapes: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars
                .next()
                .filter(|&c| escapes.contains(c))
                .ok_or_else(|| format!("bad escape: {text:?}"))?
            {
                'n' => plain.push('\n'),
                other => plain.push(other),
            },
            '"' if escapes.contains('"') => return Err(format!("bare quote: {text:?}")),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

/// Each family once, with samples of its own names only, and no series twice: an empty label is none.
fn refuse_clashes(
    families: &[ReadFamily],
    may_have: impl Fn(&ReadFamily, &str) -> bool,
) -> Result<(), String> {
    let mut names = HashSet::new();
    let mut series = HashSet::new();
    for family in families {
        if !names.insert(family.name.clone()) || family.samples.is_empty() {
            return Err(format!("{} twice or empty", family.name));
        }
        for sample in &family.samples {
            let suffix = sample.name.strip_prefix(&family.name);
            if !suffix.is_some_and(|suffix| may_have(family, suffix)) {
                return Err(format!("{} in {} {}", sample.name, family.kind, family.name));
            }
            let mut labels: Vec<_> =
                sample.labels.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
            labels.sort();
            if !series.insert((sample.name.clone(), labels)) {
                return Err(format!("duplicate of {sample:?}"));
            }
        }
    }
    Ok(())
}
