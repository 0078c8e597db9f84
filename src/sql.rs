//! SQL as far as the exporter must understand it: where statements begin, and which of them may not be sent.

/// SQL that may be sent in a message of its own: see [`Sql::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql(String);

impl Sql {
    /// The text to send.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
