//! A service with every form of an http rule, built on tonic without generated code.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use identity::transport::deadline::Deadlines;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, Value};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Service, service_fn};

pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/forms_descriptor.bin"));

/// Answers with what it is asked. Some names make it fail or wait.
#[derive(Clone, Default)]
pub(crate) struct Forms {
    /// Calls and streams that were given up.
    pub(crate) dropped: Arc<AtomicUsize>,
}

impl NamedService for Forms {
    const NAME: &'static str = "forms.v1.FormsService";
}

impl Service<http::Request<Body>> for Forms {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let service = pool.get_service_by_name(Self::NAME).unwrap();
        let (_, name) = request.uri().path().rsplit_once('/').unwrap();
        let rpc = service.methods().find(|rpc| rpc.name() == name).unwrap();
        let fault = request.headers().get("x-fault").map(|fault| fault.to_str().unwrap().to_owned());
        let mut grpc = Grpc::new(Dynamic(rpc.input()));
        let forms = self.clone();
        async move {
            let answer = |request| forms.clone().answer(rpc.clone(), request);
            Ok(if rpc.is_server_streaming() {
                grpc.server_streaming(service_fn(|request| forms.clone().stream(rpc.clone(), request)), request).await
            } else {
                with_fault(grpc.unary(service_fn(answer), request).await, fault).await
            })
        }
        .boxed()
    }
}

/// An answer that is not whole.
async fn with_fault(answer: http::Response<Body>, fault: Option<String>) -> http::Response<Body> {
    let Some(fault) = fault else { return answer };
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap();
    let status = Frame::trailers(body.trailers().unwrap().clone());
    let message = body.to_bytes();
    let messages = match &fault[..] {
        "two-messages" => vec![message.clone(), message],
        "no-message" => Vec::new(),
        _ => vec![message],
    };
    let frames = messages.into_iter().map(Frame::data).chain((fault != "no-status").then_some(status));
    let frames: Vec<Result<_, Infallible>> = frames.map(Ok).collect();
    http::Response::from_parts(head, Body::new(StreamBody::new(stream::iter(frames))))
}

/// Counts when it is dropped.
struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Forms {
    async fn answer(
        self,
        rpc: MethodDescriptor,
        request: Request<DynamicMessage>,
    ) -> Result<Response<DynamicMessage>, Status> {
        assert!(request.extensions().get::<Deadlines>().is_some());
        let seen = request.metadata().get("x-test").map(|value| value.to_str().unwrap().to_owned());
        let form = request.into_inner();
        if rpc.input() == rpc.output() {
            return Ok(Response::new(form));
        }
        let given_up = CountDrop(self.dropped.clone());
        match text(&form, "name").strip_prefix("shelves/").unwrap_or_default() {
            "fail" => return Err(failure(Code::FailedPrecondition)),
            "busy" => return Err(failure(Code::Unavailable)),
            "internal" => return Err(Status::internal("of tonic")),
            "unknown" => return Err(Status::unknown("of tonic")),
            "range" => return Err(Status::out_of_range("of tonic")),
            "exhausted" => return Err(Status::resource_exhausted("of tonic")),
            "unimplemented" => return Err(Status::unimplemented("of tonic")),
            "slow" => std::future::pending().await,
            "panic" => panic!("doc@hillvalley.edu"),
            _ => {}
        }
        std::mem::forget(given_up);
        Ok(Response::new(echo(&rpc.output(), form, seen.unwrap_or_else(|| rpc.name().to_owned()))))
    }

    /// As many answers as the page size; then the stream fails, waits or ends.
    async fn stream(
        self,
        rpc: MethodDescriptor,
        request: Request<DynamicMessage>,
    ) -> Result<Response<BoxStream<'static, Result<DynamicMessage, Status>>>, Status> {
        let form = request.into_inner();
        let name = text(&form, "name");
        if name == "refused" {
            return Err(failure(Code::FailedPrecondition));
        }
        let size = form.get_field_by_name("page_size").unwrap().as_i32().unwrap();
        let given_up = CountDrop(self.dropped);
        let answers = (1..=size).map(move |count| {
            let mut answer = DynamicMessage::new(rpc.output());
            answer.set_field_by_name("count", Value::I64(count.into()));
            Ok(answer)
        });
        let end = match &name[..] {
            "fail" => stream::once(async { Err(failure(Code::Unavailable)) }).boxed(),
            "wait" => stream::pending().boxed(),
            _ => stream::empty().boxed(),
        };
        let answers = stream::iter(answers.collect::<Vec<_>>()).chain(end);
        Ok(Response::new(
            answers
                .inspect(move |_| {
                    let _ = &given_up;
                })
                .boxed(),
        ))
    }
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).unwrap().as_str().unwrap().to_owned()
}

fn echo(output: &MessageDescriptor, form: DynamicMessage, seen: String) -> DynamicMessage {
    let mut echo = DynamicMessage::new(output.clone());
    echo.set_field_by_name("tags", form.get_field_by_name("tags").unwrap().into_owned());
    echo.set_field_by_name("count", Value::I64(i64::MAX));
    echo.set_field_by_name("form", Value::Message(form));
    echo.set_field_by_name("seen", Value::String(seen));
    echo
}

fn failure(code: Code) -> Status {
    let mut details = ErrorDetails::with_error_info("SHELF_BROKEN", "forms.v1", [("shelf".to_owned(), "7".to_owned())]);
    details.add_precondition_failure_violation("BOARD", "shelves/7", "a board is missing");
    if code == Code::Unavailable {
        details.set_retry_info(Some(Duration::from_millis(2_500)));
    }
    let status = Status::with_error_details(code, "the shelf is broken", details);
    let mut all = tonic_types::pb::Status::decode(status.details()).unwrap();
    // The second is of a type that nobody knows.
    for name in ["Shelf", "Unknown"] {
        all.details.push(Default::default());
        let detail = all.details.last_mut().unwrap();
        (detail.type_url, detail.value) = (format!("type.googleapis.com/forms.v1.{name}"), vec![8, 7]);
    }
    Status::with_details(code, status.message(), all.encode_to_vec().into())
}

/// Messages by their descriptor.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Encoding;
    type Decoder = Decoding;

    fn encoder(&mut self) -> Encoding {
        Encoding
    }

    fn decoder(&mut self) -> Decoding {
        Decoding(self.0.clone())
    }
}

struct Encoding;

impl Encoder for Encoding {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(to).unwrap();
        Ok(())
    }
}

struct Decoding(MessageDescriptor);

impl Decoder for Decoding {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), from);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// A service of the product's name, which fails in a way of its own.
#[derive(Clone)]
pub(crate) struct Scoped;

pub(crate) const SCOPED_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scoped_descriptor.bin"));

impl NamedService for Scoped {
    const NAME: &'static str = "identity.v1.IdentityService";
}

impl Service<http::Request<Body>> for Scoped {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let is_open = request.headers().contains_key("x-stream");
        let message: Result<_, Infallible> = Ok(Frame::data(Bytes::from_static(&[0; 5])));
        let stream = || Body::new(StreamBody::new(stream::iter([message]).chain(stream::pending())));
        std::future::ready(Ok(if is_open {
            http::Response::new(stream())
        } else {
            Status::already_exists("the RPC was called").into_http()
        }))
    }
}

/// A service whose rule has the path of a page. Nobody calls it.
#[derive(Clone)]
pub(crate) struct Hidden;

pub(crate) const HIDDEN_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hidden_descriptor.bin"));

impl NamedService for Hidden {
    const NAME: &'static str = "hidden.v1.HiddenService";
}

impl Service<http::Request<Body>> for Hidden {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        std::future::ready(Ok(http::Response::default()))
    }
}
