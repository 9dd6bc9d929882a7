//! Web pages of other sites.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderValue, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower::Service;

use super::admitted::answer_at_once;
use crate::listener::api::Api;
use crate::listener::call::Call;
use crate::transport::errors::ApiError;
use crate::transport::http::{OriginRules, OriginVerdict, add_cors_headers, add_preflight_headers};

/// Refuses requests of web pages that may not call the service, and lets other pages read the answers (CORS).
///
/// It stands above the layers whose errors a page must be able to read, such as 429.
#[derive(Clone)]
pub(crate) struct OriginCheck<S> {
    inner: S,
    api: Api,
    /// `None` on the gRPC API. Browsers reach it if it speaks TLS, but a page cannot send the content type of gRPC
    /// without asking first, and nobody is permitted. So what a page sends has another content type. A proxy that
    /// translates for browsers has rules of its own.
    rules: Option<OriginRules>,
}

impl<S> OriginCheck<S> {
    pub(crate) fn new(inner: S, api: Api, rules: Option<OriginRules>) -> Self {
        Self { inner, api, rules }
    }
}

/// Refuses what a web page sends to the gRPC API: tonic reads a message whatever its content type is.
fn judge_grpc<B>(request: &Request<B>) -> OriginVerdict {
    let headers = request.headers();
    let is_grpc = headers.get(CONTENT_TYPE).is_some_and(|of| of.as_bytes().starts_with(b"application/grpc"));
    if is_grpc || !headers.contains_key(ORIGIN) { OriginVerdict::Pass } else { OriginVerdict::Refuse }
}

/// Whether everybody may read the answer to a GET of this path. An RPC that is called by GET reads what is stored.
fn is_public<B>(request: &Request<B>) -> bool {
    let call: Option<&Call> = request.extensions().get();
    !call.and_then(|call| call.route.as_ref()).is_some_and(|route| route.is_translated)
}

impl<S, B> Service<Request<B>> for OriginCheck<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let judge = |rules: &OriginRules| rules.judge(&request, is_public(&request));
        match self.rules.as_ref().map_or_else(|| judge_grpc(&request), judge) {
            OriginVerdict::Pass => ResponseFuture::Running { inner: self.inner.call(request), reader: None },
            OriginVerdict::Share(origin) => {
                ResponseFuture::Running { inner: self.inner.call(request), reader: Some(origin) }
            }
            OriginVerdict::Preflight(origin, requested) => {
                answer_at_once(&request);
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                add_preflight_headers(response.headers_mut(), origin, requested);
                ResponseFuture::Done { response: Some(response) }
            }
            OriginVerdict::Refuse => {
                answer_at_once(&request);
                ResponseFuture::Done { response: Some(self.api.error_response(&ApiError::Origin)) }
            }
        }
    }
}

pin_project! {
    /// The response, with the headers that let a page read it.
    #[project = ResponseProjection]
    pub(crate) enum ResponseFuture<F> {
        Done { response: Option<Response<Body>> },
        Running {
            #[pin]
            inner: F,
            // The page that may read the response.
            reader: Option<HeaderValue>,
        },
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            // A future is not polled again after its end.
            ResponseProjection::Done { response } => Poll::Ready(Ok(response.take().unwrap_or_default())),
            ResponseProjection::Running { inner, reader } => {
                let mut response = ready!(inner.poll(cx))?;
                if let Some(origin) = reader.take() {
                    add_cors_headers(response.headers_mut(), origin);
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}
