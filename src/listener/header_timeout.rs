//! A timeout for the header of an HTTP/1 request, and for the preface of HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_io_timeout::TimeoutStream;

use super::connection_state::ConnectionState;
use super::preface::Greeting;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// The state of an HTTP/1 connection: between requests, in the header of a request, or busy with it.
#[derive(Debug, Default)]
pub(super) struct HeaderClock(AtomicU8);

impl HeaderClock {
    /// The header is complete: the connection is busy for as long as the guard lives.
    pub(super) fn busy(clock: &Arc<Self>) -> Busy {
        clock.0.store(BUSY, Ordering::Relaxed);
        Busy(Arc::clone(clock))
    }

    /// Whether the bytes that just arrived begin a header.
    fn begins(&self) -> bool {
        self.0.compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn is_at_head(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HEAD
    }
}

/// While it lives, no header is awaited.
#[derive(Debug)]
pub(super) struct Busy(Arc<HeaderClock>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.store(IDLE, Ordering::Relaxed);
    }
}

/// Fails a read when the header of an HTTP/1 request, or the preface and SETTINGS of HTTP/2, take longer than allowed.
/// The time counts from the first byte or, if the client has to speak at once, from the start.
///
/// Why not hyper's own timeout: it also runs while no request is under way (hyper#1628). A short one would close idle
/// connections that load balancers keep for the next request. HTTP/2 needs none later: it has pings.
///
/// An HTTP/1 client sends nothing while it reads an answer. The stream's own timeout for reads does not end that: a
/// client that takes nothing is found out by `SEND_TIMEOUT`.
#[derive(Debug)]
pub(super) struct HeaderTimeout {
    inner: Pin<Box<TimeoutStream<TcpStream>>>,
    connection: Arc<ConnectionState>,
    limit: Duration,
    clock: Arc<HeaderClock>,
    timer: Pin<Box<Sleep>>,
    greeting: Greeting,
}

impl HeaderTimeout {
    /// `speaks_first`: whether the client has to send something at once.
    pub(super) fn new(
        inner: TimeoutStream<TcpStream>,
        connection: Arc<ConnectionState>,
        limit: Duration,
        speaks_first: bool,
        clock: Arc<HeaderClock>,
    ) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + limit));
        if speaks_first {
            clock.begins();
        }
        Self { inner: Box::pin(inner), connection, limit, clock, timer, greeting: Greeting::new() }
    }

    /// Handles bytes that arrived.
    fn arrived(&mut self, bytes: &[u8]) {
        self.greeting.read(bytes);
        if !self.greeting.is_http2() && self.clock.begins() {
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
    }

    /// Reads. The timeout of the stream begins again as long as a call is under way.
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.inner.as_mut().poll_read(cx, buf);
        let is_idle = matches!(&read, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut);
        if !is_idle || self.greeting.is_http2() || !self.connection.has_calls() {
            return read;
        }
        let idle = self.inner.read_timeout();
        self.inner.as_mut().set_read_timeout_pinned(idle);
        self.inner.as_mut().poll_read(cx, buf)
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        !self.greeting.is_http2() && self.clock.is_at_head() && self.timer.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for HeaderTimeout {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Also when bytes arrived: a client that sends one now and then must not get more time.
        if this.is_late(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let read = this.read(cx, buf);
        if read.is_pending() {
            return Poll::Pending;
        }
        ready!(read)?;
        if buf.filled().len() > before {
            this.arrived(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HeaderTimeout {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;
    use crate::listener::unsent_memory::UnsentMemory;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_idle_while_its_answer_is_read() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut stream = TimeoutStream::new(listener.accept().await.unwrap().0);
        stream.set_read_timeout(Some(minutes(1)));
        let state = Arc::new(ConnectionState::new(false, 1, Arc::new(UnsentMemory::new(1))));
        let mut connection = HeaderTimeout::new(stream, Arc::clone(&state), minutes(1), false, Arc::default());
        state.begin_call(false);
        assert!(timeout(minutes(30), connection.read_u8()).await.is_err(), "it waits");
        state.end_call();
        let idle = timeout(minutes(2), connection.read_u8()).await.expect("it ends");
        assert_eq!(idle.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
