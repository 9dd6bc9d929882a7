use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use http::Response;
use tonic::Code;

use super::stack::Api;
use crate::domain::Outcome;
use crate::transport::{OpenTally, RequestId, Route, Tally, code_name, outcome_name};

/// The line that the log gets for a call: when it has its answer (a stream: when it ends) or, if that
/// never comes, when its caller goes away. No personal data: neither fields nor unknown paths.
pub(super) struct AccessLog {
    api: Api,
    route: Option<Arc<Route>>,
    id: RequestId,
    started: Instant,
    /// Of a stream.
    tally: Option<OpenTally>,
    is_ended: bool,
}

/// The same fields at every level, which has to be a constant.
macro_rules! event {
    ($level:expr, $log:expr, $end:expr) => {
        tracing::event!(
            $level,
            api = $log.api.name(),
            rpc.method = $log.route.as_ref().and_then(|route| route.rpc_method.as_deref()),
            rpc.grpc.status_code = code_name($end.code),
            http.route = $log.route.as_ref().and_then(|route| route.http_route.as_deref()),
            http.response.status_code = $end.http_status,
            outcome = $end.outcome.map(outcome_name),
            items = $end.tally.map(|tally| tally.items),
            item_errors = $end.tally.map(|tally| tally.errors),
            duration_ms = $log.started.elapsed().as_micros() as f64 / 1e3,
            request.id = $log.id.as_str(),
            "call"
        )
    };
}

/// How a call ended.
struct End {
    code: Code,
    http_status: Option<u16>,
    outcome: Option<Outcome>,
    tally: Option<Tally>,
}

impl AccessLog {
    pub(super) fn begin(api: Api, route: Option<Arc<Route>>, id: RequestId, started: Instant) -> Self {
        Self { api, route, id, started, tally: None, is_ended: false }
    }

    /// The call is a stream, which counts its items there.
    pub(super) fn open(&mut self, tally: OpenTally) {
        self.tally = Some(tally);
    }

    /// The stream has come to its end.
    pub(super) fn close(&mut self, code: Code) {
        self.is_ended = true;
        self.write(&End { code, http_status: None, outcome: None, tally: self.tally.as_ref().map(OpenTally::get) });
    }

    /// The call has this answer.
    pub(super) fn end(&mut self, response: &Response<Body>) {
        self.is_ended = true;
        let (outcome, tally) = (response.extensions().get().copied(), response.extensions().get().copied());
        let (code, http_status) = match self.api {
            // Success is told after the body; what is in the head already is a failure.
            Api::Grpc => (response.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes())), None),
            Api::Http => (response.extensions().get().copied(), Some(response.status().as_u16())),
        };
        self.write(&End { code: code.unwrap_or(Code::Ok), http_status, outcome, tally });
    }

    fn write(&self, end: &End) {
        if self.route.as_ref().is_some_and(|route| route.is_probe) {
            event!(tracing::Level::DEBUG, self, end);
        } else {
            event!(tracing::Level::INFO, self, end);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        if !self.is_ended {
            self.close(Code::Cancelled);
        }
    }
}
