use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The name of a call, in the log and in the answer's header `x-request-id`.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The header (and gRPC metadata key) that carries it, both ways.
    pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

    /// The caller's, if it is fit for a log, else a fresh one.
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(Self::HEADER) {
            Some(value) if is_fit(value.as_bytes()) => Self(value.clone()),
            _ => Self::fresh(),
        }
    }

    /// A UUID, version 7, so that ids sort by time.
    ///
    /// Its random part is from the thread's generator: the id has to be distinct, not hard to guess, and
    /// a system call for each request would cost more than all else here.
    fn fresh() -> Self {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let random = fastrand::u128(..).to_le_bytes();
        let mut tail = [0; 10];
        tail.copy_from_slice(&random[..10]);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = id.hyphenated().encode_lower(&mut text);
        // A UUID is always a valid header value; there is nothing to report if one were not.
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-")))
    }

    /// As a header's value.
    pub fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }
}

/// Up to 64 visible ASCII characters, none of them `@`: ids are logged, and e-mail addresses must not be.
fn is_fit(id: &[u8]) -> bool {
    (1..=64).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &[u8]) -> String {
        let value = HeaderValue::from_bytes(id).unwrap();
        RequestId::of(&HeaderMap::from_iter([(RequestId::HEADER, value)])).as_str().to_owned()
    }

    #[test]
    fn a_fit_one_is_kept() {
        assert_eq!(of(b"checkout-17/3"), "checkout-17/3");
        assert_eq!(of(&[b'x'; 64]).len(), 64);
    }

    #[test]
    fn an_unfit_one_is_replaced() {
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
