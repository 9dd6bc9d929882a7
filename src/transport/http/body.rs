//! Reading the body of a request, bounded in bytes and time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::timeout;

use super::content::Encoding;
use super::gzip;
use crate::transport::errors::ApiError;
use crate::transport::gunzip::{ReservedRoom, TextRoom};
use crate::transport::peer::caller;

/// How much of a body that is refused is read and thrown away. A client that sends everything before it reads sees
/// the answer then, not a reset connection.
const DISCARD_LIMIT: usize = 1024 * 1024;

/// How long that may take.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// The JSON text of a request.
#[derive(Debug)]
pub(super) struct RequestText {
    pub(super) bytes: Bytes,
    /// The room that it has if it was compressed. It must be kept until the text is parsed and dropped.
    pub(super) room: Option<ReservedRoom>,
}

/// Returns the JSON text of a request: at most `limit` bytes, before and after decompression, that arrive within
/// `timeout_after`.
pub(super) async fn read(
    request: Request,
    limit: usize,
    timeout_after: Duration,
    room: &TextRoom,
) -> Result<RequestText, ApiError> {
    let encoding = Encoding::of_json(request.headers());
    let caller = caller(request.extensions());
    let mut body = request.into_body();
    let collected = match encoding {
        Ok(_) => timeout(timeout_after, collect(&mut body, limit)).await.unwrap_or(Err(ApiError::TooSlow)),
        Err(ref error) => Err(error.clone()),
    };
    if matches!(collected, Err(ApiError::TooLarge { .. } | ApiError::ContentType | ApiError::Encoding)) {
        // The answer is the same whether the body ends or not.
        let _ = timeout(DISCARD_TIME, discard(&mut body)).await;
    }
    match encoding? {
        Encoding::Identity => Ok(RequestText { bytes: collected?, room: None }),
        Encoding::Gzip => {
            let (bytes, room) = gzip::decompress(&collected?, limit, room.for_caller(caller)).await?;
            Ok(RequestText { bytes, room: Some(room) })
        }
    }
}

async fn collect(body: &mut Body, limit: usize) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(ApiError::TooLarge { limit });
    }
    // Nearly every body is one frame, which is used without a copy.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::Malformed("the body could not be read".to_owned()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len().max(rest.len()) + data.len() > limit {
            return Err(ApiError::TooLarge { limit });
        }
        if first.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

async fn discard(body: &mut Body) {
    let mut discarded = 0;
    while discarded < DISCARD_LIMIT
        && let Some(Ok(frame)) = body.frame().await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;
    use crate::metrics::WorkMetrics;

    const LONG: Duration = Duration::from_secs(60);

    async fn read_body(body: Body, limit: usize, timeout_after: Duration) -> Result<Bytes, ApiError> {
        read(Request::new(body), limit, timeout_after, &TextRoom::new(0, limit, WorkMetrics::default()))
            .await
            .map(|text| text.bytes)
    }

    fn chunks(chunks: &'static [&'static str]) -> Body {
        Body::from_stream(stream::iter(chunks.iter().map(Ok::<_, std::io::Error>)).map(|c| c.map(|c| Bytes::from(*c))))
    }

    #[tokio::test]
    async fn joins_what_comes_in_pieces() {
        assert_eq!(read_body(chunks(&["ab", "cd", "", "e"]), 5, LONG).await.unwrap(), "abcde");
        assert_eq!(read_body(chunks(&[]), 5, LONG).await.unwrap(), "");
    }

    #[tokio::test]
    async fn the_limit_holds_with_and_without_a_declared_length() {
        for body in [Body::from("abcdef"), chunks(&["abc", "def"]), chunks(&["abcdef"])] {
            assert_eq!(read_body(body, 5, LONG).await, Err(ApiError::TooLarge { limit: 5 }));
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused_also_if_the_rest_is_slow() {
        let body = Body::from_stream(stream::iter([Ok::<_, std::io::Error>("abcdef")]).chain(stream::pending()));
        assert_eq!(read_body(body, 5, Duration::from_millis(10)).await, Err(ApiError::TooLarge { limit: 5 }));
    }

    #[tokio::test]
    async fn a_body_that_stops_is_given_up() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read_body(body, 5, Duration::from_millis(10)).await, Err(ApiError::TooSlow));
    }
}
