//! Whether what callers saw could have come from one service that handles requests one at a time.
//!
//! No search is needed: identities only grow, so what an answer must contain is what answers that came
//! before its call have said, and what it may contain is what requests sent before its end can have joined.
//! See [`check`].

mod check;
mod groups;
mod simulation;

pub use check::check;

use crate::harness::Suite;

pub fn register(suite: &mut Suite) {
    simulation::register(suite);
}

/// An identifier, by kind and canonical value.
pub type Key = (char, String);

/// What one call was about, when it ran, and what came back.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which identifiers it gave.
    pub request: Vec<Key>,
    /// Whether it only asked who owns them. Then its outcome is `found` or `unknown`.
    pub is_look_up: bool,
    /// When it was sent, in nanoseconds of one clock for all calls.
    pub start: u64,
    /// When its answer came, and what it was. `None`: nobody knows whether it was carried out, or will be.
    pub end: Option<(u64, Seen)>,
}

/// An answer. All lists are empty if nobody was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub outcome: &'static str,
    /// The primary, then the secondaries by age.
    pub contacts: Vec<i64>,
    pub emails: Vec<String>,
    pub phones: Vec<String>,
}

impl Seen {
    /// Nobody was found.
    pub fn unknown() -> Self {
        Self { outcome: "unknown", contacts: Vec::new(), emails: Vec::new(), phones: Vec::new() }
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let emails = self.emails.iter().map(|email| ('e', email.clone()));
        emails.chain(self.phones.iter().map(|phone| ('p', phone.clone())))
    }
}
