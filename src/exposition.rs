//! Families as the bytes of a scrape's answer, and which of the two text formats a client asks for.
//!
//! It writes what it is given: names, duplicates and clashes are decided before. Only what OpenMetrics forbids and
//! 0.0.4 allows is decided here.

mod negotiation;
mod number;
mod text;

pub use text::{encode, end, estimated_bytes};

/// A text format that Prometheus scrapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus's own, version 0.0.4 (Prometheus documentation, "Exposition formats").
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What the answer's `Content-Type` says. Prometheus 3 refuses one that is missing or odd.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}
