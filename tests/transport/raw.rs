//! Clients below gRPC and HTTP, which may misbehave.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The start of an HTTP/2 connection: the preface and empty SETTINGS.
pub(crate) const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub(crate) const IDENTIFY: &str = "/identity.v1.IdentityService/Identify";
pub(crate) const BATCH: &str = "/identity.v1.IdentityService/BatchIdentify";
pub(crate) const STREAM: &str = "/identity.v1.IdentityService/StreamIdentify";

/// An HTTP/2 client that takes from an answer only what the test takes. It answers pings.
pub(crate) struct H2Client {
    send: SendRequest<Bytes>,
    pub(crate) connection: JoinHandle<()>,
    deaf: CancellationToken,
}

impl H2Client {
    /// `window`: how many bytes of each answer it takes at first.
    pub(crate) async fn connect(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (send, connection) = Builder::new().initial_window_size(window).handshake(stream).await.unwrap();
        let deaf = CancellationToken::new();
        let token = deaf.clone();
        let connection = tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = &mut connection => {}
                () = token.cancelled() => std::future::pending().await,
            }
        });
        Self { send, connection, deaf }
    }

    /// Reads nothing any more, but keeps the connection open.
    pub(crate) fn go_deaf(&self) {
        self.deaf.cancel();
    }

    /// Begins a gRPC call.
    pub(crate) async fn call(&mut self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        self.call_as(path, None).await
    }

    /// The same, with a token.
    pub(crate) async fn call_as(&mut self, path: &str, token: Option<&str>) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = http::Request::post(format!("http://x{path}")).header("content-type", "application/grpc");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request.body(()).unwrap(), false).unwrap()
    }

    /// Begins a call of the JSON API.
    pub(crate) async fn begin_post(&mut self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let request = http::Request::post(format!("http://x{path}"));
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request.body(()).unwrap(), false).unwrap()
    }

    /// Asks for a tunnel.
    pub(crate) async fn connect_to(&mut self, authority: &str) -> ResponseFuture {
        let request = http::Request::builder().method("CONNECT").uri(authority).body(()).unwrap();
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request, false).unwrap().0
    }

    /// Sends a JSON request, and returns the body of its answer.
    pub(crate) async fn post(&mut self, path: &str, body: &'static str) -> RecvStream {
        let request = http::Request::post(format!("http://x{path}")).body(()).unwrap();
        let mut send = self.send.clone().ready().await.unwrap();
        let (response, mut sent) = send.send_request(request, false).unwrap();
        sent.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
        timeout(Duration::from_secs(5), response).await.unwrap().unwrap().into_body()
    }

    /// Asks for a path of the JSON API with these headers.
    pub(crate) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> http::Response<RecvStream> {
        let mut request = http::Request::get(format!("http://x{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut send = self.send.clone().ready().await.unwrap();
        let (response, _) = send.send_request(request.body(()).unwrap(), true).unwrap();
        timeout(Duration::from_secs(5), response).await.unwrap().unwrap()
    }

    /// Sends a gRPC call, and returns the body of its answer.
    pub(crate) async fn unary(&mut self, path: &str, message: &impl Message) -> RecvStream {
        let (response, mut body) = self.call(path).await;
        body.send_data(framed(message), true).unwrap();
        timeout(Duration::from_secs(5), response).await.unwrap().unwrap().into_body()
    }
}

/// Sends the body of a call that is answered already. The service must not have reset the call, and must not do so.
pub(crate) async fn send_late(mut body: SendStream<Bytes>, parts: &[&'static [u8]]) {
    for (index, part) in parts.iter().enumerate() {
        body.send_data(Bytes::from_static(part), index + 1 == parts.len()).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let reset = timeout(Duration::from_millis(200), std::future::poll_fn(|cx| body.poll_reset(cx))).await;
    assert!(!matches!(reset, Ok(Ok(_))), "the call was reset: {reset:?}");
}

/// A message as gRPC sends it.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// Takes all of an answer as it comes, and returns how it ended. It must end.
pub(crate) async fn end_of(body: &mut RecvStream) -> Result<(), h2::Error> {
    timeout(Duration::from_secs(10), async {
        while let Some(data) = body.data().await {
            data?;
        }
        body.trailers().await.map(drop)
    })
    .await
    .unwrap()
}
