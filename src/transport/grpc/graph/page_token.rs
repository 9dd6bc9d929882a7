//! Page tokens: where the next page of a list begins.
//!
//! A token is a text of hexadecimal digits: the list, its parent, the last entry, and a keyed hash of these. The key is
//! part of the binary, so tokens work on every replica and after a restart. The hash finds mistakes: a token that was
//! cut, edited or given to another list. It is no secret that guards anything: who makes a token without the service
//! learns no more than its scope allows (docs/decisions/0011-page-tokens.md).

use ring::hmac::{HMAC_SHA256, Key, sign, verify};

use crate::domain::graph::{Revision, RevisionKind, SetName};
use crate::domain::{ContactId, Timestamp};
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::{FieldPath, FieldProblem};

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
    /// Of the evidence of an identity.
    Evidence {
        /// The parent, as requests name it.
        parent: ContactId,
        /// The last one.
        after: SetPlace,
    },
    /// Of the changes of an identity.
    Revisions {
        /// The parent, as requests name it.
        parent: ContactId,
        /// The last one.
        after: RevisionPlace,
    },
}

/// The place of an evidence in a list: by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SetPlace {
    /// When it was seen first.
    pub(super) seen_at: Timestamp,
    /// Its name.
    pub(super) name: SetName,
}

/// The place of a change in a list: by age. Changes of one moment are of identities that had nothing to do with each
/// other then, or of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RevisionPlace {
    at: Timestamp,
    kind: i64,
    primary: ContactId,
    /// The first contact that came.
    contact: ContactId,
    set: Option<SetName>,
}

impl RevisionPlace {
    /// Returns the place of a change.
    pub(super) fn from_revision(revision: &Revision) -> Self {
        let kind = match revision.kind {
            RevisionKind::Created => 0,
            RevisionKind::Linked => 1,
            RevisionKind::Merged => 2,
            RevisionKind::Confirmed => 3,
        };
        let contact = revision.contacts.first().copied().unwrap_or(ContactId(0));
        Self { at: revision.at, kind, primary: revision.primary, contact, set: revision.set }
    }
}

/// A set in a token.
fn set_fields(set: Option<SetName>) -> [i64; 2] {
    match set {
        None => [0, 0],
        Some(SetName::Contact(contact)) => [1, contact.0],
        Some(SetName::Stored(id)) => [2, id],
        Some(SetName::Link(absorbed)) => [3, absorbed.0],
    }
}

/// The set that a token has. The outer `None` is no set of a token.
fn set_from_fields(kind: i64, number: i64) -> Option<Option<SetName>> {
    match kind {
        0 => Some(None),
        1 => Some(Some(SetName::Contact(ContactId(number)))),
        2 => Some(Some(SetName::Stored(number))),
        3 => Some(Some(SetName::Link(ContactId(number)))),
        _ => None,
    }
}

impl PageToken {
    /// Returns the text.
    pub(super) fn encode(self) -> String {
        let fields = match self {
            Self::Identities(root) => vec![0, root.0],
            Self::Contacts { parent, after: (created_at, id) } => vec![1, parent.0, created_at.0, id.0],
            Self::Evidence { parent, after: SetPlace { seen_at, name } } => {
                let [kind, number] = set_fields(Some(name));
                vec![2, parent.0, seen_at.0, kind, number]
            }
            Self::Revisions { parent, after: RevisionPlace { at, kind, primary, contact, set } } => {
                let [set_kind, number] = set_fields(set);
                vec![3, parent.0, at.0, kind, primary.0, contact.0, set_kind, number]
            }
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
            ([2, parent, seen_at, kind, number], []) => {
                let name = set_from_fields(*kind, *number)??;
                let after = SetPlace { seen_at: Timestamp(*seen_at), name };
                Some(Self::Evidence { parent: ContactId(*parent), after })
            }
            ([3, parent, at, kind, primary, contact, set_kind, number], []) => {
                let (primary, contact) = (ContactId(*primary), ContactId(*contact));
                let set = set_from_fields(*set_kind, *number)?;
                let after = RevisionPlace { at: Timestamp(*at), kind: *kind, primary, contact, set };
                Some(Self::Revisions { parent: ContactId(*parent), after })
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
        Some(_) | None => Err(refused()),
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

/// Returns the place of the evidence after which the page of this parent begins. `None` for the first page.
///
/// # Errors
/// [`FieldProblem::PageToken`].
pub(super) fn after_set(text: &str, parent: ContactId) -> Result<Option<SetPlace>, ApiError> {
    match PageToken::decode(text) {
        _ if text.is_empty() => Ok(None),
        Some(PageToken::Evidence { parent: same, after }) if same == parent => Ok(Some(after)),
        Some(_) | None => Err(refused()),
    }
}

/// Returns the place of the change after which the page of this parent begins. `None` for the first page.
///
/// # Errors
/// [`FieldProblem::PageToken`].
pub(super) fn after_revision(text: &str, parent: ContactId) -> Result<Option<RevisionPlace>, ApiError> {
    match PageToken::decode(text) {
        _ if text.is_empty() => Ok(None),
        Some(PageToken::Revisions { parent: same, after }) if same == parent => Ok(Some(after)),
        Some(_) | None => Err(refused()),
    }
}

fn refused() -> ApiError {
    ApiError::of_field(FieldPath::PageToken, FieldProblem::PageToken)
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

    #[test]
    fn tokens_of_a_history_are_good_for_their_own_list() {
        let sets = [SetName::Contact(ContactId(3)), SetName::Stored(3), SetName::Link(ContactId(3))];
        let parent = ContactId(7);
        for name in sets {
            let after = SetPlace { seen_at: AFTER.0, name };
            let token = PageToken::Evidence { parent, after }.encode();
            assert_eq!(after_set(&token, parent), Ok(Some(after)));
            assert!(after_set(&token, ContactId(8)).is_err() && after_revision(&token, parent).is_err());
            assert!(after_root(&token).is_err() && after_contact(&token, parent).is_err());
        }
        for (kind, set) in [
            (RevisionKind::Created, None),
            (RevisionKind::Linked, Some(sets[0])),
            (RevisionKind::Merged, Some(sets[2])),
            (RevisionKind::Confirmed, Some(sets[1])),
        ] {
            let (contacts, absorbed) = (vec![ContactId(9), ContactId(4)], vec![ContactId(9)]);
            let after = RevisionPlace::from_revision(&Revision {
                kind,
                primary: ContactId(1),
                contacts,
                absorbed,
                set,
                at: AFTER.0,
            });
            let token = PageToken::Revisions { parent, after }.encode();
            assert!(token.len() <= 256, "{}", token.len());
            assert_eq!(after_revision(&token, parent), Ok(Some(after)));
            assert!(after_revision(&token, ContactId(8)).is_err() && after_set(&token, parent).is_err());
        }
        assert_eq!((after_set("", parent), after_revision("", parent)), (Ok(None), Ok(None)));
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
