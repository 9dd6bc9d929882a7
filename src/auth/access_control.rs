use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::authenticator::{Authenticator, Credentials, Unauthenticated};
use super::known_caller::KnownCaller;
use super::scope::Scope;

/// Decides about calls, and counts those that are refused.
#[derive(Debug)]
pub struct AccessControl {
    authenticator: Arc<dyn Authenticator>,
    counts: AuthCounts,
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

/// How many calls were refused, by reason.
#[derive(Debug, Default)]
pub struct AuthCounts {
    missing: AtomicU64,
    unknown: AtomicU64,
    scope: AtomicU64,
    rate: AtomicU64,
}

impl AuthCounts {
    /// Returns the counts with their reasons, for metrics.
    pub fn by_reason(&self) -> [(&'static str, u64); 4] {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("missing", count(&self.missing)),
            ("unknown", count(&self.unknown)),
            ("scope", count(&self.scope)),
            ("rate", count(&self.rate)),
        ]
    }
}

impl AccessControl {
    /// Decides by what an authenticator says.
    pub fn new(authenticator: Arc<dyn Authenticator>) -> Self {
        Self { authenticator, counts: AuthCounts::default() }
    }

    /// Returns the counts.
    pub fn counts(&self) -> &AuthCounts {
        &self.counts
    }

    /// Returns who calls.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`].
    pub fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Arc<KnownCaller>, Refusal> {
        self.authenticator.authenticate(credentials).map_err(|reason| {
            let count = match reason {
                Unauthenticated::Missing => &self.counts.missing,
                Unauthenticated::Unknown => &self.counts.unknown,
            };
            count.fetch_add(1, Ordering::Relaxed);
            Refusal::Unauthenticated
        })
    }

    /// Lets the caller do something that needs a scope, or only a known caller.
    ///
    /// # Errors
    /// [`Refusal::Scope`], [`Refusal::Rate`].
    pub fn permit(&self, caller: &KnownCaller, scope: Option<Scope>) -> Result<(), Refusal> {
        if let Some(scope) = scope.filter(|scope| !caller.may(*scope)) {
            self.counts.scope.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::Scope(scope));
        }
        caller.count_call().map_err(|wait| {
            self.counts.rate.fetch_add(1, Ordering::Relaxed);
            Refusal::Rate(wait)
        })
    }
}
