//! MariaDB's Galera: every server takes writes, shows what others wrote only when it has applied it, has migration
//! locks of its own, and numbers rows by how many servers there are.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use identity::domain::{Identifier, IdentifierKind, Identity, Observation, Outcome, Snapshot, plan};
use identity::store::{ConnectError, ExpectedSize, IfNothing, Store, StoreError, Transaction};
use sea_orm::ConnectionTrait;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failover::{connect, eventually};
use crate::graph::{evidence, explain, get, look_up, question};
use crate::group_replication::{a_server_that_hung, hold, run_as_admin};
use crate::harness::{
    Api, Caller, Cluster, ClusterKind, Event, Process, Service, Suite, no_port_is_given_twice, query, register,
    test_name,
};
use crate::readiness::{is_unusable, is_usable_again};

pub fn register(suite: &mut Suite) {
    // Two tests, as each makes a cluster.
    register!(suite.with_servers(): replicas_that_start_at_once, a_cluster_that_changes);
    let name = test_name(module_path!(), "no_port_is_given_twice");
    suite.plain_with(|| Ok(()), &name, no_port_is_given_twice);
}

/// The time of a statement where none is to be given up.
const PATIENT: Duration = Duration::from_secs(10);

/// Each on a server of its own, whose migration lock keeps none of the others out. From then on they are one service.
async fn replicas_that_start_at_once() {
    let cluster = Cluster::start(ClusterKind::Galera).await;
    let urls: Vec<String> = (0..cluster.len()).map(|number| cluster.url_of(&[number])).collect();
    // Processes seldom start at the very same moment, so the tables alone are made again and again first.
    for round in 0..5 {
        let mut replicas = JoinSet::new();
        for url in &urls {
            let database = connect(url, PATIENT).await.expect("it takes writes");
            replicas.spawn(async move { database.migrate_up().await.map(|()| database) });
        }
        for done in replicas.join_all().await {
            let database = done.unwrap_or_else(|error| panic!("round {round}, a replica of three: {error}"));
            assert!(database.is_migrated().await.expect("an answer"));
        }
        let drop = "DROP TABLE seaql_migrations, Contact, Identifier, ContactMerge, Evidence, EvidenceState, \
                    EvidenceNote";
        run_as_admin(&urls[0], drop).await.close().await.expect("close");
    }
    let start = |number: usize| {
        let variables = [("DATABASE_URL", urls[number].clone()), ("RUST_LOG", "warn,identity=info".to_owned())];
        async move { Process::start(&variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await }
    };
    let (one, two, three) = tokio::join!(start(0), start(1), start(2));
    for (replica, outcome) in [(one, "created"), (two, "matched"), (three, "matched")] {
        let reply = replica.caller().identify(Api::Grpc, Some("first@x.de"), None).await.expect("an answer");
        assert_eq!(reply.outcome, outcome);
    }
    what_another_server_has_acknowledged(&cluster).await;
    a_server_that_hung(&cluster).await;
}

async fn a_cluster_that_changes() {
    let cluster = a_step_of_ids_that_changes(Cluster::start(ClusterKind::Galera).await).await;
    a_server_that_is_cut_off(&cluster).await;
}

/// It is in each answer of this one, which waits until it has it.
async fn what_another_server_has_acknowledged(cluster: &Cluster) {
    let services =
        [Service::start_with(&cluster.url_of(&[0]), &[]).await, Service::start_with(&cluster.url_of(&[1]), &[]).await];
    let callers: [Caller; 2] = services.each_ref().map(Service::caller);
    let mut customers = JoinSet::new();
    for customer in 0..8 {
        let [here, there] = callers.clone();
        customers.spawn(async move {
            for number in 0..40 {
                let email = format!("{customer}.{number}@x.de");
                let phone = format!("+49301{customer:03}{number:03}");
                let created = here.identify(Api::Grpc, Some(&email), None).await.unwrap();
                assert_eq!(created.outcome, "created");
                let matched = there.identify(Api::Grpc, Some(&email), None).await.unwrap();
                assert_eq!((matched.outcome, matched.primary), ("matched", created.primary));
                assert_eq!(there.identify(Api::Grpc, Some(&email), Some(&phone)).await.unwrap().outcome, "linked");
                let linked = here.identify(Api::Grpc, Some(&email), None).await.unwrap();
                assert_eq!((linked.outcome, linked.phones), ("matched", vec![phone]));
            }
        });
    }
    customers.join_all().await;
    what_another_server_wrote_is_in_each_read(&services).await;

    // One connection to a server that applies nothing for now, whatever its settings of sessions are.
    let stale = "SET GLOBAL wsrep_sync_wait = 0, GLOBAL wsrep_dirty_reads = ON";
    run_as_admin(&cluster.url_of(&[1]), stale).await.close().await.expect("close");
    let database = connect(&cluster.url_of(&[1]), Duration::from_secs(1)).await.expect("it takes writes");
    let known = [Identifier::from_stored(IdentifierKind::Email, "0.0@x.de")];
    let phones = async || {
        let found = database.find_identities(&known, ExpectedSize::Usual, IfNothing::CheckServer).await?;
        Ok::<_, StoreError>(found.found.identities[0].values(IdentifierKind::Phone).len())
    };
    assert_eq!(phones().await.expect("an answer"), 1);
    let held = hold(&cluster.url_of(&[1])).await;
    callers[0].identify(Api::Grpc, Some("0.0@x.de"), Some("+4930999999")).await.unwrap();
    let too_early = phones().await;
    assert!(too_early.as_ref().is_err_and(|error| error.is_unavailable()), "out of date: {too_early:?}");
    assert!(database.begin().await.is_err_and(|error| error.is_unavailable()), "it does not wait");
    held.close().await.expect("close");
    assert_eq!(phones().await.expect("an answer"), 2);
    for service in services {
        service.stop().await;
    }
}

/// Each read is the first after a write elsewhere, in turn.
async fn what_another_server_wrote_is_in_each_read([here, there]: &[Service; 2]) {
    for number in 0..24 {
        let (email, phone) = (format!("read{number}@x.de"), format!("+4940123{number:03}"));
        let primary = here.caller().identify(Api::Grpc, Some(&email), Some(&phone)).await.unwrap().primary;
        let name = format!("identities/{primary}");
        match number % 4 {
            0 => assert_eq!(get(there, &name).await.unwrap().phone_numbers, [phone]),
            1 => assert_eq!(look_up(there, &[&email, &phone]).await.unwrap().0[0].primary_contact_id, primary),
            2 => assert_eq!(evidence(there, &name, 0, "").await.unwrap().evidence.len(), 1),
            _ => assert_eq!(explain(there, question(&name)).await.unwrap().bridges.len(), 1),
        }
    }
}

/// It is the number of servers, and changes between two statements of a transaction when one joins or leaves.
async fn a_step_of_ids_that_changes(cluster: Cluster) -> Cluster {
    let url = cluster.url_of(&[0]);
    let service = Service::start_with(&url, &[]).await;
    let admin = run_as_admin(&url, "SET GLOBAL auto_increment_increment = 3").await;

    // The window itself: a transaction has begun and read the clock when a server leaves or joins.
    let database = connect(&url, PATIENT).await.expect("it takes writes");
    for step in [2, 3, 1, 7, 2] {
        let mut transaction = database.begin().await.expect("a transaction");
        let now = transaction.now();
        let set = format!("SET GLOBAL auto_increment_increment = {step}");
        admin.execute_unprepared(&set).await.expect("what a change of the cluster does");
        let email = |number| format!("{step}.{}.{number}@x.de", now.0);
        let email = |number| Identifier::from_stored(IdentifierKind::Email, email(number));
        let emails: Vec<Identifier> = (0..40).map(email).collect();
        let customers: Vec<Observation> =
            emails.iter().map(|email| Observation::new([email.clone()]).expect("an identifier")).collect();
        let plan = plan(&customers, &Snapshot::new(Vec::new()), now, 10);
        let ids = transaction.apply(&plan).await.expect("it is written");
        transaction.commit().await.expect("it is committed");
        let answers = plan.answers(&ids);
        let found = database
            .find_identities(&emails, ExpectedSize::Usual, IfNothing::CheckServer)
            .await
            .expect("an answer")
            .found
            .identities;
        assert_eq!(found.len(), emails.len());
        for (email, answer) in emails.iter().zip(answers) {
            let answer = answer.expect("small");
            let is_owner = |one: &&Identity| one.values(IdentifierKind::Email) == [email.value()];
            let owner = found.iter().find(is_owner).expect("it is stored").root();
            assert_eq!((answer.outcome, answer.identity.primary().id), (Outcome::Created, owner), "another's id");
        }
    }

    // The same by a server that leaves and joins, under load.
    admin.execute_unprepared("SET GLOBAL auto_increment_increment = 3").await.expect("as it was");
    let stop = CancellationToken::new();
    let mut callers = JoinSet::new();
    for number in 0..4 {
        let (caller, stop) = (service.caller(), stop.clone());
        callers.spawn(async move {
            let mut created = Vec::new();
            while !stop.is_cancelled() {
                let first = created.len();
                let email = |nth| format!("{number}.{nth}@y.de");
                let events: Vec<Event> = (first..first + 25).map(|nth| Event::of(&email(nth), "")).collect();
                for (reply, nth) in caller.batch(Api::Grpc, &events).await.unwrap().into_iter().zip(first..) {
                    created.push((email(nth), reply.unwrap().primary));
                }
            }
            created
        });
    }
    let turns = async |step: i64| {
        let begun = Instant::now();
        while query(&admin, "SELECT CAST(@@global.auto_increment_increment AS SIGNED)").await[0]
            .try_get_by_index::<i64>(0)
            .expect("a number")
            != step
        {
            assert!(begun.elapsed() < PATIENT, "the step does not change");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await; // Rows with this step too.
    };
    turns(3).await;
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.stop(2);
        cluster
    });
    let cluster = cluster.await.expect("it stops");
    turns(2).await;
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.rejoin(2);
        cluster
    });
    let cluster = cluster.await.expect("it joins");
    turns(3).await;
    stop.cancel();
    let created = callers.join_all().await;
    let rows = query(&admin, r#"SELECT "email", "id" FROM "Contact""#).await;
    let stored: HashMap<String, i64> =
        rows.iter().map(|row| (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap())).collect();
    for (email, id) in created.into_iter().flatten() {
        assert_eq!(stored[&email], id, "another's id");
    }
    let strangers = r#"SELECT i."value" FROM "Identifier" i LEFT JOIN "Contact" c ON c."id" = i."contactId"
        WHERE c."email" IS NULL OR CAST(c."email" AS BINARY) <> i."value""#;
    assert_eq!(query(&admin, strangers).await.len(), 0, "identifiers of contacts that are not there, or another's");
    admin.close().await.expect("close");
    service.stop().await;
    cluster
}

/// It may not serve, and the next one is asked. Without another, health says so.
async fn a_server_that_is_cut_off(cluster: &Cluster) {
    let alone = Service::start_with(&cluster.url_of(&[0]), &["--database-timeout", "1s"]).await;
    let with_another = Service::start_with(&cluster.url_of(&[1, 0]), &["--database-timeout", "1s"]).await;
    for (service, outcome) in [(&alone, "created"), (&with_another, "matched")] {
        let reply = service.caller().identify(Api::Grpc, Some("known@x.de"), None).await.unwrap();
        assert_eq!(reply.outcome, outcome);
    }
    // As it says itself, though it has not lost the others.
    let admin = run_as_admin(&cluster.url_of(&[1]), "SET GLOBAL wsrep_reject_queries = ALL").await;
    assert_eq!(eventually(&with_another.caller(), "known@x.de").await, "matched");
    admin.execute_unprepared("SET GLOBAL wsrep_reject_queries = NONE").await.expect("an administrator may");
    admin.close().await.expect("close");

    let admin = run_as_admin(&cluster.url_of(&[0]), "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'").await;
    cluster.expels(0).await;
    is_unusable(&alone, "not ready in its Galera cluster").await;
    assert_eq!(connect(&cluster.url_of(&[0]), PATIENT).await.err(), Some(ConnectError::NotReady));
    is_usable_again(&with_another).await;
    let reply = with_another.caller().identify(Api::Grpc, Some("known@x.de"), Some("+4930123456")).await.unwrap();
    assert_eq!(reply.outcome, "linked");
    let back = "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'";
    admin.execute_unprepared(back).await.expect("an administrator may");
    admin.close().await.expect("close");
    is_usable_again(&alone).await;
    let reply = alone.caller().identify(Api::Grpc, Some("known@x.de"), None).await.unwrap();
    assert_eq!((reply.outcome, reply.phones.len()), ("matched", 1));
    alone.stop().await;
    with_another.stop().await;
}
