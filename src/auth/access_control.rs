use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::authenticator::{Authenticator, Credentials, Unauthenticated};
use super::known_caller::KnownCaller;
use super::scope::Scope;
use crate::metrics::{AuthFailure, Metrics, ShedReason, WorkMetrics};

/// Decides about calls, and counts those that are refused.
#[derive(Debug)]
pub struct AccessControl {
    authenticator: Arc<dyn Authenticator>,
    metrics: Metrics,
    work: WorkMetrics,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not known who calls.
    Unauthenticated,
    /// The caller lacks a scope.
    Scope(Scope),
    /// The caller calls too often, and may call again after this time.
    Rate(Duration),
}

impl AccessControl {
    /// Decides by what an authenticator says.
    pub fn new(authenticator: Arc<dyn Authenticator>, metrics: &Metrics) -> Self {
        Self { authenticator, metrics: metrics.clone(), work: metrics.work() }
    }

    /// Returns who calls.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`].
    pub fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Arc<KnownCaller>, Refusal> {
        self.authenticator.authenticate(credentials).map_err(|reason| {
            self.metrics.count_auth_failure(match reason {
                Unauthenticated::Missing => AuthFailure::Missing,
                Unauthenticated::Unknown if credentials.token.is_some() => AuthFailure::UnknownToken,
                Unauthenticated::Unknown => AuthFailure::UnknownCertificate,
            });
            Refusal::Unauthenticated
        })
    }

    /// Lets the caller do something that needs a scope, or only a known caller.
    ///
    /// # Errors
    /// [`Refusal::Scope`], [`Refusal::Rate`].
    pub fn permit(&self, caller: &KnownCaller, scope: Option<Scope>) -> Result<(), Refusal> {
        if let Some(scope) = scope.filter(|scope| !caller.may(*scope)) {
            self.metrics.count_auth_failure(AuthFailure::Scope);
            return Err(Refusal::Scope(scope));
        }
        caller.count_call().map_err(|wait| {
            self.work.count_shed(ShedReason::Rate, 1);
            Refusal::Rate(wait)
        })
    }

    /// Returns whether these credentials still mean the caller with this id, and it may do something, whatever its
    /// rate. Counts nothing.
    pub(super) fn check(
        &self,
        caller_id: u64,
        credentials: &Credentials<'_>,
        scope: Option<Scope>,
    ) -> Result<(), Refusal> {
        let caller = self.authenticator.authenticate(credentials).ok().filter(|caller| caller.id() == caller_id);
        let caller = caller.ok_or(Refusal::Unauthenticated)?;
        scope.filter(|scope| !caller.may(*scope)).map_or(Ok(()), |scope| Err(Refusal::Scope(scope)))
    }

    /// Resolves when the callers have changed after this call.
    pub(super) fn changed(&self) -> BoxFuture<'static, ()> {
        self.authenticator.changed()
    }
}
