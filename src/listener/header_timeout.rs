//! A timeout for the header of an HTTP/1 request, and for the preface of HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::preface::Greeting;

const IDLE: usize = 0;
const HEAD: usize = 1;
/// Times the number of guards. The body of a request may outlast its answer, and the next request may begin meanwhile.
const BUSY: usize = 2;

/// The state of an HTTP/1 connection: between requests, in the header of a request, or busy with requests.
#[derive(Debug, Default)]
pub(super) struct HeaderClock(AtomicUsize);

impl HeaderClock {
    /// The header is complete: the connection is busy for as long as a guard lives.
    pub(super) fn busy(clock: &Arc<Self>) -> Busy {
        let _ = clock.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| Some((state & !HEAD) + BUSY));
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
pub(crate) struct Busy(Arc<HeaderClock>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.fetch_sub(BUSY, Ordering::Relaxed);
    }
}

/// Fails a read when the header of an HTTP/1 request, or the preface and SETTINGS of HTTP/2, take longer than allowed.
/// The time counts from the first byte or, if the client has to speak at once, from the start.
///
/// Why not hyper's own timeout: it also runs while no request is under way (hyper#1628). A short one would close idle
/// connections that load balancers keep for the next request. HTTP/2 needs none later: it has pings.
///
/// It stands above TLS, because it reads what the client says.
#[derive(Debug)]
pub(super) struct HeaderTimeout<S> {
    inner: S,
    limit: Duration,
    clock: Arc<HeaderClock>,
    timer: Pin<Box<Sleep>>,
    greeting: Greeting,
}

impl<S: AsyncRead + AsyncWrite + Unpin> HeaderTimeout<S> {
    /// `speaks_first`: whether the client has to send something at once.
    pub(super) fn new(inner: S, limit: Duration, speaks_first: bool, clock: Arc<HeaderClock>) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + limit));
        if speaks_first {
            clock.begins();
        }
        Self { inner, limit, clock, timer, greeting: Greeting::new() }
    }

    /// Handles bytes that arrived.
    fn arrived(&mut self, bytes: &[u8]) {
        self.greeting.read(bytes);
        if !self.greeting.is_http2() && self.clock.begins() {
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        !self.greeting.is_http2() && self.clock.is_at_head() && self.timer.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for HeaderTimeout<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Also when bytes arrived: a client that sends one now and then must not get more time.
        if this.is_late(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.arrived(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HeaderTimeout<S> {
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
    use super::*;

    #[test]
    fn a_connection_is_busy_until_the_last_guard_is_gone() {
        let clock = Arc::new(HeaderClock::default());
        assert!(clock.begins() && clock.is_at_head());
        let body = HeaderClock::busy(&clock);
        assert!(!clock.is_at_head() && !clock.begins());
        let next = HeaderClock::busy(&clock);
        drop(body);
        assert!(!clock.begins(), "the next request is under way");
        drop(next);
        assert!(clock.begins());
    }
}
