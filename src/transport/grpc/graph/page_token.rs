//! Page tokens: where the next page of a list begins.
//!
//! A token is a text of hexadecimal digits: the list, its parent, the last entry, and a keyed hash of these. The key is
//! part of the binary, so tokens work on every replica and after a restart. The hash finds mistakes: a token that was
//! cut, edited or given to another list. It is no secret that guards anything: who makes a token without the service
//! learns no more than its scope allows (docs/decisions/0011-page-tokens.md).

use ring::hmac::{HMAC_SHA256, Key, sign, verify};

use crate::domain::{ContactId, Timestamp};
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::{FieldPath, FieldProblem, InvalidField};

/// The form of the tokens. Another form needs another key.
const KEY: &[u8] = b"identity.v1 page token, form 1";

/// Where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageToken {
    /// Of all identities: after this root.
    Identities(ContactId),
    /// Of the contacts of an identity.
    Contacts {
        /// The parent, as requests name it.
        parent: ContactId,
        /// The age of the last contact.
        after: (Timestamp, ContactId),
    },
}

impl PageToken {
    /// Returns the text.
    pub(super) fn encode(self) -> String {
        let fields = match self {
            Self::Identities(root) => vec![0, root.0],
            Self::Contacts { parent, after: (created_at, id) } => vec![1, parent.0, created_at.0, id.0],
        };
        let mut bytes: Vec<u8> = fields.into_iter().flat_map(i64::to_be_bytes).collect();
        let hash = sign(&Key::new(HMAC_SHA256, KEY), &bytes);
        bytes.extend_from_slice(hash.as_ref());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the token in a text.
    fn decode(text: &str) -> Option<Self> {
        let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() > 256 || !text.len().is_multiple_of(2) || !text.bytes().all(is_lower_hex) {
            return None;
        }
        let pairs = text.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            pairs.map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).collect();
        let bytes = bytes?;
        let (fields, hash) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        verify(&Key::new(HMAC_SHA256, KEY), fields, hash).ok()?;
        let (numbers, rest) = fields.as_chunks::<8>();
        let numbers: Vec<i64> = numbers.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect();
        match (&numbers[..], rest) {
            ([0, root], []) => Some(Self::Identities(ContactId(*root))),
            ([1, parent, created_at, id], []) => {
                Some(Self::Contacts { parent: ContactId(*parent), after: (Timestamp(*created_at), ContactId(*id)) })
            }
            _ => None,
        }
    }
}

/// Returns the root after which the page of all identities begins. `None` for the first page.
///
/// # Errors
/// [`FieldProblem::PageToken`].
pub(super) fn after_root(text: &str) -> Result<Option<ContactId>, ApiError> {
    match PageToken::decode(text) {
        _ if text.is_empty() => Ok(None),
        Some(PageToken::Identities(root)) => Ok(Some(root)),
        Some(PageToken::Contacts { .. }) | None => Err(refused()),
    }
}

/// Returns the age of the contact after which the page of the contacts of this parent begins. `None` for the first
/// page.
///
/// # Errors
/// [`FieldProblem::PageToken`].
pub(super) fn after_contact(text: &str, parent: ContactId) -> Result<Option<(Timestamp, ContactId)>, ApiError> {
    match PageToken::decode(text) {
        _ if text.is_empty() => Ok(None),
        Some(PageToken::Contacts { parent: same, after }) if same == parent => Ok(Some(after)),
        Some(_) | None => Err(refused()),
    }
}

fn refused() -> ApiError {
    ApiError::InvalidFields(vec![InvalidField { path: FieldPath::PageToken, problem: FieldProblem::PageToken }])
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: (Timestamp, ContactId) = (Timestamp(1_700_000_000_000_000), ContactId(7));

    fn contacts(parent: i64) -> String {
        PageToken::Contacts { parent: ContactId(parent), after: AFTER }.encode()
    }

    #[test]
    fn a_token_is_good_for_its_own_list() {
        for root in [i64::MIN, -1, 0, 1, i64::MAX].map(ContactId) {
            let token = PageToken::Identities(root).encode();
            assert_eq!(after_root(&token), Ok(Some(root)));
            assert!(after_contact(&token, root).is_err(), "another list");
        }
        assert_eq!(after_contact(&contacts(3), ContactId(3)), Ok(Some(AFTER)));
        assert!(after_contact(&contacts(3), ContactId(4)).is_err(), "another parent");
        assert!(after_root(&contacts(3)).is_err(), "another list");
        assert_eq!((after_root(""), after_contact("", ContactId(3))), (Ok(None), Ok(None)));
    }

    /// Clients keep tokens over upgrades of the service.
    #[test]
    fn a_token_stays_what_it_is() {
        let token = PageToken::Identities(ContactId(3)).encode();
        assert!(token.starts_with("00000000000000000000000000000003"), "{token}");
        assert_eq!(token.len(), 96);
    }

    #[test]
    fn a_token_that_was_changed_is_refused() {
        let token = contacts(3);
        for position in 0..token.len() {
            for digit in ["0", "1", "f", "F", "g", " ", "é"] {
                let mut changed = token.clone();
                changed.replace_range(position..=position, digit);
                assert_eq!(after_contact(&changed, ContactId(3)).is_ok(), changed == token, "{changed}");
            }
        }
        for text in [
            &token[..token.len() - 1],
            &token[..token.len() - 2],
            &token[2..],
            &format!("{token}00"),
            &format!(" {token}"),
            &token.to_uppercase(),
            "x",
            "00",
            "next",
            &"0".repeat(1_000_000),
        ] {
            assert!(after_contact(text, ContactId(3)).is_err(), "{text}");
        }
    }
}
