//! Facts about the server, from one message.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::Connection;
use super::allowance::ASIDE_BYTES_MAX;
use super::error::{ConnectError, Phase};
use super::run::{NOT_TEXT, Strings, message};

/// One constant statement, so that `pg_stat_statements` has one entry for it. `aurora_version` is a function
/// of Amazon Aurora (Aurora user guide, "Aurora PostgreSQL functions reference").
const FACTS: &str = "SELECT current_setting('server_version_num'), pg_is_in_recovery(), current_database(), \
                     to_regproc('aurora_version') IS NOT NULL";

/// Facts about a server and the connected database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ServerFacts {
    /// `server_version_num`: 150003 is 15.3, and 90605 is 9.6.5.
    pub(crate) version_num: u32,
    /// Whether the server is a standby, or is not yet promoted.
    pub(crate) is_in_recovery: bool,
    /// The name of the database.
    pub(crate) database: String,
    /// Whether it is Amazon Aurora.
    pub(crate) is_aurora: bool,
}

impl Connection {
    /// Asks the server for its facts. Without a valid answer within `limit` the connection becomes unusable,
    /// since such a server would not answer queries either.
    pub(super) async fn ask_facts(&mut self, limit: Duration) -> Result<(), ConnectError> {
        self.ready = false;
        self.allowance.renew(ASIDE_BYTES_MAX);
        let message = message(FACTS, limit, self.has_encoding, Strings::Any);
        let messages = timeout(limit, self.client.simple_query(&message))
            .await
            .map_err(|_| ConnectError::TimedOut(Phase::Facts))?
            .map_err(|error| match self.allowance.is_spent() {
                true => ConnectError::Lost("the server sent more than it may".to_owned()),
                false => ConnectError::of_login(&error),
            })?;
        let last_row = messages.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        self.facts = last_row.and_then(ServerFacts::of_row).ok_or_else(|| {
            ConnectError::Protocol("the server's version and state are not understood".into())
        })?;
        self.ready = true;
        Ok(())
    }
}

impl ServerFacts {
    fn of_row(row: &SimpleQueryRow) -> Option<Self> {
        let cell = |index| row.try_get(index).unwrap_or(Some(NOT_TEXT));
        Some(Self {
            version_num: cell(0)?.parse().ok()?,
            is_in_recovery: cell(1)? == "t",
            database: cell(2)?.to_owned(),
            is_aurora: cell(3)? == "t",
        })
    }
}
