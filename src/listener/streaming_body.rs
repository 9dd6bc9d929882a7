use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Status};

use super::access_log::AccessLog;
use crate::transport::OpenTally;

/// The answers of a stream: the call is under way, and not logged, until they end.
pub(super) struct StreamingBody {
    body: Body,
    /// `None` once it is written.
    log: Option<AccessLog>,
    _place: Option<OwnedSemaphorePermit>,
}

impl StreamingBody {
    /// The same response, with the call's line and place kept until its end.
    pub(super) fn watch(
        mut response: Response<Body>,
        mut log: AccessLog,
        place: Option<OwnedSemaphorePermit>,
    ) -> Response<Body> {
        if let Some(tally) = response.extensions_mut().remove::<OpenTally>() {
            log.open(tally);
        }
        response.map(|body| Body::new(Self { body, log: Some(log), _place: place }))
    }

    fn close(&mut self, code: Code) {
        if let Some(mut log) = self.log.take() {
            log.close(code);
        }
    }
}

impl HttpBody for StreamingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    self.close(status.code());
                }
            }
            Some(Err(_)) => self.close(Code::Internal),
            None => self.close(Code::Ok),
        }
        Poll::Ready(frame)
    }
}
