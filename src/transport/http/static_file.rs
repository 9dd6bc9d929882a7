//! Files that are part of the binary.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ring::digest::{SHA256, digest};

use super::errors::error_response;
use super::gzip;
use crate::resolver::IdentifyError;

/// A file that is part of the binary, with the headers of its responses.
///
/// Caches keep it and ask each time whether it is still the same, so nobody sees one of another version.
#[derive(Clone, Debug)]
pub(super) struct StaticFile {
    headers: HeaderMap,
    content: Bytes,
    /// Whether the content is compressed already.
    is_gzip: bool,
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
        Self { headers, content: Bytes::from_static(content), is_gzip }
    }

    /// Adds a header to all responses.
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Returns the response to a request with these headers.
    pub(super) async fn response(self, request: &HeaderMap) -> Response {
        let has_it = self.headers.get(ETAG).is_some_and(|tag| matches_tag(request, tag.as_bytes()));
        let is_accepted = gzip::is_accepted(request);
        let mut response = match (has_it, self.is_gzip) {
            (true, _) => StatusCode::NOT_MODIFIED.into_response(),
            (false, false) => gzip::negotiate(is_accepted, async { Response::new(self.content.into()) }).await,
            (false, true) if is_accepted => {
                let mut response = Response::new(self.content.into());
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                response
            }
            (false, true) => match gzip::expand(&self.content).await {
                Ok(plain) => Response::new(plain.into()),
                Err(_) => return error_response(&IdentifyError::Internal.into()),
            },
        };
        response.headers_mut().extend(self.headers);
        response
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
