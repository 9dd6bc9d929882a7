use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use identity::domain::{Identifier, IdentifierKind};

/// What a database and a network are like, for one schedule.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    /// How many resolvers share the store.
    pub(crate) replicas: usize,
    /// How many transactions each of them runs at once.
    pub(crate) writers: usize,
    /// How many identifiers there are, at most 128.
    pub(crate) identifiers: usize,
    /// The longest way to the store, or back, in milliseconds.
    pub(crate) latency: u64,
    /// Of a thousand statements so many meet a fault.
    pub(crate) faults: u32,
    /// Of a thousand statements so many lose a race.
    pub(crate) lost_races: u32,
    /// As SQLite: one transaction at a time.
    pub(crate) is_exclusive: bool,
    /// Whether a deadlock is seen at once; if not, a lock not had in time ends it.
    pub(crate) detects_deadlocks: bool,
    pub(crate) lock_timeout: Duration,
    /// Whether the database's clock jumps, back too.
    pub(crate) clock_jumps: bool,
    /// From one moment of that clock to the next, in microseconds.
    pub(crate) clock_step: i64,
    /// How many ids a replica takes at a time: with more than one they do not ascend with age.
    pub(crate) id_block: i64,
    /// The most identifiers that a statement of a transaction reads.
    pub(crate) read_size: usize,
    /// How often, on average, all of the database is out of reach, or a replica crashes.
    pub(crate) outages: u64,
    pub(crate) crashes: u64,
    /// The longest, in milliseconds, until the replica that made a commit sees it and is answered, which the others see
    /// at once: each is at a server of its own, and all of them take writes. 0: there is one server.
    pub(crate) shown_late: u64,
    /// Of a thousand identities that are read, so many come without the primary's row.
    pub(crate) torn_reads: u32,
    /// What the database refuses, always: to look for it, or to keep it.
    pub(crate) poison: Option<Poison>,
    /// How many requests a resolver takes on at once.
    pub(crate) queue: usize,
    /// How many share a transaction at most.
    pub(crate) transaction_size: usize,
    /// The most contacts that an identity may have.
    pub(crate) max_contacts: usize,
    /// How many bytes each replica's cache has.
    pub(crate) cache_size: usize,
    /// How long it keeps an identity.
    pub(crate) cache_max_age: Duration,
    /// The numbers of the identifiers that are ignored from the start.
    pub(crate) ignored: Vec<usize>,
    /// Whether callers send requests that are not to be carried out.
    pub(crate) validates: bool,
    /// Whether each request has a note.
    pub(crate) notes: bool,
    /// Whether there is a caller who only reads.
    pub(crate) reads: bool,
}

impl Conditions {
    /// A third of all schedules are without faults: then nothing but a deadline may fail a request.
    pub(crate) fn draw(random: &mut Rng) -> Self {
        let is_calm = random.u32(0..3) == 0;
        let mut unless_calm = |most: u64| if is_calm { 0 } else { random.u64(0..=most) };
        let (faults, outages, crashes) = (unless_calm(30) as u32, unless_calm(2), unless_calm(2));
        let is_exclusive = random.u32(0..6) == 0;
        Self {
            replicas: random.usize(1..=3),
            writers: random.usize(1..=3),
            identifiers: random.usize(4..=120),
            latency: random.u64(1..=10),
            faults,
            lost_races: random.choice([0, 0, 10, 50]).unwrap_or(0),
            is_exclusive,
            detects_deadlocks: random.u32(0..4) > 0,
            lock_timeout: Duration::from_millis(random.u64(50..=500)),
            clock_jumps: random.bool(),
            clock_step: random.choice([1, 1, 100_000]).unwrap_or(1),
            id_block: random.choice([1, 1, 5]).unwrap_or(1),
            read_size: random.usize(2..=10),
            outages,
            crashes,
            shown_late: if !is_exclusive && random.u32(0..3) == 0 { random.u64(1..=300) } else { 0 },
            torn_reads: if is_exclusive { 0 } else { random.choice([0, 0, 20]).unwrap_or(0) },
            poison: random.choice([None, None, Some(Poison::Read), Some(Poison::Written)]).flatten(),
            queue: if random.u32(0..4) == 0 { random.usize(2..=20) } else { 1_000 },
            transaction_size: random.choice([1, 2, 5, 256]).unwrap_or(256),
            max_contacts: if random.u32(0..4) == 0 { random.usize(1..=10) } else { 10_000 },
            // None, one so small that it loses most of what it gets, or one that keeps all.
            cache_size: random.choice([0, 20_000, 1 << 20, 1 << 20, 1 << 20]).unwrap_or(0),
            cache_max_age: Duration::from_millis(random.choice([20, 500, 60_000, 60_000]).unwrap_or(60_000)),
            // Drawn apart, so that everything else stays as it was drawn for each seed.
            ignored: Self::draw_ignored(random.clone()),
            validates: false,
            notes: false,
            reads: false,
        }
    }

    /// Some of the first identifiers, which many requests have, but for the poisoned one.
    fn draw_ignored(mut random: Rng) -> Vec<usize> {
        if random.u32(0..3) > 0 {
            return Vec::new();
        }
        (0..8).filter(|number| *number != POISON && random.u32(0..3) == 0).collect()
    }

    /// The identifiers that are ignored from the start.
    pub(crate) fn ignored(&self) -> BTreeSet<Identifier> {
        self.ignored.iter().map(|number| identifier(*number)).collect()
    }
}

/// The identifier of a number.
pub(crate) fn identifier(number: usize) -> Identifier {
    Identifier::from_stored(IdentifierKind::ALL[number % 2], number.to_string())
}

/// When the identifier [`POISON`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    Read,
    Written,
}

/// The number of the identifier that the database may not like.
pub(crate) const POISON: usize = 3;

/// A fault of the store, for the checker to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// No transaction waits for the row lock of another.
    IgnoresLocks,
    /// No transaction waits for the uncommitted key of another, and the last one has it.
    IgnoresKeys,
    /// A transaction reads what there was when it began.
    StaleFind,
    /// Now and then a commit is acknowledged, and nothing is kept.
    LosesCommits,
    /// Now and then a commit keeps the first part of what it should.
    TearsCommits,
    /// A read outside a transaction sees what is not committed, and may be rolled back.
    DirtyRead,
    /// A read outside a transaction claims to have the latest, and lacks what another replica sees.
    ShownLate,
    /// A transaction does not learn that it must write what it locks.
    KeepsLocks,
    /// The rows of roots say a version of before: a copy that is stale is believed.
    StaleVersions,
    /// Now and then a row that is written keeps its version: a version that does not rise.
    VersionStays,
    /// The set of a match is not written.
    EvidenceLost,
    /// The set of a merge is not written.
    MergeEvidenceLost,
    /// The set of a match is written, and the root is not.
    EvidenceUntouched,
    /// Nobody learns that a set is stored, and it has no unique key.
    EvidenceTwice,
    /// A read outside a transaction says that a set is stored, though it is not.
    EvidenceClaimed,
    /// No history has the newest row of `Evidence`.
    HistoryLacksSet,
}

impl Bug {
    /// Whether it shows in what callers get. The tables may show others as well.
    pub(crate) fn is_about_copies(self) -> bool {
        matches!(self, Self::StaleVersions | Self::VersionStays)
    }
}
