//! Mistakes in what the user wrote: a query file, an environment variable or a secret.

use std::fmt;

/// A mistake or a warning. It never contains a value, since a value may be a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the problem disables something.
    pub severity: Severity,
    /// Where the text comes from.
    pub origin: Origin,
    /// The place in the text, such as `pg_stat_database.metrics[3].datname.usage`, or the key of a secret. Empty for the
    /// whole text.
    pub place: String,
    /// The line, counted from 1, if it is certain.
    pub line: Option<usize>,
    /// The mistake, in lowercase.
    pub message: String,
    /// A hint on what to do. May be empty.
    pub(crate) hint: String,
}

/// The source of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A query file, as it was named to the exporter.
    File(String),
    /// An environment variable.
    Variable(&'static str),
    /// A secret. The message about the secret as a whole has its name.
    Secret,
}

/// The severity of a [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Disables the query or, without a place, the file. A variable or a secret cannot be used.
    Error,
    /// Something unknown is ignored, and the rest counts. `check` fails, a scrape does not.
    Ignored,
    /// Everything runs, but the author may have meant something else.
    Warning,
}

impl Problem {
    /// An error at a place in a text.
    pub(crate) fn at(origin: Origin, place: impl Into<String>, message: impl Into<String>) -> Self {
        let (place, message) = (place.into(), message.into());
        Self { severity: Severity::Error, origin, place, line: None, message, hint: String::new() }
    }

    /// An error in the whole value of a variable.
    pub(crate) fn in_variable(variable: &'static str, message: impl Into<String>) -> Self {
        Self::at(Origin::Variable(variable), "", message)
    }
}

impl fmt::Display for Problem {
    /// `queries.yml:12: pg_x.metrics[0].v.usage: unknown usage "GAGUE"; did you mean GAUGE?`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.line) {
            (Origin::File(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Origin::File(file), None) => write!(f, "{file}: ")?,
            (Origin::Variable(variable), _) => write!(f, "{variable}: ")?,
            (Origin::Secret, _) => {}
        }
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// All problems in one line.
pub(crate) fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}
