//! gzip, for bodies of requests and of answers.
//!
//! Both work in pieces, so that no body keeps a thread busy for long.

use std::io::{self, Read, Write};

use axum::body::to_bytes;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use http::{HeaderMap, HeaderValue};
use hyper::body::Body as HttpBody;
use tokio::task::yield_now;

use super::errors::error_response;
use crate::resolver::IdentifyError;
use crate::transport::errors::ApiError;
use crate::transport::gunzip::{CallerRoom, Gunzip, PIECE, ReservedRoom};

/// Smaller answers are not compressed: they fit a packet anyway.
const WORTHWHILE: usize = 1024;

/// How much is compressed at once, in bytes. Between two slices other tasks have their turn.
const SLICE: usize = 32 * 1024;

/// Decompresses a body to at most `limit` bytes, when there is room for them. Returns the room too.
///
/// # Errors
/// [`ApiError::TooLarge`], as soon as there are more, [`ApiError::Malformed`], or [`IdentifyError::Overloaded`].
pub(super) async fn decompress(body: &[u8], limit: usize, room: CallerRoom) -> Result<(Bytes, ReservedRoom), ApiError> {
    let reserved = room.reserve(Gunzip::room(body, limit)).await?;
    let mut text = Gunzip::new(body, limit);
    for piece in body.chunks(PIECE) {
        text.read(piece)?;
        yield_now().await;
    }
    Ok((text.finish()?.into(), reserved))
}

/// Whether `Accept-Encoding` has gzip.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let mut any = false;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let quality = parameters.trim().to_ascii_lowercase();
            let is_refused = quality.strip_prefix("q=").is_some_and(|quality| quality.parse() == Ok(0_f32));
            match name.trim() {
                name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => return !is_refused,
                "*" => any = !is_refused,
                _ => {}
            }
        }
    }
    any
}

/// Compresses the body of the response to a request if the caller takes gzip, and the body is not small.
///
/// All of it before the first byte is sent: what waits for the peer is then what is counted as waiting, and nothing is
/// kept beside it.
pub(super) async fn negotiate(is_accepted: bool, response: impl Future<Output = Response>) -> Response {
    let response = response.await;
    let size = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
    let is_small = size.is_some_and(|size| !is_worthwhile(size));
    if !is_accepted || is_small {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let compressed = async { compress(&to_bytes(body, usize::MAX).await?).await.map_err(axum::Error::new) };
    let Ok(body) = compressed.await else { return error_response(&IdentifyError::Internal.into()) };
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    Response::from_parts(head, body.into())
}

/// Whether a body of so many bytes is worth compressing.
pub(super) fn is_worthwhile(size: usize) -> bool {
    size >= WORTHWHILE
}

/// Compresses a body in slices.
///
/// # Errors
/// None: it writes into memory.
pub(super) async fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for slice in plain.chunks(SLICE) {
        encoder.write_all(slice)?;
        yield_now().await;
    }
    let mut compressed = encoder.finish()?;
    compressed.shrink_to_fit();
    Ok(compressed)
}

/// Decompresses a file of the binary in slices, for clients that do not take gzip.
///
/// # Errors
/// If it is not compressed with gzip.
pub(super) async fn expand(compressed: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoder = GzDecoder::new(compressed);
    let mut plain = Vec::new();
    while decoder.by_ref().take(SLICE as u64).read_to_end(&mut plain)? > 0 {
        yield_now().await;
    }
    plain.shrink_to_fit();
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use flate2::read::MultiGzDecoder;

    use super::*;

    #[tokio::test]
    async fn large_answers_are_compressed_in_slices() {
        let plain: Bytes = (0..200_000_u32).map(|number| (number.wrapping_mul(number) >> 7) as u8).collect();
        let pieces = [plain.slice(..1), Bytes::new(), plain.slice(1..)].map(Ok::<_, io::Error>);
        for body in [Body::from(plain.clone()), Body::from_stream(futures::stream::iter(pieces))] {
            let response = negotiate(true, async { Response::new(body) }).await;
            assert_eq!(response.headers()["content-encoding"], "gzip");
            let length = response.headers()["content-length"].clone();
            let compressed = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(length, compressed.len().to_string());
            let mut read = Vec::new();
            io::copy(&mut MultiGzDecoder::new(&compressed[..]), &mut read).unwrap();
            assert_eq!(read, plain);
        }
        let small = negotiate(true, async { Response::new(Body::from(vec![b' '; 1023])) }).await;
        assert!(!small.headers().contains_key("content-encoding"));
    }

    #[test]
    fn gzip_is_accepted_by_name_or_as_anything() {
        let accepts = |value: &str| is_accepted(&HeaderMap::from_iter([(ACCEPT_ENCODING, value.parse().unwrap())]));
        for value in ["gzip", "br, GZIP;q=0.5", "*", "deflate, x-gzip", "gzip;q=1.0, *;q=0", "identity, *;q=0.1"] {
            assert!(accepts(value), "{value}");
        }
        for value in ["", "br", "identity", "gzip;q=0", "gzip; q=0.000", "*;q=0", "*, gzip;q=0", "gzippy"] {
            assert!(!accepts(value), "{value}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }
}
