use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use ring::digest::{SHA256, digest};

use super::entries::Rate;
use super::scope::{Scope, Scopes};

/// A caller that the file has.
pub struct KnownCaller {
    name: String,
    id: u64,
    scopes: Scopes,
    limit: Option<Arc<RateLimit>>,
}

/// A rate, and how much of it is used.
pub(super) struct RateLimit {
    pub(super) rate: Rate,
    limiter: DefaultDirectRateLimiter,
}

impl RateLimit {
    pub(super) fn new(rate: Rate) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self { rate, limiter: RateLimiter::direct(quota) }
    }
}

impl KnownCaller {
    pub(super) fn new(name: String, scopes: Scopes, limit: Option<Arc<RateLimit>>) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&digest(&SHA256, name.as_bytes()).as_ref()[..8]);
        Self { name, id: u64::from_be_bytes(id), scopes, limit }
    }

    /// Returns the name, for log lines and metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a number that stands for the name, the same in every process and after every change of the file.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns whether the caller may do this.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }

    pub(super) fn scopes(&self) -> Scopes {
        self.scopes
    }

    pub(super) fn limit(&self) -> Option<&Arc<RateLimit>> {
        self.limit.as_ref()
    }

    /// Counts a call.
    ///
    /// # Errors
    /// How long the caller has to wait, if it has called too often.
    pub fn count_call(&self) -> Result<(), Duration> {
        let Some(limit) = &self.limit else { return Ok(()) };
        limit.limiter.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

impl fmt::Debug for KnownCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownCaller").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}
