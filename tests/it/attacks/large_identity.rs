//! Identities with thousands of contacts, which one shared phone number makes.

use std::net::SocketAddr;
use std::time::Instant;

use identity::proto::identity::v1::IdentifyRequest;
use identity::store::entity::contact::{self, LinkPrecedence};
use identity::store::entity::identifier;
use sea_orm::ActiveValue::Set;
use sea_orm::{EntityTrait, TransactionTrait};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::elsewhere::elsewhere;
use super::figures::{self, milliseconds, timed};
use super::innocent::Innocent;
use super::stalled::framed;
use super::{BACKENDS, duration, start};
use crate::harness::{Api, Event, Process, Refusal, Reply, Suite, TestDatabase, execute, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&BACKENDS):
        batches_about_a_large_identity,
        batches_that_link_to_a_large_identity,
        innocents_beside_a_large_identity,
        a_large_merge,
    );
}

/// The contacts of the large identity.
const CONTACTS: i64 = 10_000;

/// Peak memory of a batch of 1,000 about the large identity, in MiB. A debug build takes some 20 MiB more.
const PEAK_OF_LOOK_UPS: u64 = if cfg!(debug_assertions) { 160 } else { 128 };

/// Peak memory of a batch that links 1,000 new e-mails to it, in MiB.
const PEAK_OF_LINKS: u64 = 256;

/// Inserts an identity of so many contacts that share a phone number. Its ids begin with `first`.
pub async fn insert(database: &TestDatabase, first: i64, contacts: i64, phone: &str) {
    let connection = database.store().await.connection();
    let now = chrono::Utc::now().naive_utc();
    let email = |id: i64| format!("e{id}@large.example");
    let transaction = connection.begin().await.expect("BEGIN");
    let ids: Vec<i64> = (first..first + contacts).collect();
    for some in ids.chunks(1_000) {
        let rows = some.iter().map(|&id| contact::ActiveModel {
            id: Set(id),
            phone_number: Set(Some(phone.to_owned())),
            email: Set(Some(email(id))),
            linked_id: Set((id != first).then_some(first)),
            link_precedence: Set(if id == first { LinkPrecedence::Primary } else { LinkPrecedence::Secondary }),
            created_at: Set(now),
            updated_at: Set(now),
            deleted_at: Set(None),
            flags: Set(0),
        });
        contact::Entity::insert_many(rows).exec_without_returning(&transaction).await.expect("contacts");
        let row = |kind: &str, value: String, id| identifier::ActiveModel {
            kind: Set(kind.to_owned()),
            value: Set(value.into_bytes()),
            contact_id: Set(id),
        };
        let mut rows: Vec<_> = some.iter().map(|&id| row("email", email(id), id)).collect();
        if some[0] == first {
            rows.push(row("phone", phone.to_owned(), first));
        }
        identifier::Entity::insert_many(rows).exec_without_returning(&transaction).await.expect("identifiers");
    }
    transaction.commit().await.expect("COMMIT");
    if database.backend == crate::harness::Backend::Mysql {
        execute(&database.raw().await, r#"ANALYZE TABLE "Contact", "Identifier""#).await;
    }
}

const PHONE: &str = "0000000000";

/// Each item was carried out: it has an answer, or an error that says that the answer had no room.
fn assert_carried_out(items: &[Result<Reply, Refusal>]) {
    assert_eq!(items.len(), 1_000);
    let refused = items.iter().filter_map(|item| item.as_ref().err()).find(|refusal| {
        let is_for_size = refusal.code == tonic::Code::ResourceExhausted && !refusal.retry;
        !is_for_size
    });
    assert!(refused.is_none(), "{refused:?}");
}

/// Sends a batch through both APIs and returns the peak memory of the service, in MiB, and the time of the slower one.
async fn peak_of(process: &Process, events: impl Fn(Api) -> Vec<Event>) -> (u64, std::time::Duration) {
    let mut slowest = std::time::Duration::ZERO;
    for api in Api::BOTH {
        let (answer, time) = timed(process.caller().batch(api, &events(api))).await;
        assert_carried_out(&answer.expect("an answer that the client takes"));
        slowest = slowest.max(time);
    }
    (process.peak_mib(), slowest)
}

async fn batches_about_a_large_identity(database: TestDatabase) {
    insert(&database, 1, CONTACTS, PHONE).await;
    let process = start(&database).await;
    let (peak, time) = peak_of(&process, |_| (0..1_000).map(|_| Event::of("", PHONE)).collect()).await;
    let figures = [("peak, MiB", json!(peak)), ("batch, ms", milliseconds(time))];
    figures::print("1,000 look-ups of an identity of 10,000", &database, &figures);
    assert!(peak < PEAK_OF_LOOK_UPS, "{peak} MiB");
}

async fn batches_that_link_to_a_large_identity(database: TestDatabase) {
    insert(&database, 1, CONTACTS, PHONE).await;
    let process = start(&database).await;
    let new = |api: Api| (0..1_000).map(|n| Event::of(&format!("new{n}@{api:?}.example"), PHONE)).collect();
    let (peak, time) = peak_of(&process, new).await;
    let figures = [("peak, MiB", json!(peak)), ("batch, ms", milliseconds(time))];
    figures::print("1,000 e-mails linked to an identity of 10,000", &database, &figures);
    assert!(peak < PEAK_OF_LINKS, "{peak} MiB");
}

/// Requests the large identity again and again. Returns how many answers it got.
///
/// It takes the bytes and does not decode them: on two processors, sixteen callers that decode thousands of contacts
/// each would be in the way of the innocent caller themselves.
async fn count_answers(address: SocketAddr, api: Api, until: Instant) -> u64 {
    let mut answers = 0;
    match api {
        Api::Http => {
            let (client, url) = (reqwest::Client::new(), format!("http://{address}/identify"));
            while Instant::now() < until {
                let body = json!({ "phoneNumber": PHONE }).to_string();
                let answer = client.post(&url).body(body).send().await.expect("an HTTP answer");
                assert_eq!(answer.status(), 200);
                answer.bytes().await.expect("a body");
                answers += 1;
            }
        }
        Api::Grpc => {
            let socket = TcpStream::connect(address).await.expect("a connection");
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 20);
            let (mut client, connection) = builder.handshake(socket).await.expect("HTTP/2");
            tokio::spawn(connection);
            let message = framed(&IdentifyRequest { phone_number: Some(PHONE.to_owned()), ..Default::default() });
            while Instant::now() < until {
                client = client.ready().await.expect("ready");
                let request = http::Request::post("http://x/identity.v1.IdentityService/Identify")
                    .header("content-type", "application/grpc")
                    .header("te", "trailers");
                let request = request.body(()).expect("a request");
                let (answer, mut body) = client.send_request(request, false).expect("a stream");
                body.send_data(message.clone(), true).expect("sent");
                let mut answer = answer.await.expect("an answer").into_body();
                while let Some(bytes) = answer.data().await {
                    answer.flow_control().release_capacity(bytes.expect("bytes").len()).expect("released");
                }
                let trailers = answer.trailers().await.expect("trailers").expect("a status");
                assert_eq!(trailers["grpc-status"], "0");
                answers += 1;
            }
        }
    }
    answers
}

async fn innocents_beside_a_large_identity(database: TestDatabase) {
    insert(&database, 1, CONTACTS, PHONE).await;
    let process = start(&database).await;
    let innocent = Innocent::start(&process);
    let until = Instant::now() + duration();
    let (grpc, http) = (process.grpc, process.http);
    let callers = async move {
        let mut callers = JoinSet::new();
        for number in 0..16 {
            let api = Api::BOTH[number % 2];
            callers.spawn(count_answers(if api == Api::Grpc { grpc } else { http }, api, until));
        }
        callers.join_all().await.into_iter().sum::<u64>()
    };
    let answers = elsewhere(callers).await;
    let innocents = innocent.finish().await;
    figures::print(
        "16 callers ask for an identity of 10,000",
        &database,
        &[
            ("their answers", json!(answers)),
            ("innocent, p50 ms", innocents.percentile(50)),
            ("innocent, p99 ms", innocents.percentile(99)),
            ("innocent, worst ms", innocents.percentile(100)),
            ("peak, MiB", json!(process.peak_mib())),
        ],
    );
}

async fn a_large_merge(database: TestDatabase) {
    insert(&database, 1, CONTACTS / 2, PHONE).await;
    insert(&database, 100_001, CONTACTS / 2, "1111111111").await;
    let process = start(&database).await;
    let innocent = Innocent::start(&process);
    let merge = process.caller();
    let (answer, time) = timed(merge.identify(Api::Grpc, Some("e100001@large.example"), Some(PHONE))).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.outcome, answer.primary), ("merged", 1));
    let innocents = innocent.finish().await;
    let again = merge.identify(Api::Http, Some("e100002@large.example"), None).await.expect("an answer");
    assert_eq!((again.outcome, again.primary), ("matched", 1));
    let figures = [("merge, ms", milliseconds(time)), ("innocent, worst ms", innocents.percentile(100))];
    figures::print("merge of 5,000 and 5,000", &database, &figures);
}
