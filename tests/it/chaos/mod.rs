//! Fault campaigns: load, faults without end, and then the proof that nothing was lost and nothing broken.
//!
//! A plain test run does a short form of each. `scripts/chaos` does long ones, by these variables:
//! `CHAOS_SEED`, `CHAOS_SECONDS` and `CHAOS_FAULTS`, of which a campaign does at least so many.

mod campaigns;
mod disk;
mod fleet;
mod load;
mod report;

use std::time::{Duration, Instant};

use fastrand::Rng;

pub use campaigns::register;
pub use disk::Disk;
pub use fleet::Fleet;
pub use load::{Ended, Load};
pub use report::Campaign;

/// The longest that the service may take to serve again, once its database does.
pub const RECOVERY: Duration = Duration::from_secs(5);

/// How long a campaign is, and with which faults.
#[derive(Clone, Debug)]
pub struct Script {
    pub seed: u64,
    seconds: Duration,
    faults: usize,
    is_short: bool,
    began: Instant,
    pub random: Rng,
}

impl Script {
    pub fn from_env() -> Self {
        let number = |name: &str, short: u64| {
            std::env::var(name).map_or(short, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
        };
        let seed = number("CHAOS_SEED", 1);
        Self {
            seed,
            seconds: Duration::from_secs(number("CHAOS_SECONDS", 4)),
            faults: usize::try_from(number("CHAOS_FAULTS", 3)).expect("a number"),
            is_short: std::env::var_os("CHAOS_FAULTS").is_none(),
            began: Instant::now(),
            random: Rng::with_seed(seed),
        }
    }

    /// Whether the campaign goes on after so many faults.
    pub fn goes_on(&self, faults: usize) -> bool {
        faults < self.faults || self.began.elapsed() < self.seconds
    }

    /// For faults that take half a minute each: a short form has one.
    pub fn goes_on_slowly(&self, faults: usize) -> bool {
        if self.is_short { faults < 1 } else { self.goes_on(faults) }
    }

    /// A moment between two bounds, in milliseconds.
    pub fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.random.u64(least..=most))
    }

    pub async fn pause(&mut self, least: u64, most: u64) {
        tokio::time::sleep(self.between(least, most)).await;
    }
}
