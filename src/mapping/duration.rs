//! Durations in milliseconds.

use super::{number, time};

/// The units of Go's `time.ParseDuration`, which query files use, in milliseconds. A text may have a unit
/// several times and in any order.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-6),
    ("us", 1e-3),
    ("µs", 1e-3),
    ("μs", 1e-3),
    ("ms", 1.0),
    ("s", 1e3),
    ("m", 60e3),
    ("h", 3600e3),
];

/// Milliseconds of `1h2m3s`, `-1.5s` or `250ms`, of an interval or a time as PostgreSQL writes it, or of a
/// number, which is in milliseconds already.
pub(super) fn milliseconds(text: &str) -> Option<f64> {
    let text = text.trim_ascii();
    number::decimal(text).or_else(|| time::interval_milliseconds(text)).or_else(|| with_units(text))
}

fn with_units(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut milliseconds = 0.0;
    loop {
        let (number, after) = leading(rest, |c| c.is_ascii_digit() || c == '.')?;
        let (unit, after) = leading(after, |c| c.is_alphabetic())?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        milliseconds += number.parse::<f64>().ok()? * factor;
        if after.is_empty() {
            return Some(sign * milliseconds);
        }
        rest = after;
    }
}

/// The longest non-empty prefix of such characters, and the rest.
fn leading(text: &str, is_part: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(part, _)| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("1h2m3s", 3_723_000.0),
            ("250ms", 250.0),
            ("1.5s", 1500.0),
            ("-1m30s", -90_000.0),
            ("+.5h", 1_800_000.0),
            ("10us", 0.01),
            ("10µs", 0.01),
            ("10μs", 0.01),
            ("500000ns", 0.5),
            (" 1s ", 1000.0),
            ("0", 0.0),
            ("7", 7.0),
            ("1500.5", 1500.5),
            ("Infinity", f64::INFINITY),
            ("00:00:01.5", 1500.0),
            ("-00:00:00.001", -1.0),
            ("1 day 02:03:04.5", 93_784_500.0),
            ("1 mon", 2_592_000_000.0),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_text_is_none() {
        for text in
            ["", "-", "s", "1d", "1 s", "1s2", "1..5s", ".s", "1hour", "1S", "t", "2024-01-01", "--1s"]
        {
            assert_eq!(milliseconds(text), None, "{text:?}");
        }
    }
}
