use std::time::{Duration, Instant};

use super::caller::Caller;
use super::deadline::deadline_after;
use super::error::IdentifyError;
use crate::domain::{Answer, Observation};

/// The result for each observation of a batch, in the order of the batch.
pub type Answers = Vec<Result<Answer, IdentifyError>>;

/// The use case of the service. It is a trait so that tests of the APIs can replace the resolver.
pub trait Identify: Clone + Send + Sync + 'static {
    /// Returns the same use case for the requests of one caller, who gets a fair share of a busy service.
    fn for_caller(&self, _caller: Caller) -> Self {
        self.clone()
    }

    /// Finds or creates the identity that the observation belongs to, before the deadline.
    ///
    /// # Errors
    /// See [`IdentifyError`].
    fn identify(
        &self,
        observation: Observation,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, IdentifyError>> + Send;

    /// Identifies a batch. Returns one result for each observation, in order.
    ///
    /// Observations that share an identifier or an identity are handled in the order of the batch.
    ///
    /// # Errors
    /// [`IdentifyError::Overloaded`] when there is no room, or when the batch would wait for too long. Then it starts
    /// none.
    fn identify_all(
        &self,
        observations: Vec<Observation>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answers, IdentifyError>> + Send {
        async move {
            let mut answers = Vec::with_capacity(observations.len());
            for observation in observations {
                answers.push(self.identify(observation, deadline).await);
            }
            Ok(answers)
        }
    }

    /// Identifies a batch like [`identify_all`](Self::identify_all), but waits for room in the queue.
    ///
    /// The wait has no limit. The time-out starts when the queue has room.
    fn identify_in_turn(
        &self,
        observations: Vec<Observation>,
        timeout: Duration,
    ) -> impl Future<Output = Answers> + Send {
        async move {
            let count = observations.len();
            let answers = self.identify_all(observations, deadline_after(timeout)).await;
            answers.unwrap_or_else(|error| vec![Err(error); count])
        }
    }
}
