//! The task of one HTTP/2 call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use super::connection_state::{ConnectionState, QUIET};
use super::new_calls::NewCalls;
use super::outgoing::Outgoing;
use crate::telemetry::Sampler;

/// Runs the HTTP/2 calls of a connection, and resets those whose peer does not take the answer.
///
/// hyper gives each call a future of its own. It waits for the peer's flow-control window without a limit, and the body
/// of the response is not polled meanwhile. So the task itself watches the time.
#[derive(Clone, Debug)]
pub(super) struct CallExecutor {
    pub(super) connection: Arc<ConnectionState>,
    pub(super) new_calls: Arc<NewCalls>,
    /// `SEND_TIMEOUT`
    pub(super) send_timeout: Duration,
    pub(super) resets: Arc<Sampler>,
}

impl<F> Executor<F> for CallExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: F) {
        let outgoing = self.new_calls.take_begun();
        // There is always one: the service answers CONNECT with an error, so hyper gives no upgrade to this.
        let outgoing = outgoing.unwrap_or_else(|| Arc::new(Outgoing::new(Arc::clone(&self.connection), true)));
        let is_refused = outgoing.is_answered_at_once();
        let stall = StallTimer { outgoing, limit: self.send_timeout, timer: None, armed: None };
        let task = CallTask { call, stall, resets: Arc::clone(&self.resets) };
        if is_refused {
            self.new_calls.add_refused(task);
        } else {
            tokio::spawn(task);
        }
    }
}

pin_project! {
    /// One HTTP/2 call.
    struct CallTask<F> {
        #[pin]
        call: F,
        stall: StallTimer,
        resets: Arc<Sampler>,
    }
}

impl<F: Future<Output = ()>> Future for CallTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.call.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if this.stall.poll_stalled(cx).is_pending() {
            return Poll::Pending;
        }
        if let Some(calls) = this.resets.count() {
            tracing::warn!(calls, "calls were reset: their peers did not take the answers within SEND_TIMEOUT");
        }
        // The future is dropped, which resets the stream and gives up what the peer did not take.
        Poll::Ready(())
    }
}

/// Finds out that a peer takes nothing of an answer.
struct StallTimer {
    outgoing: Arc<Outgoing>,
    limit: Duration,
    /// Most calls never need it.
    timer: Option<Pin<Box<Sleep>>>,
    /// While the timer runs: how many parts were written when it was started, and how long none has been written.
    armed: Option<(usize, Duration)>,
}

impl StallTimer {
    /// Ready when a part of the answer has been waiting for the limit, and none was written. If answers take too much
    /// memory: after [`QUIET`].
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let tick = self.limit.min(QUIET);
        while let Some(written) = self.outgoing.written_while_unsent() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(tick)));
            if self.armed.is_none() {
                timer.as_mut().reset(Instant::now() + tick);
            }
            let (before, quiet) = *self.armed.get_or_insert((written, Duration::ZERO));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if before != written {
                self.armed = None;
            } else if quiet + tick >= self.limit || self.outgoing.connection.memory.is_high() {
                return Poll::Ready(());
            } else {
                timer.as_mut().reset(Instant::now() + tick);
                self.armed = Some((written, quiet + tick));
            }
        }
        Poll::Pending
    }
}
