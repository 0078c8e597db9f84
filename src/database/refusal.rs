//! Further parts of the server's error, for the author at a terminal.

use std::fmt;

use tokio_postgres::error::{DbError, ErrorPosition};

/// The place of the mistake in the SQL, and the server's advice. Both may quote the SQL, so they must never
/// be logged.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The number of characters of the SQL before the place.
    pub(crate) position: Option<usize>,
    /// PostgreSQL's HINT.
    pub(crate) hint: Option<String>,
}

impl Refusal {
    /// `prologue` is the number of characters that were sent before the SQL.
    pub(super) fn of(error: &DbError, prologue: usize) -> Self {
        // With a CONTEXT, the text is that of a function or of another server, and may contain values.
        let hint = error.hint().filter(|_| error.where_().is_none()).map(str::to_owned);
        let position = match error.position() {
            Some(ErrorPosition::Original(position)) => {
                // The server counts characters from 1.
                usize::try_from(*position).ok().and_then(|position| position.checked_sub(prologue + 1))
            }
            _ => None,
        };
        Self { position, hint }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").finish_non_exhaustive()
    }
}
