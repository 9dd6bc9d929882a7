//! The database goes away in the middle, and comes back: real servers, killed and hung.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Api, Backend, Caller, Components, Event, Server, Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_own_server(&Backend::SERVERS):
        killed_and_started_again,
        killed_at_any_transaction_size,
        hung_and_gone_on,
    );
    register!(suite.on(&Backend::SERVERS): a_locked_table_is_waited_for, a_table_altered_under_it);
}

/// The longest that a call may take while the database is away, and the deadline that it has.
const DEADLINE: Duration = Duration::from_secs(5);

/// How soon health must turn, either way.
const SOON: Duration = Duration::from_secs(10);

async fn health(service: &Service) -> ServingStatus {
    let channel = Endpoint::from_shared(format!("http://{}", service.grpc)).expect("an address").connect_lazy();
    let mut health = HealthClient::new(channel);
    let request = HealthCheckRequest { service: "identity.v1.IdentityService".to_owned() };
    health.check(request).await.expect("an answer").into_inner().status()
}

/// Waits until health says so at both apis.
pub async fn turns(service: &Service, status: ServingStatus) {
    turns_within(SOON, service, status).await;
}

async fn turns_within(limit: Duration, service: &Service, status: ServingStatus) {
    let begun = Instant::now();
    let ready = if status == ServingStatus::Serving { 200 } else { 503 };
    while health(service).await != status || service.caller().get("/readyz").await != ready {
        assert!(begun.elapsed() < limit, "not {status:?} after {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(service.caller().get("/healthz").await, 200, "the process is alive all the time");
}

/// Callers that go on whatever happens; what was acknowledged, and how each call ended.
struct Load {
    callers: JoinSet<(Vec<Event>, Vec<Code>)>,
    stop: CancellationToken,
}

impl Load {
    fn start(service: &Service, deadline: Duration) -> Self {
        let stop = CancellationToken::new();
        let mut callers = JoinSet::new();
        for number in 0..16 {
            let (caller, stop) = (service.caller(), stop.clone());
            callers.spawn(async move {
                let (mut acknowledged, mut ends) = (Vec::new(), Vec::new());
                let mut round = 0;
                while !stop.is_cancelled() {
                    round += 1;
                    let email = Some(format!("e{number}.{}@x.de", round / 3));
                    let phone = Some(format!("{}{:05}", 1 + number, round));
                    let api = Api::BOTH[round % 2];
                    let begun = Instant::now();
                    let answer = caller.identify_within(deadline, api, email.as_deref(), phone.as_deref()).await;
                    assert!(begun.elapsed() < deadline + Duration::from_secs(1), "a call outlived its deadline");
                    match answer {
                        Ok(_) => acknowledged.push(Event { email, phone }),
                        Err(refusal) => {
                            refusal.assert_of_an_outage();
                            ends.push(refusal.code);
                        }
                    }
                }
                (acknowledged, ends)
            });
        }
        for number in 16..20 {
            let (caller, stop) = (service.caller(), stop.clone());
            callers.spawn(lists(caller, number, stop));
        }
        Self { callers, stop }
    }

    async fn stop(self) -> (Vec<Event>, Vec<Code>) {
        self.stop.cancel();
        let (acknowledged, ends): (Vec<_>, Vec<_>) = self.callers.join_all().await.into_iter().unzip();
        (acknowledged.concat(), ends.concat())
    }
}

/// One of the load's callers: sends batches, or streams, of 50 that share customers.
async fn lists(caller: Caller, number: usize, stop: CancellationToken) -> (Vec<Event>, Vec<Code>) {
    let (mut acknowledged, mut ends) = (Vec::new(), Vec::new());
    for round in 1.. {
        if stop.is_cancelled() {
            break;
        }
        let event = |n: usize| Event {
            email: Some(format!("l{number}.{}@x.de", (round * 50 + n) / 3)),
            phone: Some(format!("{}{:07}", 1 + number, round * 50 + n)),
        };
        let events: Vec<Event> = (0..50).map(event).collect();
        let answers = match number % 2 {
            // A batch of which nothing could be done fails as a whole.
            0 => {
                let answers = caller.batch(Api::BOTH[round / 2 % 2], &events).await;
                answers.unwrap_or_else(|refusal| events.iter().map(|_| Err(refusal.clone())).collect())
            }
            _ => caller.stream(&events).await,
        };
        for (event, answer) in events.into_iter().zip(answers) {
            match answer {
                Ok(_) => acknowledged.push(event),
                Err(refusal) => {
                    refusal.assert_of_an_outage();
                    ends.push(refusal.code);
                }
            }
        }
    }
    (acknowledged, ends)
}

async fn killed_and_started_again(mut server: Server) {
    let service = Service::start_with(&server.url, &[]).await;
    let load = Load::start(&service, DEADLINE);
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.kill();
    turns(&service, ServingStatus::NotServing).await;
    for api in Api::BOTH {
        let begun = Instant::now();
        let refusal = service.caller().identify_within(DEADLINE, api, Some("new@x.de"), None).await.unwrap_err();
        assert_eq!((refusal.code, refusal.retry), (Code::Unavailable, true), "{refusal:?}");
        assert!(begun.elapsed() < DEADLINE);
    }
    let server = tokio::task::spawn_blocking(move || {
        server.start_again();
        server
    });
    let server = server.await.unwrap();
    turns(&service, ServingStatus::Serving).await;
    service.caller().identify(Api::Grpc, Some("new@x.de"), None).await.expect("it is back by itself");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (acknowledged, ends) = load.stop().await;
    assert_unavailable(&ends);
    nothing_lost(&server, &acknowledged).await;
    service.stop().await;
}

/// Replicas that put up to 1, 16 and 256 requests into a transaction, asked for the same customers at once, while the
/// database dies under them.
async fn killed_at_any_transaction_size(mut server: Server) {
    let mut replicas = Vec::new();
    for size in ["1", "16", "256"] {
        let flags = ["--transaction-size", size, "--request-timeout", "20s"]; // All of it is much for one machine.
        replicas.push(Service::start_with(&server.url, &flags).await);
    }
    let loads: Vec<Load> = replicas.iter().map(|replica| Load::start(replica, DEADLINE * 4)).collect();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let killed = tokio::task::spawn_blocking(move || {
            server.kill();
            server.start_again();
            server
        });
        server = killed.await.unwrap();
        for replica in &replicas {
            turns_within(SOON * 3, replica, ServingStatus::Serving).await;
        }
    }
    let mut acknowledged = Vec::new();
    for load in loads {
        let (events, ends) = load.stop().await;
        assert_unavailable(&ends);
        acknowledged.extend(events);
    }
    nothing_lost(&server, &acknowledged).await;
    for replica in replicas {
        replica.stop().await;
    }
}

async fn hung_and_gone_on(server: Server) {
    let service = Service::start_with(&server.url, &["--database-timeout", "1s"]).await;
    let load = Load::start(&service, DEADLINE);
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.pause();
    turns(&service, ServingStatus::NotServing).await;
    let refusal = service.caller().identify_within(DEADLINE, Api::Grpc, Some("new@x.de"), None).await.unwrap_err();
    assert_eq!(refusal.code, Code::Unavailable, "{refusal:?}");
    server.resume();
    turns(&service, ServingStatus::Serving).await;
    service.caller().identify(Api::Http, Some("new@x.de"), None).await.expect("it is back by itself");
    let (acknowledged, ends) = load.stop().await;
    assert_unavailable(&ends);
    nothing_lost(&server, &acknowledged).await;
    service.stop().await;
}

/// An administrator locks a table for longer than a statement may take, again and again: no statement that is
/// given up takes a connection with it.
async fn a_locked_table_is_waited_for(database: TestDatabase) {
    let flags = ["--database-connections", "4", "--database-timeout", "1s"];
    let service = Service::start_with(&database.url, &flags).await;
    let caller = service.caller();
    caller.identify(Api::Grpc, Some("a@x.de"), None).await.unwrap();
    let tables = database.raw().await;
    for round in 0..3 {
        let lock = tables.begin().await.unwrap();
        let sql = match database.backend {
            Backend::Postgres => r#"LOCK TABLE "Contact", "Identifier" IN ACCESS EXCLUSIVE MODE"#,
            Backend::Sqlite | Backend::Mariadb | Backend::Mysql => "LOCK TABLES Contact WRITE, Identifier WRITE",
        };
        lock.execute_unprepared(sql).await.unwrap();
        let mut calls = JoinSet::new();
        for number in 0..8 {
            let (caller, email) = (caller.clone(), format!("{round}.{number}@x.de"));
            let email = if number % 2 == 0 { "a@x.de".to_owned() } else { email };
            calls.spawn(async move { caller.identify_within(DEADLINE, Api::Grpc, Some(&email), None).await });
        }
        for answer in calls.join_all().await {
            let refusal = answer.unwrap_err();
            assert!([Code::Unavailable, Code::DeadlineExceeded].contains(&refusal.code), "{refusal:?}");
        }
        if database.backend != Backend::Postgres {
            lock.execute_unprepared("UNLOCK TABLES").await.unwrap();
        }
        lock.rollback().await.unwrap();
        turns(&service, ServingStatus::Serving).await;
        let known = caller.identify_within(DEADLINE, Api::Grpc, Some("a@x.de"), None).await.expect("a connection");
        assert_eq!(known.outcome, "matched");
        let email = format!("new.{round}@x.de");
        let new = caller.identify_within(DEADLINE, Api::Http, Some(&email), None).await.expect("a connection");
        assert_eq!(new.outcome, "created");
    }
    tables.close().await.unwrap();
    service.stop().await;
}

/// What was prepared for the table as it was is prepared again.
async fn a_table_altered_under_it(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let tables = database.raw().await;
    for (round, width) in [300, 310, 320].into_iter().enumerate() {
        for _ in 0..8 {
            caller.identify(Api::Grpc, Some("a@x.de"), None).await.unwrap();
        }
        let alter = match database.backend {
            Backend::Postgres => {
                format!(
                    r#"ALTER TABLE "Contact" ALTER COLUMN "email" TYPE {}"#,
                    ["text", "varchar(300)", "text"][round]
                )
            }
            Backend::Sqlite | Backend::Mariadb | Backend::Mysql => {
                format!("ALTER TABLE Contact MODIFY email varchar({width}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            }
        };
        tables.execute_unprepared(&alter).await.unwrap();
        for api in Api::BOTH {
            assert_eq!(caller.identify(api, Some("a@x.de"), None).await.expect("prepared again").primary, 1);
            let email = format!("{round}.{api:?}@x.de");
            assert_eq!(caller.identify(api, Some(&email), None).await.expect("prepared again").outcome, "created");
        }
        tokio::time::sleep(Duration::from_millis(1100)).await; // Connections are not replaced twice in a second.
    }
    tables.close().await.unwrap();
    service.stop().await;
}

/// Nothing worse than an error that says that a retry helps.
fn assert_unavailable(ends: &[Code]) {
    let others: Vec<_> = ends.iter().filter(|code| **code != Code::Unavailable).collect();
    assert!(others.is_empty(), "{others:?} of {} calls that failed", ends.len());
}

/// Every acknowledged event is in the tables. Others may be: a call that failed may have been carried out.
async fn nothing_lost(server: &Server, acknowledged: &[Event]) {
    assert!(acknowledged.len() > 20, "there was load");
    let tables = sea_orm::Database::connect(&server.url).await.expect("the database answers");
    Components::of(acknowledged).assert_tables_include(&tables).await;
    tables.close().await.unwrap();
}
