//! How often the service waits for the database, and what becomes of a connection that it holds between two statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use identity::domain::{Identifier, IdentifierKind, Observation, Snapshot, plan};
use identity::store::{Database, ExpectedSize, Store, StoreError, Transaction};
use sea_orm::{ConnectionTrait, DbBackend};
use url::Url;

use crate::harness::{
    Api, Backend, Caller, Proxy, Service, Suite, TestDatabase, Traffic, database_settings, query, register,
};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&Backend::SERVERS):
        a_request_takes_few_round_trips,
        each_statement_is_one_round_trip,
        an_idle_connection_goes_back_to_the_pool,
        kept_connections_leave_room_for_others,
        a_caller_that_leaves_leaves_no_transaction,
    );
    register!(suite.on(&[Backend::Mysql]): the_server_counts_the_same);
}

/// Requests that are counted together.
const REQUESTS: usize = 5;

/// The service also probes its database each second. Of so many counts, one is without a probe.
const COUNTS: usize = 60;

/// How soon something must happen that takes a second.
const SOON: Duration = Duration::from_secs(10);

fn email(value: &str) -> Identifier {
    Identifier::from_stored(IdentifierKind::Email, value)
}

fn address(number: usize) -> String {
    format!("{number}@x.de")
}

/// A proxy that sees what is sent: without TLS.
async fn proxy(database: &TestDatabase) -> Proxy {
    let mut url = Url::parse(&database.url).expect("a URL");
    url.set_query(Some(if database.backend.is_mysql() { "ssl-mode=DISABLED" } else { "sslmode=disable" }));
    Proxy::start(url.as_str()).await
}

/// What a store sends through this proxy. Its connections are open.
async fn warm_store(database: &TestDatabase) -> (Proxy, Database) {
    drop(database.store().await);
    let proxy = proxy(database).await;
    let store = Database::connect(&database_settings(&proxy.url, 10, SOON)).await.expect("the database answers");
    create(&store, "warm@x.de", &AtomicBool::default()).await.expect("written");
    find(&store, "warm@x.de").await;
    (proxy, store)
}

async fn find(store: &Database, value: &str) -> usize {
    store.find_identities(&[email(value)], ExpectedSize::Usual).await.expect("a read").identities.len()
}

/// Writes a new contact as the service does. Says when the commit begins.
async fn create(store: &Database, value: &str, is_committing: &AtomicBool) -> Result<(), StoreError> {
    let mut transaction = store.begin().await?;
    let observation = Observation::new([email(value)]).expect("an identifier");
    let plan = plan(&[observation], &Snapshot::new(Vec::new()), transaction.now().await?, 10_000);
    transaction.apply(&plan).await?;
    is_committing.store(true, Ordering::SeqCst);
    transaction.commit().await
}

/// Sends requests one after another, and returns by how much each of these numbers rose: the least of many times.
async fn least<const N: usize>(caller: &Caller, count: impl AsyncFn() -> [usize; N]) -> [usize; N] {
    let mut least = [usize::MAX; N];
    for first in (0..COUNTS).map(|number| number * REQUESTS) {
        let before = count().await;
        for number in first..first + REQUESTS {
            caller.identify(Api::Grpc, Some(&address(number)), None).await.expect("an answer");
        }
        let after = count().await;
        least = std::array::from_fn(|of| least[of].min(after[of] - before[of]));
    }
    least
}

async fn a_request_takes_few_round_trips(database: TestDatabase) {
    let proxy = proxy(&database).await;
    let service = Service::start_with(&proxy.url, &[]).await;
    let caller = service.caller();
    let count = async || [proxy.traffic().round_trips, proxy.traffic().pings];
    // The look-up, BEGIN with the clock, the contact, its identifier, COMMIT.
    assert_eq!(least(&caller, count).await, [5 * REQUESTS, 0], "new requests");
    assert_eq!(least(&caller, count).await, [REQUESTS, 0], "known requests");
    service.stop().await;
}

async fn each_statement_is_one_round_trip(database: TestDatabase) {
    let (proxy, store) = warm_store(&database).await;
    let before = proxy.traffic();
    for _ in 0..10 {
        assert_eq!(find(&store, "warm@x.de").await, 1);
    }
    assert_eq!(proxy.traffic() - before, Traffic { round_trips: 10, pings: 0 });
    let before = proxy.traffic();
    for number in 0..10 {
        create(&store, &address(number), &AtomicBool::default()).await.expect("written");
    }
    assert_eq!(proxy.traffic() - before, Traffic { round_trips: 40, pings: 0 });
    // A transaction that is given up is rolled back, and its connection is used again.
    let before = proxy.traffic();
    for number in 1..=10 {
        drop(store.begin().await.expect("a transaction"));
        until("the rollback", || (proxy.traffic() - before).round_trips >= 2 * number).await;
        tokio::time::sleep(Duration::from_millis(50)).await; // Until it is answered.
    }
    assert_eq!(proxy.traffic() - before, Traffic { round_trips: 20, pings: 0 });
}

/// Waits until this is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Connections that wait in the driver's pool.
fn pooled(store: &Database) -> usize {
    let connection = store.connection();
    if connection.get_database_backend() == DbBackend::Postgres {
        connection.get_postgres_connection_pool().num_idle()
    } else {
        connection.get_mysql_connection_pool().num_idle()
    }
}

async fn an_idle_connection_goes_back_to_the_pool(database: TestDatabase) {
    let (proxy, store) = warm_store(&database).await;
    assert_eq!(pooled(&store), 0, "it is kept");
    let before = proxy.traffic();
    until("the connection", || pooled(&store) == 1).await;
    // The pool asks whether it is there.
    assert_eq!(proxy.traffic() - before, Traffic { round_trips: 1, pings: 1 });
    assert_eq!(find(&store, "warm@x.de").await, 1);
    until("the connection again", || pooled(&store) == 1).await;
}

/// With one or two connections, none or one is kept: the others are for probes, which ask the pool.
async fn kept_connections_leave_room_for_others(database: TestDatabase) {
    drop(database.store().await);
    for connections in [1, 2] {
        let settings = database_settings(&database.url, connections, SOON);
        let store = Database::connect(&settings).await.expect("the database answers");
        let begun = Instant::now();
        for number in 0..20 {
            find(&store, &address(number)).await;
            create(&store, &format!("{connections}.{number}@x.de"), &AtomicBool::default()).await.expect("written");
            store.ping().await.expect("a connection");
            let reads = (0..4).map(|_| find(&store, "warm@x.de"));
            futures::future::join_all(reads).await;
        }
        // Each of four would wait until an idle connection is given back.
        assert!(begun.elapsed() < 2 * SOON, "{connections}: they wait for a connection");
    }
}

/// Its caller leaves while it waits for the connection, for BEGIN, for each statement, or for COMMIT. The connection is
/// used again at once: a BEGIN in a transaction that is still open would commit that on MySQL.
async fn a_caller_that_leaves_leaves_no_transaction(database: TestDatabase) {
    let (proxy, store) = warm_store(&database).await;
    proxy.delay(Duration::from_millis(3)); // Each way: some 6 ms a round trip, of which there are four.
    let mut left_before_commit = Vec::new();
    for step in 0..40_u64 {
        let value = format!("left.{step}@x.de");
        let is_committing = Arc::new(AtomicBool::default());
        let work = create(&store, &value, &is_committing);
        let is_done = tokio::time::timeout(Duration::from_millis(step), work).await.is_ok();
        if !is_done && !is_committing.load(Ordering::SeqCst) {
            left_before_commit.push(value);
        }
        create(&store, &format!("next.{step}@x.de"), &AtomicBool::default()).await.expect("the next one");
    }
    assert!((10..=40).contains(&left_before_commit.len()), "{left_before_commit:?}");
    proxy.delay(Duration::ZERO);
    for step in 0..40 {
        assert_eq!(find(&store, &format!("next.{step}@x.de")).await, 1, "{step}");
    }
    for value in &left_before_commit {
        assert_eq!(find(&store, value).await, 0, "{value} was committed by somebody else");
    }
    let admin = database.raw().await;
    let open = match database.backend {
        Backend::Postgres => {
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        }
        Backend::Mysql | Backend::Mariadb | Backend::Sqlite => {
            "SELECT p.id FROM information_schema.innodb_trx t JOIN information_schema.processlist p \
             ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE()"
        }
    };
    let begun = Instant::now();
    while !query(&admin, open).await.is_empty() {
        assert!(begun.elapsed() < SOON, "a transaction is open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    admin.close().await.expect("close");
}

/// By the server's own count, of a user that nobody else is.
async fn the_server_counts_the_same(database: TestDatabase) {
    let admin = database.raw().await;
    let mut url = Url::parse(&database.url).expect("a URL");
    let user = url.path().trim_start_matches('/').to_owned();
    for sql in [format!("CREATE USER '{user}' IDENTIFIED BY 'counted'"), format!("GRANT ALL ON {user}.* TO '{user}'")] {
        admin.execute_unprepared(&sql).await.expect("the right to make users");
    }
    url.set_username(&user).expect("a user");
    url.set_password(Some("counted")).expect("a password");
    let service = Service::start_with(url.as_str(), &[]).await;
    let caller = service.caller();
    let count = async || {
        let sql = format!(
            "SELECT CAST(SUM(COUNT_STAR) AS SIGNED), \
             CAST(SUM(IF(EVENT_NAME = 'statement/com/Ping', COUNT_STAR, 0)) AS SIGNED) \
             FROM performance_schema.events_statements_summary_by_user_by_event_name WHERE USER = '{user}'"
        );
        let row = query(&admin, &sql).await.remove(0);
        [0, 1].map(|column| usize::try_from(row.try_get_by_index::<i64>(column).expect("a number")).expect("a count"))
    };
    // BEGIN and the clock are two commands of one packet. The server counts a command after it has answered, so the last
    // one can be missing.
    for (commands, kind) in [(6 * REQUESTS, "new"), (REQUESTS, "known")] {
        let [all, pings] = least(&caller, &count).await;
        assert!((commands - 1..=commands).contains(&all) && pings == 0, "{kind}: {all} commands, {pings} pings");
    }
    service.stop().await;
    admin.execute_unprepared(&format!("DROP USER '{user}'")).await.expect("it is gone");
    admin.close().await.expect("close");
}
