//! Running one query: the message that is sent, the rows that come back, and how it is stopped.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::StreamExt;
use smallvec::SmallVec;
use tokio::time::{Instant, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryStream};

use super::allowance::ASIDE_BYTES_MAX;
use super::error::{self, QueryError, Sent};
use super::{Connection, Refusal};
use crate::sql::{PROLOGUE_SETTINGS, Sql};
use crate::table::{Rows, Table, TooLarge};

/// The most that may be received for a predicate or another small result, in bytes.
const SMALL_RESULT_BYTES_MAX: u64 = 32 << 20;

/// How much longer than the server the client waits, so that it is the server that ends a slow query: then the
/// connection survives. It covers the way there and back.
pub(crate) const GRACE: Duration = Duration::from_millis(250);

/// Replaces a cell whose bytes are not UTF-8 (in a database with encoding `SQL_ASCII`).
pub(super) const NOT_TEXT: &str = "\u{FFFD}";

impl Connection {
    /// Does the same as [`Connection::run_into`] for a small result.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn run(
        &mut self,
        sql: &Sql,
        timeout: Duration,
        cancel_limit: Duration,
    ) -> Result<Table, QueryError> {
        let mut table = Table::default();
        self.run_into(sql, timeout, cancel_limit, SMALL_RESULT_BYTES_MAX, &mut table).await?;
        Ok(table)
    }

    /// Runs `sql` and gives the rows to `rows` as they arrive; those of the last statement that has a result count. The
    /// server may send `received_max` bytes.
    ///
    /// The query goes out in one simple Query message behind a `SELECT` of `set_config` calls. PostgreSQL runs
    /// such a message as one transaction (documentation, "Multiple Statements in a Simple Query"), so that
    ///
    /// - it is read-only. The first statement has run a query, after which the server refuses to make a
    ///   transaction read-write again, by `SET` or by `set_config`, and it refuses to end one within a function.
    ///   [`Sql`] refuses statements that end it, and statements that write all the same;
    /// - it is the statements that [`Sql`] has checked: where strings end elsewhere with
    ///   `standard_conforming_strings = off`, the prologue fails on a server with that setting. The server splits the
    ///   whole message by the current setting: the value at login may be outdated, and a `SET` would come too late;
    /// - each statement has `timeout`, to the millisecond, kept by the server: since PostgreSQL 13 the time
    ///   starts again with each of them. The client limits the time of all of them together;
    /// - numbers, dates and bytes are written in one way, whatever the server's or the role's settings;
    /// - nothing of this outlives the message, even if it fails: the next user of a pooled connection does not
    ///   see it. (A setting by `set_config(…, false)` in the query does outlive it.)
    /// - no prepared statement is made, so any pooler will do;
    /// - `pg_stat_statements`, which replaces constants, has one entry for the prologue whatever the timeout, and
    ///   one for the prologue that looks at `standard_conforming_strings`.
    ///
    /// After `timeout` and [`GRACE`] the client asks the server to cancel, and waits for the end of the query for
    /// at most `cancel_limit`. Then the connection is unusable: a cancel request names a connection, not a query,
    /// and might still hit the next one.
    ///
    /// # Errors
    /// [`QueryError`]. The rows before an error do not count.
    pub(crate) async fn run_into(
        &mut self,
        sql: &Sql,
        timeout: Duration,
        cancel_limit: Duration,
        received_max: u64,
        rows: &mut impl Rows,
    ) -> Result<(), QueryError> {
        if !self.is_usable() {
            return Err(self.lost_earlier());
        }
        self.ready = false;
        self.refusal = None;
        self.allowance.renew(received_max);
        let begun = Instant::now();
        let strings = if sql.needs_standard_strings() { Strings::Standard } else { Strings::Any };
        let message = message(sql.as_str(), timeout, self.has_encoding, strings);
        let stream = match self.client.simple_query_raw(&message).await {
            Ok(stream) => stream,
            Err(error) => return Err(self.lost(&error)),
        };
        let mut stream = pin!(stream);
        let outcome = tokio::time::timeout(timeout.saturating_add(GRACE), read(stream.as_mut(), rows)).await;
        if matches!(outcome, Ok(Ok(_) | Err(Failure::Server(_)))) {
            self.allowance.renew(ASIDE_BYTES_MAX);
        }
        match outcome {
            Ok(Ok(())) => {
                self.ready = true;
                Ok(())
            }
            Ok(Err(Failure::Server(error))) => {
                self.ready = true;
                // The prologue is ASCII.
                let prologue = message.len().saturating_sub(sql.as_str().len());
                self.refusal = error.as_db_error().map(|error| Refusal::of(error, prologue));
                // The server's clock began later than this one, so a shorter time is somebody else's cancel.
                let timed_out = error.code() == Some(&SqlState::QUERY_CANCELED) && begun.elapsed() >= timeout;
                Err(match error.as_db_error() {
                    _ if timed_out => QueryError::Timeout,
                    Some(error) if error.message().contains(STRINGS_DIFFER) => QueryError::StringsDiffer,
                    _ => QueryError::of_server(&error, &self.sent(&message, sql)),
                })
            }
            Ok(Err(Failure::Lost(_))) if self.allowance.is_spent() => Err(QueryError::TooLarge),
            Ok(Err(Failure::Lost(error))) => Err(self.lost(&error)),
            Ok(Err(Failure::TooLarge)) => {
                self.cancel(stream, cancel_limit).await;
                Err(QueryError::TooLarge)
            }
            Err(_) => {
                self.cancel(stream, cancel_limit).await;
                Err(QueryError::Timeout)
            }
        }
    }

    /// Sends a cancel request and waits until the query has ended, both within `limit`.
    async fn cancel(&self, mut stream: Pin<&mut SimpleQueryStream>, limit: Duration) {
        let stop = async {
            self.request_cancel().await?;
            while let Some(message) = stream.next().await {
                if message.is_err_and(|error| error.is_closed()) {
                    break;
                }
            }
            Ok::<_, super::CancelError>(())
        };
        match timeout(limit, stop).await {
            Ok(Ok(())) => tracing::debug!("the query was cancelled"),
            Ok(Err(error)) => tracing::warn!(error = error::chain(&error), "cannot cancel the query"),
            Err(_) => tracing::warn!("the server did not cancel the query in time"),
        }
    }

    fn sent<'a>(&self, message: &'a str, sql: &'a Sql) -> Sent<'a> {
        Sent { message, query: sql.as_str(), database_has_encoding: self.has_encoding }
    }

    fn lost(&self, error: &tokio_postgres::Error) -> QueryError {
        match self.end.get() {
            // The client has only seen that it is closed. The driver has seen why.
            Some(reason) if error.is_closed() => QueryError::Connection { reason: reason.clone() },
            _ => QueryError::Connection { reason: error::describe(error) },
        }
    }

    fn lost_earlier(&self) -> QueryError {
        let reason = self.end.get().map_or("it had been given up", String::as_str);
        QueryError::Connection { reason: reason.to_owned() }
    }
}

/// With which `standard_conforming_strings` a query may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    /// Its statements are the same with either value.
    Any,
    /// `on` only.
    Standard,
}

/// An invalid value for `statement_timeout`, which makes the prologue fail. The server repeats it in any language.
const STRINGS_DIFFER: &str = "standard_conforming_strings is off";

/// The prologue and the query.
pub(super) fn message(sql: &str, timeout: Duration, database_has_encoding: bool, strings: Strings) -> String {
    // 0 would be no limit at all; what is above the setting's range is next to none.
    let milliseconds = timeout.as_micros().div_ceil(1000).clamp(1, i32::MAX as u128);
    let timeout = match strings {
        Strings::Any => format!("'{milliseconds}'"),
        Strings::Standard => format!(
            "CASE current_setting('standard_conforming_strings') WHEN 'on' THEN '{milliseconds}' \
             ELSE '{STRINGS_DIFFER}' END"
        ),
    };
    // Without an encoding the server knows of no characters, and refuses to call its bytes UTF-8.
    let encoding = if database_has_encoding { "'UTF8'" } else { "'SQL_ASCII'" };
    let values = ["'on'", &timeout, encoding, "'error'", "'ISO'", "'postgres'", "'1'", "'hex'"];
    let mut message = String::with_capacity(512 + sql.len());
    let mut before = "SELECT set_config('";
    for (setting, value) in PROLOGUE_SETTINGS.iter().zip(values) {
        message.extend([before, setting, "',", value, ",true)"]);
        before = ", set_config('";
    }
    message.extend([";\n", sql]);
    message
}

/// Why there are no rows.
enum Failure {
    /// The server refused the query and is ready for the next.
    Server(tokio_postgres::Error),
    /// The connection is gone, or what came over it cannot be understood.
    Lost(tokio_postgres::Error),
    /// The rows are more than may be kept; there are more to come.
    TooLarge,
}

/// Reads all results up to the server's word that it is ready. The prologue's result does not count.
async fn read(mut stream: Pin<&mut SimpleQueryStream>, rows: &mut impl Rows) -> Result<(), Failure> {
    let mut prologue_is_done = false;
    let mut refused = None;
    while let Some(message) = stream.next().await {
        match message {
            Ok(SimpleQueryMessage::CommandComplete(_)) => prologue_is_done = true,
            Ok(SimpleQueryMessage::RowDescription(columns)) if prologue_is_done => {
                rows.begin(columns.iter().map(|column| column.name().to_owned()).collect());
            }
            Ok(SimpleQueryMessage::Row(row)) if prologue_is_done => {
                let cells = (0..row.len()).map(|index| row.try_get(index).unwrap_or(Some(NOT_TEXT)));
                rows.row(&cells.collect::<SmallVec<[_; 16]>>()).map_err(|TooLarge| Failure::TooLarge)?;
            }
            Ok(_) => {}
            // Behind an error comes the word that the server is ready, unless it hangs up.
            Err(error) if refused.is_none() && error::is_of_statement(&error) => refused = Some(error),
            Err(error) => return Err(Failure::Lost(refused.unwrap_or(error))),
        }
    }
    refused.map_or(Ok(()), |error| Err(Failure::Server(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_is_in_whole_milliseconds_and_never_unlimited() {
        let of = |timeout| message("SELECT 1", timeout, true, Strings::Any);
        assert!(of(Duration::ZERO).contains("'statement_timeout','1'"));
        assert!(of(Duration::from_micros(1001)).contains("'statement_timeout','2'"));
        assert!(of(Duration::from_secs(5)).contains("'statement_timeout','5000'"));
        assert!(of(Duration::MAX).contains("'statement_timeout','2147483647'"));
        assert!(of(Duration::ZERO).ends_with("true);\nSELECT 1"));
        let whole = "SELECT set_config('transaction_read_only','on',true), set_config('statement_timeout','7',true), \
                     set_config('client_encoding','UTF8',true), set_config('client_min_messages','error',true), \
                     set_config('DateStyle','ISO',true), set_config('IntervalStyle','postgres',true), \
                     set_config('extra_float_digits','1',true), set_config('bytea_output','hex',true);\nSELECT 1";
        assert_eq!(of(Duration::from_millis(7)), whole);
    }
}
