//! MySQL's Group Replication: what a server shows, and whom it keeps waiting, depends on what the others of its group
//! do.

use std::time::{Duration, Instant};

use identity::domain::{Identifier, IdentifierKind};
use identity::proto::identity::v1::IdentifyRequest;
use identity::store::{ExpectedSize, IfNothing, Store};
use sea_orm::{ConnectionTrait, DatabaseConnection};

use crate::failover::connect;
use crate::graph::{contacts, evidence, explain, get, get_at, look_up, look_up_at, page, question, revisions};
use crate::harness::{Api, Caller, Cluster, ClusterKind, Event, Service, Suite, binary, query, register};

pub fn register(suite: &mut Suite) {
    register!(suite.with_servers():
        a_server_that_its_group_expelled,
        a_transaction_that_was_given_up,
        a_commit_that_others_see_first,
        a_commit_that_others_see_first_is_in_each_read,
        a_group_that_gets_more_primaries,
        a_commit_that_others_do_not_wait_for,
        what_a_deleted_contact_leaves,
        a_repair_writes_what_it_locks,
    );
}

/// Longer than any request takes.
const SOON: Duration = Duration::from_secs(10);

/// How long an expelled server takes to be back in its group at most.
const BACK_IN_GROUP: Duration = Duration::from_secs(90);

/// By then the service has asked its server once more.
const ASKED_AGAIN: Duration = Duration::from_secs(3);

async fn a_server_that_its_group_expelled() {
    a_server_that_hung(&Cluster::start(ClusterKind::SeveralPrimaries).await).await;
}

/// The others went on without it, and when it wakes up it takes itself for a member until it has noticed.
pub async fn a_server_that_hung(cluster: &Cluster) {
    // Each knows one server only, and so has to stay with it.
    let asleep = Service::start_with(&cluster.url_of(&[0]), &["--database-timeout", "1s"]).await;
    let awake = Service::start_with(&cluster.url_of(&[1]), &["--database-timeout", "1s"]).await;
    let (old, new) = (asleep.caller(), awake.caller());
    let emails: Vec<String> = (0..20).map(|number| format!("{number}@x.de")).collect();
    for email in &emails {
        new.identify(Api::Grpc, Some(email), None).await.unwrap();
        old.identify(Api::Grpc, Some(email), None).await.unwrap();
    }
    cluster.pause(0);
    cluster.expels(0).await;
    for (number, email) in emails.iter().enumerate() {
        let phone = format!("+4930123456{number:02}");
        assert_eq!(new.identify(Api::Grpc, Some(email), Some(&phone)).await.unwrap().phones.len(), 1);
    }
    cluster.resume(0);
    let begun = Instant::now();
    let mut answered = 0;
    while answered < 5 * emails.len() {
        for email in &emails {
            match old.identify_within(Duration::from_secs(3), Api::Grpc, Some(email), None).await {
                Ok(reply) => {
                    assert_eq!(reply.phones.len(), 1, "an answer out of date");
                    answered += 1;
                }
                Err(refusal) => refusal.assert_of_an_outage(),
            }
        }
        assert!(begun.elapsed() < BACK_IN_GROUP, "it does not come back");
    }
    asleep.stop().await;
    awake.stop().await;
}

/// BEGIN waits until its server has what the others of its group acknowledged, for too long, and takes effect when
/// nobody waits for it any more. What is read on that connection later must wait too.
async fn a_transaction_that_was_given_up() {
    let cluster = Cluster::start(ClusterKind::SeveralPrimaries).await;
    let service = Service::start_with(&cluster.url_of(&[0]), &[]).await;
    let caller = service.caller();
    caller.identify(Api::Grpc, Some("known@x.de"), None).await.unwrap();

    // The one connection to another server, which does not get on for now and then.
    let database = connect(&cluster.url_of(&[1]), Duration::from_secs(1)).await.expect("it takes writes");
    let known = [Identifier::from_stored(IdentifierKind::Email, "known@x.de")];
    assert_eq!(
        database
            .find_identities(&known, ExpectedSize::Usual, IfNothing::CheckServer)
            .await
            .expect("an answer")
            .found
            .identities
            .len(),
        1
    );

    let held = hold(&cluster.url_of(&[1])).await;
    caller.identify(Api::Grpc, Some("another@x.de"), None).await.unwrap();
    assert!(database.begin().await.expect_err("it waits").is_unavailable());
    held.close().await.expect("close");
    assert_eq!(
        database
            .find_identities(&known, ExpectedSize::Usual, IfNothing::CheckServer)
            .await
            .expect("the connection is back")
            .found
            .identities
            .len(),
        1
    );

    let held = hold(&cluster.url_of(&[1])).await;
    caller.identify(Api::Grpc, Some("known@x.de"), Some("+4930123456")).await.unwrap();
    let too_early = database.find_identities(&known, ExpectedSize::Usual, IfNothing::CheckServer).await;
    assert!(too_early.is_err_and(|error| error.is_unavailable()), "an answer out of date");
    held.close().await.expect("close");
    let found = database.find_identities(&known, ExpectedSize::Usual, IfNothing::CheckServer).await.expect("an answer");
    assert_eq!(found.found.identities[0].values(IdentifierKind::Phone), ["+4930123456"]);
    service.stop().await;
}

/// Of several primaries, another can show a commit before the one that it was made on. From then on all must.
async fn a_commit_that_others_see_first() {
    let cluster = Cluster::start(ClusterKind::SeveralPrimaries).await;
    let here = Service::start_with(&cluster.url_of(&[0]), &[]).await;
    show_what_others_have_shown(&cluster, here).await;
}

/// Reads by identifiers, by id and in pages write nothing, and wait for it all the same.
async fn a_commit_that_others_see_first_is_in_each_read() {
    let cluster = Cluster::start(ClusterKind::SeveralPrimaries).await;
    let here = Service::start_with(&cluster.url_of(&[0]), &[]).await;
    let there = Service::start_with(&cluster.url_of(&[1]), &[]).await;
    let admin = run_as_admin(&cluster.url_of(&[0]), "SET GLOBAL binlog_group_commit_sync_delay = 1000000").await;
    for round in 0..10 {
        let email = format!("{round}@x.de");
        let creating = tokio::spawn({
            let (caller, email) = (here.caller(), email.clone());
            async move { caller.identify(Api::Grpc, Some(&email), None).await.unwrap().primary }
        });
        let shown = loop {
            if let Some(identity) = look_up(&there, &[&email]).await.unwrap().0.first() {
                break identity.clone();
            }
        };
        assert!(!creating.is_finished(), "it is acknowledged: the other one was not first");
        let (name, created) = (shown.name, shown.create_time.unwrap());
        match round {
            0 => assert_eq!(look_up(&here, &[&email, "nobody@x.de"]).await.unwrap().0.len(), 1),
            1 => assert_eq!(get(&here, &name).await.unwrap().emails, [email]),
            2 => assert_eq!(contacts(&here, &name, 0, "").await.unwrap().contacts.len(), 1),
            3 => assert_eq!(page(&here, 1_000, "").await.unwrap().identities.len(), 4),
            4 => assert!(evidence(&here, &name, 0, "").await.unwrap().evidence.is_empty(), "it is known"),
            5 => assert_eq!(explain(&here, question(&name)).await.unwrap().parts.len(), 1),
            6 => assert!(get_at(&here, &name, created).await.is_ok()),
            7 => assert_eq!(look_up_at(&here, &[&email], created).await.unwrap().identities.len(), 1),
            8 => assert_eq!(revisions(&here, &name, 0, "").await.unwrap().revisions.len(), 1),
            _ => {
                let email = Some(email.clone());
                let never = IdentifyRequest { email, validate_only: true, ..Default::default() };
                let answer = here.caller().send(Api::Grpc, &never).await.unwrap();
                assert_eq!((answer.outcome, answer.primary), ("matched", shown.primary_contact_id));
            }
        }
        assert_eq!(creating.await.unwrap(), shown.primary_contact_id);
    }
    evidence_that_others_see_first(&here, &there).await;
    admin.close().await.expect("close");
    here.stop().await;
    there.stop().await;
}

/// A pair that is MATCHED makes no contact, and is in what is known of it.
async fn evidence_that_others_see_first(here: &Service, there: &Service) {
    let phones = ["+4930123456", "+4930123457"];
    let mut primary = 0;
    for (email, phone) in [("one@x.de", phones[0]), ("two@x.de", phones[0]), ("two@x.de", phones[1])] {
        primary = here.caller().identify(Api::Grpc, Some(email), Some(phone)).await.unwrap().primary;
    }
    let name = format!("identities/{primary}");
    let matching = tokio::spawn({
        let caller = here.caller();
        async move { caller.identify(Api::Grpc, Some("one@x.de"), Some(phones[1])).await.unwrap().outcome }
    });
    while evidence(there, &name, 0, "").await.unwrap().evidence.len() < 4 {}
    assert!(!matching.is_finished(), "it is acknowledged: the other one was not first");
    let known = evidence(here, &name, 0, "").await.unwrap().evidence;
    assert_eq!(known.last().map(|one| one.identifiers.len()), Some(2));
    assert_eq!(known.len(), 4, "what the other one has shown is missing here");
    assert_eq!(matching.await.unwrap(), "matched");
}

/// The same where it was the only primary when the service connected to it.
async fn a_group_that_gets_more_primaries() {
    let cluster = Cluster::start(ClusterKind::OnePrimary).await;
    assert_eq!(cluster.primary().await, 0);
    let here = Service::start_with(&cluster.url_of(&[0]), &[]).await;
    let switch = "SELECT group_replication_switch_to_multi_primary_mode()";
    run_as_admin(&cluster.url_of(&[0]), switch).await.close().await.expect("close");
    tokio::time::sleep(ASKED_AGAIN).await;
    show_what_others_have_shown(&cluster, here).await;
}

/// Expects it of a service at the first of the servers, and starts another one at the second.
async fn show_what_others_have_shown(cluster: &Cluster, here: Service) {
    let there = Service::start_with(&cluster.url_of(&[1]), &[]).await;
    let (here, there) = ((here.caller(), here), (there.caller(), there));
    let identify = async |caller: &Caller, email: &str| caller.identify(Api::Grpc, Some(email), None).await.unwrap();
    for email in ["a@x.de", "b@x.de"] {
        assert_eq!(identify(&here.0, email).await.outcome, "created");
        assert_eq!(identify(&there.0, email).await.outcome, "matched");
    }
    // Its commits are at the others, and are kept from its own clients for so long.
    let admin = run_as_admin(&cluster.url_of(&[0]), "SET GLOBAL binlog_group_commit_sync_delay = 1000000").await;
    let linking = tokio::spawn({
        let caller = here.0.clone();
        async move { caller.identify(Api::Grpc, Some("a@x.de"), Some("+4930123456")).await.unwrap().outcome }
    });
    while identify(&there.0, "a@x.de").await.phones.is_empty() {}
    assert!(!linking.is_finished(), "it is acknowledged: the other one was not first");
    assert_eq!(identify(&here.0, "a@x.de").await.phones.len(), 1, "what the other one has shown is missing here");
    assert_eq!(linking.await.unwrap(), "linked");

    let merging = tokio::spawn({
        let caller = here.0.clone();
        async move { caller.identify(Api::Grpc, Some("b@x.de"), Some("+4930123456")).await.unwrap().outcome }
    });
    while identify(&there.0, "b@x.de").await.emails.len() < 2 {}
    assert!(!merging.is_finished(), "it is acknowledged: the other one was not first");
    let emails = vec![identify(&here.0, "a@x.de").await.emails, identify(&here.0, "b@x.de").await.emails];
    assert!(emails.iter().all(|emails| emails.len() == 2), "what the other one has shown is missing here: {emails:?}");
    assert_eq!(merging.await.unwrap(), "merged");
    admin.close().await.expect("close");
    here.1.stop().await;
    there.1.stop().await;
}

/// While a customer's commit is under way, nobody waits for the rows of those who were only looked up with them: what
/// another server writes to such a row can be what the commit waits for, and then neither ends any more.
async fn a_commit_that_others_do_not_wait_for() {
    let cluster = Cluster::start(ClusterKind::SeveralPrimaries).await;
    let service = Service::start_with(&cluster.url_of(&[0]), &[]).await;
    let caller = service.caller();
    let events = [Event::of("known@x.de", ""), Event::of("changed@x.de", "")];
    let ids: Vec<i64> =
        caller.batch(Api::Grpc, &events).await.unwrap().into_iter().map(|reply| reply.unwrap().primary).collect();

    let admin = run_as_admin(&cluster.url_of(&[0]), "SET GLOBAL binlog_group_commit_sync_delay = 1000000").await;
    let there = run_as_admin(&cluster.url_of(&[1]), "SET SESSION group_replication_consistency = 'EVENTUAL'").await;
    for round in 0..3 {
        let phone = format!("+493012345{round:02}");
        let events = [Event::of("known@x.de", ""), Event::of("changed@x.de", &phone)];
        let caller = caller.clone();
        let call = tokio::spawn(async move { caller.batch(Api::Grpc, &events).await.unwrap() });
        while query(&there, "SELECT * FROM Identifier WHERE kind = 'phone'").await.len() == round {
            assert!(!call.is_finished(), "the commit is over");
        }
        let free = query(&admin, "SELECT id FROM Contact WHERE linkedId IS NULL FOR UPDATE SKIP LOCKED").await;
        assert!(!call.is_finished(), "the commit is over");
        let free: Vec<i64> = free.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
        assert_eq!(free, ids[..1], "the row of the customer that is looked up, and no other");
        let outcomes: Vec<_> = call.await.unwrap().into_iter().map(|reply| reply.unwrap().outcome).collect();
        assert_eq!(outcomes, ["matched", "linked"]);
    }
    admin.close().await.expect("close");
    there.close().await.expect("close");
    service.stop().await;
}

/// It is taken from a customer whose row is locked for that, and whom nothing else is written about.
async fn what_a_deleted_contact_leaves() {
    let cluster = Cluster::start(ClusterKind::SeveralPrimaries).await;
    let service = Service::start_with(&cluster.url_of(&[0]), &[]).await;
    let caller = service.caller();
    let (email, phone) = (Some("known@x.de"), Some("+4930123456"));
    for (phone, outcome) in [(None, "created"), (phone, "linked")] {
        assert_eq!(caller.identify(Api::Grpc, email, phone).await.unwrap().outcome, outcome);
    }
    let delete = "UPDATE Contact SET deletedAt = NOW(6) WHERE linkedId IS NOT NULL";
    run_as_admin(&cluster.url_of(&[0]), delete).await.close().await.expect("close");
    for (email, outcome) in [(None, "created"), (email, "merged")] {
        let reply = caller.identify_within(SOON, Api::Grpc, email, phone).await.unwrap();
        assert_eq!(reply.outcome, outcome);
    }
    service.stop().await;
}

/// All contacts of a customer, of whom one is put right.
async fn a_repair_writes_what_it_locks() {
    let cluster = Cluster::start(ClusterKind::SeveralPrimaries).await;
    let url = cluster.url_of(&[0]);
    let service = Service::start_with(&url, &[]).await;
    for phone in ["+4930123450", "+4930123451", "+4930123452"] {
        service.caller().identify(Api::Grpc, Some("known@x.de"), Some(phone)).await.unwrap();
    }
    service.stop().await;
    let damage = "UPDATE Contact SET linkPrecedence = 'primary' WHERE phoneNumber LIKE '%51'";
    let admin = run_as_admin(&url, damage).await;
    let written = "SELECT CAST(updatedAt AS CHAR) FROM Contact ORDER BY id";
    let written = async || {
        let rows = query(&admin, written).await;
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect::<Vec<String>>()
    };
    let before = written().await;
    assert_eq!(before.len(), 3);
    let repair = binary().args(["verify", "--repair"]).env("DATABASE_URL", &url).env("RUST_LOG", "off").output();
    assert!(repair.expect("the binary runs").status.success());
    let after = written().await;
    assert!(before.iter().zip(&after).all(|(before, after)| before < after), "{before:?} {after:?}");
    admin.close().await.expect("close");
}

/// Keeps a server from taking over what the others of its group write, until the connection is closed.
pub async fn hold(url: &str) -> DatabaseConnection {
    run_as_admin(url, "FLUSH TABLES WITH READ LOCK").await
}

/// Runs a statement on a server, as its administrator. Returns the connection.
pub async fn run_as_admin(url: &str, sql: &str) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1);
    let connection = sea_orm::Database::connect(options).await.expect("the server answers");
    connection.execute_unprepared(sql).await.expect("an administrator may");
    connection
}
