use std::time::{Duration, Instant};

use super::admission::{Permit, Reservation};
use super::caller::Caller;
use super::deadline::deadline_after;
use super::error::IdentifyError;
use super::request::IdentifyRequest;
use crate::domain::Answer;
use crate::traces::RequestTrace;

/// The result for each request of a batch, in the order of the batch.
pub type Answers = Vec<Result<Answer, IdentifyError>>;

/// Room in the queue for a batch. It ends when the batch is identified, or when it is dropped.
#[derive(Debug, Default)]
pub struct Admitted(pub(super) Option<Permit>);

/// The place of a call whose body is still to be read; none if nobody took one. Dropping it gives the place back.
#[derive(Debug, Default)]
pub struct Reserved(pub(super) Option<Reservation>);

impl Reserved {
    /// The call has had its turn, and waits for its body from now on. Its place is kept for a while.
    pub fn await_body(&mut self) {
        if let Some(reservation) = &mut self.0 {
            reservation.await_body();
        }
    }
}

/// The use case of the service. It is a trait so that tests of the APIs can replace the resolver.
pub trait Identify: Clone + Send + Sync + 'static {
    /// Returns the same use case for the requests of one caller, who gets a fair share of a busy service.
    fn for_caller(&self, _caller: Caller) -> Self {
        self.clone()
    }

    /// Returns the same use case for the requests of one call, which belong to this trace.
    fn in_trace(self, _trace: RequestTrace) -> Self {
        self
    }

    /// Takes a place in the queue for a call of a caller whose head has arrived. So a call is refused at once, and its
    /// body is not read.
    ///
    /// A call that waits for its body ([`Reserved::await_body`]) keeps the place for a moment only. A call whose body
    /// comes later asks for room again.
    ///
    /// # Errors
    /// [`IdentifyError::Overloaded`] when the queue has no room, or when the call would wait for too long.
    fn reserve(&self, _caller: Caller, _deadline: Instant) -> Result<Reserved, IdentifyError> {
        Ok(Reserved::default())
    }

    /// Finds or creates the identity that the observation belongs to, before the deadline.
    ///
    /// A request with `validate_only` gets the answer that it would get, from one read that contains what was
    /// acknowledged before. A contact that would be new has the id [`ContactId::UNKNOWN`](crate::domain::ContactId).
    ///
    /// # Errors
    /// See [`IdentifyError`].
    fn identify(
        &self,
        request: IdentifyRequest,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, IdentifyError>> + Send;

    /// Does what [`identify`](Self::identify) does, in a place that [`reserve`](Self::reserve) has taken.
    ///
    /// # Errors
    /// See [`IdentifyError`].
    fn identify_reserved(
        &self,
        _reserved: Reserved,
        request: IdentifyRequest,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, IdentifyError>> + Send {
        self.identify(request, deadline)
    }

    /// Takes room in the queue for a batch of so many requests. So a batch that is refused is not parsed.
    /// `reserved` is the place that [`reserve`](Self::reserve) has taken for its call.
    ///
    /// # Errors
    /// [`IdentifyError::Overloaded`] when the queue has no room for all requests.
    fn admit(
        &self,
        _reserved: Reserved,
        _requests: usize,
        _deadline: Instant,
    ) -> impl Future<Output = Result<Admitted, IdentifyError>> + Send {
        async { Ok(Admitted::default()) }
    }

    /// Identifies a batch, for which [`admit`](Self::admit) has taken room. Returns one result for each request, in
    /// order.
    ///
    /// Requests that share an identifier or an identity are handled in the order of the batch, those with
    /// `validate_only` too.
    fn identify_admitted(
        &self,
        _admitted: Admitted,
        requests: Vec<IdentifyRequest>,
        deadline: Instant,
    ) -> impl Future<Output = Answers> + Send {
        async move {
            let mut answers = Vec::with_capacity(requests.len());
            for request in requests {
                answers.push(self.identify(request, deadline).await);
            }
            answers
        }
    }

    /// Identifies a batch. Returns one result for each request, in order.
    ///
    /// # Errors
    /// [`IdentifyError::Overloaded`] when there is no room, or when the batch would wait for too long. Then it starts
    /// none.
    fn identify_all(
        &self,
        requests: Vec<IdentifyRequest>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answers, IdentifyError>> + Send {
        async move {
            let admitted = self.admit(Reserved::default(), requests.len(), deadline).await?;
            Ok(self.identify_admitted(admitted, requests, deadline).await)
        }
    }

    /// Identifies a batch like [`identify_all`](Self::identify_all), but waits for room in the queue.
    ///
    /// The wait has no limit. The time-out starts when the queue has room.
    fn identify_in_turn(
        &self,
        requests: Vec<IdentifyRequest>,
        timeout: Duration,
    ) -> impl Future<Output = Answers> + Send {
        async move {
            let count = requests.len();
            let answers = self.identify_all(requests, deadline_after(timeout)).await;
            answers.unwrap_or_else(|error| vec![Err(error); count])
        }
    }
}
