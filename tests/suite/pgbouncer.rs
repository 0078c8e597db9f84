//! PgBouncer in transaction mode in front of a test's database.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use pg_lambda_exporter::connect_options::{ChannelBinding, RootCertificates, SslMode, Target, Tls};

use crate::postgres::{PASSWORD, Port, ROLE, TestDatabase, Watcher, as_server, folder};

/// A running PgBouncer with one connection to the server, so that all clients meet on it.
pub(crate) struct Pgbouncer {
    port: Port,
    target: Target,
    watcher: Watcher,
}

impl Pgbouncer {
    /// Starts one and waits until it listens.
    pub(crate) fn start(database: &TestDatabase) -> Self {
        let folder = folder();
        let port = Port::reserve();
        let server = database.server();
        let pid_file = folder.join("pid");
        let users = folder.join("users");
        fs::write(&users, format!("\"{ROLE}\" \"{}\"\n", PASSWORD.replace('"', "\"\""))).unwrap();
        let settings = format!(
            "[databases]\n{name} = host={socket} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {listen_port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n\
             admin_users = {ROLE}\n\
             pool_mode = transaction\ndefault_pool_size = 1\nlogfile = {log}\npidfile = {pid}\n",
            name = database.name(),
            socket = server.socket_folder().display(),
            server_port = server.port(),
            listen_port = port.number(),
            users = users.display(),
            log = folder.join("log").display(),
            pid = pid_file.display(),
        );
        let settings_file = folder.join("pgbouncer.ini");
        fs::write(&settings_file, settings).unwrap();
        let mut stop = Command::new("sh");
        stop.args(["-c", r#"kill -9 "$(cat "$0")""#]).arg(&pid_file);
        let watcher = Watcher::start(&folder, &stop);

        let mut command = as_server(&folder, program());
        command.arg("-d").arg(&settings_file).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.status().is_ok_and(|status| status.success());
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(started, "these tests need PgBouncer: `sudo apt-get install pgbouncer`\n{}", log());
        for _ in 0..1000 {
            if std::net::TcpStream::connect(("127.0.0.1", port.number())).is_ok() {
                return Self { port, target: database.target(), watcher };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("PgBouncer does not listen: {}", log());
    }

    /// How the role connects through it.
    pub(crate) fn target(&self) -> Target {
        let tls = Tls {
            mode: SslMode::Disable,
            root_certificates: RootCertificates::Platform,
            channel_binding: ChannelBinding::Prefer,
        };
        Target { port: self.port.number(), tls, ..self.target.clone() }
    }
}

impl Pgbouncer {
    /// The same as a URL.
    pub(crate) fn url(&self) -> String {
        self.url_of(&self.target.database)
    }

    /// How the role connects to the admin console.
    pub(crate) fn console_url(&self) -> String {
        self.url_of("pgbouncer")
    }

    fn url_of(&self, database: &str) -> String {
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let (user, port) = (&self.target.user, self.port());
        format!("postgres://{user}:{}@127.0.0.1:{port}/{database}?sslmode=disable", escape(PASSWORD))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// A command of the admin console, such as `PAUSE`.
    pub(crate) async fn command(&self, command: &str) {
        let (client, connection) =
            tokio_postgres::connect(&self.console_url(), tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client.simple_query(command).await.unwrap();
        drop(client);
        let _ = connection.await;
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        self.watcher.stop();
    }
}

/// Debian puts it where an ordinary user's PATH does not lead.
fn program() -> &'static str {
    let in_path =
        Command::new("pgbouncer").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if in_path.is_ok() { "pgbouncer" } else { "/usr/sbin/pgbouncer" }
}
