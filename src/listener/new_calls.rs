//! The calls that an HTTP/2 connection has just read.
//!
//! hyper reads the heads that have arrived, gives each to the service, and each call to the executor, which spawns a
//! task for it. A refused call needs no task: its answer is ready. On a busy service a task would first wait behind all
//! others that can run. So the task of the connection answers the refused calls itself, in its own turn, after it has
//! read all heads that have arrived. Then one write sends the answers.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use pin_project_lite::pin_project;

use super::outgoing::Outgoing;

/// Maximum calls that a connection answers before others have their turn.
const MOST_AT_ONCE: usize = 128;

/// The calls that a connection has just read.
#[derive(Default)]
pub(super) struct NewCalls {
    /// The call that the service got last, until the executor gets its future.
    begun: Mutex<Option<Arc<Outgoing>>>,
    /// Calls with an answer that needs no work.
    refused: Mutex<VecDeque<BoxFuture<'static, ()>>>,
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

    /// Adds the future of a refused call. [`AnsweringConnection`] polls it next.
    pub(super) fn add_refused(&self, call: impl Future<Output = ()> + Send + 'static) {
        lock(&self.refused).push_back(Box::pin(call));
    }

    /// Takes the first of the refused calls, at most so many.
    fn take_refused(&self, most: usize) -> VecDeque<BoxFuture<'static, ()>> {
        let mut refused = lock(&self.refused);
        let count = most.min(refused.len());
        let others = refused.split_off(count);
        mem::replace(&mut *refused, others)
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
fn answer(refused: VecDeque<BoxFuture<'static, ()>>) {
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

    impl<C> PinnedDrop for AnsweringConnection<C> {
        fn drop(this: Pin<&mut Self>) {
            // A call refers to the list that it is in, and neither would be dropped.
            drop(this.project().calls.take_refused(usize::MAX));
        }
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
        let mut room = MOST_AT_ONCE;
        while room > 0 {
            // It also sends the answers of the last time.
            let end = this.connection.as_mut().poll(cx);
            if end.is_ready() {
                return end;
            }
            let refused = this.calls.take_refused(room);
            if refused.is_empty() {
                return end;
            }
            room -= refused.len();
            answer(refused);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use futures::task::{ArcWake, waker};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl ArcWake for Wakes {
        fn wake_by_ref(wakes: &Arc<Self>) {
            wakes.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_connection_lets_others_run_between_many_answers() {
        let (calls, answered, wakes) = (Arc::new(NewCalls::default()), Arc::new(AtomicUsize::new(0)), Arc::default());
        for _ in 0..2 * MOST_AT_ONCE + 1 {
            let answered = Arc::clone(&answered);
            calls.add_refused(async move {
                answered.fetch_add(1, Ordering::SeqCst);
            });
        }
        let mut connection = Box::pin(AnsweringConnection::new(pending::<()>(), calls));
        let waker = waker(Arc::<Wakes>::clone(&wakes));
        for (turn, answers) in [MOST_AT_ONCE, 2 * MOST_AT_ONCE, 2 * MOST_AT_ONCE + 1].into_iter().enumerate() {
            assert!(connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(answered.load(Ordering::SeqCst), answers);
            assert_eq!(wakes.0.load(Ordering::SeqCst), (turn + 1).min(2), "woken while there are others");
        }
    }

    #[test]
    fn the_calls_of_a_connection_that_panics_are_dropped() {
        let calls = Arc::new(NewCalls::default());
        let kept = Arc::new(());
        let (list, place) = (Arc::clone(&calls), Arc::clone(&kept));
        let read = poll_fn(move |_| -> Poll<()> {
            let of_call = (Arc::clone(&list), Arc::clone(&place));
            list.add_refused(async move { drop(of_call) });
            panic!("a bug in a layer");
        });
        let mut connection = Box::pin(AnsweringConnection::new(read, calls));
        assert!(catch_unwind(AssertUnwindSafe(|| connection.as_mut().now_or_never())).is_err());
        drop(connection);
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
