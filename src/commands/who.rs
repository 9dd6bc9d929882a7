//! What an operator writes for a customer, an identifier, or a set of evidence.

use super::identifier_list::identifier;
use crate::domain::graph::SetName;
use crate::domain::{ContactId, Identifier, IdentifierKind, Region};
use crate::inspect::{Member, Who};

/// Reads an id (`3`, `identities/3`) or an identifier. Digits alone are an id: a phone number of digits alone needs
/// `phone:` before it.
///
/// # Errors
/// What is wrong, without the text.
pub(super) fn parse_who(text: &str, region: Option<Region>) -> Result<Who, String> {
    let text = text.trim();
    let id = text.strip_prefix("identities/").unwrap_or(text);
    if id.len() < text.len() || is_number(id) {
        let id = Some(id).filter(|id| is_number(id)).and_then(|id| id.parse().ok()).filter(|id| *id > 0);
        let id = id.ok_or("is no id; a phone number of digits alone needs phone: before it")?;
        return Ok(Who::Contact(ContactId(id)));
    }
    parse_identifier(text, region).map(Who::Owner)
}

/// Reads an identifier, the name of one (`i3`), or the name of evidence (`evidence/c3`, `c3`).
///
/// # Errors
/// What is wrong, without the text.
pub(super) fn parse_member(text: &str, region: Option<Region>) -> Result<Member, String> {
    let text = text.trim();
    let (name, is_evidence) = text.strip_prefix("evidence/").map_or((text, false), |name| (name, true));
    let number = name.get(1..).filter(|number| is_number(number)).and_then(|number| number.parse::<i64>().ok());
    match (name.chars().next(), number) {
        (Some('c'), Some(id)) => Ok(Member::Set(SetName::Contact(ContactId(id)))),
        (Some('e'), Some(id)) => Ok(Member::Set(SetName::Stored(id))),
        (Some('l'), Some(id)) => Ok(Member::Set(SetName::Link(ContactId(id)))),
        _ if is_evidence => Err("must be a name such as evidence/c3, evidence/e7 or evidence/l4".to_owned()),
        (Some('i'), Some(number)) => Ok(Member::Number(usize::try_from(number).unwrap_or(usize::MAX))),
        _ => parse_identifier(text, region).map(Member::Identifier),
    }
}

/// Reads an e-mail address (it has an @) or a phone number. `email:` or `phone:` before it says which it is.
fn parse_identifier(text: &str, region: Option<Region>) -> Result<Identifier, String> {
    let named = text.split_once(':').filter(|(kind, _)| IdentifierKind::ALL.iter().any(|known| known.name() == *kind));
    let (kind, value) = named.unwrap_or((if text.contains('@') { "email" } else { "phone" }, text));
    identifier(kind, value, region)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identified(kind: IdentifierKind, value: &str) -> Identifier {
        Identifier::from_stored(kind, value)
    }

    #[test]
    fn a_customer_is_an_id_or_an_identifier() {
        let who = |text: &str| parse_who(text, None);
        for text in ["3", " 3 ", "identities/3", "0003"] {
            assert_eq!(who(text), Ok(Who::Contact(ContactId(3))), "{text}");
        }
        let phone = |value| Ok(Who::Owner(identified(IdentifierKind::Phone, value)));
        assert_eq!(
            (who("phone:123 456"), who("+49 30 1"), who("030-1")),
            (phone("123456"), phone("+49301"), phone("0301"))
        );
        let email = Ok(Who::Owner(identified(IdentifierKind::Email, "a@x.example")));
        assert_eq!((who(" A@X.example"), who("email:a@x.example")), (email.clone(), email));
        let german = parse_who("030 123456", "DE".parse().ok());
        assert_eq!(german, Ok(Who::Owner(identified(IdentifierKind::Phone, "+4930123456"))));
        for wrong in
            ["", "0", "identities/", "identities/x", "99999999999999999999", "secret", "phone:", "email:secret"]
        {
            let error = who(wrong).unwrap_err();
            assert!(!error.contains("secret"), "{wrong}: {error}");
        }
    }

    #[test]
    fn evidence_and_identifiers_have_names() {
        let member = |text: &str| parse_member(text, None);
        for (text, name) in [
            ("evidence/c3", SetName::Contact(ContactId(3))),
            ("c3", SetName::Contact(ContactId(3))),
            ("e7", SetName::Stored(7)),
            ("evidence/l4", SetName::Link(ContactId(4))),
        ] {
            assert_eq!(member(text), Ok(Member::Set(name)), "{text}");
        }
        assert_eq!(member("i2"), Ok(Member::Number(2)));
        // No id can stand here, so digits are a phone number.
        assert_eq!(member("123456"), Ok(Member::Identifier(identified(IdentifierKind::Phone, "123456"))));
        assert_eq!(member("c3@x.example"), Ok(Member::Identifier(identified(IdentifierKind::Email, "c3@x.example"))));
        for wrong in ["evidence/", "evidence/x3", "evidence/i3", "c", "é3", "c3x"] {
            assert!(member(wrong).is_err(), "{wrong}");
        }
    }
}
