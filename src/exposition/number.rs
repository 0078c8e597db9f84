//! Floats as the shortest text that reads back as the same float.

use std::fmt::Write as _;

/// From this value on, a sample's value has an exponent.
const VALUE_PLAIN_BELOW: f64 = 1e15;

/// From this value on, a bound has an exponent, as in Go's shortest `%g`. OpenMetrics (1.0, "Considerations:
/// Canonical Numbers") recommends this form for `le`, and other exporters write it. The text of a bound is
/// part of its series' identity.
const BOUND_PLAIN_BELOW: f64 = 1e6;

/// A sample's value: `NaN`, `+Inf`, `-Inf`, `123456789`, `1e+15`.
pub(super) fn push_value(out: &mut String, value: f64) {
    push(out, value, VALUE_PLAIN_BELOW);
}

/// A finite time in seconds, as whole milliseconds for 0.0.4.
pub(super) fn push_milliseconds(out: &mut String, seconds: f64) {
    let _ = write!(out, "{}", (seconds * 1000.0).round() as i64);
}

/// A finite `le` or `quantile` in 0.0.4: `1`, `0.5`, `1e+06`.
pub(super) fn text_bound(bound: f64) -> String {
    let mut text = String::new();
    push(&mut text, bound, BOUND_PLAIN_BELOW);
    text
}

/// The same in OpenMetrics, always with a point or an exponent: `1.0`, `0.5`, `1e+06`.
pub(super) fn openmetrics_bound(bound: f64) -> String {
    let mut text = text_bound(bound);
    if !text.contains(['.', 'e']) {
        text.push_str(".0");
    }
    text
}

fn push(out: &mut String, value: f64, plain_below: f64) {
    let magnitude = value.abs();
    let whole = value as i64;
    if whole as f64 == value && magnitude < plain_below && (whole != 0 || value.is_sign_positive()) {
        out.push_str(itoa::Buffer::new().format(whole));
        return;
    }
    // Writing to a String does not fail.
    let _ = if value.is_nan() {
        out.write_str("NaN")
    } else if value.is_infinite() {
        out.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else if magnitude == 0.0 {
        out.write_str("-0")
    } else if (1e-4..plain_below).contains(&magnitude) {
        // A text of 16 digits or more may have another that is equally near, and zmij does not choose the one of the
        // standard library.
        match zmij::Buffer::new().format_finite(value) {
            text if text.len() <= 16 => out.write_str(text),
            _ => write!(out, "{value}"),
        }
    } else {
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i16 = exponent.parse().unwrap_or(0);
        write!(out, "{digits}e{exponent:+03}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(value: f64) -> String {
        let mut text = String::new();
        push_value(&mut text, value);
        text
    }

    #[test]
    fn values_are_short_and_readable() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (123_456_789.0, "123456789"),
            (1_577_934_245.678, "1577934245.678"),
            (999_999_999_999_999.0, "999999999999999"),
            (1e15, "1e+15"),
            (9_007_199_254_740_992.0, "9.007199254740992e+15"),
            (-1.5e300, "-1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(value(number), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn fractions_are_as_short_as_the_standard_library_writes_them(number in -1e15..1e15, scale in 0..20) {
            let number: f64 = number / 10_f64.powi(scale);
            if number.abs() >= 1e-4 {
                proptest::prop_assert_eq!(value(number), number.to_string());
            }
        }
    }

    #[test]
    fn bounds_are_written_as_go_writes_them() {
        for (number, text, openmetrics) in [
            (1.0, "1", "1.0"),
            (0.005, "0.005", "0.005"),
            (-2.0, "-2", "-2.0"),
            (0.0, "0", "0.0"),
            (100_000.0, "100000", "100000.0"),
            (1e6, "1e+06", "1e+06"),
            (1_234_567.0, "1.234567e+06", "1.234567e+06"),
            (1e-5, "1e-05", "1e-05"),
        ] {
            assert_eq!((&*text_bound(number), &*openmetrics_bound(number)), (text, openmetrics));
        }
    }
}
