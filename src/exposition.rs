//! Turns families into the bytes of an answer, and chooses the text format that a client asks for.
//! Names, duplicates and clashes are resolved before. This module only decides where OpenMetrics forbids
//! something that 0.0.4 allows.

mod negotiation;
mod number;
mod text;

pub use text::{encode, encode_in_pieces, end};

/// A text format that Prometheus scrapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus's own, version 0.0.4 (Prometheus documentation, "Exposition formats").
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The answer's `Content-Type`. Prometheus 3 refuses a missing or unknown one.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}
