//! The target and the connection that outlive a scrape.
//!
//! This module decides when to fetch the target again and when to give up a connection. The process may have
//! been frozen since the last scrape, so kept values are checked before use. They stay in use if a new value
//! cannot be fetched. Queries are not known here.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::{Instant, timeout};

use super::time_left;
use crate::connect_options::{Host, Target};
use crate::credentials::Credentials;
use crate::database::{ConnectError, Connection};
use crate::freshness::Moment;
use crate::renewed::Renewed;
use crate::settings::Lifetimes;

/// A kept connection must answer within this time, otherwise a new one is made.
const ALIVE_LIMIT: Duration = Duration::from_secs(1);
/// The part of a scrape's time that connecting leaves for the queries. Half of a short time.
const QUERIES_RESERVE: Duration = Duration::from_secs(1);
/// If connecting takes longer than this, or than half of a short time, the secret is read again during the
/// attempt: the server may have moved, or may be slow to accept logins.
const SLOW_AFTER: Duration = Duration::from_secs(4);
/// In Lambda the function's credentials are in the environment. Elsewhere the SDK may have to fetch them.
const TOKEN_LIMIT: Duration = Duration::from_secs(2);
/// The limit of a fetch that a scrape requires.
const FETCH_LIMIT: Duration = Duration::from_secs(4);
/// The limit of a fetch while an earlier target is kept.
const REFRESH_LIMIT: Duration = Duration::from_secs(2);
/// After a connection was given up, another is tried for this long, with this pause between two attempts.
const AGAIN_LIMIT: Duration = Duration::from_secs(5);
const AGAIN_PAUSE: Duration = Duration::from_millis(100);
/// How long a server may take to accept a TCP connection if it did not in the attempt before. A server that is gone would
/// take all of each scrape otherwise, and the concurrency of others.
const REACH_LIMIT: Duration = Duration::from_secs(1);
/// PostgreSQL documentation, "PostgreSQL Error Codes".
const TOO_MANY_CONNECTIONS: &str = "53300";
/// The class of refused logins.
const INVALID_AUTHORIZATION: &str = "28";

/// The kept target and connection.
#[derive(Debug)]
pub(super) struct Session {
    lifetimes: Lifetimes,
    target: Renewed<Target>,
    connection: Option<Connection>,
    /// Whether a connection was given up in this scrape. Until the server has noticed, it counts among those of the role.
    has_given_up: bool,
    /// Whether the target has changed to another place since [`Session::take_moved`] was called last.
    has_moved: bool,
    unreached: Unreached,
}

/// The host and the port that accepted no TCP connection in the last attempt.
type Unreached = Arc<Mutex<Option<(Host, u16)>>>;

/// Why connecting failed. The log has it too.
#[derive(Debug)]
pub(super) struct Unreachable(pub(super) String);

impl Session {
    /// A session without target and connection.
    pub(super) fn new(lifetimes: Lifetimes) -> Self {
        let target = Renewed::new(lifetimes.secret_max_age, Duration::ZERO);
        Self {
            lifetimes,
            target,
            connection: None,
            has_given_up: false,
            has_moved: false,
            unreached: Unreached::default(),
        }
    }

    /// Prepares a scrape: renews a target that is too old, and gives up a connection that does not answer.
    /// Takes a short, limited time.
    pub(super) async fn begin_scrape(&mut self, credentials: &Credentials, deadline: Instant) {
        self.target.begin_scrape();
        self.has_given_up = false;
        if credentials.is_fetched() && self.target.is_due(Moment::now()) {
            // A target that works is renewed in time that the queries can spare. A failure is logged.
            let limit = REFRESH_LIMIT.min(time_left(deadline) / 4);
            let _: Result<(), Unreachable> = self.fetch(credentials, limit, deadline).await;
        }
        // The connection may have been lost while the process was frozen. A standby may also have become a
        // primary.
        let limit = ALIVE_LIMIT.min(time_left(deadline) / 2);
        if let Some(connection) = &mut self.connection
            && !connection.is_alive(limit).await
        {
            tracing::info!("the kept connection is dead; connecting again");
            self.connection = None;
            self.has_given_up = true;
        }
    }

    /// Makes a connection if none is kept.
    pub(super) async fn connect(
        &mut self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<(), Unreachable> {
        // Lets the driver notice that the server has closed the connection.
        tokio::task::yield_now().await;
        if self.connection.as_ref().is_some_and(|connection| !connection.is_usable()) {
            self.connection = None;
            self.has_given_up = true;
        }
        if self.connection.is_none() {
            self.connection = Some(self.new_connection(credentials, deadline).await?);
        }
        Ok(())
    }

    /// The kept connection.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, Unreachable> {
        self.connection.as_mut().ok_or_else(|| Unreachable("it was lost".to_owned()))
    }

    /// Whether the connection can be used, as far as the client knows.
    pub(super) fn is_usable(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_usable)
    }

    /// Whether the target has changed to another server, database or role since the last call.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// The age of the connection.
    pub(super) fn connection_age(&self) -> Option<Duration> {
        self.connection.as_ref().filter(|connection| connection.is_usable()).map(Connection::age)
    }

    /// The age of the target.
    pub(super) fn target_age(&self) -> Option<Duration> {
        self.target.age()
    }

    /// Whether the target is known.
    pub(super) fn has_target(&self) -> bool {
        self.target.value().is_some()
    }

    /// The name of the target's database. Fetches the target if it is not known.
    pub(super) async fn database(&mut self, credentials: &Credentials, deadline: Instant) -> Option<String> {
        if !self.has_target() {
            self.fetch(credentials, FETCH_LIMIT, deadline).await.ok()?;
        }
        self.target.value().map(|target| target.database.clone())
    }

    /// A further connection to another database of the target, made within `limit`. `is_again`: another one was closed just
    /// now, and the server may still count it. If the login is refused, the secret is read again, once in a scrape.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub(super) async fn open_in(
        &mut self,
        credentials: &Credentials,
        database: &str,
        is_again: bool,
        limit: Duration,
    ) -> Result<Connection, ConnectError> {
        let deadline = Instant::now() + limit;
        let lifetimes = Lifetimes { idle_close: None, ..self.lifetimes };
        let attempt = Attempt { lifetimes, is_again, unreached: self.unreached.clone() };
        let there = |target: &Target| Target { database: database.to_owned(), ..target.clone() };
        let Some(kept) = self.target.value().cloned() else {
            return Err(ConnectError::Authentication("no credentials".to_owned()));
        };
        let opened = attempt.open_patiently(credentials, &there(&kept), deadline).await;
        let is_refused = |sqlstate: &str| sqlstate.starts_with(INVALID_AUTHORIZATION);
        match &opened {
            Err(ConnectError::Server { sqlstate })
                if is_refused(sqlstate)
                    && credentials.is_fetched()
                    && self.target.may_fetch(Moment::now()) => {}
            _ => return opened,
        }
        // A failure is logged.
        let _: Result<(), Unreachable> = self.fetch(credentials, FETCH_LIMIT, deadline).await;
        match self.target.value() {
            Some(fresh) if !fresh.is_same(&kept) && kept.leads_where(fresh) => {
                attempt.open_patiently(credentials, &there(fresh), deadline).await
            }
            _ => opened,
        }
    }

    /// Closes the connection within `limit`.
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
        if self.target.value().is_none() {
            self.fetch(credentials, FETCH_LIMIT, deadline).await?;
        }
        let Some(kept) = self.target.value().cloned() else {
            return Err(Unreachable("no credentials".to_owned()));
        };
        let attempt = Attempt {
            lifetimes: self.lifetimes,
            is_again: self.has_given_up,
            unreached: self.unreached.clone(),
        };
        let mut opening = pin!(attempt.open(credentials, &kept, deadline));
        let early = match credentials.is_fetched() && self.target.may_fetch(Moment::now()) {
            true => timeout(SLOW_AFTER.min(time_left(deadline) / 2), opening.as_mut()).await.ok(),
            false => return opening.await,
        };
        // The password may have been rotated, or the host moved, since the secret was read.
        let pending = match early {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(unreachable)) => {
                self.fetch(credentials, FETCH_LIMIT, deadline).await?;
                Err(unreachable)
            }
            None => {
                let refetch = pin!(self.fetch(credentials, FETCH_LIMIT, deadline));
                match select(refetch, opening).await {
                    Either::Left((_, opening)) => Ok(opening),
                    Either::Right((Ok(connection), _)) => return Ok(connection),
                    Either::Right((Err(unreachable), refetch)) => {
                        refetch.await?;
                        Err(unreachable)
                    }
                }
            }
        };
        match (self.target.value().filter(|fresh| !fresh.is_same(&kept)), pending) {
            (Some(fresh), _) => {
                tracing::info!("the secret has changed, connecting with the new one");
                attempt.open(credentials, fresh, deadline).await
            }
            (None, Ok(opening)) => opening.await,
            (None, Err(unreachable)) => Err(unreachable),
        }
    }

    /// Fetches the target. If the fetch fails, the earlier target stays.
    async fn fetch(
        &mut self,
        credentials: &Credentials,
        limit: Duration,
        deadline: Instant,
    ) -> Result<(), Unreachable> {
        match self.target.fetch(credentials.fetch(limit.min(time_left(deadline)))).await {
            Ok(earlier) => {
                if let Some(target) = self.target.value()
                    && earlier.as_ref().is_none_or(|earlier| earlier.warnings != target.warnings)
                {
                    for warning in &target.warnings {
                        tracing::warn!(%warning, "the connection is not exactly as configured");
                    }
                }
                // A session survives a change of its password. For another server, database or role it must be
                // replaced.
                if let (Some(earlier), Some(target)) = (earlier, self.target.value())
                    && !earlier.leads_where(target)
                {
                    tracing::info!("the secret leads to another database or role");
                    self.connection = None;
                    self.has_moved = true;
                }
                Ok(())
            }
            Err(error) => {
                match self.target.value() {
                    None => tracing::error!(%error, "no credentials"),
                    Some(_) => tracing::warn!(%error, "the credentials are not renewed"),
                }
                Err(Unreachable(format!("no credentials: {error}")))
            }
        }
    }
}

/// An attempt to connect: the parts of the session that it needs while the session fetches the target again.
struct Attempt {
    lifetimes: Lifetimes,
    /// Whether a connection was given up in this scrape.
    is_again: bool,
    unreached: Unreached,
}

impl Attempt {
    /// Opens a connection to `target`. If that fails, the log has the reason.
    async fn open(
        &self,
        credentials: &Credentials,
        target: &Target,
        deadline: Instant,
    ) -> Result<Connection, Unreachable> {
        let left = time_left(deadline);
        let deadline = deadline.checked_sub(QUERIES_RESERVE.min(left / 2)).unwrap_or(deadline);
        self.open_patiently(credentials, target, deadline).await.map_err(|error| {
            tracing::error!(%error, "no connection to the database");
            Unreachable(format!("no connection to the database: {error}"))
        })
    }

    /// Opens a connection. While the server counts one that was given up, it is tried again.
    async fn open_patiently(
        &self,
        credentials: &Credentials,
        target: &Target,
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        let again_until = deadline.min(Instant::now() + AGAIN_LIMIT);
        loop {
            match self.open_once(credentials, target, deadline).await {
                Err(ConnectError::Server { sqlstate })
                    if self.is_again && sqlstate == TOO_MANY_CONNECTIONS && Instant::now() < again_until =>
                {
                    tokio::time::sleep(AGAIN_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    async fn open_once(
        &self,
        credentials: &Credentials,
        target: &Target,
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        let target = credentials.for_login(target, TOKEN_LIMIT.min(time_left(deadline))).await;
        let target = target.map_err(|error| ConnectError::Authentication(error.to_string()))?;
        let mut connection = self.reach(&target, time_left(deadline)).await?;
        if let Some(idle) = self.lifetimes.idle_close {
            connection.close_when_idle(idle, ALIVE_LIMIT.min(time_left(deadline))).await?;
        }
        Ok(connection)
    }

    /// Opens a connection, and remembers whether the server was reached.
    async fn reach(&self, target: &Target, limit: Duration) -> Result<Connection, ConnectError> {
        let unreached = || self.unreached.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (target.host.clone(), target.port);
        let is_again = unreached().as_ref() == Some(&place);
        let reach_limit = if is_again { REACH_LIMIT } else { limit };
        let result = Connection::open_reaching(target, limit, reach_limit).await;
        *unreached() = result.as_ref().is_err_and(ConnectError::is_unreached).then_some(place);
        result
    }
}
