//! Conditions on servers and databases: ranges of versions, and patterns of names.

use std::str::FromStr;

/// A set of server versions, in the format of postgres_exporter's `runonserver`: comparisons that must all
/// hold (`>=12.0.0 <17.0.0`, `<16`), a span (`10 - 12`), a wildcard (`14.x`), and `||` between alternatives.
///
/// PostgreSQL has no third number; it is read and ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange(Vec<Vec<Interval>>);

/// Versions as in `server_version_num` (150003 is 15.3), from the first to before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    from: u32,
    until: u32,
    /// If false, all versions outside the interval are meant.
    inside: bool,
}

/// Why a text is not a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// An alternative is empty.
    #[error("not a range of versions: one side of || is empty")]
    Empty,
    /// A word that is neither a version nor a comparison.
    #[error("not a range of versions: a version is one to three numbers, such as 14 or 14.0.0")]
    Version,
    /// A span without exactly two versions.
    #[error("not a range of versions: a span is two versions with ' - ' between them")]
    Span,
}

impl VersionRange {
    /// Whether the set has the server with this `server_version_num` (150003 is 15.3; 90624 is 9.6.24).
    pub fn contains(&self, server_version_num: u32) -> bool {
        let within = |interval: &Interval| (interval.from..interval.until).contains(&server_version_num);
        self.0.iter().any(|all| all.iter().all(|interval| within(interval) == interval.inside))
    }
}

impl FromStr for VersionRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        text.split("||").map(alternative).collect::<Result<_, _>>().map(Self)
    }
}

fn alternative(text: &str) -> Result<Vec<Interval>, InvalidRange> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidRange::Empty);
    }
    if let Some((low, high)) = text.split_once(" - ") {
        if [low, high].iter().any(|side| side.trim().contains(' ')) {
            return Err(InvalidRange::Span);
        }
        let (from, until) = (version(low.trim())?.from, version(high.trim())?.until);
        return Ok(vec![Interval { from, until, inside: true }]);
    }
    // `>= 12` is `>=12`.
    let mut intervals = Vec::new();
    let mut operator = "";
    for word in text.split_whitespace() {
        let digits = word.trim_start_matches(['<', '>', '=', '!']);
        let own = word.strip_suffix(digits).unwrap_or_default();
        if !own.is_empty() && !operator.is_empty() {
            return Err(InvalidRange::Version);
        }
        operator = if own.is_empty() { operator } else { own };
        if !digits.is_empty() {
            intervals.push(compared(operator, version(digits)?)?);
            operator = "";
        }
    }
    match operator {
        "" => Ok(intervals),
        _ => Err(InvalidRange::Version),
    }
}

/// The versions that a written version means: `14` and `14.x` are every 14, `14.2` is one version.
fn version(text: &str) -> Result<Interval, InvalidRange> {
    let mut numbers = Vec::new();
    for part in text.split('.') {
        match part {
            "x" | "X" | "*" => numbers.push(None),
            _ => numbers.push(Some(part.parse::<u32>().map_err(|_| InvalidRange::Version)?)),
        }
    }
    let (major, minor, patch) = match *numbers.as_slice() {
        [Some(major)] => (major, None, None),
        [Some(major), minor] => (major, minor, None),
        [Some(major), minor, patch] => (major, minor, patch),
        _ => return Err(InvalidRange::Version),
    };
    if major > 999 || minor.is_some_and(|minor| minor > 99) || patch.is_some_and(|patch| patch > 99) {
        return Err(InvalidRange::Version);
    }
    let base = major * 10_000;
    // Before 10, a major version had two numbers, and `server_version_num` had two digits for each of three.
    let (from, width) = match (major, minor, patch) {
        (_, None, _) => (base, 10_000),
        (..10, Some(minor), None) => (base + minor * 100, 100),
        (..10, Some(minor), Some(patch)) => (base + minor * 100 + patch, 1),
        (_, Some(minor), _) => (base + minor, 1),
    };
    Ok(Interval { from, until: from + width, inside: true })
}

fn compared(operator: &str, Interval { from, until, .. }: Interval) -> Result<Interval, InvalidRange> {
    let (from, until, inside) = match operator {
        "" | "=" | "==" => (from, until, true),
        "!" | "!=" => (from, until, false),
        "<" => (0, from, true),
        "<=" => (0, until, true),
        ">" => (until, u32::MAX, true),
        ">=" => (from, u32::MAX, true),
        _ => return Err(InvalidRange::Version),
    };
    Ok(Interval { from, until, inside })
}

/// A database's name, or a pattern as in CloudNativePG: `*` is any text, `?` any character, `[a-c]` one of
/// these, `[^a-c]` or `[!a-c]` any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabasePattern(glob::Pattern);

impl DatabasePattern {
    /// Whether the pattern is this name, and so matches no other.
    pub(crate) fn is_only(&self, name: &str) -> bool {
        self.0.as_str() == name && !name.contains(['*', '?', '['])
    }

    /// Whether the pattern matches a database's name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}

impl FromStr for DatabasePattern {
    type Err = glob::PatternError;

    fn from_str(text: &str) -> Result<Self, glob::PatternError> {
        // Go writes `[^…]`, and the glob library gives `**` another meaning.
        let mut pattern = text.replace("[^", "[!");
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        glob::Pattern::new(&pattern).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_the_versions_that_they_name() {
        let table: [(&str, &[u32], &[u32]); 13] = [
            (">=12.0.0 <17.0.0", &[120_000, 150_003, 160_099], &[110_022, 170_000]),
            ("<16", &[90_624, 150_099], &[160_000]),
            (">= 16", &[160_000], &[159_999]),
            ("10 - 12", &[100_000, 120_022], &[90_624, 130_000]),
            (">=14 || <11", &[140_000, 100_005], &[110_000, 130_010]),
            (">13", &[140_000], &[130_000, 130_010]),
            (">13.0.0", &[130_001, 140_000], &[130_000]),
            ("<=13", &[130_010, 120_000], &[140_000]),
            ("14.x", &[140_000, 140_011], &[130_000, 150_000]),
            ("=15.3", &[150_003], &[150_002, 150_004]),
            ("!=14", &[130_000, 150_000], &[140_003]),
            ("9.6", &[90_600, 90_624], &[90_500, 100_000]),
            ("==9.6.24", &[90_624], &[90_623]),
        ];
        for (text, inside, outside) in table {
            let range: VersionRange = text.parse().unwrap();
            for &version in inside {
                assert!(range.contains(version), "{text} {version}");
            }
            for &version in outside {
                assert!(!range.contains(version), "{text} {version}");
            }
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "||",
            ">=14 ||",
            "new",
            ">=",
            ">= >= 14",
            "14.0.0.0",
            "x",
            "10 - ",
            "10 - 12 13",
            "=>14",
            "-1",
        ] {
            assert!(text.parse::<VersionRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn databases_match_by_name_or_pattern() {
        let matches = |pattern: &str, name| pattern.parse::<DatabasePattern>().unwrap().matches(name);
        assert!(matches("shop", "shop") && !matches("shop", "shop2") && !matches("shop", "Shop"));
        assert!(matches("*", "any") && matches("app-*", "app-1") && matches("app?", "app1"));
        assert!(matches("app[0-9]", "app7") && !matches("app[!0-9]", "app7"));
        assert!(matches("app[^0-9]*", "apple") && !matches("app[^0-9]*", "app7"));
        assert!(matches("a**", "abc") && matches("**", "a/b") && matches("*", ".hidden"));
        assert!("a[".parse::<DatabasePattern>().is_err());
    }
}
