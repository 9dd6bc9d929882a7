//! A row of the old table, and what becomes of its values.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::contact::Timestamp;
use crate::domain::email::Email;
use crate::domain::identifier::{Identifier, IdentifierKind};
use crate::domain::phone::{PhoneNumber, Region};

/// A row of the old table, as it was read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OldContact {
    /// Its id, which it keeps.
    pub id: i64,
    /// Its e-mail address, as stored. Personal data.
    pub email: Option<String>,
    /// Its phone number, as stored. Personal data.
    pub phone_number: Option<String>,
    /// The id that it links to.
    pub linked_id: Option<i64>,
    /// Whether the table calls it primary. `None` if the table says neither.
    pub says_primary: Option<bool>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When it was changed last.
    pub updated_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// Whether the source says that it shows its identifier of each kind, and does not carry it: in the order of
    /// [`IdentifierKind::ALL`].
    pub shown: [bool; 2],
    /// What was there and could not be read.
    pub unreadable: UnreadableParts,
    /// The precedence, as stored.
    pub precedence: Option<String>,
}

/// What of a row was there and could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UnreadableParts {
    /// The e-mail address. It counts as absent.
    pub email: bool,
    /// The phone number. It counts as absent.
    pub phone_number: bool,
    /// The link. The row counts as linked to nothing.
    pub link: bool,
    /// When it was created. It counts as missing.
    pub created_at: bool,
    /// When it was changed last. It counts as missing.
    pub updated_at: bool,
}

/// The longest value that is kept as it was, in characters: MySQL's text takes 65,535 bytes.
pub const LONGEST_ORIGINAL: usize = 15_000;

/// The longest precedence that is kept as it was, in characters.
pub const LONGEST_PRECEDENCE: usize = 64;

impl UnreadableParts {
    fn value(self, kind: IdentifierKind) -> bool {
        match kind {
            IdentifierKind::Email => self.email,
            IdentifierKind::Phone => self.phone_number,
        }
    }
}

/// Prints only the id: the values are personal data.
impl std::fmt::Debug for OldContact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OldContact({})", self.id)
    }
}

/// What happened to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueChange {
    /// It was blank, which means "not given". It became NULL.
    Blank,
    /// It got its canonical form.
    Rewritten,
    /// It is no identifier of its kind. It became NULL.
    Malformed,
    /// It is in the list of ignored identifiers. The contact shows it, and nobody is joined by it.
    Ignored,
    /// It could not be read. It became NULL.
    Unreadable,
    /// The source marks it as ignored, and nothing confirms that: see `marks`. The mark is removed, and it counts.
    Unmarked,
}

impl ValueChange {
    /// All changes, in their order in a report.
    pub const ALL: [Self; 6] =
        [Self::Blank, Self::Rewritten, Self::Malformed, Self::Ignored, Self::Unreadable, Self::Unmarked];

    /// Returns its name in `AdoptedContact.reason` and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Rewritten => "rewritten",
            Self::Malformed => "malformed",
            Self::Ignored => "ignored",
            Self::Unreadable => "unreadable",
            Self::Unmarked => "unmarked",
        }
    }
}

/// Counts of changed values, by kind and change.
pub type ValueChanges = BTreeMap<(IdentifierKind, ValueChange), u64>;

/// A value by the rules in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanValue {
    /// The canonical value, ignored or not. `None` stands for NULL.
    pub identifier: Option<Identifier>,
    /// What was changed, if anything was.
    pub change: Option<ValueChange>,
}

impl CleanValue {
    fn dropped(change: ValueChange) -> Self {
        Self { identifier: None, change: Some(change) }
    }

    /// Returns the value as one that is shown, and joins nobody.
    fn shown(self) -> Self {
        Self { change: if self.identifier.is_some() { Some(ValueChange::Ignored) } else { self.change }, ..self }
    }

    /// Returns whether the value is shown, and joins nobody.
    pub fn is_ignored(&self) -> bool {
        self.change == Some(ValueChange::Ignored)
    }

    /// Returns the identifier by which the row is joined with others.
    pub fn carried(&self) -> Option<&Identifier> {
        self.identifier.as_ref().filter(|_| !self.is_ignored())
    }
}

/// The rules by which values are read.
#[derive(Clone, Debug, Default)]
pub struct AdoptionRules {
    /// The phone region in force.
    pub region: Option<Region>,
    /// Identifiers that join nobody. Contacts show them.
    pub ignored: BTreeSet<Identifier>,
    /// Ids of rows to which links lead that join nobody. These links count as links to nothing.
    pub ignored_links: BTreeSet<i64>,
}

impl AdoptionRules {
    /// Returns the value that a row gets in place of this one.
    pub fn clean(&self, kind: IdentifierKind, stored: Option<&str>) -> CleanValue {
        let Some(stored) = stored else { return CleanValue::default() };
        let parsed = match kind {
            IdentifierKind::Email => Email::parse(stored).map(|email| email.map(Identifier::from)).ok(),
            IdentifierKind::Phone => {
                PhoneNumber::parse(stored, self.region).map(|phone| phone.map(Identifier::from)).ok()
            }
        };
        match parsed {
            None => CleanValue::dropped(ValueChange::Malformed),
            Some(None) => CleanValue::dropped(ValueChange::Blank),
            Some(Some(canonical)) => {
                let rewritten = (canonical.value() != stored).then_some(ValueChange::Rewritten);
                let is_ignored = self.ignored.contains(&canonical);
                let change = if is_ignored { Some(ValueChange::Ignored) } else { rewritten };
                CleanValue { identifier: Some(canonical), change }
            }
        }
    }

    /// Returns the identifier of a value that the source marks as ignored, and that no list of ignored ones has.
    pub(super) fn only_marked<'a>(&self, value: &'a CleanValue) -> Option<&'a Identifier> {
        value.identifier.as_ref().filter(|identifier| value.is_ignored() && !self.ignored.contains(identifier))
    }

    /// Returns the values that a row gets if its marks are believed: those of each kind, in the order of
    /// [`IdentifierKind::ALL`].
    pub fn clean_values(&self, row: &OldContact) -> [(IdentifierKind, CleanValue); 2] {
        IdentifierKind::ALL.map(|kind| {
            let is_unreadable = row.unreadable.value(kind);
            let unreadable = || CleanValue::dropped(ValueChange::Unreadable);
            let value = if is_unreadable { unreadable() } else { self.clean(kind, row.stored(kind)) };
            (kind, if row.shows_only(kind) { value.shown() } else { value })
        })
    }
}

impl OldContact {
    /// Returns the value of this kind, as stored.
    pub fn stored(&self, kind: IdentifierKind) -> Option<&str> {
        match kind {
            IdentifierKind::Email => self.email.as_deref(),
            IdentifierKind::Phone => self.phone_number.as_deref(),
        }
    }

    /// Returns whether the value of this kind is too long to be kept as it was.
    pub(super) fn is_long(&self, kind: IdentifierKind) -> bool {
        self.stored(kind).is_some_and(|value| has_more_characters(value, LONGEST_ORIGINAL))
    }

    /// Returns what of the row is too long to be kept as it was: words for `AdoptedContact.reason`.
    pub(super) fn long_parts(&self) -> impl Iterator<Item = &'static str> {
        let values = IdentifierKind::ALL.into_iter().filter(|kind| self.is_long(*kind)).map(IdentifierKind::name);
        let is_long = |text: &&String| has_more_characters(text, LONGEST_PRECEDENCE);
        values.chain(self.precedence.as_ref().filter(is_long).map(|_| "precedence"))
    }

    fn shows_only(&self, kind: IdentifierKind) -> bool {
        IdentifierKind::ALL.into_iter().zip(self.shown).any(|(of, is_shown)| of == kind && is_shown)
    }

    /// Returns whether the row takes part in the identities. A deleted one matches nothing.
    pub fn is_live(&self) -> bool {
        self.deleted_at.is_none()
    }
}

fn has_more_characters(text: &str, limit: usize) -> bool {
    text.len() > limit && text.chars().count() > limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_get_their_canonical_form_or_become_null() {
        let ignored = BTreeSet::from([Identifier::from_stored(IdentifierKind::Phone, "0000000000")]);
        let rules = AdoptionRules { ignored, ..AdoptionRules::default() };
        let clean = |kind, stored| {
            let CleanValue { identifier, change } = rules.clean(kind, stored);
            (identifier.map(|one| one.value().to_owned()), change)
        };
        let (email, phone) = (IdentifierKind::Email, IdentifierKind::Phone);
        assert_eq!(clean(email, None), (None, None));
        assert_eq!(clean(email, Some("a@b.co")), (Some("a@b.co".to_owned()), None));
        assert_eq!(clean(email, Some(" A@b.co")), (Some("a@b.co".to_owned()), Some(ValueChange::Rewritten)));
        assert_eq!(clean(email, Some("  ")), (None, Some(ValueChange::Blank)));
        assert_eq!(clean(email, Some("n/a")), (None, Some(ValueChange::Malformed)));
        let ignored = rules.clean(phone, Some("00000-00000"));
        assert_eq!((ignored.carried(), ignored.change), (None, Some(ValueChange::Ignored)));
        assert_eq!(ignored.identifier.unwrap().value(), "0000000000");
        assert_eq!(clean(phone, Some("0151 1")), (Some("01511".to_owned()), Some(ValueChange::Rewritten)));
    }
}
