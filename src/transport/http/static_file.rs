//! Files that are part of the binary.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::{Body as HttpBody, Frame};
use ring::digest::{SHA256, digest};
use tokio::sync::OnceCell;

use super::errors::error_response;
use super::gzip;
use crate::resolver::IdentifyError;

/// A file that is part of the binary, with the headers of its responses.
///
/// Caches keep it and ask each time whether it is still the same, so nobody sees one of another version. All responses
/// share its bytes: a caller that reads slowly takes no memory for them.
#[derive(Clone, Debug)]
pub(super) struct StaticFile {
    headers: HeaderMap,
    content: Arc<Content>,
}

/// What a file has, with and without gzip.
#[derive(Debug)]
struct Content {
    given: Bytes,
    /// Whether it is given compressed.
    is_gzip: bool,
    /// The other form of it, made when somebody asks for it first.
    other: OnceCell<Bytes>,
}

impl Content {
    /// Returns it with gzip or without.
    async fn form(&self, gzip: bool) -> io::Result<Bytes> {
        if gzip == self.is_gzip {
            return Ok(self.given.clone());
        }
        let other = async {
            let made = if gzip { gzip::compress(&self.given).await } else { gzip::expand(&self.given).await };
            made.map(Bytes::from)
        };
        self.other.get_or_try_init(|| other).await.cloned()
    }

    /// Whether it is sent with gzip to those that take it.
    fn is_worth_gzip(&self) -> bool {
        self.is_gzip || gzip::is_worthwhile(self.given.len())
    }
}

impl StaticFile {
    /// Takes the content type and the content.
    pub(super) fn new(content_type: (HeaderName, HeaderValue), content: &'static str) -> Self {
        Self::from_bytes(content_type, content.as_bytes(), false)
    }

    /// Takes the content type and the content, compressed with gzip.
    pub(super) fn compressed(content_type: (HeaderName, HeaderValue), content: &'static [u8]) -> Self {
        Self::from_bytes(content_type, content, true)
    }

    fn from_bytes(content_type: (HeaderName, HeaderValue), content: &'static [u8], is_gzip: bool) -> Self {
        let mut headers = HeaderMap::from_iter([
            content_type,
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (VARY, HeaderValue::from_static("accept-encoding")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ]);
        // Visible ASCII is always a header.
        if let Ok(tag) = HeaderValue::from_str(&entity_tag(content)) {
            headers.insert(ETAG, tag);
        }
        let content = Content { given: Bytes::from_static(content), is_gzip, other: OnceCell::new() };
        Self { headers, content: Arc::new(content) }
    }

    /// Adds a header to all responses.
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Returns the response to a request with these headers.
    pub(super) async fn response(self, request: &HeaderMap) -> Response {
        let has_it = self.headers.get(ETAG).is_some_and(|tag| matches_tag(request, tag.as_bytes()));
        let mut response = Response::new(Body::new(NoBody));
        if has_it {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            let gzip = gzip::is_accepted(request) && self.content.is_worth_gzip();
            let Ok(content) = self.content.form(gzip).await else {
                return error_response(&IdentifyError::Internal.into());
            };
            *response.body_mut() = content.into();
            if gzip {
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
        response.headers_mut().extend(self.headers);
        response
    }
}

/// The body of 304. Its length is not known, or `content-length` would say that the file is empty.
struct NoBody;

impl HttpBody for NoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// The tag of a content. It is weak, because it is the same with and without compression.
fn entity_tag(content: &[u8]) -> String {
    let hash = digest(&SHA256, content);
    let hex: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{hex}\"")
}

/// Whether `If-None-Match` has the tag, compared as weak tags are.
fn matches_tag(request: &HeaderMap, tag: &[u8]) -> bool {
    let strong = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let values = request.get_all(IF_NONE_MATCH).into_iter();
    let mut given = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    given.any(|given| given == b"*" || strong(given) == strong(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list_weak_or_not() {
        let tag = entity_tag(b"{}");
        let matches =
            |value: &str| matches_tag(&HeaderMap::from_iter([(IF_NONE_MATCH, value.parse().unwrap())]), tag.as_bytes());
        for value in [tag.as_str(), &tag[2..], "*", &format!("\"x\" , {tag}")] {
            assert!(matches(value), "{value}");
        }
        for value in ["", "W/", "\"x\"", &tag[3..], &entity_tag(b"{ }")] {
            assert!(!matches(value), "{value}");
        }
        assert!(!matches_tag(&HeaderMap::new(), tag.as_bytes()));
    }
}
