//! Which statements a request costs, with and without a copy of its identity in memory.

use std::time::Duration;

use futures::future::join_all;
use identity::domain::{Answer, Identifier, IdentifierKind, Observation, Outcome};
use identity::resolver::{Identify, Resolver};
use identity::settings::{CacheSettings, QueueSettings};
use tokio::time::{Instant, sleep};

use crate::conditions::Conditions;
use crate::connection::SimulatedStore;
use crate::database::Database;
use crate::store_conformance::calm;

const MAX_AGE: Duration = Duration::from_secs(60);

/// Replicas over one database, whose statements are noted.
struct Fleet {
    database: Database,
    store: SimulatedStore,
    replicas: Vec<Resolver>,
}

impl Fleet {
    fn start(conditions: Conditions, cache_size: usize) -> Self {
        let database = Database::new(conditions, None, 0, true);
        let store = SimulatedStore::new(database.clone());
        let queue = QueueSettings {
            queue_limit: 1_000,
            transaction_size: 256,
            max_queue_wait: Duration::from_secs(1),
            max_contacts: 10_000,
        };
        let cache = CacheSettings { cache_size, cache_max_age: MAX_AGE };
        let replicas = (0..2).map(|number| Resolver::start(store.of_replica(number), queue, cache)).collect();
        Self { database, store, replicas }
    }

    /// What a request is answered, and the statements that it cost.
    async fn ask(&self, replica: usize, values: &[&str]) -> (Answer, Vec<String>) {
        self.database.lock().restart_trace();
        let answer = self.answer(replica, values).await;
        (answer, self.statements())
    }

    async fn answer(&self, replica: usize, values: &[&str]) -> Answer {
        let deadline = (Instant::now() + Duration::from_secs(10)).into_std();
        self.replicas[replica].identify(observation(values).into(), deadline).await.unwrap()
    }

    /// The statements since the last time.
    fn statements(&self) -> Vec<String> {
        let trace = self.database.lock().restart_trace();
        trace.iter().filter_map(|line| statement(line)).collect()
    }

    /// The statements of a request that is answered MATCHED, with so many contacts.
    async fn known(&self, replica: usize, values: &[&str], contacts: usize) -> Vec<String> {
        let (answer, statements) = self.ask(replica, values).await;
        assert_eq!((answer.outcome, answer.identity.contact_count()), (Outcome::Matched, contacts), "{values:?}");
        statements
    }
}

/// Identifiers by number, as everywhere in the simulation.
fn observation(values: &[&str]) -> Observation {
    let identifier = |value: &&str| {
        let number: usize = value.parse().unwrap();
        Identifier::from_stored(IdentifierKind::ALL[number % 2], *value)
    };
    Observation::new(values.iter().map(identifier)).unwrap()
}

/// The name of the statement in a line of the trace, unless it is a ping.
fn statement(line: &str) -> Option<String> {
    let (_, after) = line.split_once(": replica ")?;
    let name = after.split(": ").nth(1)?;
    (name != "ping").then(|| name.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_known_customer_costs_the_row_of_the_root() {
    let fleet = Fleet::start(calm(false), 1 << 20);
    let (created, statements) = fleet.ask(0, &["10", "11"]).await;
    assert_eq!((created.outcome, &statements[..2]), (Outcome::Created, &["read".to_owned(), "begin".to_owned()][..]));
    // What the transaction wrote is in memory.
    assert_eq!(fleet.known(0, &["10"], 1).await, ["root rows"]);
    assert_eq!(fleet.known(0, &["10", "11"], 1).await, ["root rows"]);
    // Another replica has read nothing yet, and reads at once what an identifier leads to that it does not know.
    assert_eq!(fleet.known(1, &["10"], 1).await, ["read"]);
    assert_eq!(fleet.known(1, &["10", "11"], 1).await, ["read"]);
    assert_eq!(fleet.known(1, &["10", "11"], 1).await, ["root rows"]);
    sleep(MAX_AGE).await;
    assert_eq!(fleet.known(1, &["10", "11"], 1).await, ["read"], "the copy is too old");
}

/// The contacts of a large identity are read once, whatever identifier leads to it.
#[tokio::test(start_paused = true)]
async fn contacts_of_a_large_identity_are_not_read_again() {
    const CONTACTS: usize = 500;
    let fleet = Fleet::start(calm(false), 1 << 22);
    for number in 0..CONTACTS {
        fleet.ask(0, &["11", &(2 * number).to_string()]).await;
    }
    // The read ends early. By then it is known to be large, so the lane for large ones reads it by version.
    assert_eq!(fleet.known(1, &["0"], CONTACTS).await, ["read", "owner rows", "contacts"]);
    assert_eq!(fleet.known(1, &["2"], CONTACTS).await, ["owner rows"]);
    assert_eq!(fleet.known(1, &["2"], CONTACTS).await, ["root rows"]);
    fleet.ask(0, &["11", "5000"]).await;
    assert_eq!(fleet.known(1, &["2"], CONTACTS + 1).await, ["root rows", "owner rows", "contacts"]);
    assert_eq!(fleet.known(1, &["4"], CONTACTS + 1).await, ["owner rows"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_a_large_identity_is_read_as_one() {
    const CONTACTS: usize = 500;
    let fleet = Fleet::start(calm(false), 0);
    for number in 0..CONTACTS {
        fleet.ask(0, &["11", &(2 * number).to_string()]).await;
    }
    assert_eq!(fleet.known(1, &["0"], CONTACTS).await, ["read", "large read"]);
    assert_eq!(fleet.known(1, &["2"], CONTACTS).await, ["large read"], "known to be large by now");
}

#[tokio::test(start_paused = true)]
async fn a_change_by_another_replica_is_seen_at_once() {
    let fleet = Fleet::start(calm(false), 1 << 20);
    fleet.ask(0, &["10", "11"]).await;
    fleet.ask(0, &["20", "21"]).await;
    assert_eq!(fleet.known(1, &["10", "11"], 1).await, ["read"]);
    assert_eq!(fleet.known(1, &["20", "21"], 1).await, ["read"]);
    // A link, and a merge that absorbs the other.
    fleet.ask(0, &["11", "12"]).await;
    assert_eq!(fleet.known(1, &["10"], 2).await, ["root rows", "read"]);
    fleet.ask(0, &["21", "12"]).await;
    assert_eq!(fleet.known(1, &["20"], 3).await, ["root rows", "read"]);
    assert_eq!(fleet.known(1, &["10"], 3).await, ["root rows"], "the survivor is in memory by now");
    // The transaction starts from the copy: it reads nothing more.
    let (linked, statements) = fleet.ask(1, &["10", "99"]).await;
    assert_eq!((linked.outcome, linked.identity.contact_count()), (Outcome::Linked, 4));
    assert!(!statements.contains(&"find".to_owned()) && !statements.contains(&"contacts".to_owned()), "{statements:?}");
}

/// Two requests share a look-up, and the copy of one of them was changed.
#[tokio::test(start_paused = true)]
async fn a_changed_copy_delays_no_other_request() {
    let fleet = Fleet::start(calm(false), 1 << 20);
    fleet.ask(0, &["10", "11"]).await;
    fleet.ask(0, &["20", "21"]).await;
    assert_eq!(fleet.known(1, &["10"], 1).await, ["read"]);
    assert_eq!(fleet.known(1, &["20"], 1).await, ["read"]);
    fleet.ask(0, &["11", "12"]).await;
    fleet.database.lock().restart_trace();
    let asked = async |values| {
        let answer = fleet.answer(1, values).await;
        (answer.identity.contact_count(), fleet.statements())
    };
    let (changed, other) = tokio::join!(asked(&["10"]), asked(&["20"]));
    assert_eq!(other, (1, vec!["root rows".to_owned()]));
    assert_eq!(changed, (2, vec!["read".to_owned()]), "after the other had its answer");
}

/// Each statement that is under way has a connection of its own.
#[tokio::test(start_paused = true)]
async fn all_lanes_together_have_few_statements_under_way() {
    const READ_LANES: usize = 4;
    const SECOND_LOOKUPS: usize = 2;
    let fleet = Fleet::start(calm(false), 1 << 22);
    let values: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    let all = |replica: usize, every: usize| {
        let fleet = &fleet;
        join_all(values.iter().step_by(every).map(move |value| async move { fleet.answer(replica, &[value]).await }))
    };
    all(0, 1).await;
    all(1, 2).await; // Every second is in the memory of the other replica.
    fleet.database.lock().take_most_under_way();
    fleet.database.lock().restart_trace();
    assert!(all(1, 1).await.iter().all(|answer| answer.outcome == Outcome::Matched));
    let statements = fleet.statements();
    let count = |name: &str| statements.iter().filter(|one| *one == name).count();
    assert!(count("root rows") >= READ_LANES && count("read") >= READ_LANES, "{statements:?}");
    assert_eq!(fleet.database.lock().take_most_under_way(), READ_LANES + SECOND_LOOKUPS);
}

#[tokio::test(start_paused = true)]
async fn new_connections_end_all_copies() {
    let fleet = Fleet::start(calm(false), 1 << 20);
    fleet.ask(0, &["10", "11"]).await;
    assert_eq!(fleet.known(0, &["10"], 1).await, ["root rows"]);
    fleet.store.fail_for(Duration::ZERO);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(fleet.known(0, &["10"], 1).await, ["read"]);
    assert_eq!(fleet.known(0, &["10"], 1).await, ["root rows"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_or_with_several_primaries_there_are_no_copies() {
    let off = Fleet::start(calm(false), 0);
    off.ask(0, &["10", "11"]).await;
    for _ in 0..2 {
        assert_eq!(off.known(0, &["10"], 1).await, ["read"]);
    }
    let several = Fleet::start(Conditions { shown_late: 1, ..calm(false) }, 1 << 20);
    several.ask(0, &["10", "11"]).await;
    for _ in 0..2 {
        let statements = several.known(0, &["10"], 1).await;
        assert_eq!(statements[..3], ["read", "begin", "lock"], "under locks");
    }
}
