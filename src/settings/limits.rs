//! Limits of series, labels and answers.

use std::ops::RangeInclusive;

use super::{Problem, present};

/// The limits of a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `MAX_SERIES`: the maximum number of samples of all queries of a scrape.
    pub series: usize,
    /// `MAX_LABEL_LENGTH`: the maximum size of a label's value in bytes of UTF-8.
    pub label_bytes: usize,
    /// `MAX_RESULT_BYTES`: the maximum memory of the samples of all queries of a scrape, in bytes. The server may send twice
    /// as much for one query.
    pub result_bytes: usize,
    /// `MAX_RESPONSE_BYTES`: the maximum size of an answer in bytes of JSON. The limit of the service behind
    /// the request applies in any case.
    pub response_bytes: Option<usize>,
}

/// Lambda's own limit (AWS Lambda quotas, "Invocation payload", 6 MB).
const RESPONSE_BYTES: RangeInclusive<usize> = 1..=6 << 20;

/// The largest function has 10 GB (AWS Lambda quotas, "Memory allocation").
const RESULT_BYTES: RangeInclusive<usize> = 1..=1 << 30;

impl Default for Limits {
    fn default() -> Self {
        Self { series: 100_000, label_bytes: 16_384, result_bytes: 16 << 20, response_bytes: None }
    }
}

impl Limits {
    /// Reads `MAX_SERIES`, `MAX_LABEL_LENGTH`, `MAX_RESULT_BYTES` and `MAX_RESPONSE_BYTES` through `lookup`. Empty values count
    /// as unset.
    ///
    /// # Errors
    /// Every mistake.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let read = present(lookup);
        let mut problems = Vec::new();
        let mut number = |variable, allowed: RangeInclusive<usize>| {
            let text = read(variable)?;
            // Rust would accept a sign.
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
            result_bytes: number("MAX_RESULT_BYTES", RESULT_BYTES).unwrap_or(default.result_bytes),
            response_bytes: number("MAX_RESPONSE_BYTES", RESPONSE_BYTES),
        };
        if problems.is_empty() { Ok(limits) } else { Err(problems) }
    }
}
