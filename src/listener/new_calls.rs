//! The calls that an HTTP/2 connection has just read.
//!
//! hyper reads the heads that have arrived, gives each to the service, and each call to the executor, which spawns a
//! task for it. A refused call needs no task: its answer is ready. On a busy service a task would first wait behind all
//! others that can run. So the task of the connection answers the refused calls itself, after it has read all heads
//! that have arrived. Then one write sends all answers.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use pin_project_lite::pin_project;

use super::outgoing::Outgoing;

/// How often a connection reads and answers before others have their turn. The second time sends the answers.
const TURNS: usize = 2;

/// The calls that a connection has just read.
#[derive(Default)]
pub(super) struct NewCalls {
    /// The call that the service got last, until the executor gets its future.
    begun: Mutex<Option<Arc<Outgoing>>>,
    /// Calls with an answer that needs no work.
    refused: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl NewCalls {
    /// The service gets a call. hyper gives its future to the executor next.
    pub(super) fn begin(&self, call: Arc<Outgoing>) {
        *lock(&self.begun) = Some(call);
    }

    /// Returns the call whose future the executor gets.
    pub(super) fn take_begun(&self) -> Option<Arc<Outgoing>> {
        lock(&self.begun).take()
    }

    /// Adds the future of a refused call. [`AnsweringConnection`] polls it in the same turn.
    pub(super) fn add_refused(&self, call: impl Future<Output = ()> + Send + 'static) {
        lock(&self.refused).push(Box::pin(call));
    }

    fn take_refused(&self) -> Vec<BoxFuture<'static, ()>> {
        mem::take(&mut *lock(&self.refused))
    }
}

impl fmt::Debug for NewCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCalls").finish_non_exhaustive()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers refused calls. A task is spawned for what waits: an answer that the client has no room for.
fn answer(refused: Vec<BoxFuture<'static, ()>>) {
    for mut call in refused {
        if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(call);
        }
    }
}

pin_project! {
    /// A connection that answers its refused calls itself.
    pub(super) struct AnsweringConnection<C> {
        #[pin]
        connection: C,
        calls: Arc<NewCalls>,
    }
}

impl<C> AnsweringConnection<C> {
    pub(super) fn new(connection: C, calls: Arc<NewCalls>) -> Self {
        Self { connection, calls }
    }

    /// Returns the connection of hyper.
    pub(super) fn inner(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }
}

impl<C: Future> Future for AnsweringConnection<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let mut this = self.project();
        for _ in 0..TURNS {
            let end = this.connection.as_mut().poll(cx);
            // Nothing is left in the list between two polls: a call refers to the list.
            let refused = this.calls.take_refused();
            if end.is_ready() || refused.is_empty() {
                return end;
            }
            answer(refused);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
