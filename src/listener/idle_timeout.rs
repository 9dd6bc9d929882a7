//! Timeouts of the bytes of a connection, below TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

use super::connection_state::ConnectionState;

/// Fails a read when nothing arrives for too long, and a write when the peer takes nothing for too long.
///
/// An HTTP/1 client sends nothing while it reads an answer. So a connection is not idle while a call is under way: a
/// client that takes nothing is found out by `SEND_TIMEOUT`. HTTP/2 clients reply to pings.
#[derive(Debug)]
pub(super) struct IdleTimeout {
    inner: Pin<Box<TimeoutStream<TcpStream>>>,
    connection: Arc<ConnectionState>,
}

impl IdleTimeout {
    pub(super) fn new(stream: TcpStream, connection: Arc<ConnectionState>, idle: Duration, send: Duration) -> Self {
        let mut stream = TimeoutStream::new(stream);
        stream.set_read_timeout(Some(idle));
        stream.set_write_timeout(Some(send));
        Self { inner: Box::pin(stream), connection }
    }
}

impl AsyncRead for IdleTimeout {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = this.inner.as_mut().poll_read(cx, buf);
        let is_idle = matches!(&read, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut);
        if !is_idle || this.connection.is_http2() || !this.connection.has_calls() {
            return read;
        }
        // The time begins again as long as a call is under way.
        let idle = this.inner.read_timeout();
        this.inner.as_mut().set_read_timeout_pinned(idle);
        this.inner.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for IdleTimeout {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().inner.as_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().inner.as_mut().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner.as_mut().poll_shutdown(cx)
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
        let stream = listener.accept().await.unwrap().0;
        let state = Arc::new(ConnectionState::new(false, 1, Arc::new(UnsentMemory::new(1))));
        let mut connection = IdleTimeout::new(stream, Arc::clone(&state), minutes(1), minutes(1));
        state.begin_call(false);
        assert!(timeout(minutes(30), connection.read_u8()).await.is_err(), "it waits");
        state.end_call();
        let idle = timeout(minutes(2), connection.read_u8()).await.expect("it ends");
        assert_eq!(idle.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
