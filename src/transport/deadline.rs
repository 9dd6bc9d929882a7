//! When a call ends: `grpc-timeout`, parsed once.

use std::time::{Duration, Instant};

use http::HeaderMap;

/// A `grpc-timeout` header that is not 1 to 8 digits and a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header grpc-timeout must be 1 to 8 digits and one of the units H, M, S, m, u, n")]
pub struct MalformedTimeout;

/// How much earlier than the caller's own timer the service gives up, at most; see [`Deadlines::from_headers`].
const MARGIN: Duration = Duration::from_millis(100);

/// When a call ends, whether it has an answer or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// When the call must have its answer.
    pub call: Instant,
    /// The time limit that the caller gave in `grpc-timeout`, if any. It bounds streams, which may last longer than the
    /// service lets other calls last.
    pub requested: Option<Instant>,
}

impl Deadlines {
    /// Returns when the call with these extensions must have its answer; `None` if nothing gave it deadlines.
    pub(crate) fn call_deadline(extensions: &http::Extensions) -> Option<Instant> {
        extensions.get().map(|deadlines: &Self| deadlines.call)
    }

    /// Reads `grpc-timeout`, which JSON callers may send too. `received` is when the call came in; `longest` is the
    /// longest a call may take, and what a caller without `grpc-timeout` gets.
    ///
    /// With `grpc-timeout`, both moments are a little (a tenth, at most 100 ms) before the caller's own timer, which
    /// includes the network both ways: the caller sees our status before its own timer ends the call.
    ///
    /// # Errors
    /// [`MalformedTimeout`]. To ignore it would let the caller wait longer than it wants to.
    pub fn from_headers(headers: &HeaderMap, received: Instant, longest: Duration) -> Result<Self, MalformedTimeout> {
        let Some(value) = headers.get("grpc-timeout") else {
            return Ok(Self { call: received + longest, requested: None });
        };
        let requested = parse(value.as_bytes()).ok_or(MalformedTimeout)?;
        let requested = requested.saturating_sub(MARGIN.min(requested / 10));
        Ok(Self { call: received + requested.min(longest), requested: Some(received + requested) })
    }
}

/// The `Timeout` of the gRPC protocol over HTTP/2: `100m` is 100 ms.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    fn left(header: Option<&str>) -> Result<Duration, MalformedTimeout> {
        let headers = header.map(|value| ("grpc-timeout".parse().unwrap(), value.parse().unwrap()));
        let now = Instant::now();
        Deadlines::from_headers(&headers.into_iter().collect(), now, LONGEST).map(|deadlines| deadlines.call - now)
    }

    #[test]
    fn units() {
        for (text, time) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("100m", Duration::from_millis(100)),
            ("100u", Duration::from_micros(100)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(time), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_timeout_is_refused() {
        for text in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "1 S", "123456789n", "1Sm"] {
            assert_eq!(left(Some(text)), Err(MalformedTimeout), "{text}");
        }
    }

    #[test]
    fn the_answer_comes_before_the_callers_timer() {
        assert_eq!(left(None), Ok(LONGEST));
        assert_eq!(left(Some("10S")), Ok(Duration::from_millis(9_900)));
        assert_eq!(left(Some("100m")), Ok(Duration::from_millis(90)));
        assert_eq!(left(Some("0n")), Ok(Duration::ZERO));
        assert_eq!(left(Some("99999999H")), Ok(LONGEST));
    }
}
