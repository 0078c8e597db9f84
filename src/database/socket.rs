//! Name resolution, the socket to the server, and a limit on the bytes that are read from it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::error::{ConnectError, Phase};
use super::run::RECEIVED_BYTES_MAX;
use crate::target::Host;

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
        Ok(Socket { stream, allowance: allowance.clone(), has_answered: false })
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

/// A socket that reads no more than an [`Allowance`]. The driver buffers each message completely, and one
/// cell may have a gigabyte, so the limit must be below the driver.
pub(super) struct Socket {
    stream: Box<dyn Stream>,
    allowance: Allowance,
    has_answered: bool,
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
        self.allowance.spend(buf.filled().len().saturating_sub(before));
        if self.allowance.is_spent() {
            return Poll::Ready(Err(io::Error::other("the server sent more than a result may have")));
        }
        Poll::Ready(Ok(()))
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

/// The number of bytes that may still be read for the current message.
#[derive(Debug, Clone)]
pub(super) struct Allowance(Arc<AtomicU64>);

impl Default for Allowance {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(RECEIVED_BYTES_MAX)))
    }
}

impl Allowance {
    pub(super) fn renew(&self) {
        self.0.store(RECEIVED_BYTES_MAX, Ordering::Relaxed);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Only the driver's task calls this, so there is no race between load and store.
    fn spend(&self, bytes: usize) {
        let left = self.0.load(Ordering::Relaxed).saturating_sub(bytes as u64);
        self.0.store(left, Ordering::Relaxed);
    }
}
