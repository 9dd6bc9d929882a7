//! The trace of a caller: the headers `traceparent` and `tracestate` (W3C Trace Context), which gRPC has as metadata.

use http::HeaderMap;
use opentelemetry::trace::{SpanId, TraceId, TraceState};

/// The longest `tracestate` that is kept, in bytes: the length that the standard asks for.
const MAX_STATE: usize = 512;

/// The flag of a `traceparent` whose trace is sampled.
const SAMPLED: u8 = 1;

/// The span of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RemoteParent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// The caller records its span, and asks for the same.
    pub(super) is_sampled: bool,
}

impl RemoteParent {
    /// Reads `traceparent`. `None` if there is none, more than one, or a malformed one. It allocates nothing.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all("traceparent").iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        Self::parse(value.as_bytes())
    }

    /// `VERSION-TRACE_ID-SPAN_ID-FLAGS`, in lower-case hexadecimal digits. A later version may have more behind that.
    fn parse(text: &[u8]) -> Option<Self> {
        let (fields, rest) = text.split_at_checked(55)?;
        let [version, trace_id, span_id, flags] =
            [(0, 2), (3, 35), (36, 52), (53, 55)].map(|(begin, end)| hex(&fields[begin..end]));
        let version = version.filter(|version| *version != 0xff)?;
        let is_over = rest.is_empty() || (version > 0 && rest.starts_with(b"-"));
        if !is_over || [2, 35, 52].iter().any(|dash| fields[*dash] != b'-') {
            return None;
        }
        let [trace_id, span_id] = [trace_id, span_id].map(|id| id.filter(|id| *id != 0));
        Some(Self {
            trace_id: TraceId::from(trace_id?),
            span_id: SpanId::from(u64::try_from(span_id?).ok()?),
            is_sampled: flags? & u128::from(SAMPLED) != 0,
        })
    }
}

/// Returns the number that these digits are; `None` if one is none.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Reads `tracestate`, which belongs to a parent. What is malformed or too long is left out.
pub(super) fn parse_trace_state(headers: &HeaderMap, parent: Option<RemoteParent>) -> TraceState {
    let values: Option<Vec<&str>> = headers.get_all("tracestate").iter().map(|value| value.to_str().ok()).collect();
    let text = values.unwrap_or_default().join(",");
    if parent.is_none() || text.len() > MAX_STATE { TraceState::NONE } else { text.parse().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(values: &[&str]) -> Option<RemoteParent> {
        let header = |value: &&str| ("traceparent".parse().unwrap(), value.parse().unwrap());
        RemoteParent::from_headers(&values.iter().map(header).collect())
    }

    #[test]
    fn the_parent_is_read() {
        let parent = of(&[PARENT]).unwrap();
        assert_eq!(parent.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((parent.span_id.to_string().as_str(), parent.is_sampled), ("b7ad6b7169203331", true));
        for (flags, is_sampled) in [("00", false), ("02", false), ("03", true), ("ff", true)] {
            let parent = of(&[&format!("{}{flags}", &PARENT[..53])]).unwrap();
            assert_eq!(parent.is_sampled, is_sampled, "{flags}");
        }
        assert_eq!(of(&[&PARENT.replacen("00", "cc", 1)]), Some(parent), "a later version");
        assert_eq!(of(&[&format!("{}-more", PARENT.replacen("00", "01", 1))]), Some(parent), "with more fields");
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for wrong in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &format!("{PARENT}x"),
            &format!("{}x", PARENT.replacen("00", "01", 1)),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.to_uppercase(),
            &PARENT.replace('-', "_"),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &PARENT.replace("b7ad6b7169203331", &"0".repeat(16)),
            &PARENT.replace("b7ad", "g7ad"),
            &PARENT.replace("0af7", "+af7"),
        ] {
            assert_eq!(of(&[wrong]), None, "{wrong}");
        }
        assert_eq!((of(&[PARENT, PARENT]), of(&[])), (None, None));
    }

    #[test]
    fn the_state_belongs_to_a_parent_and_has_a_limit() {
        let state = |values: &[&str], parent| {
            let header = |value: &&str| ("tracestate".parse().unwrap(), value.parse().unwrap());
            parse_trace_state(&values.iter().map(header).collect(), parent).header()
        };
        let parent = of(&[PARENT]);
        assert_eq!(state(&["a=1", "b=2"], parent), "a=1,b=2");
        assert_eq!(state(&["a=1"], None), "");
        assert_eq!(state(&["no list"], parent), "");
        assert_eq!(state(&[&format!("a={}", "x".repeat(200)), &format!("b={}", "x".repeat(200))], parent).len(), 405);
        let long = ["a", "b", "c"].map(|key| format!("{key}={}", "x".repeat(200)));
        assert_eq!(state(&long.each_ref().map(String::as_str), parent), "", "606 bytes and two commas");
    }
}
