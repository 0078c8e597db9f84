//! PostgreSQL for the tests: one real server for the whole program, with a database for each test, and private
//! servers for tests that stop one. Nothing survives the program, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use pg_lambda_exporter::connect_options::{
    ChannelBinding, Host, Login, RootCertificates, SessionAttributes, SslMode, Target, Tls,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::TcpSocket;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// A role with `pg_monitor` and nothing else, as the documentation recommends for the exporter.
pub(crate) const ROLE: &str = "scraper";
/// Its password: every character that a URL, JSON or a connection string gives a meaning.
pub(crate) const PASSWORD: &str = "p ä'\"\\/@%:?#&=1";
/// A role that `pg_hba.conf` rejects.
pub(crate) const REJECTED_ROLE: &str = "rejected";
/// The role of RDS whose members log in with a token: as there, they are asked for it in clear text, inside TLS.
pub(crate) const TOKEN_ROLES: &str = "rds_iam";

/// A running server. Clones are the same server.
#[derive(Clone)]
pub(crate) struct Server(Arc<Running>);

struct Running {
    folder: PathBuf,
    port: Port,
    binaries: PathBuf,
    authority: Arc<Issuer<'static, KeyPair>>,
    is_shared: bool,
    watcher: Watcher,
}

/// A database of its own, removed when it is dropped, whoever is still connected.
pub(crate) struct TestDatabase {
    server: Server,
    name: String,
}

/// Rows of text.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// The folder, next to the data of the shared server, of a cluster that no server has used.
const NEW: &str = "new";

impl Server {
    /// The server that all tests share. It is started on first use.
    pub(crate) fn shared() -> Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::new(true)).clone()
    }

    /// A server that the test may stop, change, start and kill. It is removed with its last clone.
    pub(crate) fn private() -> Self {
        Self::new(false)
    }

    fn new(is_shared: bool) -> Self {
        let binaries = binaries();
        let folder = folder();
        let mut authority = CertificateParams::new(vec![]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Not the name of what it issues: OpenSSL takes a certificate whose issuer is its subject for self-signed.
        authority.distinguished_name.push(DnType::CommonName, "authority of the tests");
        let key = KeyPair::generate().unwrap();
        fs::write(folder.join("ca.crt"), authority.self_signed(&key).unwrap().pem()).unwrap();
        let authority = Arc::new(Issuer::new(authority, key));

        let mut stop = as_server(&folder, binaries.join("pg_ctl"));
        stop.args(["stop", "--mode", "immediate", "--pgdata"]).arg(folder.join("data"));
        let watcher = Watcher::start(&folder, &stop);
        let server = Self(Arc::new(Running {
            folder,
            port: Port::reserve(),
            binaries,
            authority,
            is_shared,
            watcher,
        }));
        server.create();
        server.start();
        server
    }

    fn create(&self) {
        let data = self.0.folder.join("data");
        // initdb takes a second. A private server is a copy of what it made for the shared one.
        let (origin, copy) = match self.0.is_shared {
            true => {
                let mut initdb = self.command("initdb");
                initdb.args([
                    "--username=postgres",
                    "--auth=trust",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--no-sync",
                    "--data-checksums",
                ]);
                run(initdb.arg("--pgdata").arg(&data));
                (data, self.0.folder.join(NEW))
            }
            false => (Self::shared().0.folder.join(NEW), data),
        };
        run(as_server(&self.0.folder, "cp").arg("-a").args([origin, copy]));
        self.present_certificate_for(&["localhost", "127.0.0.1"]);
        self.set_access(&format!(
            "host all {REJECTED_ROLE} all reject\nhostssl all +{TOKEN_ROLES} 127.0.0.1/32 password\n\
             host all all 127.0.0.1/32 scram-sha-256"
        ));
        self.set("listen_addresses = '127.0.0.1'");
        self.set(&format!("port = {}", self.port()));
        self.set(&format!("unix_socket_directories = '{}'", self.0.folder.display()));
        self.set("max_connections = 200");
        self.set("password_encryption = 'scram-sha-256'");
        self.set("fsync = off");
        self.set("ssl = on");
        self.start();
        let password = PASSWORD.replace('\'', "''");
        self.admin(&format!(
            "CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'; GRANT pg_monitor TO {ROLE}; CREATE ROLE {REJECTED_ROLE} LOGIN;
             CREATE ROLE {TOKEN_ROLES}"
        ));
        let library = "pg_stat_statements";
        let available = format!("SELECT FROM pg_available_extensions WHERE name = '{library}'");
        if !self.admin(&available).is_empty() {
            self.set(&format!("shared_preload_libraries = '{library}'"));
        }
        self.stop();
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn start(&self) {
        let log = self.0.folder.join("log");
        let mut start = self.pg_ctl("start");
        let status =
            start.arg("--log").arg(&log).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "starting PostgreSQL: {}", fs::read_to_string(&log).unwrap_or_default());
    }

    /// Shuts it down as an administrator would: sessions are ended, and there is time for a goodbye.
    pub(crate) fn stop(&self) {
        run(self.pg_ctl("stop").args(["--mode", "fast"]));
    }

    /// Ends its processes at once, as a crash would. The next start has to recover.
    pub(crate) fn kill(&self) {
        run(self.pg_ctl("stop").args(["--mode", "immediate"]));
    }

    /// Starts it again as a standby that has no primary: it is in recovery until it is promoted.
    pub(crate) fn restart_as_standby(&self) {
        self.stop();
        self.signal("standby.signal");
        self.start();
    }

    /// A running copy of it that streams from it. The roles, databases and certificates are the same.
    pub(crate) fn standby(&self) -> Self {
        let folder = folder();
        let data = folder.join("data");
        run(&mut self.backup(&data));
        fs::copy(self.authority(), folder.join("ca.crt")).unwrap();
        let mut stop = as_server(&folder, self.0.binaries.join("pg_ctl"));
        stop.args(["stop", "--mode", "immediate", "--pgdata"]).arg(&data);
        let watcher = Watcher::start(&folder, &stop);
        let standby = Self(Arc::new(Running {
            folder,
            port: Port::reserve(),
            binaries: self.0.binaries.clone(),
            authority: self.0.authority.clone(),
            is_shared: false,
            watcher,
        }));
        standby.set(&format!("port = {}", standby.port()));
        standby.set(&format!("unix_socket_directories = '{}'", standby.socket_folder().display()));
        let primary = format!("host={} port={} user=postgres", self.socket_folder().display(), self.port());
        standby.set(&format!("primary_conninfo = '{primary}'"));
        standby.signal("standby.signal");
        standby.start();
        standby
    }

    /// Begins a backup that takes longer than a test, which ends it.
    pub(crate) fn begin_backup(&self) -> Child {
        let mut backup = self.backup(&self.socket_folder().join("backup"));
        backup.arg("--max-rate=32").stderr(Stdio::null()).spawn().unwrap()
    }

    fn backup(&self, data: &Path) -> Command {
        let folder = self.socket_folder();
        let mut backup = as_server(folder, self.0.binaries.join("pg_basebackup"));
        backup.args(["--checkpoint=fast", "--no-sync", "--username=postgres"]);
        backup.args(["--port", &self.port().to_string()]).arg("--host").arg(folder).arg("--pgdata").arg(data);
        backup
    }

    /// A database that is there already, of the server that this one is a copy of.
    pub(crate) fn copied(&self, database: &TestDatabase) -> TestDatabase {
        TestDatabase { server: self.clone(), name: database.name.clone() }
    }

    /// Starts it again in a recovery that waits for its archive until [`Server::end_recovery`]: until then it is
    /// starting up, and says so.
    pub(crate) fn restart_into_recovery(&self) {
        self.stop();
        self.signal("recovery.signal");
        let archive = self.0.folder.join("archive");
        let wait = format!("until test -e {}; do sleep 0.05; done; false", archive.display());
        self.set(&format!("restore_command = '{wait}'"));
        let log = self.0.folder.join("log");
        run(self.pg_ctl("start").arg("--no-wait").arg("--log").arg(log).stdout(Stdio::null()));
        self.wait_until_it_says("57P03");
    }

    /// Tells it how to start, by an empty file of this name.
    fn signal(&self, name: &str) {
        let signal = self.0.folder.join("data").join(name);
        fs::write(&signal, "").unwrap();
        own_as(&self.0.folder, &signal);
    }

    /// Ends what [`Server::restart_into_recovery`] began, and waits until it takes connections.
    pub(crate) fn end_recovery(&self) {
        fs::write(self.0.folder.join("archive"), "").unwrap();
        self.wait_until_it_says("00000");
    }

    /// Begins a shutdown that waits for the sessions to end, and waits until it refuses new ones.
    pub(crate) fn begin_to_stop(&self) {
        run(self.pg_ctl("stop").args(["--mode", "smart", "--no-wait"]));
        self.wait_until_it_says("57P03");
    }

    /// Waits until a new session gets this SQLSTATE, which is `00000` of one that is let in.
    fn wait_until_it_says(&self, sqlstate: &str) {
        let session = async || match self.config("postgres").connect(NoTls).await {
            Ok(_) => "00000".to_owned(),
            Err(error) => error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()),
        };
        let begun = Instant::now();
        loop {
            let said = wait(session());
            if said == sqlstate {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "still {said}: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Makes it read its files again, and waits until new sessions see them.
    pub(crate) fn reload(&self) {
        let loaded = || self.admin("SELECT pg_conf_load_time()");
        let before = loaded();
        self.admin("SELECT pg_reload_conf()");
        let begun = Instant::now();
        while loaded() == before {
            assert!(begun.elapsed() < Duration::from_secs(30), "not reloaded: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.0.folder.join("log")).unwrap_or_default()
    }

    /// Replaces `pg_hba.conf`, but for the Unix socket, on which every role is trusted. It takes effect when it is
    /// read.
    pub(crate) fn set_access(&self, lines: &str) {
        let text = format!("local all all trust\nlocal replication all trust\n{lines}\n");
        fs::write(self.0.folder.join("data/pg_hba.conf"), text).unwrap();
    }

    /// Adds a line to `postgresql.conf`. It takes effect at the next start.
    pub(crate) fn set(&self, line: &str) {
        let file = self.0.folder.join("data/postgresql.conf");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, format!("{text}\n{line}\n")).unwrap();
    }

    /// Gives it a certificate for these names and addresses, issued by [`Server::authority`]. It takes effect at
    /// the next start.
    pub(crate) fn present_certificate_for(&self, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        self.present(&CertificateParams::new(names).unwrap());
    }

    /// Gives it this certificate, issued by [`Server::authority`]. It takes effect when it is read.
    pub(crate) fn present(&self, certificate: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = certificate.signed_by(&key, &self.0.authority).unwrap();
        self.present_pem(&certificate.pem(), &key.serialize_pem());
    }

    /// Gives it this certificate, whoever issued it. It takes effect when it is read.
    pub(crate) fn present_pem(&self, certificate: &str, key: &str) {
        let (certificate_file, key_file) = self.certificate();
        fs::write(certificate_file, certificate).unwrap();
        fs::write(&key_file, key).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        own_as(&self.0.folder, &key_file);
    }

    /// The PEM file of the authority that issued the server's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.0.folder.join("ca.crt")
    }

    /// That authority.
    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.0.authority
    }

    /// The PEM files of its certificate and of its key.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        let data = self.0.folder.join("data");
        (data.join("server.crt"), data.join("server.key"))
    }

    /// The folder of its Unix socket, on which every role is trusted.
    pub(crate) fn socket_folder(&self) -> &Path {
        &self.0.folder
    }

    /// Its port, and the number of its Unix socket.
    pub(crate) fn port(&self) -> u16 {
        self.0.port.number()
    }

    /// An empty database.
    pub(crate) fn database(&self, name: &str) -> TestDatabase {
        self.database_with(name, "")
    }

    /// An empty database, created with these options.
    pub(crate) fn database_with(&self, name: &str, options: &str) -> TestDatabase {
        self.admin(&format!("CREATE DATABASE {name} {options}"));
        TestDatabase { server: self.clone(), name: name.to_owned() }
    }

    /// Runs SQL as the superuser in the database `postgres`.
    pub(crate) fn admin(&self, sql: &str) -> Rows {
        wait(self.query("postgres", sql))
    }

    /// Waits until `sql` gives `t`. No session of its own is in a database of a test.
    pub(crate) async fn wait_for(&self, sql: &str) {
        wait_until(sql, || self.admin(sql)).await;
    }

    async fn session(&self, database: &str) -> tokio_postgres::Client {
        let (client, connection) = self.config(database).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.0.folder).port(self.port()).user("postgres").dbname(database);
        config
    }

    async fn query(&self, database: &str, sql: &str) -> Rows {
        let client = self.session(database).await;
        let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()).collect()
    }

    fn pg_ctl(&self, action: &str) -> Command {
        let mut command = self.command("pg_ctl");
        command.args([action, "--wait", "--pgdata"]).arg(self.0.folder.join("data"));
        command
    }

    fn command(&self, program: &str) -> Command {
        as_server(&self.0.folder, self.0.binaries.join(program))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watcher.stop();
    }
}

impl TestDatabase {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The server that it is on.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// How [`ROLE`] connects to it: over TCP, with its password, and with the server's name verified.
    pub(crate) fn target(&self) -> Target {
        Target {
            host: Host::Tcp("localhost".into()),
            port: self.server.port(),
            database: self.name.clone(),
            user: ROLE.into(),
            login: Login::Password(Some(PASSWORD.into())),
            tls: Tls {
                mode: SslMode::VerifyFull,
                root_certificates: RootCertificates::File(self.server.authority()),
                channel_binding: ChannelBinding::Prefer,
            },
            connect_timeout: None,
            options: None,
            session_attributes: SessionAttributes::Any,
            warnings: Vec::new(),
        }
    }

    /// The same as a URL.
    pub(crate) fn url(&self) -> String {
        self.url_at("localhost", self.server.port())
    }

    /// The same by another way to the server.
    pub(crate) fn url_at(&self, host: &str, port: u16) -> String {
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        format!(
            "postgres://{ROLE}:{}@{host}:{port}/{}?sslmode=verify-full&sslrootcert={}",
            escape(PASSWORD),
            self.name,
            escape(self.server.authority().to_str().unwrap()),
        )
    }

    /// Runs SQL as the superuser, and returns the rows of all its statements. It blocks the thread.
    pub(crate) fn admin(&self, sql: &str) -> Rows {
        wait(self.server.query(&self.name, sql))
    }

    /// A session of the superuser, for what has to stay open.
    pub(crate) async fn session(&self) -> tokio_postgres::Client {
        self.server.session(&self.name).await
    }

    /// Waits until `sql` gives `t`.
    pub(crate) async fn wait_for(&self, sql: &str) {
        wait_until(sql, || self.admin(sql)).await;
    }

    /// The first cell of what [`TestDatabase::admin`] returns, which must be there.
    pub(crate) fn admin_cell(&self, sql: &str) -> String {
        self.admin(sql)[0][0].clone().unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A private server may be down, and goes as a whole.
        if self.server.0.is_shared && !std::thread::panicking() {
            self.server.admin(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// A shell that waits for this program to end, in whatever way, then runs a command and removes a folder. It
/// notices by its standard input, a pipe whose other end the kernel closes with the program.
pub(crate) struct Watcher(Child);

impl Watcher {
    /// Of `stop`, the program and its arguments count.
    pub(crate) fn start(folder: &Path, stop: &Command) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", r#"cat; "$@"; rm -rf "$0""#])
            .arg(folder)
            .arg(stop.get_program())
            .args(stop.get_args());
        // Ctrl-C goes to a whole process group. This one must outlive it.
        shell.process_group(0).current_dir("/");
        Self(shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Does now what the end of the program would do.
    pub(crate) fn stop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// A new temporary folder that belongs to the account that servers run as.
pub(crate) fn folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("pg-lambda-exporter-").tempdir().unwrap().keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    if is_root() {
        let id = |option| {
            let output = Command::new("id").args([option, "postgres"]).output().unwrap();
            let number = String::from_utf8(output.stdout).unwrap();
            number
                .trim()
                .parse()
                .expect("as root, the account `postgres` is needed: apt-get install postgresql-15")
        };
        chown(&folder, Some(id("-u")), Some(id("-g"))).unwrap();
    }
    folder
}

/// A command as the account that servers run as: PostgreSQL and PgBouncer refuse root.
pub(crate) fn as_server(folder: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // libpq looks for certificates in the home, which is here the home of another account.
    command.current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    command
}

/// A TCP port of 127.0.0.1 that nobody else gets while this is there: a socket is bound to it and does not listen. On
/// Linux a server that sets SO_REUSEADDR, as PostgreSQL and PgBouncer do, can listen there none the less.
pub(crate) struct Port(TcpSocket);

impl Port {
    /// Any that is free.
    pub(crate) fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub(crate) fn number(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

/// Gives `file` the owner of `model`, which only root can and must do.
fn own_as(model: &Path, file: &Path) {
    let model = fs::metadata(model).unwrap();
    if fs::metadata(file).unwrap().uid() != model.uid() {
        chown(file, Some(model.uid()), Some(model.gid())).unwrap();
    }
}

fn is_root() -> bool {
    tempfile::tempfile().unwrap().metadata().unwrap().uid() == 0
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits for a future, also where a runtime already waits for the caller.
async fn wait_until(sql: &str, ask: impl Fn() -> Rows) {
    let begun = Instant::now();
    while ask()[0][0].as_deref() != Some("t") {
        assert!(begun.elapsed() < Duration::from_secs(30), "never true: {sql}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn wait<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let block_on = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    };
    std::thread::scope(|scope| scope.spawn(block_on).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// `PG_BIN`, or what the PATH has, or Debian's folders: 15 before the highest.
fn binaries() -> PathBuf {
    let is_complete =
        |folder: &PathBuf| ["initdb", "pg_ctl", "postgres"].iter().all(|name| folder.join(name).exists());
    if let Some(folder) = std::env::var_os("PG_BIN").map(PathBuf::from) {
        assert!(is_complete(&folder), "PG_BIN={} has no initdb, pg_ctl and postgres", folder.display());
        return folder;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<_> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
    debian.sort_by_key(|entry| {
        let major = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()).unwrap_or(0);
        std::cmp::Reverse(if major == 15 { u32::MAX } else { major })
    });
    let folder = std::env::split_paths(&path)
        .chain(debian.into_iter().map(|entry| entry.path().join("bin")))
        .find(is_complete)
        .expect("these tests need PostgreSQL: `sudo apt-get install postgresql-15` or `make tools`, or set PG_BIN");
    // The PATH may have links to some of the programs only.
    fs::canonicalize(folder.join("initdb")).unwrap().parent().unwrap().to_owned()
}

#[test]
fn the_url_of_a_database_is_one_that_libpq_reads() {
    let database = Server::shared().database("url");
    let mut psql = database.server.command("psql");
    let output =
        psql.arg(database.url()).args(["-AtXc", "SELECT user, current_database()"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{ROLE}|url\n"));
}

#[test]
fn a_reserved_port_is_for_nobody_else() {
    let reserved = Port::reserve();
    let address = ("127.0.0.1", reserved.number());
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    // It listens as a server does: the standard library sets SO_REUSEADDR.
    let server = TcpListener::bind(address).unwrap();
    TcpStream::connect(address).unwrap();
    assert!(TcpListener::bind(address).is_err());
    drop(server);
    // Neither a listener on any port nor a client gets it: it would do so sooner or later.
    let others: Vec<_> = (0..100).map(|_| Port::reserve()).collect();
    let numbers: BTreeSet<_> = others.iter().map(Port::number).collect();
    assert_eq!((numbers.len(), numbers.contains(&reserved.number())), (others.len(), false));
}
