//! How much may be given: of series, of a label, of an answer.

use std::ops::RangeInclusive;

use super::{Problem, present};

/// How much a scrape may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `MAX_SERIES`: how many samples all queries of a scrape may give together.
    pub series: usize,
    /// `MAX_LABEL_LENGTH`: how many bytes of UTF-8 the value of a label may take.
    pub label_bytes: usize,
    /// `MAX_RESPONSE_BYTES`: how many bytes of JSON an answer may take; absent: as many as the service behind the
    /// request allows, which counts in any case.
    pub response_bytes: Option<usize>,
}

/// What Lambda allows is no more (AWS Lambda quotas, "Invocation payload", 6 MB).
const RESPONSE_BYTES: RangeInclusive<usize> = 1..=6 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self { series: 100_000, label_bytes: 16_384, response_bytes: None }
    }
}

impl Limits {
    /// Reads `MAX_SERIES`, `MAX_LABEL_LENGTH` and `MAX_RESPONSE_BYTES` through `lookup`. An empty value is as good as
    /// none.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let read = present(lookup);
        let mut problems = Vec::new();
        let mut number = |variable, allowed: RangeInclusive<usize>| {
            let text = read(variable)?;
            // A sign is no part of a whole number here, though Rust reads one.
            let number =
                text.parse().ok().filter(|number| allowed.contains(number) && !text.starts_with('+'));
            if number.is_none() {
                let most = match *allowed.end() {
                    usize::MAX => "up".to_owned(),
                    most => format!("to {most}"),
                };
                problems.push(Problem::new(
                    variable,
                    &format!("must be a whole number from {} {most}", allowed.start()),
                ));
            }
            number
        };
        let default = Self::default();
        let limits = Self {
            series: number("MAX_SERIES", 1..=usize::MAX).unwrap_or(default.series),
            label_bytes: number("MAX_LABEL_LENGTH", 1..=usize::MAX).unwrap_or(default.label_bytes),
            response_bytes: number("MAX_RESPONSE_BYTES", RESPONSE_BYTES),
        };
        if problems.is_empty() { Ok(limits) } else { Err(problems) }
    }
}
