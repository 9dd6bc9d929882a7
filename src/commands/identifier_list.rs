//! Lists of identifiers that operators write: `phone 0000000000` or `email x@example.com`, one a line.

use crate::domain::{Email, Identifier, IdentifierKind, PhoneNumber, Region};

/// Returns the identifiers of a list, each once, in its canonical form. Empty lines and comments say nothing. A comment
/// begins with `#` at the start of a line or after a space.
///
/// # Errors
/// The number of the first line that is wrong, and why. Never its value: it is personal data.
pub fn parse_identifiers(text: &str, region: Option<Region>) -> Result<Vec<Identifier>, String> {
    let mut identifiers = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1..).zip(text.lines()) {
        let line = without_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        let (kind, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let identifier = identifier(kind, value, region);
        identifiers.push(identifier.map_err(|reason| format!("line {number}: {reason}"))?);
    }
    identifiers.sort();
    identifiers.dedup();
    Ok(identifiers)
}

/// Within quotes, as in the e-mail address `"a #b"@example.com`, no comment begins.
fn without_comment(line: &str) -> &str {
    let (mut is_after_space, mut is_quoted) = (true, false);
    for (at, c) in line.char_indices() {
        if c == '#' && is_after_space && !is_quoted {
            return &line[..at];
        }
        is_quoted ^= c == '"';
        is_after_space = c.is_whitespace();
    }
    line
}

/// Returns an identifier of which an operator gave the kind and any spelling of the value.
///
/// # Errors
/// What is wrong, without the value.
pub fn identifier(kind: &str, value: &str, region: Option<Region>) -> Result<Identifier, String> {
    let kinds = || IdentifierKind::ALL.map(IdentifierKind::name).join(" or ");
    let known = IdentifierKind::ALL.into_iter().find(|known| known.name() == kind);
    let kind = known.ok_or_else(|| format!("the kind must be {}", kinds()))?;
    let parsed = match kind {
        IdentifierKind::Email => Email::parse(value).map(|email| email.map(Into::into)).map_err(|e| e.to_string()),
        IdentifierKind::Phone => {
            PhoneNumber::parse(value, region).map(|number| number.map(Into::into)).map_err(|e| e.to_string())
        }
    };
    parsed?.ok_or_else(|| format!("the {} is missing", kind.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_spelling_becomes_the_canonical_one_once() {
        let text = "\u{feff}# the tills\n\nphone 0000000000\r\n  phone\t000 000-00 00 \nemail Till@Shop.Example\n";
        let parsed = parse_identifiers(text, None).unwrap();
        let found: Vec<_> = parsed.iter().map(|one| (one.kind().name(), one.value().to_owned())).collect();
        assert_eq!(found, [("email", "till@shop.example".to_owned()), ("phone", "0000000000".to_owned())]);
        let german = parse_identifiers("phone 030 123456", "DE".parse().ok()).unwrap();
        assert_eq!(german[0].value(), "+4930123456");
    }

    #[test]
    fn a_comment_begins_at_the_start_of_a_line_or_after_a_space() {
        for (line, expected) in [
            ("phone 0000000000 # till", "phone 0000000000 "),
            ("  # all of it", "  "),
            ("email a#b@example.com", "email a#b@example.com"),
            ("email \"a #b\"@example.com # quoted", "email \"a #b\"@example.com "),
        ] {
            assert_eq!(without_comment(line), expected);
        }
        assert_eq!(parse_identifiers("phone 0000000000 # till", None).unwrap().len(), 1);
    }

    #[test]
    fn a_wrong_line_is_named_without_its_value() {
        for (text, expected) in [
            ("# x\nfax 123", "line 2: the kind must be email or phone"),
            ("phone", "line 1: the phone is missing"),
            ("email   ", "line 1: the email is missing"),
        ] {
            assert_eq!(parse_identifiers(text, None).unwrap_err(), expected);
        }
        let error = parse_identifiers("phone 1\nphone secret", None).unwrap_err();
        assert!(error.starts_with("line 2: ") && !error.contains("secret"), "{error}");
    }
}
