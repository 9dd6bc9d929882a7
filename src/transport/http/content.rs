//! What the headers of a request say about its body.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::transport::errors::ApiError;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// Returns the encoding of a body that its headers call JSON.
    ///
    /// # Errors
    /// [`ApiError::ContentType`] or [`ApiError::Encoding`].
    pub(super) fn of_json(headers: &HeaderMap) -> Result<Self, ApiError> {
        if !is_json(headers) {
            return Err(ApiError::ContentType);
        }
        let mut encodings = headers.get_all(CONTENT_ENCODING).into_iter();
        let encoding = match (encodings.next(), encodings.next()) {
            (None, _) => return Ok(Self::Identity),
            (Some(one), None) => one.as_bytes().trim_ascii(),
            (Some(_), Some(_)) => return Err(ApiError::Encoding),
        };
        let is = |name: &str| encoding.eq_ignore_ascii_case(name.as_bytes());
        if is("gzip") || is("x-gzip") {
            Ok(Self::Gzip)
        } else if is("identity") || is("") {
            Ok(Self::Identity)
        } else {
            Err(ApiError::Encoding)
        }
    }
}

/// Whether the content type is one of JSON. A body without a type, or with the one that some clients give every text,
/// counts as JSON too. A form does not: its text is never what the caller means.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return true };
    let Ok(content_type) = content_type.to_str() else { return false };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is = |name: &&str| media_type.eq_ignore_ascii_case(name);
    ["application/json", "text/plain", "text/json", ""].iter().any(is) || has_json_suffix(media_type)
}

/// Whether a media type is `application/NAME+json` (RFC 6839).
fn has_json_suffix(media_type: &str) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    media_type.starts_with("application/") && media_type.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(headers: &[(&str, &str)]) -> Result<Encoding, ApiError> {
        let header = |(name, value): &(&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        Encoding::of_json(&headers.iter().map(header).collect())
    }

    #[test]
    fn json_has_these_content_types() {
        assert_eq!(encoding(&[]), Ok(Encoding::Identity));
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/problem+json",
            "text/json",
            "text/plain;charset=UTF-8",
            "",
        ] {
            assert_eq!(encoding(&[("content-type", json)]), Ok(Encoding::Identity), "{json}");
        }
        for other in [
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/xml",
            "application/octet-stream",
            "image/x+json",
            "application/jsonx",
            "json",
            "*/*",
        ] {
            assert_eq!(encoding(&[("content-type", other)]), Err(ApiError::ContentType), "{other}");
        }
    }

    #[test]
    fn gzip_is_the_one_encoding() {
        for gzip in ["gzip", "GZIP", "x-gzip", " gzip "] {
            assert_eq!(encoding(&[("content-encoding", gzip)]), Ok(Encoding::Gzip), "{gzip}");
        }
        for none in ["identity", ""] {
            assert_eq!(encoding(&[("content-encoding", none)]), Ok(Encoding::Identity), "{none}");
        }
        for other in ["br", "deflate", "zstd", "gzip, gzip", "gzip;q=1"] {
            assert_eq!(encoding(&[("content-encoding", other)]), Err(ApiError::Encoding), "{other}");
        }
        let twice = [("content-encoding", "gzip"), ("content-encoding", "gzip")];
        assert_eq!(encoding(&twice), Err(ApiError::Encoding));
    }
}
