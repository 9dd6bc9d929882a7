//! Calls of both APIs, by the conventions that other people's dashboards know: those of go-grpc-middleware for gRPC,
//! those of OpenTelemetry for HTTP.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tonic::Code;

use super::histogram::{CALL_SECONDS, Histogram};
use super::registration::{Buckets, Labels, Registration};

const GRPC_LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];
const HTTP_LABELS: [&str; 3] = ["http_request_method", "http_route", "http_response_status_code"];

/// What an unknown path counts as: a path can be anything.
const UNKNOWN: &str = "unknown";

/// Methods that have a value of their own. Any other is `_OTHER`.
static METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::CONNECT,
    Method::TRACE,
];

/// HTTP statuses that answers have. Any other counts as the last one, 599, which none has.
const STATUSES: [u16; 21] =
    [200, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 429, 499, 500, 501, 503, 504, 431, 599];

/// The families of calls.
#[derive(Debug)]
pub(super) struct RpcFamilies {
    started: Family<Labels, Counter>,
    handled: Family<Labels, Counter>,
    handling: Family<Labels, Histogram, Buckets>,
    received: Family<Labels, Counter>,
    sent: Family<Labels, Counter>,
    http: Family<Labels, Histogram, Buckets>,
    http_active: Gauge,
}

impl RpcFamilies {
    pub(super) fn register(registration: &mut Registration) -> Self {
        let times = || Family::new_with_constructor(Buckets::Times(&CALL_SECONDS));
        let families = Self {
            started: Family::default(),
            handled: Family::default(),
            handling: times(),
            received: Family::default(),
            sent: Family::default(),
            http: times(),
            http_active: Gauge::default(),
        };
        let with_code = [&GRPC_LABELS[..], &["grpc_code"]].concat();
        let mut add = |name: &str, help: &str, counter: &Family<Labels, Counter>| {
            registration.add(name, &GRPC_LABELS, help, counter.clone());
        };
        add("grpc_server_started_total", "gRPC calls that began", &families.started);
        add("grpc_server_msg_received_total", "Messages that gRPC calls received", &families.received);
        add("grpc_server_msg_sent_total", "Messages that gRPC calls sent", &families.sent);
        registration.add(
            "grpc_server_handled_total",
            &with_code,
            "gRPC calls that ended, whatever their success",
            families.handled.clone(),
        );
        registration.add(
            "grpc_server_handling_seconds",
            &GRPC_LABELS,
            "Time from the head of a gRPC call to the end of its answer",
            families.handling.clone(),
        );
        registration.add(
            "http_server_request_duration_seconds",
            &HTTP_LABELS,
            "Time from the head of a JSON request to the end of its answer",
            families.http.clone(),
        );
        registration.add(
            "http_server_active_requests",
            &[],
            "JSON requests under way, until their answers are sent",
            families.http_active.clone(),
        );
        families
    }

    /// The handles of a gRPC method, or of all unknown ones.
    pub(super) fn grpc(&self, kind: &'static str, name: Option<&str>) -> GrpcMethod {
        let (service, method) = name.and_then(|name| name.split_once('/')).unwrap_or((UNKNOWN, UNKNOWN));
        let labels: Labels = GRPC_LABELS.into_iter().zip([kind, service, method].map(str::to_owned)).collect();
        let handled = |code: usize| {
            let code = ("grpc_code", code_name(Code::from_i32(i32::try_from(code).unwrap_or_default())).to_owned());
            self.handled.get_or_create_owned(&labels.iter().cloned().chain([code]).collect())
        };
        GrpcMethod(Arc::new(GrpcHandles {
            started: self.started.get_or_create_owned(&labels),
            handled: std::array::from_fn(handled),
            handling: self.handling.get_or_create_owned(&labels),
            received: self.received.get_or_create_owned(&labels),
            sent: self.sent.get_or_create_owned(&labels),
        }))
    }

    /// The handles of an HTTP route, or of all unknown paths.
    pub(super) fn http(&self, route: Option<&str>) -> HttpRoute {
        let series = (0..(METHODS.len() + 1) * STATUSES.len()).map(|_| OnceLock::new()).collect();
        HttpRoute(Arc::new(HttpHandles {
            route: route.unwrap_or(UNKNOWN).to_owned(),
            series,
            family: self.http.clone(),
            active: self.http_active.clone(),
        }))
    }
}

/// The handles of a gRPC method.
#[derive(Clone, Debug)]
pub struct GrpcMethod(Arc<GrpcHandles>);

#[derive(Debug)]
struct GrpcHandles {
    started: Counter,
    /// By the number of the code.
    handled: [Counter; 17],
    handling: Histogram,
    received: Counter,
    sent: Counter,
}

impl GrpcMethod {
    /// A call begins.
    pub fn begin(&self) {
        self.0.started.inc();
    }

    /// A call ended after this time.
    pub fn end(&self, code: Code, time: Duration) {
        self.0.handled[code as usize].inc();
        self.0.handling.observe_time(time);
    }

    /// So many messages of the caller arrived.
    pub fn received(&self, messages: u64) {
        self.0.received.inc_by(messages);
    }

    /// So many messages were handed to HTTP.
    pub fn sent(&self, messages: u64) {
        self.0.sent.inc_by(messages);
    }
}

/// The handles of an HTTP route. Those of a method and a status are made when they are first needed: most never are.
#[derive(Clone, Debug)]
pub struct HttpRoute(Arc<HttpHandles>);

#[derive(Debug)]
struct HttpHandles {
    route: String,
    /// One for each method and status.
    series: Box<[OnceLock<Histogram>]>,
    family: Family<Labels, Histogram, Buckets>,
    active: Gauge,
}

impl HttpRoute {
    /// A request begins.
    pub fn begin(&self) {
        self.0.active.inc();
    }

    /// A request with this method and status ended after this time.
    pub fn end(&self, method: &Method, status: u16, time: Duration) {
        self.0.active.dec();
        let method = METHODS.iter().position(|known| known == method);
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        let place = method.unwrap_or(METHODS.len()) * STATUSES.len() + status;
        self.0.series[place].get_or_init(|| self.0.histogram(method, STATUSES[status])).observe_time(time);
    }
}

impl HttpHandles {
    fn histogram(&self, method: Option<usize>, status: u16) -> Histogram {
        let method = method.map_or("_OTHER", |known| METHODS[known].as_str());
        let values = [method.to_owned(), self.route.clone(), status.to_string()];
        self.family.get_or_create_owned(&HTTP_LABELS.into_iter().zip(values).collect())
    }
}

/// The name of a code, as Go's library writes it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
