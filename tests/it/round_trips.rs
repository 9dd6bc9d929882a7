//! How often the service waits for the database, and what becomes of a connection that it holds between two statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use identity::domain::{Identifier, IdentifierKind, Observation, Plan, Snapshot, Timestamp, plan};
use identity::store::{Database, ExpectedSize, IfNothing, Store, StoreError, Transaction};
use sea_orm::ConnectionTrait;
use url::Url;

use crate::harness::{
    Api, Backend, Caller, MYSQL_SESSIONS, Proxy, Service, Suite, TestDatabase, Traffic, connections, database_settings,
    query, register,
};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&Backend::SERVERS):
        a_request_takes_few_round_trips,
        each_statement_is_one_round_trip,
        an_idle_connection_goes_back_to_the_pool,
        one_connection_is_not_kept,
        a_connection_that_somebody_waits_for_is_not_kept,
        a_kept_connection_that_died_in_silence_is_closed,
        a_transaction_on_a_silent_connection_is_not_kept,
        connections_end_without_a_runtime,
        a_begin_without_effect_is_noticed,
        an_insert_whose_answer_is_late_is_rolled_back,
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
pub async fn proxy(database: &TestDatabase) -> Proxy {
    let mut url = Url::parse(&database.url).expect("a URL");
    url.set_query(Some(if database.backend.is_mysql() { "ssl-mode=DISABLED" } else { "sslmode=disable" }));
    Proxy::start(url.as_str()).await
}

/// What a store sends through this proxy. Its connections are open.
async fn warm_store(database: &TestDatabase) -> (Proxy, Database) {
    warm_store_with(database, 10, SOON).await
}

async fn warm_store_with(database: &TestDatabase, connections: u32, limit: Duration) -> (Proxy, Database) {
    drop(database.store().await);
    let proxy = proxy(database).await;
    let settings = database_settings(&proxy.url, connections, limit);
    let store = Database::wait_and_connect(&settings).await.expect("the database answers");
    if find(&store, "warm@x.de").await == 0 {
        create(&store, "warm@x.de", &AtomicBool::default()).await.expect("written");
    }
    (proxy, store)
}

async fn find(store: &Database, value: &str) -> usize {
    store
        .find_identities(&[email(value)], ExpectedSize::Usual, IfNothing::CheckServer)
        .await
        .expect("a read")
        .found
        .identities
        .len()
}

/// Writes a new contact as the service does. Says when the commit begins.
async fn create(store: &Database, value: &str, is_committing: &AtomicBool) -> Result<(), StoreError> {
    let mut transaction = store.begin().await?;
    transaction.apply(&new_contact(value, transaction.now())).await?;
    is_committing.store(true, Ordering::SeqCst);
    transaction.commit().await
}

fn new_contact(value: &str, now: Timestamp) -> Plan {
    let observation = Observation::new([email(value)]).expect("an identifier");
    plan(&[observation], &Snapshot::new(Vec::new()), now, 10_000)
}

/// How many contacts there are, and how many of them have no identifier: half of a transaction was committed.
async fn contacts(database: &TestDatabase) -> [i64; 2] {
    let admin = database.raw().await;
    let owned = r#"EXISTS (SELECT 1 FROM "Identifier" i WHERE i."contactId" = c."id")"#;
    let mut counts = Vec::new();
    for which in ["1 = 1".to_owned(), format!("NOT {owned}")] {
        let row = query(&admin, &format!(r#"SELECT COUNT(*) FROM "Contact" c WHERE {which}"#)).await.remove(0);
        counts.push(row.try_get_by_index(0).expect("a number"));
    }
    admin.close().await.expect("close");
    [counts[0], counts[1]]
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

/// The least of many counts: a slow machine lets an idle connection go back to the pool, which is a ping more.
async fn least_traffic(proxy: &Proxy, work: impl AsyncFn(usize)) -> Traffic {
    let mut least = Traffic { round_trips: usize::MAX, pings: usize::MAX };
    for count in 0..COUNTS {
        let before = proxy.traffic();
        work(count).await;
        let traffic = proxy.traffic() - before;
        least.round_trips = least.round_trips.min(traffic.round_trips);
        least.pings = least.pings.min(traffic.pings);
    }
    least
}

async fn each_statement_is_one_round_trip(database: TestDatabase) {
    let (proxy, store) = warm_store(&database).await;
    let find = async |_| {
        for _ in 0..REQUESTS {
            assert_eq!(find(&store, "warm@x.de").await, 1);
        }
    };
    assert_eq!(least_traffic(&proxy, find).await, Traffic { round_trips: REQUESTS, pings: 0 });
    let create = async |count: usize| {
        for number in count * REQUESTS..(count + 1) * REQUESTS {
            create(&store, &address(number), &AtomicBool::default()).await.expect("written");
        }
    };
    assert_eq!(least_traffic(&proxy, create).await, Traffic { round_trips: 4 * REQUESTS, pings: 0 });
    // A transaction that is given up is rolled back, and its connection is used again.
    let give_up = async |_| {
        let before = proxy.traffic();
        for number in 1..=REQUESTS {
            drop(store.begin().await.expect("a transaction"));
            until("the rollback", || (proxy.traffic() - before).round_trips >= 2 * number).await;
            tokio::time::sleep(Duration::from_millis(20)).await; // Mostly it is answered by then.
        }
    };
    assert_eq!(least_traffic(&proxy, give_up).await, Traffic { round_trips: 2 * REQUESTS, pings: 0 });
}

/// Waits until this is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Reads until the connection of the read is kept, which is so at once unless the machine is slow.
async fn keep(store: &Database) {
    let begun = Instant::now();
    loop {
        find(store, "warm@x.de").await;
        if connections(store) == [1, 0] {
            return;
        }
        assert!(begun.elapsed() < SOON, "it is not kept: {:?}", connections(store));
    }
}

async fn an_idle_connection_goes_back_to_the_pool(database: TestDatabase) {
    let (proxy, store) = warm_store(&database).await;
    for _ in 0..2 {
        keep(&store).await;
        let before = proxy.traffic();
        until("the connection", || connections(&store) == [1, 1]).await;
        // The pool asks whether it is there.
        assert_eq!(proxy.traffic() - before, Traffic { round_trips: 1, pings: 1 });
    }
}

/// Migrations take a connection of the pool, and must not wait until one is idle.
async fn one_connection_is_not_kept(database: TestDatabase) {
    for count in [1, 2] {
        let (_proxy, store) = warm_store_with(&database, count, SOON).await;
        let is_over = AtomicBool::default();
        let readers = async {
            while !is_over.load(Ordering::SeqCst) {
                futures::future::join_all((0..count).map(|_| find(&store, "warm@x.de"))).await;
            }
        };
        let migrations = async {
            for _ in 0..10 {
                store.migration_status().await.expect("a connection");
            }
            is_over.store(true, Ordering::SeqCst);
        };
        futures::join!(readers, migrations);
    }
}

/// All connections but one have a transaction, and two readers take turns on that one.
async fn a_connection_that_somebody_waits_for_is_not_kept(database: TestDatabase) {
    let (_proxy, store) = warm_store_with(&database, 4, SOON).await;
    let mut transactions = Vec::new();
    for _ in 0..3 {
        transactions.push(store.begin().await.expect("a transaction"));
    }
    let is_over = AtomicBool::default();
    let reader = async {
        while !is_over.load(Ordering::SeqCst) {
            find(&store, "warm@x.de").await;
        }
    };
    let other = async {
        for _ in 0..10 {
            find(&store, "warm@x.de").await;
        }
        is_over.store(true, Ordering::SeqCst);
    };
    futures::join!(reader, other);
}

/// The time of a statement, where a test waits until it is over.
const SHORT: Duration = Duration::from_secs(1);

async fn a_kept_connection_that_died_in_silence_is_closed(database: TestDatabase) {
    let (proxy, store) = warm_store_with(&database, 2, SHORT).await;
    keep(&store).await;
    proxy.swallow();
    until("its place in the pool", || connections(&store) == [0, 0]).await;
    assert_eq!(find(&store, "warm@x.de").await, 1);
}

async fn a_transaction_on_a_silent_connection_is_not_kept(database: TestDatabase) {
    let (proxy, store) = warm_store_with(&database, 2, SHORT).await;
    let mut transaction = store.begin().await.expect("a transaction");
    proxy.swallow();
    let plan = new_contact("lost@x.de", transaction.now());
    transaction.apply(&plan).await.expect_err("no answer comes");
    drop(transaction);
    // Another one may have been made, to find out whether the server answers.
    until("its place in the pool", || matches!(connections(&store), [all, idle] if all == idle)).await;
    create(&store, "next@x.de", &AtomicBool::default()).await.expect("written");
    assert_eq!(contacts(&database).await, [2, 0]);
}

async fn connections_end_without_a_runtime(database: TestDatabase) {
    let (_proxy, store) = warm_store(&database).await;
    let transaction = store.begin().await.expect("a transaction");
    assert_eq!(find(&store, "warm@x.de").await, 1);
    assert_eq!(connections(&store), [2, 0], "one is kept");
    let end = || std::thread::spawn(move || drop((transaction, store))).join();
    assert!(tokio::task::block_in_place(end).is_ok(), "it panics");
}

/// A proxy that takes several statements apart can answer BEGIN itself, or send it elsewhere. Each statement would be
/// committed by itself.
async fn a_begin_without_effect_is_noticed(database: TestDatabase) {
    let (proxy, store) = warm_store(&database).await;
    // Where other statements follow in its packet. In its place are statements that do nothing.
    proxy.replace(b"BEGIN;", if database.backend.is_mysql() { b"DO  1;" } else { b"     ;" });
    let error = store.begin().await.expect_err("there is no transaction");
    assert!(error.is_unavailable(), "{error}");
    proxy.replace_nothing();
    create(&store, "next@x.de", &AtomicBool::default()).await.expect("written");
}

/// The contact is inserted when its caller gives up, and its identifier is not. A BEGIN in that transaction would
/// commit it on MySQL, and the COMMIT after it on PostgreSQL.
async fn an_insert_whose_answer_is_late_is_rolled_back(database: TestDatabase) {
    let (proxy, store) = warm_store_with(&database, 3, SHORT).await;
    // A third one without an answer would replace all connections.
    for round in 0..2 {
        let next = async || {
            // As many as there are connections: one of them waits for the connection that was given up.
            let values: Vec<String> = (0..3).map(|number| format!("{round}.{number}@x.de")).collect();
            let is_committing = AtomicBool::default();
            let created = values.iter().map(|value| create(&store, value, &is_committing));
            futures::future::join_all(created).await.into_iter().filter(Result::is_ok).count()
        };
        let mut transaction = store.begin().await.expect("a transaction");
        proxy.delay(SHORT * 6 / 10); // Each way.
        let plan = new_contact("late@x.de", transaction.now());
        let error = transaction.apply(&plan).await.expect_err("the answer is late");
        assert!(matches!(error, StoreError::TimedOut(_)), "{error}");
        proxy.delay(Duration::ZERO);
        drop(transaction);
        assert_eq!(next().await, 3, "{round}");
        assert_eq!(contacts(&database).await, [1 + 3 * (round + 1), 0], "{round}: half of a transaction");
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
        assert_eq!(find(&store, value).await, 0, "{value} was committed by another transaction");
    }
    assert_eq!(contacts(&database).await[1], 0, "half of a transaction was committed");
    let admin = database.raw().await;
    let open = match database.backend {
        Backend::Postgres => {
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        }
        Backend::Mysql | Backend::Mariadb | Backend::Sqlite => &format!(
            "SELECT ID FROM {MYSQL_SESSIONS} WHERE DB = DATABASE() AND ID IN \
                 (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx)"
        ),
    };
    let begun = Instant::now();
    while !query(&admin, open).await.is_empty() {
        assert!(begun.elapsed() < SOON, "a transaction is open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    admin.close().await.expect("close");
}

/// By the server's own count of the commands of a user, which is for this test only.
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
    // BEGIN, two for its savepoint and the clock are four commands of one packet. The server counts a command after it
    // has answered, so the last one can be missing.
    for (commands, kind) in [(8 * REQUESTS, "new"), (REQUESTS, "known")] {
        let [all, pings] = least(&caller, &count).await;
        assert!((commands - 1..=commands).contains(&all) && pings == 0, "{kind}: {all} commands, {pings} pings");
    }
    service.stop().await;
    admin.execute_unprepared(&format!("DROP USER '{user}'")).await.expect("it is gone");
    admin.close().await.expect("close");
}
