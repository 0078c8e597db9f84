//! What speaks PostgreSQL's protocol and is no PostgreSQL: it sends what no server would.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::postgres::Server;

/// When it floods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Login,
    Facts,
    /// As soon as it has answered what it was asked.
    Idle,
    Query,
}

#[derive(Clone)]
pub(super) enum Conduct {
    /// It sends these messages for as long as somebody reads, each with the next number.
    Flood(When, fn(u64) -> Vec<u8>),
    /// It sends as many bytes of them with each query, and goes on well.
    Sprinkle(usize, fn(u64) -> Vec<u8>),
    /// It refuses the login with an error of these fields.
    Refuse(Vec<(u8, String)>),
    /// It ends SCRAM with this error (RFC 5802, section 7, `server-error`).
    EndScram(String),
}

/// It stops with the test's runtime.
pub(super) struct FakeServer {
    port: u16,
    sent: Arc<AtomicU64>,
    has_tls: bool,
}

impl FakeServer {
    pub(super) async fn start(conduct: Conduct) -> Self {
        Self::listen(conduct, None).await
    }

    pub(super) async fn start_with_tls(conduct: Conduct) -> Self {
        let (certificate, key) = Server::shared().certificate();
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
            .unwrap();
        Self::listen(conduct, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(conduct: Conduct, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::new(AtomicU64::new(0));
        let (counted, has_tls) = (sent.clone(), tls.is_some());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let session = Session { conduct: conduct.clone(), sent: counted.clone(), next: 0 };
                tokio::spawn(session.serve_socket(stream, tls.clone()));
            }
        });
        Self { port, sent, has_tls }
    }

    pub(super) fn url(&self) -> String {
        let mode = if self.has_tls { "require" } else { "disable" };
        format!("postgres://somebody:of-somebody-1@127.0.0.1:{}/somewhere?sslmode={mode}", self.port)
    }

    /// How many bytes of floods somebody has taken.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn error(fields: &[(u8, String)]) -> Vec<u8> {
    let fields = fields.iter().flat_map(|(kind, text)| [&[*kind][..], text.as_bytes(), b"\0"].concat());
    message(b'E', &fields.chain([0]).collect::<Vec<_>>())
}

/// One row of a statement.
fn result(cells: &[&str]) -> Vec<u8> {
    let count = (cells.len() as u16).to_be_bytes();
    let column = [&b"v\0"[..], &[0; 6], &25_u32.to_be_bytes(), &[0xFF; 6], &[0; 2]].concat();
    let cell = |text: &&str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    [
        message(b'T', &[&count[..], &column.repeat(cells.len())].concat()),
        message(b'D', &[&count[..], &cells.iter().flat_map(cell).collect::<Vec<_>>()].concat()),
        message(b'C', b"SELECT 1\0"),
    ]
    .concat()
}

struct Session {
    conduct: Conduct,
    sent: Arc<AtomicU64>,
    next: u64,
}

impl Session {
    async fn serve_socket(self, mut stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<()> {
        match tls {
            None => self.serve(stream).await,
            Some(tls) => {
                stream.read_exact(&mut [0; 8]).await?;
                stream.write_all(b"S").await?;
                self.serve(tls.accept(stream).await?).await
            }
        }
    }

    async fn serve(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let length = stream.read_u32().await?;
        stream.read_exact(&mut vec![0; length as usize - 4]).await?;
        match &self.conduct {
            Conduct::Refuse(fields) => return stream.write_all(&error(fields)).await,
            Conduct::EndScram(error) => return end_scram(&mut stream, error).await,
            Conduct::Flood(..) | Conduct::Sprinkle(..) => {}
        }
        stream.write_all(&message(b'R', &[0; 4])).await?;
        self.flood(When::Login, &mut stream).await?;
        stream.write_all(&message(b'S', b"server_encoding\0UTF8\0")).await?;
        let ready = message(b'Z', b"I");
        stream.write_all(&[message(b'K', &[1; 8]), ready.clone()].concat()).await?;
        loop {
            let (_, query) = read(&mut stream).await?;
            let is_facts = query.windows(18).any(|part| part == b"server_version_num");
            self.flood(if is_facts { When::Facts } else { When::Query }, &mut stream).await?;
            if let (Conduct::Sprinkle(bytes, message), false) = (self.conduct.clone(), is_facts) {
                self.send(bytes, message, &mut stream).await?;
            }
            let answer = if is_facts { result(&["150000", "f", "somewhere", "f"]) } else { result(&["1"]) };
            stream.write_all(&[result(&["on"]), answer, ready.clone()].concat()).await?;
            self.flood(When::Idle, &mut stream).await?;
        }
    }

    async fn flood(&mut self, now: When, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let Conduct::Flood(when, message) = self.conduct else { return Ok(()) };
        if when != now {
            return Ok(());
        }
        loop {
            self.send(1 << 16, message, stream).await?;
        }
    }

    /// At least so many bytes of these messages.
    async fn send(
        &mut self,
        bytes: usize,
        message: fn(u64) -> Vec<u8>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut some = Vec::new();
        while some.len() < bytes {
            some.append(&mut message(self.next));
            self.next += 1;
        }
        stream.write_all(&some).await?;
        self.sent.fetch_add(some.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let tag = stream.read_u8().await?;
    let mut body = vec![0; stream.read_u32().await? as usize - 4];
    stream.read_exact(&mut body).await?;
    Ok((tag, body))
}

async fn end_scram(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), error: &str) -> io::Result<()> {
    let authentication = |kind: u32, data: &[u8]| message(b'R', &[&kind.to_be_bytes()[..], data].concat());
    stream.write_all(&authentication(10, b"SCRAM-SHA-256\0\0")).await?;
    let (_, first) = read(stream).await?;
    let first = String::from_utf8_lossy(&first).into_owned();
    let nonce = first.rsplit_once("r=").unwrap().1;
    let salt = STANDARD.encode("salt");
    stream.write_all(&authentication(11, format!("r={nonce}x,s={salt},i=4096").as_bytes())).await?;
    read(stream).await?;
    stream.write_all(&authentication(12, format!("e={error}").as_bytes())).await
}
