use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Returns the bearer token of a request, if it has one. Whatever else `Authorization` holds counts as an unknown
/// token, the empty one.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    let token = || {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && values.next().is_none()).then(|| token.trim())
    };
    Some({ token }().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_stands_behind_the_scheme() {
        for (values, expected) in [
            (&[][..], None),
            (&["Bearer abc"], Some("abc")),
            (&["bearer  abc "], Some("abc")),
            (&["Bearer"], Some("")),
            (&["abc"], Some("")),
            (&["Basic abc"], Some("")),
            (&["Bearer abc", "Bearer abc"], Some("")),
            (&["Bearer \u{e9}"], Some("")),
        ] {
            let values = values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap()));
            assert_eq!(bearer(&values.collect::<HeaderMap>()), expected);
        }
    }
}
