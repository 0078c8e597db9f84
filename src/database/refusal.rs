//! What else the server says of SQL that it refuses, for the author at a terminal.

use std::fmt;

use tokio_postgres::error::{DbError, ErrorPosition};

/// Where in the SQL the mistake is, and the server's advice. Both may quote the SQL: they are for the person who wrote
/// it, and never for a log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// How many characters of the SQL come before the place.
    pub position: Option<usize>,
    /// PostgreSQL's HINT.
    pub hint: Option<String>,
}

impl Refusal {
    /// `prologue` is how many characters were sent in front of the SQL.
    pub(super) fn of(error: &DbError, prologue: usize) -> Self {
        // With a CONTEXT, the words are those of a function or of another server, and may hold values.
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
