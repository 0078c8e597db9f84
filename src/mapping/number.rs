//! Numbers in PostgreSQL's text. This module reads single values, without columns or metrics.

use super::time;

/// A number, or a boolean as PostgreSQL writes it: `42`, `1e3`, `NaN`, `-Infinity`, `t`.
///
/// Spaces around the number and `_` between digits are allowed, as in PostgreSQL 16 and later and in the
/// exporters that query files were written for. Returns `None` for a number that is too large for a float.
pub(super) fn plain(text: &str) -> Option<f64> {
    match text.trim_ascii() {
        "t" => Some(1.0),
        "f" => Some(0.0),
        text => decimal(text),
    }
}

/// Reads everything that [`plain`] reads, and the forms that are recognised without their type: dates, times
/// and intervals in seconds, `pg_lsn` in bytes, and a `bytea` (as hex) of a number.
pub(super) fn any(text: &str) -> Option<f64> {
    plain(text).or_else(|| {
        let text = text.trim_ascii();
        time::timestamp(text)
            .or_else(|| time::interval(text))
            .or_else(|| time::time_with_zone(text))
            .or_else(|| log_position(text))
            .or_else(|| bytes(text))
    })
}

/// A number without spaces around it.
pub(super) fn decimal(text: &str) -> Option<f64> {
    if let Some(number) = whole(text) {
        return Some(number);
    }
    let without_underscores =
        || underscores_stand_between_digits(text).then(|| text.replace('_', "").parse().ok()).flatten();
    let number: f64 = text.parse().ok().or_else(without_underscores)?;
    let too_large = number.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    (!too_large).then_some(number)
}

/// Up to 15 digits, which a float holds exactly. Most values are such numbers, so this path is the fast one.
fn whole(text: &str) -> Option<f64> {
    let is_short = (1..=15).contains(&text.len());
    let number = text.bytes().filter(|_| is_short).try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(number * 10 + u64::from(digit))
    })?;
    is_short.then_some(number as f64)
}

fn underscores_stand_between_digits(text: &str) -> bool {
    let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
    let mut pieces = text.split('_').peekable();
    let mut first = true;
    while let Some(piece) = pieces.next() {
        let begins = first || is_digit(piece.bytes().next());
        let ends = pieces.peek().is_none() || is_digit(piece.bytes().next_back());
        if !begins || !ends {
            return false;
        }
        first = false;
    }
    true
}

/// `16/B374D848`: the upper and the lower half of a byte position, in hexadecimal.
fn log_position(text: &str) -> Option<f64> {
    let half = |text: &str| {
        let is_half = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_half.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    };
    let (upper, lower) = text.split_once('/')?;
    Some(((half(upper)? << 32) | half(lower)?) as f64)
}

fn bytes(text: &str) -> Option<f64> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let byte = |pair: &[u8]| match pair {
        [upper, lower] => u8::from_str_radix(std::str::from_utf8(&[*upper, *lower]).ok()?, 16).ok(),
        _ => None,
    };
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
    decimal(std::str::from_utf8(&bytes).ok()?.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_postgresql_writes_them() {
        for (text, number) in [
            ("1", 1.0),
            ("007", 7.0),
            ("999999999999999", 999_999_999_999_999.0),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("-9223372036854775808", -9_223_372_036_854_775_808.0),
            ("12345678901234567890.123456789", 12_345_678_901_234_567_890.0),
            ("1e-07", 1e-7),
            (" 42 ", 42.0),
            ("8  ", 8.0),
            (".5", 0.5),
            ("+3", 3.0),
            ("1_000.5", 1000.5),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("infinity", f64::INFINITY),
            ("inf", f64::INFINITY),
            ("t", 1.0),
            ("f", 0.0),
        ] {
            assert_eq!(plain(text), Some(number), "{text}");
        }
        assert!(plain("NaN").unwrap().is_nan());
    }

    #[test]
    fn other_text_is_no_number() {
        for text in [
            "",
            " ",
            "abc",
            "0x1F",
            "1 2",
            "1_",
            "_1",
            "1__0",
            "1_.5",
            "$15.50",
            "{1,2}",
            "true",
            "1,5",
            "--1",
            "1e",
            "e1",
            "1e999",
            "550e8400-e29b-41d4-a716-446655440000",
            "10.0.0.1",
            "1/2/3",
            "1/",
            "/1",
            "123456789/0",
            "G/0",
            "+1/0",
            "\\x3",
            "\\x+1",
            "\\xzz",
            "\\x",
            "{\"a\":1}",
            "٣",
        ] {
            assert_eq!(any(text), None, "{text}");
        }
    }

    #[test]
    fn shapes_count_only_where_they_are_asked_for() {
        for (text, number) in
            [("0/16B3748", 23_803_720.0), ("1/0", 4_294_967_296.0), ("\\x3133", 13.0), ("00:01:00", 60.0)]
        {
            assert_eq!((any(text), plain(text)), (Some(number), None), "{text}");
        }
    }
}
