//! The database moves to another server, or the way to it is lost: the service follows by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use identity::domain::{ContactId, Identifier, IdentifierKind};
use identity::proto::identity::v1::IdentifyRequest;
use identity::store::{ConnectError, Database, DatabaseTransaction, ExpectedSize, Store, StoreError, Transaction};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use url::Url;

use crate::harness::{
    Api, Backend, Caller, Proxy, Server, Service, Suite, TestDatabase, connections, database_settings, query, register,
};
use crate::outage::turns;

pub fn register(suite: &mut Suite) {
    register!(suite.on(&Backend::SERVERS): connections_that_lead_nowhere);
    register!(suite.on_own_server(&Backend::SERVERS):
        of_several_servers,
        behind_one_address,
        new_connections_lead_to_a_replica,
    );
    register!(suite.on_own_server(&[Backend::Mysql]): a_server_outside_its_group);
    register!(suite.on_own_server(&[Backend::Mysql, Backend::Mariadb]): a_primary_that_is_demoted);
    register!(suite.on(&[Backend::Postgres]): a_begin_whose_answer_is_late);
}

/// How soon the service must have found its way.
const SOON: Duration = Duration::from_secs(10);

/// The time that a statement has where none is to be given up.
const PATIENT: Duration = Duration::from_secs(10);

/// A store with two connections to a server, so that one can be kept.
pub async fn connect(url: &str, statement_timeout: Duration) -> Result<Database, ConnectError> {
    Database::connect(&database_settings(url, 2, statement_timeout)).await
}

/// Calls until it works; every failure on the way says that a retry helps.
pub async fn eventually(caller: &Caller, email: &str) -> &'static str {
    let begun = Instant::now();
    loop {
        match caller.identify_within(Duration::from_secs(2), Api::Grpc, Some(email), None).await {
            Ok(reply) => return reply.outcome,
            Err(refusal) => {
                refusal.assert_of_an_outage();
                assert!(begun.elapsed() < SOON, "still {refusal:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Over TLS on MySQL, where closing such a connection waits for the other end.
async fn connections_that_lead_nowhere(database: TestDatabase) {
    let proxy = Proxy::start(&database.url).await;
    let flags = ["--database-connections", "4", "--database-timeout", "1s"];
    let service = Service::start_with(&proxy.url, &flags).await;
    let caller = service.caller();
    for round in 0..3 {
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..32 {
            let caller = caller.clone();
            calls.spawn(async move { caller.identify(Api::Http, Some(&format!("{round}.{number}@x.de")), None).await });
        }
        assert!(calls.join_all().await.iter().all(Result::is_ok), "all connections are open");
        proxy.swallow();
        assert_eq!(eventually(&caller, &format!("new.{round}@x.de")).await, "created");
        assert_eq!(eventually(&caller, &format!("{round}.0@x.de")).await, "matched");
        turns(&service, ServingStatus::Serving).await;
    }
    service.stop().await;
}

/// A server with the service's tables, and how to make it a replica and a primary, as a client sees it.
pub struct Candidate {
    server: Server,
    backend: Backend,
    /// With an account that has no more rights than the service needs: an administrator may write to a replica.
    pub url: Url,
}

impl Candidate {
    pub async fn new(server: Server) -> Self {
        connect(&server.url, PATIENT).await.expect("the server answers").migrate_up().await.expect("tables");
        let mut url = Url::parse(&server.url).unwrap();
        if server.backend != Backend::Postgres {
            let admin = sea_orm::Database::connect(&server.url).await.expect("the server answers");
            for sql in ["CREATE USER shop@'%' IDENTIFIED BY 'shop'", "GRANT ALL ON identity.* TO shop@'%'"] {
                admin.execute_unprepared(sql).await.expect("an administrator may");
            }
            admin.close().await.expect("close");
            url.set_username("shop").unwrap();
            url.set_password(Some("shop")).unwrap();
        }
        Self { backend: server.backend, server, url }
    }

    pub async fn another(&self) -> Self {
        let backend = self.backend;
        Self::new(tokio::task::spawn_blocking(move || Server::start(backend)).await.expect("a server")).await
    }

    pub async fn set_read_only(&self, on: bool) {
        let sql = match self.backend {
            Backend::Mysql | Backend::Mariadb if on => "SET GLOBAL read_only = ON",
            Backend::Mysql | Backend::Mariadb => "SET GLOBAL read_only = OFF",
            Backend::Postgres if on => "ALTER SYSTEM SET default_transaction_read_only = on",
            Backend::Postgres => "ALTER SYSTEM SET default_transaction_read_only = off",
            Backend::Sqlite => unreachable!("no server"),
        };
        let admin = sea_orm::Database::connect(&self.server.url).await.expect("the server answers");
        admin.execute_unprepared(sql).await.expect("an administrator may");
        if self.backend == Backend::Postgres {
            admin.execute_unprepared("SELECT pg_reload_conf()").await.expect("an administrator may");
            // Sessions hear of it at different moments: until this one has, and a little longer for the others.
            let (asked, wanted) = ("SHOW default_transaction_read_only", if on { "on" } else { "off" });
            loop {
                let row = admin.query_one_raw(Statement::from_string(DbBackend::Postgres, asked)).await;
                let said: String = row.expect("an answer").expect("a row").try_get_by_index(0).expect("text");
                tokio::time::sleep(Duration::from_millis(100)).await;
                if said == wanted {
                    break;
                }
            }
        }
        admin.close().await.expect("close");
    }
}

/// The primary of a group changes: by an administrator, and by dying.
async fn of_several_servers(server: Server) {
    let one = Candidate::new(server).await;
    let two = one.another().await;
    one.set_read_only(true).await;
    let (first, second) = (one.url.port().unwrap().to_string(), two.url.port().unwrap().to_string());
    let url = one.url.as_str().replace(&first, &format!("{first},127.0.0.1:{second}"));
    let service = Service::start_with(&url, &["--database-timeout", "1s"]).await;
    let caller = service.caller();
    // The servers do not replicate: who is known tells which one answers.
    assert_eq!(caller.identify(Api::Grpc, Some("two@x.de"), None).await.unwrap().outcome, "created");

    two.set_read_only(true).await;
    turns(&service, ServingStatus::NotServing).await;
    let refusal = caller.identify(Api::Grpc, Some("two@x.de"), None).await.unwrap_err();
    assert_eq!((refusal.code, refusal.retry), (Code::Unavailable, true), "a replica's answers may be old");

    one.set_read_only(false).await;
    turns(&service, ServingStatus::Serving).await;
    assert_eq!(caller.identify(Api::Http, Some("one@x.de"), None).await.unwrap().outcome, "created");
    assert_eq!(caller.identify(Api::Http, Some("two@x.de"), None).await.unwrap().outcome, "created");

    two.set_read_only(false).await;
    one.server.kill();
    assert_eq!(eventually(&caller, "two@x.de").await, "matched");
    turns(&service, ServingStatus::Serving).await;
    assert_eq!(caller.identify(Api::Http, Some("one@x.de"), None).await.unwrap().outcome, "created");
    service.stop().await;
}

/// The name or the proxy leads to a new primary, and the old one goes on as a replica.
async fn behind_one_address(server: Server) {
    let one = Candidate::new(server).await;
    let two = one.another().await;
    let proxy = Proxy::start(one.url.as_str()).await;
    let service = Service::start_with(&proxy.url, &["--database-timeout", "1s"]).await;
    let caller = service.caller();
    caller.identify(Api::Grpc, Some("one@x.de"), None).await.unwrap();
    one.set_read_only(true).await;
    proxy.redirect(two.url.as_str());
    assert_eq!(eventually(&caller, "two@x.de").await, "created");
    turns(&service, ServingStatus::Serving).await;
    assert_eq!(
        caller.identify(Api::Grpc, Some("one@x.de"), None).await.unwrap().outcome,
        "created",
        "not from the old"
    );
    service.stop().await;
}

/// Makes a first customer, who has no other id.
async fn make_known(server: &str) {
    let service = Service::start_with(server, &[]).await;
    assert_eq!(service.caller().identify(Api::Grpc, Some("known@x.de"), None).await.unwrap().primary, 1);
    service.stop().await;
}

/// The primary dies, and at its address another server answers, which may not have all that was acknowledged: nothing
/// is answered from it, not even until the service has asked again whether its server takes writes.
async fn taken_over(primary: Server, address: &Proxy, by: &str) -> Service {
    address.redirect(&primary.url);
    let service = Service::start_with(&address.url, &["--database-timeout", "1s"]).await;
    let caller = service.caller();
    // The servers do not replicate: the id tells which one answers.
    caller.identify(Api::Grpc, Some("first@x.de"), None).await.unwrap();
    let known = caller.identify(Api::Grpc, Some("known@x.de"), None).await.unwrap().primary;
    assert_ne!(known, 1);
    address.redirect(by);
    let killed = tokio::task::spawn_blocking(move || primary.kill());
    let (begun, mut refused) = (Instant::now(), 0);
    while !killed.is_finished() || begun.elapsed() < Duration::from_secs(2) {
        match caller.identify_within(Duration::from_secs(3), Api::Grpc, Some("known@x.de"), None).await {
            Ok(reply) => assert_eq!(reply.primary, known, "an answer of another server"),
            Err(refusal) => {
                refusal.assert_of_an_outage();
                refused += 1;
            }
        }
    }
    killed.await.expect("it is killed");
    assert!(refused > 0, "the other server was not met");
    service
}

async fn new_connections_lead_to_a_replica(server: Server) {
    let primary = Candidate::new(server).await;
    let replica = primary.another().await;
    make_known(replica.url.as_str()).await;
    replica.set_read_only(true).await;
    let address = Proxy::start(primary.url.as_str()).await;
    let service = taken_over(primary.server, &address, replica.url.as_str()).await;

    replica.set_read_only(false).await;
    assert_eq!(eventually(&service.caller(), "known@x.de").await, "matched");
    turns(&service, ServingStatus::Serving).await;
    service.stop().await;
}

/// It was started again, has not joined its group yet, and is not set to read-only until then.
async fn a_server_outside_its_group(server: Server) {
    let joined = Candidate::new(server).await;
    let mut stray = joined.another().await.server;
    make_known(&stray.url).await;
    stray.kill();
    stray.start_again_with(&[
        "--plugin-load-add=group_replication.so",
        "--loose-group-replication-start-on-boot=OFF",
        "--loose-group-replication-group-name=3a0d4a6c-6c0e-4ac5-a1b5-6c1fa0b4cbd0",
    ]);
    assert_eq!(connect(&stray.url, PATIENT).await.err(), Some(ConnectError::OutsideGroup));

    let (port, other) = (Url::parse(&stray.url).unwrap().port().unwrap(), joined.url.port().unwrap());
    let both = stray.url.replace(&port.to_string(), &format!("{port},127.0.0.1:{other}"));
    for (url, outcome) in [(both.as_str(), "created"), (joined.url.as_str(), "matched")] {
        let service = Service::start_with(url, &[]).await;
        let reply = service.caller().identify(Api::Grpc, Some("one@x.de"), None).await.unwrap();
        assert_eq!(reply.outcome, outcome, "written to the server in its group");
        service.stop().await;
    }

    let address = Proxy::start(&joined.server.url).await; // With an account that sees whether it is in its group.
    taken_over(joined.server, &address, &stray.url).await.stop().await;
}

/// A read that finds no row has none that says whether its server takes writes. The customer may be new on the server
/// that was promoted.
async fn what_is_not_found_may_be_new(primary: &Candidate, caller: &Caller) {
    assert_eq!(caller.get("/v1/identities/999").await, 404);
    for round in 0..3 {
        primary.set_read_only(true).await;
        let email = Some("unknown@x.de".to_owned());
        match round {
            0 => {
                let answer = caller.look_up_within(Duration::from_secs(3), "email", "unknown@x.de").await;
                answer.expect_err("an answer out of date").assert_of_an_outage();
            }
            1 => {
                let request = IdentifyRequest { email, validate_only: true, ..Default::default() };
                let answer = caller.send(Api::Grpc, &request).await;
                answer.expect_err("an answer out of date").assert_of_an_outage();
            }
            _ => assert_eq!(caller.get("/v1/identities/999").await, 503),
        }
        primary.set_read_only(false).await;
        assert_eq!(eventually(caller, "known@x.de").await, "matched");
    }
}

/// Another server is promoted as soon as this one takes no writes, and is written to by a replica of the service that
/// knows. Connections stay open.
async fn a_primary_that_is_demoted(server: Server) {
    let primary = Candidate::new(server).await;
    let service = Service::start_with(primary.url.as_str(), &["--database-timeout", "1s"]).await;
    let caller = service.caller();
    caller.identify(Api::Grpc, Some("known@x.de"), Some("+4930123456")).await.unwrap();
    let calls = [(Some("known@x.de"), None), (None, Some("+4930123456")), (Some("new@x.de"), None)];
    for round in 0..calls.len() {
        primary.set_read_only(true).await;
        // At once, and until the service has asked again: each second.
        let begun = Instant::now();
        for (email, phone) in calls.into_iter().cycle().skip(round) {
            let answer = caller.identify_within(Duration::from_secs(3), Api::Grpc, email, phone).await;
            answer.expect_err("an answer out of date").assert_of_an_outage();
            if begun.elapsed() > Duration::from_millis(1_500) {
                break;
            }
        }
        primary.set_read_only(false).await;
        assert_eq!(eventually(&caller, "known@x.de").await, "matched");
    }
    what_is_not_found_may_be_new(&primary, &caller).await;
    service.stop().await;

    // What is read under locks, where it is too late for the look-up before to notice.
    let mut lock = begun(&primary).await;
    let mut find = begun(&primary).await;
    let begin = connect(primary.url.as_str(), PATIENT).await.expect("it takes writes");
    drop(begin.begin().await.expect("a transaction, whose connection is used again"));
    tokio::time::sleep(Duration::from_millis(100)).await; // Until it is rolled back.
    assert_eq!(connections(&begin), [1, 0], "it is kept");
    primary.set_read_only(true).await;
    let known = Identifier::from_stored(IdentifierKind::Email, "known@x.de");
    for error in [
        lock.lock_contacts(&BTreeSet::from([ContactId(1)])).await.err(),
        find.find_identities(&[known], ExpectedSize::Usual).await.err(),
        begin.begin().await.err(),
    ] {
        assert!(error.is_some_and(|error| error.is_unavailable()));
    }
}

/// A transaction on connections of its own: what one finds out, the others do not know.
async fn begun(on: &Candidate) -> DatabaseTransaction {
    connect(on.url.as_str(), PATIENT).await.expect("it takes writes").begin().await.expect("a transaction")
}

/// No transaction is left open by it: nobody would end it.
async fn a_begin_whose_answer_is_late(database: TestDatabase) {
    drop(database.store().await); // A ping wants its tables.
    let line = Proxy::start(&database.url).await;
    // On a busy machine a connection may take longer than that.
    let begun = Instant::now();
    let slow = loop {
        match connect(&line.url, Duration::from_millis(500)).await {
            Ok(slow) => break slow,
            Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
        }
    };
    slow.ping().await.expect("an answer");
    assert_eq!(connections(&slow), [1, 0], "it is kept");
    line.delay(Duration::from_millis(400)); // Either way.
    let too_late = slow.begin().await.expect_err("too late");
    assert!(matches!(too_late, StoreError::TimedOut(_)), "{too_late}");
    line.delay(Duration::ZERO);
    let open =
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let admin = database.raw().await;
    let begun = Instant::now();
    while slow.ping().await.is_err() || !query(&admin, open).await.is_empty() {
        assert!(begun.elapsed() < SOON, "a transaction is open, or the connection does not come back");
    }
    admin.close().await.expect("close");
}
