//! PostgreSQL's text of dates, times and intervals as seconds, in the styles that each query sets: DateStyle
//! ISO and IntervalStyle postgres (PostgreSQL documentation, "Date/Time Output", "Interval Output"). The
//! result equals `EXTRACT(EPOCH FROM …)` of the same value.

use std::ops::RangeInclusive;

const MICROS: i128 = 1_000_000;
const DAY_SECONDS: i128 = 86_400;

/// The units of an interval from long to short, and their seconds. For `EXTRACT`, a year has 365.25 days and
/// a month 30.
const INTERVAL_UNITS: [(&str, &str, i128); 3] =
    [("year", "years", 31_557_600), ("mon", "mons", 30 * DAY_SECONDS), ("day", "days", DAY_SECONDS)];

/// Unix seconds of a `date`, `timestamp` or `timestamptz`: `2020-01-02`, `2020-01-02 03:04:05.678+05:30`,
/// `0044-03-15 BC`. UTC without an offset.
pub(super) fn timestamp(text: &str) -> Option<f64> {
    let (text, is_before_christ) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (date, clock) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let day_micros = days_since_1970(date, is_before_christ)? * DAY_SECONDS * MICROS;
    Some(seconds(day_micros + zoned(clock)?))
}

/// Seconds since midnight UTC of a `timetz`: `03:04:05+02`. Without an offset, [`interval`] reads it.
pub(super) fn time_with_zone(text: &str) -> Option<f64> {
    Some(seconds(zoned(text)?))
}

/// Seconds of an `interval` or a `time`: `1 year 2 mons -3 days +04:05:06.5`, `04:05:06`.
pub(super) fn interval(text: &str) -> Option<f64> {
    Some(seconds(interval_micros(text)?))
}

/// Milliseconds of an `interval` or a `time`.
pub(super) fn interval_milliseconds(text: &str) -> Option<f64> {
    // Multiplied before rounding, so that the result is rounded once.
    Some(seconds(interval_micros(text)? * 1000))
}

fn interval_micros(text: &str) -> Option<i128> {
    let mut words = text.split(' ');
    let mut units = INTERVAL_UNITS.iter();
    let mut micros = 0;
    while let Some(word) = words.next() {
        let (sign, word) = signed(word);
        if word.contains(':') {
            micros += sign * clock(word, 2..=10)?;
            return words.next().is_none().then_some(micros);
        }
        let count = digits(word, 1..=10)?;
        let unit = words.next()?;
        let (.., unit_seconds) = units.find(|(one, many, _)| unit == *one || unit == *many)?;
        micros += sign * count * unit_seconds * MICROS;
    }
    Some(micros)
}

/// Microseconds since midnight UTC of a time and its offset.
fn zoned(text: &str) -> Option<i128> {
    let sign_at = text.find(['+', '-']).unwrap_or(text.len());
    let (local, offset) = text.split_at_checked(sign_at)?;
    Some(clock(local, 2..=2)? - zone_offset(offset)?)
}

/// Microseconds east of UTC: `+02`, `+05:30`, `-00:25:21`, or nothing.
fn zone_offset(text: &str) -> Option<i128> {
    if text.is_empty() {
        return Some(0);
    }
    let (sign, text) = signed(text);
    let mut fields = text.split(':').map(|field| digits(field, 2..=2));
    let hours = fields.next()??;
    let minutes = fields.next().unwrap_or(Some(0))?;
    let seconds = fields.next().unwrap_or(Some(0))?;
    fields.next().is_none().then_some(sign * (hours * 3600 + minutes * 60 + seconds) * MICROS)
}

/// Microseconds of `hours:minutes:seconds`, with a fraction of up to six digits.
fn clock(text: &str, hour_digits: RangeInclusive<usize>) -> Option<i128> {
    let (hours, rest) = text.split_once(':')?;
    let (minutes, rest) = rest.split_once(':')?;
    let (seconds, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let sixtieths = |text| digits(text, 2..=2).filter(|&number| number < 60);
    let whole = digits(hours, hour_digits)? * 3600 + sixtieths(minutes)? * 60 + sixtieths(seconds)?;
    let padding = 10_i128.pow(6_u32.checked_sub(u32::try_from(fraction.len()).ok()?)?);
    Some(whole * MICROS + digits(fraction, 1..=6)? * padding)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, which PostgreSQL uses throughout.
fn days_since_1970(text: &str, is_before_christ: bool) -> Option<i128> {
    let mut fields = text.split('-');
    let year = digits(fields.next()?, 4..=7).filter(|&year| year > 0)?;
    let month = digits(fields.next()?, 2..=2)?;
    let day = digits(fields.next()?, 2..=2)?;
    // The year 0 does not exist: 1 BC comes before AD 1.
    let year = if is_before_christ { 1 - year } else { year };
    let is_date = fields.next().is_none() && (1..=days_in_month(year, month)?).contains(&day);
    is_date.then(|| days_from_civil(year, month, day))
}

fn days_in_month(year: i128, month: i128) -> Option<i128> {
    let is_leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    match month {
        2 => Some(if is_leap { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". Years begin in March, so that the leap day
/// is the last one, and 719,468 days are between 0000-03-01 and 1970-01-01.
fn days_from_civil(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn signed(text: &str) -> (i128, &str) {
    match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn digits(text: &str, lengths: RangeInclusive<usize>) -> Option<i128> {
    let is_number = lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// The float nearest to this number of microseconds.
fn seconds(micros: i128) -> f64 {
    const EXACT: i128 = 1 << f64::MANTISSA_DIGITS;
    if micros % MICROS == 0 {
        (micros / MICROS) as f64
    } else if micros.abs() <= EXACT {
        micros as f64 / MICROS as f64
    } else {
        // The parser rounds once. A division would round a second time.
        let sign = if micros < 0 { "-" } else { "" };
        let micros = micros.unsigned_abs();
        let decimal =
            format!("{sign}{}.{:06}", micros / MICROS.unsigned_abs(), micros % MICROS.unsigned_abs());
        decimal.parse().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Each number is PostgreSQL 15's `EXTRACT(EPOCH FROM …)`.

    #[test]
    fn timestamps_and_dates() {
        for (text, number) in [
            ("1970-01-01", 0.0),
            ("2020-01-02", 1_577_923_200.0),
            ("2020-01-02 03:04:05.678", 1_577_934_245.678),
            ("2020-01-02 03:04:05.678+00", 1_577_934_245.678),
            ("2020-01-02 03:04:05+05:30", 1_577_914_445.0),
            ("1890-01-01 00:00:00-00:25:21", -2_524_520_079.0),
            ("1969-12-31 23:59:59.5", -0.5),
            ("2000-02-29 12:00:00-08", 951_854_400.0),
            ("0001-01-01", -62_135_596_800.0),
            ("0001-01-01 BC", -62_167_219_200.0),
            ("0044-03-15 12:00:00+00 BC", -63_517_780_800.0),
            ("4713-01-01 BC", -210_863_520_000.0),
            ("294276-12-31 23:59:59.999999", 9_224_318_015_999.999_999),
            ("5874897-12-31", 185_331_706_992_000.0),
        ] {
            assert_eq!(timestamp(text), Some(number), "{text}");
        }
    }

    #[test]
    fn intervals_and_times() {
        for (text, number) in [
            ("00:00:00", 0.0),
            ("1 day 02:03:04.5", 93_784.5),
            ("-1 days +02:03:00", -79_020.0),
            ("1 year 2 mons -3 days", 36_482_400.0),
            ("-1 years -2 mons +3 days -04:05:06", -36_497_106.0),
            ("100000:00:00", 360_000_000.0),
            ("-00:00:00.000001", -0.000_001),
            ("1 mon", 2_592_000.0),
            ("24:00:00", 86_400.0),
        ] {
            assert_eq!(interval(text), Some(number), "{text}");
        }
        assert_eq!(time_with_zone("03:04:05+02"), Some(3845.0));
        assert_eq!(time_with_zone("23:59:59.5-05:30"), Some(106_199.5));
    }

    #[test]
    fn what_postgresql_never_writes_is_refused() {
        for text in [
            "",
            "2020-02-30",
            "2019-02-29",
            "2020-13-01",
            "2020-00-10",
            "2020-01-00",
            "0000-01-01",
            "20-01-01",
            "2020-1-1",
            "2020-01-01 ",
            "2020-01-01 1:00:00",
            "2020-01-01 00:00:60",
            "2020-01-01 00:00:00.",
            "2020-01-01 00:00:00.1234567",
            "2020-01-01 00:00:00+",
            "2020-01-01 00:00:00+5",
            "2020-01-01 00:00:00+05:30:00:00",
            "2020-01-01-01",
            "BC",
        ] {
            assert_eq!(timestamp(text), None, "{text:?}");
        }
        for text in [
            "",
            "1",
            "day",
            "1 day 1 day",
            "1 day 1 year",
            "1 hour",
            "1 day ",
            "00:00",
            "00:00:00 1 day",
            "1  day",
            "- day",
            "99999999999 days",
        ] {
            assert_eq!(interval(text), None, "{text:?}");
        }
    }
}
