//! Percent-encoding.

use percent_encoding::percent_decode_str;

/// Decodes the percent-encoding of a text; `None` if an escape is broken, or if it is not UTF-8.
pub(crate) fn decode(text: &str, keeps_slashes: bool) -> Option<String> {
    let mut escapes = text.split('%').skip(1).map(|rest| rest.as_bytes());
    if !escapes.all(|escape| escape.len() >= 2 && escape[..2].iter().all(u8::is_ascii_hexdigit)) {
        return None;
    }
    if keeps_slashes {
        let parts = text.split_inclusive("%2F").flat_map(|part| part.split_inclusive("%2f"));
        let decoded = parts.map(|part| {
            let kept = ["%2F", "%2f"].into_iter().find(|slash| part.ends_with(slash)).unwrap_or_default();
            decode(&part[..part.len() - kept.len()], false).map(|decoded| decoded + kept)
        });
        return decoded.collect();
    }
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_or_refused() {
        for (text, decoded, with_slashes) in [
            ("a", Some("a"), Some("a")),
            ("a%2Fb%2fc%20", Some("a/b/c "), Some("a%2Fb%2fc ")),
            ("%252F", Some("%2F"), Some("%2F")),
            ("%C3%A9%2F", Some("é/"), Some("é%2F")),
            ("%C3%2F%A9", None, None),
            ("%", None, None),
            ("a%4", None, None),
            ("%zz", None, None),
            ("%é", None, None),
            ("%ff", None, None),
        ] {
            assert_eq!(
                (decode(text, false).as_deref(), decode(text, true).as_deref()),
                (decoded, with_slashes),
                "{text}"
            );
        }
    }
}
