//! The limits on what a server may send. The driver buffers each message completely, and one cell may have a gigabyte. It
//! also keeps every reported parameter until the session ends. So the limits are applied below the driver.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::socket::Socket;

/// The most bytes received for anything other than a query: a login with its TLS handshake, the facts of the server, a
/// description, or unrequested messages.
pub(super) const ASIDE_BYTES_MAX: u64 = 256 << 10;

/// The most bytes of parameters that a server may report in a session. The driver needs ten times as much memory.
const PARAMETER_BYTES_MAX: u64 = 256 << 10;

/// The tag of a message that reports a parameter (PostgreSQL documentation, "Message Formats", `ParameterStatus`).
const PARAMETER_STATUS: u8 = b'S';

/// How many bytes may still be read, of all and of parameters.
#[derive(Debug, Clone)]
pub(super) struct Allowance(Arc<Left>);

#[derive(Debug)]
struct Left {
    bytes: AtomicU64,
    parameter_bytes: AtomicU64,
}

impl Default for Allowance {
    /// The limits for a login.
    fn default() -> Self {
        let parameter_bytes = AtomicU64::new(PARAMETER_BYTES_MAX);
        Self(Arc::new(Left { bytes: AtomicU64::new(ASIDE_BYTES_MAX), parameter_bytes }))
    }
}

impl Allowance {
    /// From now on the server may send this much.
    pub(super) fn renew(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn is_spent(&self) -> bool {
        [&self.0.bytes, &self.0.parameter_bytes].iter().any(|left| left.load(Ordering::Relaxed) == 0)
    }

    /// Whether the session should be replaced before the next query, because of the parameters that the driver keeps of it.
    pub(super) fn is_worn(&self) -> bool {
        self.0.parameter_bytes.load(Ordering::Relaxed) < PARAMETER_BYTES_MAX / 2
    }

    /// # Errors
    /// Nothing is left.
    pub(super) fn spend(&self, bytes: usize) -> io::Result<()> {
        spend(&self.0.bytes, bytes as u64, "the server sent more than it may")
    }

    fn spend_parameters(&self, bytes: u64) -> io::Result<()> {
        spend(&self.0.parameter_bytes, bytes, "the server reported more parameters than it may in a session")
    }
}

/// Only the driver's task spends, so there is no race between the steps.
fn spend(left: &AtomicU64, bytes: u64, reason: &'static str) -> io::Result<()> {
    let rest = left.load(Ordering::Relaxed).saturating_sub(bytes);
    left.store(rest, Ordering::Relaxed);
    if rest == 0 { Err(io::Error::other(reason)) } else { Ok(()) }
}

/// The messages of a server, as far as to tell which bytes are of a parameter (PostgreSQL documentation, "Message
/// Formats": a tag, the length of the rest with itself, the rest).
#[derive(Debug, Default)]
pub(super) struct Messages {
    tag: u8,
    /// How many bytes of the length have been seen, and their value.
    seen: u8,
    length: u32,
    /// How many bytes of the message are to come.
    rest: u32,
}

impl Messages {
    /// How many of the next bytes are of parameters.
    fn parameter_bytes(&mut self, mut bytes: &[u8]) -> u64 {
        let mut counted = 0;
        while let Some((&byte, behind)) = bytes.split_first() {
            let taken = match (self.rest, self.seen, bytes) {
                (0, 0, &[tag, a, b, c, d, ..]) => {
                    self.tag = tag;
                    self.rest = u32::from_be_bytes([a, b, c, d]).saturating_sub(4);
                    5
                }
                (0, 0, _) => {
                    self.tag = byte;
                    (self.seen, self.length) = (1, 0);
                    1
                }
                (0, seen, _) => {
                    self.length = (self.length << 8) | u32::from(byte);
                    self.seen = (seen + 1) % 5;
                    if self.seen == 0 {
                        self.rest = self.length.saturating_sub(4);
                    }
                    1
                }
                (rest, ..) => {
                    let taken = rest.min(u32::try_from(behind.len() + 1).unwrap_or(u32::MAX));
                    self.rest = rest - taken;
                    taken
                }
            };
            if self.tag == PARAMETER_STATUS {
                counted += u64::from(taken);
            }
            bytes = bytes.get(taken as usize..).unwrap_or_default();
        }
        counted
    }

    /// # Errors
    /// The server may report no more parameters.
    pub(super) fn spend(&mut self, bytes: &[u8], allowance: &Allowance) -> io::Result<()> {
        allowance.spend_parameters(self.parameter_bytes(bytes))
    }
}

/// Makes a TLS stream whose messages are looked at.
pub(super) struct Metered<T> {
    pub(super) tls: T,
    pub(super) allowance: Allowance,
}

impl<T> TlsConnect<Socket> for Metered<T>
where
    T: TlsConnect<Socket>,
    T::Future: Send + 'static,
{
    type Stream = MeteredStream<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, T::Error>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let Self { tls, allowance } = self;
        let handshake = tls.connect(socket);
        Box::pin(async move {
            Ok(MeteredStream { stream: handshake.await?, messages: Messages::default(), allowance })
        })
    }
}

pub(super) struct MeteredStream<S> {
    stream: S,
    messages: Messages,
    allowance: Allowance,
}

impl<S: TlsStream + Unpin> TlsStream for MeteredStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, messages, allowance } = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buf))?;
        Poll::Ready(messages.spend(buf.filled().get(before..).unwrap_or_default(), allowance))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredStream<S> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    #[test]
    fn parameters_are_counted_however_the_bytes_arrive() {
        let sent = [
            message(b'R', b"\0\0\0\0"),
            message(PARAMETER_STATUS, b"TimeZone\0UTC\0"),
            message(b'D', &[PARAMETER_STATUS; 300]),
            message(PARAMETER_STATUS, b""),
            message(b'Z', b"I"),
        ]
        .concat();
        for size in 1..sent.len() {
            let mut messages = Messages::default();
            let counted: u64 = sent.chunks(size).map(|bytes| messages.parameter_bytes(bytes)).sum();
            assert_eq!(counted, 18 + 5, "{size} bytes at a time");
        }
        // A length that is none is the driver's business.
        assert_eq!(Messages::default().parameter_bytes(b"R\0\0\0\0S\0\0\0\x05x"), 6);
    }
}
