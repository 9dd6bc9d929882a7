//! The id of a call, `x-request-id`.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The id of a call, in the log and in the response header `x-request-id`.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The header (and gRPC metadata key) of the request and of the response.
    pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

    /// Returns the caller's id if it may be logged, else a new one.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        match headers.get(Self::HEADER) {
            Some(value) if may_be_logged(value.as_bytes()) => Self(value.clone()),
            _ => Self::fresh(),
        }
    }

    /// Returns a new UUID, version 7, so that ids sort by time.
    ///
    /// Its random part comes from the thread's generator: ids must be distinct, not hard to guess. A system call for
    /// each request would cost more than everything else here.
    fn fresh() -> Self {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let random = fastrand::u128(..).to_le_bytes();
        let mut tail = [0; 10];
        tail.copy_from_slice(&random[..10]);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = id.hyphenated().encode_lower(&mut text);
        // A UUID is always a valid header value.
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-")))
    }

    /// Returns the value of the header.
    pub fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }
}

/// Whether an id may be logged: up to 64 visible ASCII characters, none of them `@`, so that it is no e-mail address.
fn may_be_logged(id: &[u8]) -> bool {
    (1..=64).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &[u8]) -> String {
        let value = HeaderValue::from_bytes(id).unwrap();
        RequestId::from_headers(&HeaderMap::from_iter([(RequestId::HEADER, value)])).as_str().to_owned()
    }

    #[test]
    fn an_id_that_may_be_logged_is_kept() {
        assert_eq!(of(b"checkout-17/3"), "checkout-17/3");
        assert_eq!(of(&[b'x'; 64]).len(), 64);
    }

    #[test]
    fn any_other_id_is_replaced() {
        for id in [&b""[..], b"two words", b"a\tb", b"doc@hillvalley.edu", b"\xc3\xa9", &[b'x'; 65]] {
            let uuid: uuid::Uuid = of(id).parse().unwrap();
            assert_eq!(uuid.get_version_num(), 7);
        }
    }

    #[test]
    fn fresh_ones_differ() {
        assert_ne!(RequestId::fresh().as_str(), RequestId::fresh().as_str());
    }
}
