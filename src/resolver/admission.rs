//! Admission: which requests may be in the service at once.
//!
//! [`QueueDelay`] says how many, [`FairShare`] whose. Both are plain rules; this file holds them for all tasks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::caller::Caller;
use super::error::IdentifyError;
use super::fair_share::{FairShare, Way, half};
use super::queue_delay::{Queue, QueueDelay};
use super::reservation::Reservations;
use crate::domain::Outcome;
use crate::metrics::{LaneKind, ShedReason, WorkMetrics};
use crate::settings::QueueSettings;

/// A caller that waits for places tries again after this time: the limit may have risen.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// This part of the longest wait is how long a place is kept for a call that waits for its body.
const BODY_PART: u32 = 10;

/// Gives places in the service to requests, which limits all queues together. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<AdmissionState>);

#[derive(Debug)]
struct AdmissionState {
    places: Mutex<Places>,
    /// Wakes the first of those that wait when a place is free.
    freed: Notify,
    /// Held by the first of those that wait. The others wait for it, in order.
    first: tokio::sync::Mutex<()>,
    work: WorkMetrics,
}

#[derive(Debug)]
struct Places {
    delay: QueueDelay,
    share: FairShare,
    /// Of calls that wait for their bodies. Each has a place in `share`.
    reservations: Reservations,
    /// How long a place is reserved.
    body_wait: Duration,
}

impl Admission {
    pub(super) fn new(settings: &QueueSettings, work: WorkMetrics) -> Self {
        let now = Instant::now();
        let delay = QueueDelay::new(settings.queue_limit, settings.max_queue_wait, now);
        let places = Mutex::new(Places {
            delay,
            share: FairShare::new(now),
            reservations: Reservations::default(),
            body_wait: settings.max_queue_wait / BODY_PART,
        });
        let shared =
            Arc::new(AdmissionState { places, freed: Notify::new(), first: tokio::sync::Mutex::default(), work });
        let weak = Arc::downgrade(&shared);
        shared.work.read_queue_depth(move || weak.upgrade().map_or(0, |shared| Self(shared).held()));
        Self(shared)
    }

    /// Returns the place for a call of a caller whose body is still to be read.
    ///
    /// # Errors
    /// [`IdentifyError::Overloaded`] as [`try_admit`](Self::try_admit) has it for one request.
    pub(super) fn try_reserve(
        &self,
        caller: Caller,
        deadline: std::time::Instant,
    ) -> Result<Reservation, IdentifyError> {
        let now = Instant::now();
        let places = &mut *self.places();
        self.end_late(places, now);
        self.try_enter(places, caller, 1, deadline, now)?;
        places.share.reserve(caller);
        Ok(Reservation { admission: self.clone(), caller, awaited: None, is_used: false })
    }

    /// Returns the places for so many requests of a caller. A single request for which a place is reserved gets that
    /// place. A batch of more gives that place back, and asks for all of its places.
    ///
    /// # Errors
    /// [`IdentifyError::Overloaded`] when there is no room for them, or when they would wait for too long.
    pub(super) fn try_admit(
        &self,
        reservation: Option<Reservation>,
        caller: Caller,
        requests: usize,
        deadline: std::time::Instant,
    ) -> Result<Permit, IdentifyError> {
        let reserved = reservation.map(Reservation::into_parts);
        let now = Instant::now();
        let places = &mut *self.places();
        self.end_late(places, now);
        if let Some(reserved_by) = reserved.and_then(|(caller, awaited)| places.end_reservation(caller, awaited)) {
            if requests == 1 && reserved_by == caller {
                return Ok(self.permit(caller, 1, Way::Call));
            }
            self.leave(places, reserved_by, 1, Way::Call);
        }
        self.try_enter(places, caller, requests, deadline, now)?;
        Ok(self.permit(caller, requests, Way::Call))
    }

    fn try_enter(
        &self,
        places: &mut Places,
        caller: Caller,
        requests: usize,
        deadline: std::time::Instant,
        now: Instant,
    ) -> Result<(), IdentifyError> {
        let patience = deadline.saturating_duration_since(now.into_std());
        let is_too_late = places.delay.would_wait_too_long(places.share.held(), patience);
        if !is_too_late && places.try_enter(caller, requests, Way::Call, now) {
            return Ok(());
        }
        places.delay.record_refusal(now);
        let reason = if is_too_late { ShedReason::Wait } else { ShedReason::Queue };
        self.0.work.count_shed(reason, requests);
        Err(IdentifyError::Overloaded)
    }

    /// Returns how many requests are in the service.
    fn held(&self) -> usize {
        let places = &mut *self.places();
        self.end_late(places, Instant::now());
        places.share.held()
    }

    /// Gives a reserved place back.
    fn give_back(&self, caller: Caller, awaited: Option<u64>) {
        let places = &mut *self.places();
        if let Some(caller) = places.end_reservation(caller, awaited) {
            self.leave(places, caller, 1, Way::Call);
        }
    }

    /// Gives the places of the calls back whose bodies have not come in time.
    fn end_late(&self, places: &mut Places, now: Instant) {
        let Some(before) = now.checked_sub(places.body_wait) else { return };
        while let Some(caller) = places.reservations.take_late(before) {
            places.share.end_reservation(caller);
            self.leave(places, caller, 1, Way::Call);
        }
    }

    fn leave(&self, places: &mut Places, caller: Caller, items: usize, way: Way) {
        places.share.leave(caller, items, way);
        self.0.freed.notify_one();
    }

    /// Waits for the places for so many requests of a caller. Those that wait get their places in order.
    ///
    /// More requests than half of the limit take that half. So they get in, at the latest when no other request of a
    /// stream is in the service.
    pub(super) async fn admit(&self, caller: Caller, requests: usize) -> Permit {
        let _first = self.0.first.lock().await;
        loop {
            let freed = self.0.freed.notified();
            let items = {
                let (places, now) = (&mut *self.places(), Instant::now());
                self.end_late(places, now);
                places.try_enter_stream(caller, requests, now)
            };
            if let Some(items) = items {
                return self.permit(caller, items, Way::Stream);
            }
            let _ = timeout(ASK_AGAIN, freed).await;
        }
    }

    /// Records that a group of requests leaves its queue now. `queued` is since when each has been there. The oldest
    /// tells: the others may have come while the group was gathered.
    pub(super) fn record_waits(&self, queue: Queue, queued: impl Iterator<Item = Instant> + Clone) {
        if let Some(oldest) = queued.clone().min() {
            let now = Instant::now();
            let lane = match queue {
                Queue::Read => LaneKind::Read,
                Queue::Write => LaneKind::Write,
            };
            self.0.work.record_waits(lane, queued.map(|since| now.saturating_duration_since(since)));
            let places = &mut *self.places();
            self.end_late(places, now);
            places.delay.record_wait(now, queue, now.saturating_duration_since(oldest), places.share.held());
        }
    }

    fn permit(&self, caller: Caller, items: usize, way: Way) -> Permit {
        Permit { admission: self.clone(), caller, items, way, is_answered: false }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn try_enter(&mut self, caller: Caller, requests: usize, way: Way, now: Instant) -> bool {
        let limits = (self.delay.limit(now), self.delay.rate());
        self.share.try_enter(caller, requests, way, limits, now)
    }

    /// Ends a reservation. Returns whose it is, or `None` if its place was given back already.
    fn end_reservation(&mut self, caller: Caller, awaited: Option<u64>) -> Option<Caller> {
        let caller = awaited.map_or(Some(caller), |number| self.reservations.take(number))?;
        self.share.end_reservation(caller);
        Some(caller)
    }

    /// Returns how many places the requests of a stream got, if they got in.
    fn try_enter_stream(&mut self, caller: Caller, requests: usize, now: Instant) -> Option<usize> {
        let items = requests.min(half(self.delay.limit(now)));
        self.try_enter(caller, items, Way::Stream, now).then_some(items)
    }
}

/// The place of a call whose body is still to be read. Dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Reservation {
    admission: Admission,
    caller: Caller,
    /// Its number in [`Reservations`], if the call waits for its body.
    awaited: Option<u64>,
    is_used: bool,
}

impl Reservation {
    /// The call waits for its body from now on. Its place is kept for a while.
    pub(super) fn await_body(&mut self) {
        if self.awaited.is_none() {
            let places = &mut *self.admission.places();
            self.awaited = Some(places.reservations.add(self.caller, Instant::now()));
        }
    }

    /// Returns what [`Places::end_reservation`] needs. The receiver does with it what the drop would do.
    fn into_parts(mut self) -> (Caller, Option<u64>) {
        self.is_used = true;
        (self.caller, self.awaited)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_used {
            self.admission.give_back(self.caller, self.awaited);
        }
    }
}

/// Places in the service. Dropping it gives them back.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Admission,
    caller: Caller,
    items: usize,
    way: Way,
    is_answered: bool,
}

impl Permit {
    /// Takes one place off for the next of so many requests. With fewer places than requests, the last ones get them:
    /// the places are taken until all are done.
    pub(super) fn split_one(&mut self, requests_left: usize) -> Self {
        let items = usize::from(self.items > 0 && self.items >= requests_left);
        self.items -= items;
        self.admission.permit(self.caller, items, self.way)
    }

    /// Records that the request has its answer, or a refusal by a rule or by the database, which is work done too.
    pub(super) fn set_answered(&mut self, outcome: Option<Outcome>) {
        self.is_answered = true;
        if let Some(outcome) = outcome {
            self.admission.0.work.count_outcome(outcome);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.items == 0 && !self.is_answered {
            return;
        }
        let places = &mut *self.admission.places();
        if self.is_answered {
            places.delay.record_answer(Instant::now());
        }
        if self.items > 0 {
            self.admission.leave(places, self.caller, self.items, self.way);
        }
    }
}

#[cfg(test)]
impl Permit {
    /// A place in a service of its own, for tests of the queues.
    pub(super) fn for_test() -> Self {
        let patience = std::time::Duration::from_secs(1);
        let settings = QueueSettings { queue_limit: 1, transaction_size: 1, max_queue_wait: patience, max_contacts: 1 };
        let permit = Admission::new(&settings, WorkMetrics::default()).try_admit(
            None,
            Caller::Unknown,
            1,
            (Instant::now() + patience).into_std(),
        );
        permit.unwrap_or_else(|_| unreachable!("the service is empty"))
    }
}

#[cfg(test)]
mod tests;
