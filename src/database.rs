//! One connection to PostgreSQL: how it is opened and protected, the facts of its server, how a query runs on it within
//! a time limit, and the errors. It gives [`Rows`](crate::table::Rows) and typed errors. It does not know the
//! meaning of the rows, the source of the credentials, or scrapes.
//!
//! Every call has a time limit, whatever hangs. See [`Connection::run`] for what a query
//! may and may not do.

mod allowance;
mod describe;
mod error;
mod facts;
mod refusal;
mod run;
mod socket;
mod sqlstate;
mod tls;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::tls::{NoTls, TlsConnect};
use tokio_postgres::{Client, Config, config};

use crate::connect_options::{ChannelBinding, Host, SessionAttributes, Target};

use allowance::{ASIDE_BYTES_MAX, Allowance, Metered};
pub(crate) use describe::ResultColumn;
pub use error::{ConnectError, Phase, QueryError};
pub(crate) use facts::ServerFacts;
pub(crate) use refusal::Refusal;
pub(crate) use run::GRACE;
use socket::{Address, Socket};
use tls::Encryption;

/// The name of this exporter in `pg_stat_activity`.
const APPLICATION_NAME: &str = concat!("pg-lambda-exporter/", env!("CARGO_PKG_VERSION"));

/// A connection that has been authenticated.
///
/// Dropped, it closes: with a goodbye to the server if it was usable, at once if it was not.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    /// Why the driver stopped, once it has.
    end: Arc<OnceLock<String>>,
    /// The address of the server. A cancel request must be sent to the same one.
    address: Address,
    encryption: Encryption,
    allowance: Allowance,
    /// False in a database with encoding `SQL_ASCII`, which keeps whatever bytes it is given.
    has_encoding: bool,
    /// Whether transactions of the session are read-only by default. PostgreSQL 14 and later say so.
    is_read_only: bool,
    facts: ServerFacts,
    opened: Instant,
    /// The server's further details on the last query, if it refused it.
    refusal: Option<Refusal>,
    /// False from the moment a message is sent until the server has said that it is ready for the next, and so
    /// for good after a cancel or where the caller dropped the future in between.
    ready: bool,
}

impl Connection {
    /// Connects, authenticates and asks the server about itself, all within `limit`, or within the target's
    /// `connect_timeout` if that is shorter: name resolution, the socket, TLS, the login and one message. If a name has
    /// several addresses, each is tried in the order of the resolver with a fair share of the time that is left, so that
    /// one that accepts and hangs does not hide the next.
    ///
    /// # Errors
    /// [`ConnectError`] distinguishes the causes that an operator would treat differently. With several addresses it is
    /// the error of the last.
    pub async fn open(target: &Target, limit: Duration) -> Result<Self, ConnectError> {
        Self::open_reaching(target, limit, limit).await
    }

    /// Does the same, but the server has to accept a TCP connection within `reach_limit`.
    pub(crate) async fn open_reaching(
        target: &Target,
        limit: Duration,
        reach_limit: Duration,
    ) -> Result<Self, ConnectError> {
        let opened = Instant::now();
        let limit = target.connect_timeout.map_or(limit, |timeout| timeout.min(limit));
        let left = || limit.saturating_sub(opened.elapsed());
        let encryption = Encryption::new(target)?;
        let config = driver_config(target, &encryption);
        let mut addresses =
            socket::resolve(&target.host, target.port, limit.min(reach_limit)).await?.into_iter();
        let reach_share = reach_limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        loop {
            let further = u32::try_from(addresses.len()).unwrap_or(u32::MAX).saturating_sub(1);
            let Some(address) = addresses.next() else {
                return Err(ConnectError::TimedOut(Phase::Socket));
            };
            let share = left() / further.saturating_add(1);
            let wanted = match target.session_attributes {
                SessionAttributes::PreferStandby if further > 0 => SessionAttributes::Standby,
                SessionAttributes::PreferStandby => SessionAttributes::Any,
                attributes => attributes,
            };
            let opened = Self::open_at(address, &config, &encryption, share, reach_share).await;
            match opened.and_then(|connection| connection.accepted_as(wanted)) {
                Err(error) if further > 0 && error.may_differ_at_another_address() => {
                    tracing::warn!(%error, "no connection at one of the host's addresses, trying the next");
                }
                outcome => return outcome.map_err(|error| error.in_database(&target.database)),
            }
        }
    }

    /// Does the same at one address.
    async fn open_at(
        address: Address,
        config: &Config,
        encryption: &Encryption,
        limit: Duration,
        reach_limit: Duration,
    ) -> Result<Self, ConnectError> {
        let opened = Instant::now();
        let left = || limit.saturating_sub(opened.elapsed());
        let allowance = Allowance::default();
        let socket = tokio::time::timeout(limit.min(reach_limit), address.connect(&allowance))
            .await
            .map_err(|_| ConnectError::TimedOut(Phase::Socket))?
            .map_err(ConnectError::Unreachable)?;

        let end = Arc::new(OnceLock::new());
        let login = async {
            match encryption.connector() {
                Some(tls) => {
                    let tls = Metered { tls, allowance: allowance.clone() };
                    log_in(config, socket.with_tls(), tls, &end).await
                }
                None => log_in(config, socket.without_tls(), NoTls, &end).await,
            }
        };
        let Session { client, driver, has_encoding, is_read_only } = tokio::time::timeout(left(), login)
            .await
            .map_err(|_| ConnectError::TimedOut(Phase::Login))?
            .map_err(|error| encryption.explain(&error))?;
        let mut connection = Self {
            client,
            driver,
            end,
            address,
            encryption: encryption.clone(),
            allowance,
            has_encoding,
            is_read_only,
            facts: ServerFacts::default(),
            opened,
            refusal: None,
            ready: true,
        };
        connection.ask_facts(left()).await?;
        Ok(connection)
    }

    /// The connection, if its server is accepted.
    fn accepted_as(self, attributes: SessionAttributes) -> Result<Self, ConnectError> {
        let is_standby = self.facts.is_in_recovery;
        let is_read_only = is_standby || self.is_read_only;
        let (is_accepted, server) = match attributes {
            SessionAttributes::Any | SessionAttributes::PreferStandby => (true, ""),
            SessionAttributes::Primary => (!is_standby, "a standby"),
            SessionAttributes::Standby => (is_standby, "a primary"),
            SessionAttributes::ReadWrite => (!is_read_only, "read-only"),
            SessionAttributes::ReadOnly => (is_read_only, "not read-only"),
        };
        if is_accepted { Ok(self) } else { Err(ConnectError::NotAccepted(server)) }
    }

    /// Whether the server says within `limit` what is true of it now: one round trip, which renews
    /// [`Connection::facts`]. If it does not, the connection is unusable from then on.
    pub async fn is_alive(&mut self, limit: Duration) -> bool {
        self.is_usable() && self.ask_facts(limit).await.is_ok()
    }

    /// The facts of the server when the connection was opened or last checked by [`Connection::is_alive`].
    pub(crate) fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// The server's further details on the last query, if it refused it.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Whether another query may be sent: false after a cancel, a lost connection, or a call that was dropped
    /// before it was over.
    pub fn is_usable(&self) -> bool {
        self.ready && !self.client.is_closed() && !self.allowance.is_worn()
    }

    /// Has the server end the session once it has been idle for `idle`. The client may be frozen by then, so its own
    /// clock would not do. Before version 14 no server does it, and a line in the log says so.
    ///
    /// # Errors
    /// The server does not take the setting within `limit`.
    pub(crate) async fn close_when_idle(
        &mut self,
        idle: Duration,
        limit: Duration,
    ) -> Result<(), ConnectError> {
        if self.facts.version_num < 140_000 {
            tracing::warn!("DB_IDLE_CLOSE has no effect before PostgreSQL 14");
            return Ok(());
        }
        // Milliseconds (PostgreSQL documentation, "idle_session_timeout").
        let sql = format!("SELECT set_config('idle_session_timeout', '{}', false)", idle.as_millis());
        self.ready = false;
        self.allowance.renew(ASIDE_BYTES_MAX);
        tokio::time::timeout(limit, self.client.simple_query(&sql))
            .await
            .map_err(|_| ConnectError::TimedOut(Phase::Facts))?
            .map_err(|error| ConnectError::of_login(&error))?;
        self.ready = true;
        Ok(())
    }

    /// Says goodbye to the server and waits, for `limit` at most, until it is sent.
    pub(crate) async fn close(mut self, limit: Duration) {
        if !self.is_usable() {
            return;
        }
        // The driver ends by itself once it has sent all that its client asked for.
        let driver = std::mem::replace(&mut self.driver, tokio::spawn(async {}));
        drop(self);
        let _: Result<_, _> = tokio::time::timeout(limit, driver).await;
    }

    /// How long ago it was opened.
    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Asks the server to stop what this connection is doing (PostgreSQL documentation, "Canceling Requests in
    /// Progress"), over a second connection that is protected like the first.
    async fn request_cancel(&self) -> Result<(), CancelError> {
        let token = self.client.cancel_token();
        let socket = self.address.connect(&Allowance::default()).await?;
        match self.encryption.connector() {
            Some(tls) => token.cancel_query_raw(socket, tls).await?,
            None => token.cancel_query_raw(socket, NoTls).await?,
        }
        Ok(())
    }
}

/// Why a cancel request could not be sent.
#[derive(Debug, thiserror::Error)]
enum CancelError {
    #[error("no connection to the server")]
    Socket(#[from] std::io::Error),
    #[error("the request was not taken")]
    Driver(#[from] tokio_postgres::Error),
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A driver that waits for the rest of a result would keep the socket, and with it the server's process.
        if !self.ready {
            self.driver.abort();
        }
    }
}

fn driver_config(target: &Target, encryption: &Encryption) -> Config {
    let mut config = Config::new();
    config
        .user(&target.user)
        .dbname(&target.database)
        .application_name(APPLICATION_NAME)
        .ssl_mode(encryption.mode())
        .channel_binding(match target.tls.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        });
    if let Some(options) = &target.options {
        config.options(options);
    }
    if let Some(password) = target.login.password() {
        config.password(password.expose_secret());
    }
    config
}

/// The result of a login.
struct Session {
    client: Client,
    driver: JoinHandle<()>,
    has_encoding: bool,
    is_read_only: bool,
}

/// Logs in, and starts the task that carries messages between the client and the socket.
async fn log_in<T>(
    config: &Config,
    socket: Socket,
    tls: T,
    end: &Arc<OnceLock<String>>,
) -> Result<Session, tokio_postgres::Error>
where
    T: TlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect_raw(socket, tls).await?;
    let has_encoding = connection.parameter("server_encoding") != Some("SQL_ASCII");
    let is_read_only = connection.parameter("default_transaction_read_only") == Some("on");
    let driver = tokio::spawn(drive(connection, Arc::clone(end)));
    Ok(Session { client, driver, has_encoding, is_read_only })
}

/// Runs the driver until the connection ends. Notices and notifications are dropped: left to itself the driver
/// would log each of them, and a query can raise any number with anything in them.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, end: Arc<OnceLock<String>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                // Set before the connection is dropped, which is what those who wait for an answer notice.
                let _ = end.set(error::describe(&error));
                return;
            }
            None => return,
        }
    }
}

/// The name that the server's certificate must bear.
fn server_name(host: &Host) -> &str {
    match host {
        Host::Tcp(name) => name,
        Host::Socket(_) => "",
    }
}
