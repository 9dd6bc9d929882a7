//! The answer of one call on its way to the socket.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;

use super::connection_state::ConnectionState;
use super::peers::PeerGuard;
use crate::auth::KnownCaller;
use crate::resolver::{Caller, Reserved};
use crate::transport::call_place::KeepsPlace;

/// Maximum bytes of a part of an answer. A peer that takes one within `SEND_TIMEOUT` makes progress. HTTP gets more
/// only when it holds less than this, so that each part is one that the peer could take next.
pub(super) const PART: usize = 16 * 1024;

/// One call, until its answer is sent: it keeps the call's place, and counts what HTTP holds of the answer.
///
/// HTTP takes an answer into its buffers although the peer takes nothing, and does not report when it has written it.
/// So this counts the parts that are dropped: HTTP drops a part when it has written it or gives it up.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) connection: Arc<ConnectionState>,
    place: OnceLock<(OwnedSemaphorePermit, PeerGuard<Caller>)>,
    /// Its place in the queue, until the handler takes it.
    reserved: Mutex<Reserved>,
    /// Who calls, if authentication found it out.
    caller: OnceLock<Arc<KnownCaller>>,
    /// Authentication refused the call.
    is_refused: AtomicBool,
    /// The layers have refused the call, so that its answer needs no work.
    is_answered_at_once: AtomicBool,
    /// The answer is part of the binary, and takes no memory of its own.
    is_shared: AtomicBool,
    /// Bytes that HTTP holds.
    unsent: AtomicUsize,
    /// Parts that are written.
    written: AtomicUsize,
    /// The task that waits until HTTP holds less.
    writer: AtomicWaker,
    /// A part of the answer will not be sent.
    is_given_up: AtomicBool,
}

impl Outgoing {
    pub(super) fn new(connection: Arc<ConnectionState>, is_http2: bool) -> Self {
        connection.begin_call(is_http2);
        Self {
            connection,
            place: OnceLock::new(),
            reserved: Mutex::default(),
            caller: OnceLock::new(),
            is_refused: AtomicBool::new(false),
            is_answered_at_once: AtomicBool::new(false),
            is_shared: AtomicBool::new(false),
            unsent: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            writer: AtomicWaker::new(),
            is_given_up: AtomicBool::new(false),
        }
    }

    /// A part of the answer that was made will not be sent: the peer went away, or did not take it in time.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// Whether it is known that a part of the answer will not be sent.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// Keeps the place of the call, and that among the calls of its peer, until its answer is sent.
    pub(super) fn keep(&self, place: OwnedSemaphorePermit, of_peer: PeerGuard<Caller>) {
        // There is one place for each call.
        let _ = self.place.set((place, of_peer));
    }

    /// Keeps the place of the call in the queue until the handler takes it.
    pub(super) fn reserve(&self, place: Reserved) {
        *self.reserved.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// The call has had its turn. If its handler has not taken its place in the queue, it waits for its body.
    pub(super) fn await_body(&self) {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner).await_body();
    }

    /// The layers refuse the call.
    pub(super) fn answer_at_once(&self) {
        self.is_answered_at_once.store(true, Ordering::Relaxed);
    }

    /// Whether the layers have refused the call.
    pub(super) fn is_answered_at_once(&self) -> bool {
        self.is_answered_at_once.load(Ordering::Relaxed)
    }

    /// Authentication has found out who calls.
    pub(super) fn set_caller(&self, caller: Arc<KnownCaller>) {
        // There is one for each call.
        let _ = self.caller.set(caller);
    }

    /// Authentication refuses the call.
    pub(super) fn refuse(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }

    /// Whether authentication refused the call.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    /// The caller, if it is known.
    pub(super) fn caller(&self) -> Option<&KnownCaller> {
        self.caller.get().map(|caller| &**caller)
    }

    /// The name of the caller, if it is known.
    pub(super) fn caller_name(&self) -> Option<&str> {
        self.caller().map(KnownCaller::name)
    }

    /// The answer is part of the binary. Said before there is an answer.
    pub(super) fn set_shared(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// So many bytes of the answer wait to be sent.
    pub(super) fn add_waiting(&self, bytes: usize) {
        if !self.is_shared.load(Ordering::Relaxed) {
            self.connection.add_waiting(bytes);
        }
    }

    /// So many bytes are written or given up.
    pub(super) fn remove_waiting(&self, bytes: usize) {
        if !self.is_shared.load(Ordering::Relaxed) {
            self.connection.remove_waiting(bytes);
        }
    }

    /// How many parts are written, if HTTP holds others.
    pub(super) fn written_while_unsent(&self) -> Option<usize> {
        (self.unsent.load(Ordering::SeqCst) > 0).then(|| self.written.load(Ordering::SeqCst))
    }

    /// Ready when HTTP may get more.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let has_room = || self.unsent.load(Ordering::SeqCst) < PART;
        if has_room() {
            return Poll::Ready(());
        }
        self.writer.register(cx.waker());
        if has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Hands out a part of the answer, whose bytes are counted as waiting already.
    pub(super) fn hand_out(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.unsent.fetch_add(bytes.len(), Ordering::SeqCst);
        let period = self.connection.unsent.add();
        Bytes::from_owner(Part { bytes, period, outgoing: Arc::clone(self) })
    }
}

impl KeepsPlace for Outgoing {
    fn take(&self) -> Reserved {
        std::mem::take(&mut self.reserved.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.connection.end_call();
    }
}

/// A part of an answer that HTTP holds.
struct Part {
    bytes: Bytes,
    period: usize,
    outgoing: Arc<Outgoing>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.outgoing.connection.unsent.remove(self.period);
        self.outgoing.remove_waiting(self.bytes.len());
        self.outgoing.written.fetch_add(1, Ordering::SeqCst);
        self.outgoing.unsent.fetch_sub(self.bytes.len(), Ordering::SeqCst);
        self.outgoing.writer.wake();
    }
}
