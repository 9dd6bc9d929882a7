//! Callers that do not take their answers.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use identity::proto::identity::v1::{IdentifyRequest, StreamIdentifyRequest};
use prost::Message;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::figures::{self, milliseconds, timed};
use super::large_identity::insert;
use super::{BACKENDS, is_long, start};
use crate::harness::{Api, Event, Process, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&BACKENDS): stalled_streams);
}

/// Streams whose caller takes nothing.
const STREAMS: usize = 60;

/// Items that each of them sends.
const ITEMS: usize = 1_024;

/// Peak memory of the service meanwhile, in MiB.
const PEAK: u64 = 256;

const PHONE: &str = "0000000000";

/// A message as gRPC frames it.
pub fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.encoded_len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).expect("a small message"));
    message.encode(&mut bytes).expect("room");
    bytes.freeze()
}

/// A connection whose windows let one byte through.
async fn connect(process: &Process) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(process.grpc).await.expect("a connection");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1);
    let (client, connection) = builder.handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    client.ready().await.expect("ready")
}

/// Sends the items and takes no answer. It keeps the stream open for so long, or until the service cuts it.
async fn stall(mut client: SendRequest<Bytes>, time: Duration) {
    let request = http::Request::post("http://x/identity.v1.IdentityService/StreamIdentify")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let (answer, mut body) = client.send_request(request, false).expect("a stream");
    let item = |number: usize| {
        let request = IdentifyRequest { phone_number: Some(PHONE.to_owned()), ..Default::default() };
        framed(&StreamIdentifyRequest { correlation_id: number.to_string(), request: Some(request) })
    };
    for number in 0..ITEMS {
        if body.send_data(item(number), false).is_err() {
            return;
        }
    }
    let _answer = answer;
    tokio::time::sleep(time).await;
}

async fn stalled_streams(database: TestDatabase) {
    insert(&database, 1, 10_000, PHONE).await;
    let process = start(&database).await;
    let time = Duration::from_secs(if is_long() { 20 } else { 5 });
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        streams.spawn(stall(connect(&process).await, time));
    }
    tokio::time::sleep(time / 2).await;
    let events: Vec<Event> = (0..200).map(|n| Event::of(&format!("e{n}@x.de"), "")).collect();
    let (answers, took) = timed(process.caller().stream(&events)).await;
    assert!(answers.iter().all(Result::is_ok), "a stream beside stalled ones is served");
    for api in Api::BOTH {
        process.caller().identify(api, Some("e1@x.de"), None).await.expect("a single call is served");
    }
    streams.join_all().await;
    let peak = process.peak_mib();
    let figures = [("peak, MiB", json!(peak)), ("a stream of 200 beside, ms", milliseconds(took))];
    figures::print("60 stalled streams of 1,024 items about an identity of 10,000", &database, &figures);
    assert!(peak < PEAK, "{peak} MiB");
}
