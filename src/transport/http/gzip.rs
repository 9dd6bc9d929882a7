//! gzip, for bodies of requests and of answers.
//!
//! Both work in pieces, so that no body keeps a thread busy for long.

use std::io::Write;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use http::{HeaderMap, HeaderValue};
use hyper::body::{Body as HttpBody, Frame};
use tokio::task::yield_now;

use crate::transport::errors::ApiError;
use crate::transport::gunzip::{Gunzip, PIECE};

/// Smaller answers are not compressed: they fit a packet anyway.
const WORTHWHILE: u64 = 1024;

/// How much is compressed at once, in bytes. Between two slices other tasks have their turn.
const SLICE: usize = 32 * 1024;

/// Decompresses a body to at most `limit` bytes.
///
/// # Errors
/// [`ApiError::TooLarge`], as soon as there are more, or [`ApiError::Malformed`].
pub(super) async fn decompress(body: &[u8], limit: usize) -> Result<Bytes, ApiError> {
    let mut text = Gunzip::new(limit);
    for piece in body.chunks(PIECE) {
        text.read(piece)?;
        yield_now().await;
    }
    text.finish().map(Bytes::from)
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
pub(super) async fn negotiate(is_accepted: bool, response: impl Future<Output = Response>) -> Response {
    let response = response.await;
    if is_accepted { compress(response) } else { response }
}

fn compress(mut response: Response) -> Response {
    if response.body().size_hint().exact().is_some_and(|size| size < WORTHWHILE) {
        return response;
    }
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    response.map(|body| {
        let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
        Body::new(Compressed { body, plain: Bytes::new(), encoder, has_rested: true })
    })
}

/// The body of an answer, compressed while it is sent.
struct Compressed {
    body: Body,
    /// What was taken from the body and is not compressed yet.
    plain: Bytes,
    /// `None` after the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
    /// Whether other tasks had their turn since the last slice.
    has_rested: bool,
}

impl HttpBody for Compressed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        loop {
            let Some(encoder) = &mut this.encoder else { return Poll::Ready(None) };
            if this.plain.is_empty() {
                match ready!(Pin::new(&mut this.body).poll_frame(cx)?) {
                    Some(frame) => this.plain = frame.into_data().unwrap_or_default(),
                    None => {
                        let rest = this.encoder.take().map_or(Ok(Vec::new()), GzEncoder::finish);
                        return Poll::Ready(Some(rest.map(|rest| Frame::data(rest.into())).map_err(axum::Error::new)));
                    }
                }
                continue;
            }
            if !mem::replace(&mut this.has_rested, false) {
                this.has_rested = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let slice = this.plain.split_to(this.plain.len().min(SLICE));
            encoder.write_all(&slice).map_err(axum::Error::new)?;
            let compressed = mem::take(encoder.get_mut());
            if !compressed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(compressed.into()))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::body::to_bytes;
    use flate2::read::MultiGzDecoder;

    use super::*;

    #[tokio::test]
    async fn large_answers_are_compressed_in_slices() {
        let plain: Bytes = (0..200_000_u32).map(|number| (number.wrapping_mul(number) >> 7) as u8).collect();
        let pieces = [plain.slice(..1), Bytes::new(), plain.slice(1..)].map(Ok::<_, io::Error>);
        for body in [Body::from(plain.clone()), Body::from_stream(futures::stream::iter(pieces))] {
            let response = compress(Response::new(body));
            assert_eq!(response.headers()["content-encoding"], "gzip");
            let compressed = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let mut read = Vec::new();
            io::copy(&mut MultiGzDecoder::new(&compressed[..]), &mut read).unwrap();
            assert_eq!(read, plain);
        }
        let small = compress(Response::new(Body::from(vec![b' '; 1023])));
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
