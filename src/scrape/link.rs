//! The link to the database that outlives a scrape: the target as it was last fetched, and the connection to it.
//!
//! It owns when a target is fetched anew and when a connection is given up. A process may have been frozen since the
//! last scrape, so nothing that is kept is trusted before it was checked; and what is right stays where something new
//! cannot be had. It knows nothing of queries.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::{Instant, timeout};

use super::time_left;
use crate::age::{Moment, Renewal};
use crate::credentials::Credentials;
use crate::database::{ConnectError, Connection};
use crate::settings::Keeping;
use crate::target::Target;

/// How long a kept connection has to show that it is alive; then a new one is made.
const ALIVE_LIMIT: Duration = Duration::from_secs(1);
/// What connecting leaves of a scrape's time for the queries; half of a short one.
const QUERIES_RESERVE: Duration = Duration::from_secs(1);
/// When a connection is not there after this time, or half of a short one, the secret is read again while the attempt
/// goes on: the server may have moved, or be slow to let anybody in.
const SLOW_AFTER: Duration = Duration::from_secs(4);
/// In Lambda the credentials of the function are at hand; elsewhere the SDK may have to ask for them.
const TOKEN_LIMIT: Duration = Duration::from_secs(2);
/// For a fetch that a scrape cannot do without.
const FETCH_LIMIT: Duration = Duration::from_secs(4);
/// The same where an earlier target is at hand.
const REFRESH_LIMIT: Duration = Duration::from_secs(2);
/// What is kept of the way to the database.
#[derive(Debug)]
pub(super) struct Link {
    keeping: Keeping,
    target: Option<Target>,
    renewal: Renewal,
    connection: Option<Connection>,
    /// Whether an earlier target has been fetched anew in this scrape: once is enough.
    is_refetched: bool,
    /// Whether the target has led elsewhere since this was last asked.
    has_moved: bool,
}

/// There is no connection to the database; the log says why.
#[derive(Debug)]
pub(super) struct Unreachable;

impl Link {
    /// Nothing yet.
    pub(super) fn new(keeping: Keeping) -> Self {
        Self {
            keeping,
            target: None,
            renewal: Renewal::every(keeping.secret_max_age),
            connection: None,
            is_refetched: false,
            has_moved: false,
        }
    }

    /// What comes before the queries of a scrape: a target that has become too old is renewed, and a connection that
    /// nobody answers on is given up. Takes a small bounded time, whatever hangs.
    pub(super) async fn begin_scrape(&mut self, credentials: &Credentials, deadline: Instant) {
        self.is_refetched = false;
        if credentials.is_fetched() && self.renewal.is_due(Moment::now()) {
            // What works is renewed in the time that the queries can spare. A failure is in the log.
            let limit = REFRESH_LIMIT.min(time_left(deadline) / 4);
            let _: Result<(), Unreachable> = self.fetch(credentials, limit, deadline).await;
        }
        // Nobody told the process what happened while it was frozen. A server may also have become a primary.
        let limit = ALIVE_LIMIT.min(time_left(deadline) / 2);
        if let Some(connection) = &mut self.connection
            && !connection.is_alive(limit).await
        {
            tracing::info!("the kept connection is dead, connecting anew");
            self.connection = None;
        }
    }

    /// Makes a new connection where none is kept.
    pub(super) async fn connect(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<(), Unreachable> {
        // Lets the driver notice that the server has hung up while something else had the thread.
        tokio::task::yield_now().await;
        self.connection = self.connection.take().filter(Connection::is_usable);
        if self.connection.is_none() {
            self.connection = Some(self.new_connection(credentials, deadline).await?);
        }
        Ok(())
    }

    /// The kept connection.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, Unreachable> {
        self.connection.as_mut().ok_or(Unreachable)
    }

    /// Whether there is a connection on which a query can be sent, as far as is known here.
    pub(super) fn is_usable(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_usable)
    }

    /// Whether the target has led to another server, database or role since this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// How long the connection has been open.
    pub(super) fn connection_age(&self) -> Option<Duration> {
        self.connection.as_ref().filter(|connection| connection.is_usable()).map(Connection::age)
    }

    /// How long ago the target was fetched.
    pub(super) fn target_age(&self) -> Option<Duration> {
        self.renewal.age(Moment::now())
    }

    /// Says goodbye to the server, within `limit`.
    pub(super) async fn close(&mut self, limit: Duration) {
        if let Some(connection) = self.connection.take() {
            connection.close(limit).await;
        }
    }

    async fn new_connection(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<Connection, Unreachable> {
        if self.target.is_none() {
            self.fetch(credentials, FETCH_LIMIT, deadline).await?;
        }
        let Some(kept) = self.target.clone() else { return Err(Unreachable) };
        let keeping = self.keeping;
        let mut opening = pin!(open(keeping, credentials, &kept, deadline));
        let attempt = match credentials.is_fetched() && !self.is_refetched {
            true => timeout(SLOW_AFTER.min(time_left(deadline) / 2), opening.as_mut()).await.ok(),
            false => return opening.await,
        };
        // The password may have been rotated, or the host moved, since the secret was read.
        let pending = match attempt {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(Unreachable)) => {
                self.fetch(credentials, FETCH_LIMIT, deadline).await?;
                None
            }
            None => {
                let refetch = pin!(self.fetch(credentials, FETCH_LIMIT, deadline));
                match select(refetch, opening).await {
                    Either::Left((_, opening)) => Some(opening),
                    Either::Right((outcome, _)) => return outcome,
                }
            }
        };
        match (self.target.as_ref().filter(|fresh| !fresh.is_same(&kept)), pending) {
            (Some(fresh), _) => {
                tracing::info!("the secret has changed, connecting with the new one");
                open(keeping, credentials, fresh, deadline).await
            }
            (None, Some(opening)) => opening.await,
            (None, None) => Err(Unreachable),
        }
    }

    /// Fetches the target. What is kept stays where that fails.
    async fn fetch(
        &mut self,
        credentials: &Credentials,
        limit: Duration,
        deadline: Instant,
    ) -> Result<(), Unreachable> {
        self.is_refetched = self.target.is_some();
        let target = credentials.fetch(limit.min(time_left(deadline))).await.map_err(|error| {
            self.renewal.failed(Moment::now());
            match &self.target {
                None => tracing::error!(%error, "no credentials"),
                Some(_) => tracing::warn!(%error, "the credentials are not renewed"),
            }
            Unreachable
        })?;
        self.renewal.succeeded(Moment::now());
        // A session outlives a change of its password, but it does not follow to another place.
        if self.target.as_ref().is_some_and(|kept| !kept.leads_where(&target)) {
            tracing::info!("the secret leads to another database or role");
            self.connection = None;
            self.has_moved = true;
        }
        self.target = Some(target);
        Ok(())
    }
}

/// Opens a connection to `target`. Why there is none is in the log.
async fn open(
    keeping: Keeping,
    credentials: &Credentials,
    target: &Target,
    deadline: Instant,
) -> Result<Connection, Unreachable> {
    let left = time_left(deadline);
    let deadline = deadline.checked_sub(QUERIES_RESERVE.min(left / 2)).unwrap_or(deadline);
    try_open(keeping, credentials, target, deadline).await.map_err(|error| {
        tracing::error!(%error, "no connection to the database");
        Unreachable
    })
}

async fn try_open(
    keeping: Keeping,
    credentials: &Credentials,
    target: &Target,
    deadline: Instant,
) -> Result<Connection, ConnectError> {
    let target = credentials.for_login(target, TOKEN_LIMIT.min(time_left(deadline))).await;
    let target = target.map_err(|error| ConnectError::Authentication(error.to_string()))?;
    let mut connection = Connection::open(&target, time_left(deadline)).await?;
    if let Some(idle) = keeping.idle_close {
        connection.close_when_idle(idle, ALIVE_LIMIT.min(time_left(deadline))).await?;
    }
    Ok(connection)
}
