//! Name resolution and the socket to the server.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::allowance::{Allowance, Messages};
use super::error::{ConnectError, Phase};
use crate::connect_options::Host;

/// The address of a server.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// Opens a socket. The caller limits the time.
    pub(super) async fn connect(&self, allowance: &Allowance) -> io::Result<Socket> {
        let stream: Box<dyn Stream> = match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        };
        Ok(Socket { stream, allowance: allowance.clone(), has_answered: false, stage: Stage::Unknown })
    }
}

/// The addresses of `host` in the order of the resolver, at least one, found within `limit`.
pub(super) async fn resolve(host: &Host, port: u16, limit: Duration) -> Result<Vec<Address>, ConnectError> {
    let addresses: Vec<_> = match host {
        Host::Socket(folder) => vec![Address::Unix(socket_path(folder, port))],
        Host::Tcp(name) => timeout(limit, lookup_host((name.as_str(), port)))
            .await
            .map_err(|_| ConnectError::TimedOut(Phase::Resolution))?
            .map_err(ConnectError::Unresolvable)?
            .map(Address::Tcp)
            .collect(),
    };
    if addresses.is_empty() {
        return Err(ConnectError::Unresolvable(io::Error::other("the name has no address")));
    }
    Ok(addresses)
}

/// PostgreSQL's file name for the socket of a port (`unix_socket_directories`).
fn socket_path(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A socket that reads no more than an [`Allowance`].
pub(super) struct Socket {
    stream: Box<dyn Stream>,
    allowance: Allowance,
    has_answered: bool,
    stage: Stage,
}

/// The kind of the next bytes from the server.
enum Stage {
    /// Not inspected: TLS, or an answer to a cancel request.
    Unknown,
    /// One byte: whether the server supports TLS. If it does not, messages follow.
    TlsAnswer,
    Messages(Messages),
}

/// The answer of a server that supports TLS (PostgreSQL documentation, "SSL Session Encryption").
const HAS_TLS: u8 = b'S';

impl Socket {
    /// The same socket, for a login that begins with TLS if the server has it.
    pub(super) fn with_tls(self) -> Self {
        Self { stage: Stage::TlsAnswer, ..self }
    }

    /// The same socket, for a login without TLS.
    pub(super) fn without_tls(self) -> Self {
        Self { stage: Stage::Messages(Messages::default()), ..self }
    }

    fn spend(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.allowance.spend(bytes.len())?;
        match &mut self.stage {
            Stage::Unknown => Ok(()),
            Stage::Messages(messages) => messages.spend(bytes, &self.allowance),
            // The driver reads this byte alone.
            Stage::TlsAnswer => {
                self.stage = match bytes.first() {
                    None => Stage::TlsAnswer,
                    Some(&HAS_TLS) => Stage::Unknown,
                    Some(_) => Stage::Messages(Messages::default()),
                };
                Ok(())
            }
        }
    }
}

/// The first byte of PostgreSQL's first answer (PostgreSQL documentation, "Message Flow"): whether the server
/// supports TLS, or the type of a message. The driver would take any other byte for "no TLS".
const FIRST_BYTES: &[u8] = b"SNERv";

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if !self.has_answered
            && let Some(first) = buf.filled().get(before)
        {
            self.has_answered = true;
            if !FIRST_BYTES.contains(first) {
                let reason = "the first byte does not begin an answer to a login";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
            }
        }
        Poll::Ready(self.spend(buf.filled().get(before..).unwrap_or_default()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
