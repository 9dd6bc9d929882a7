//! Where the sets of identifiers belong that an export says were seen together.

use super::adopted::AdoptedIdentities;
use super::fingerprint::Evidence;
use crate::domain::identifier::Identifier;

/// What becomes of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetPlace {
    /// It belongs to the identity of this contact, and is stored.
    With(i64),
    /// A contact carries exactly this set, so it is held already.
    Carried,
    /// Its identifiers belong to several identities.
    OfSeveral,
    /// An identifier belongs to nobody.
    OfNobody,
    /// By the rules in force it has fewer than two identifiers.
    TooSmall,
}

impl AdoptedIdentities {
    /// Returns where a set belongs: canonical identifiers, sorted, each once. `contact` is the one that the export
    /// names.
    ///
    /// The rows must have been [kept](super::OldIdentities::keep_carriers). Ignored identifiers belong to nobody and
    /// may be in a set all the same: they count again one day.
    pub fn place(&self, contact: i64, set: &[Identifier]) -> SetPlace {
        if set.len() < 2 {
            return SetPlace::TooSmall;
        }
        let named = self.table.index_of(contact);
        let counting = set.iter().filter(|one| !self.table.rules.ignored.contains(one));
        let carriers: Vec<&[Evidence]> = counting.map(|one| self.carriers(one)).collect();
        if carriers.iter().any(|carriers| carriers.is_empty()) {
            return SetPlace::OfNobody;
        }
        // All carriers of an identifier are of one identity.
        let primary = |carriers: &&[Evidence]| self.primaries[carriers[0].row as usize];
        let Some(first) = carriers.first() else {
            return named.map_or(SetPlace::OfNobody, |_| SetPlace::With(contact));
        };
        let root = primary(first);
        if carriers.iter().any(|carriers| primary(carriers) != root) {
            return SetPlace::OfSeveral;
        }
        if let ([one, other], 2) = (&carriers[..], set.len())
            && carry_both(one, other)
        {
            return SetPlace::Carried;
        }
        if named.is_some_and(|named| self.primaries[named as usize] == root) {
            return SetPlace::With(contact);
        }
        let oldest = first.iter().map(|one| one.row).min_by_key(|row| self.table.age(*row));
        SetPlace::With(self.table.ids[oldest.unwrap_or(root) as usize])
    }

    /// The live rows that carry an identifier.
    fn carriers(&self, identifier: &Identifier) -> &[Evidence] {
        let fingerprint = self.table.fingerprints.fingerprint(identifier);
        let begin = self.table.evidence.partition_point(|one| one.fingerprint < fingerprint);
        let found = &self.table.evidence[begin..];
        &found[..found.partition_point(|one| one.fingerprint == fingerprint)]
    }
}

/// Whether a row carries both of two identifiers. A contact has at most one of each kind, so these are all that it has.
fn carry_both(one: &[Evidence], other: &[Evidence]) -> bool {
    let (few, many) = if one.len() < other.len() { (one, other) } else { (other, one) };
    few.iter().any(|carrier| many.binary_search_by_key(&carrier.row, |one| one.row).is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{AdoptionRules, OldContact, OldIdentities, UnreadableParts};
    use super::*;
    use crate::domain::{IdentifierKind, Timestamp};

    fn row(id: i64, email: &str, phone: &str) -> OldContact {
        let value = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        OldContact {
            id,
            email: value(email),
            phone_number: value(phone),
            linked_id: None,
            says_primary: None,
            created_at: Some(Timestamp(100 - id)),
            updated_at: Some(Timestamp(100)),
            deleted_at: None,
            shown: [false; 2],
            unreadable: UnreadableParts::default(),
            precedence: None,
        }
    }

    fn email(value: &str) -> Identifier {
        Identifier::from_stored(IdentifierKind::Email, value)
    }

    fn phone(value: &str) -> Identifier {
        Identifier::from_stored(IdentifierKind::Phone, value)
    }

    #[test]
    fn a_set_belongs_to_the_identity_of_all_its_identifiers_that_count() {
        let ignored = BTreeSet::from([phone("900"), email("shop@x.de")]);
        let rules = AdoptionRules { ignored, ..AdoptionRules::default() };
        let mut deleted = row(6, "gone@x.de", "");
        deleted.deleted_at = Some(Timestamp(200));
        let rows = [
            row(1, "a@x.de", "100"),
            row(2, "b@x.de", "100"),
            row(3, "b@x.de", "200"),
            row(4, "c@x.de", "300"),
            row(5, "d@x.de", "900"),
            deleted,
        ];
        let mut identities = OldIdentities::new(rules, rows.len(), [0; 16]);
        identities.keep_carriers();
        rows.iter().for_each(|row| identities.add(row).unwrap());
        let identities = identities.decide(3, &BTreeSet::new(), &BTreeSet::new());
        for (contact, set, place) in [
            (1, &[email("a@x.de"), phone("200")][..], SetPlace::With(1)),
            (3, &[email("a@x.de"), phone("200")], SetPlace::With(3)),
            // The export names a contact of another identity, or none: the oldest that carries the first.
            (4, &[email("b@x.de"), phone("999"), phone("100")], SetPlace::OfNobody),
            (4, &[email("a@x.de"), email("b@x.de")], SetPlace::With(1)),
            (77, &[email("b@x.de"), email("a@x.de")], SetPlace::With(3)),
            (1, &[email("a@x.de"), phone("100")], SetPlace::Carried),
            (1, &[email("a@x.de"), phone("100"), phone("200")], SetPlace::With(1)),
            (1, &[email("a@x.de"), phone("300")], SetPlace::OfSeveral),
            (1, &[email("a@x.de"), email("gone@x.de")], SetPlace::OfNobody),
            (1, &[email("a@x.de")], SetPlace::TooSmall),
            (5, &[email("d@x.de"), phone("900")], SetPlace::With(5)),
            (5, &[email("shop@x.de"), phone("900")], SetPlace::With(5)),
            (77, &[email("shop@x.de"), phone("900")], SetPlace::OfNobody),
        ] {
            assert_eq!(identities.place(contact, set), place, "{contact} {set:?}");
        }
    }
}
