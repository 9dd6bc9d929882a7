//! Which marks of ignored identifiers are believed.
//!
//! An export marks the contacts that show an identifier and do not carry it. A mark is believed if the identifier is
//! ignored: a row of the file holds it, or `--ignore` lists it. It is believed too if another contact carries the
//! identifier: `identity ignore remove` gives an identifier to one customer, and the others go on showing it. Without
//! either, the mark would hide a customer from its own identifier: then the identifier counts.

use super::fingerprint::Evidence;
use super::old_contact::{CleanValue, OldContact, ValueChange};
use super::table::{OldIdentities, flag};
use crate::domain::identifier::IdentifierKind;

impl OldIdentities {
    /// Decides about the marks, after all rows were added. Identifiers whose marks are not believed are carried.
    pub(super) fn settle_marks(&mut self) {
        if self.marks.marked.is_empty() {
            return;
        }
        self.evidence.sort_unstable();
        let is_carried =
            |one: &Evidence| self.evidence.binary_search_by_key(&one.fingerprint, |other| other.fingerprint);
        let mut marked = std::mem::take(&mut self.marks.marked);
        marked.retain(|one| is_carried(one).is_err());
        for one in marked {
            self.marks.rejected.insert(one.fingerprint);
            if self.has(one.row, flag::LIVE) {
                self.evidence.push(one);
            }
            let ignored = self.changes.entry((one.kind(), ValueChange::Ignored)).or_default();
            *ignored = ignored.saturating_sub(1);
            *self.changes.entry((one.kind(), ValueChange::Unmarked)).or_default() += 1;
        }
        self.changes.retain(|_, count| *count > 0);
    }

    /// Returns the values that a row gets, after [`Self::settle_marks`].
    pub(super) fn settled_values(&self, row: &OldContact) -> [(IdentifierKind, CleanValue); 2] {
        self.rules.clean_values(row).map(|(kind, value)| {
            let marked = self.rules.only_marked(&value);
            let is_rejected =
                marked.is_some_and(|one| self.marks.rejected.contains(&self.fingerprints.fingerprint(one)));
            let change = if is_rejected { Some(ValueChange::Unmarked) } else { value.change };
            (kind, CleanValue { change, ..value })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{AdoptionRules, UnreadableParts};
    use super::*;
    use crate::domain::{Identifier, Timestamp};

    /// A row with this phone number, which it carries or shows.
    fn row(id: i64, phone_number: &str, is_marked: bool) -> OldContact {
        OldContact {
            id,
            email: None,
            phone_number: Some(phone_number.to_owned()),
            linked_id: None,
            says_primary: None,
            created_at: Some(Timestamp(id)),
            updated_at: Some(Timestamp(id)),
            deleted_at: None,
            shown: [false, is_marked],
            unreadable: UnreadableParts::default(),
            precedence: None,
        }
    }

    #[test]
    fn a_mark_is_believed_if_the_identifier_is_ignored_or_carried_by_another_contact() {
        let ignored = BTreeSet::from([Identifier::from_stored(IdentifierKind::Phone, "100")]);
        let rules = AdoptionRules { ignored, ..AdoptionRules::default() };
        let mut rows = [(1, "100"), (2, "100"), (3, "200"), (4, "200"), (5, "300"), (6, "300")]
            .map(|(id, phone)| row(id, phone, id != 4));
        rows[5].deleted_at = Some(Timestamp(9));
        let mut identities = OldIdentities::new(rules, rows.len(), [0; 16]);
        rows.iter().for_each(|row| identities.add(row).unwrap());
        let mut identities = identities.decide(3, &BTreeSet::new(), &BTreeSet::new());
        let shown: Vec<bool> = rows.iter().map(|row| !identities.adopt(row).unwrap().ignored.is_empty()).collect();
        assert_eq!(shown, [true, true, true, false, false, false]);
        let changes = identities.facts(100).values;
        let count = |change| changes.get(&(IdentifierKind::Phone, change)).copied();
        assert_eq!((count(ValueChange::Ignored), count(ValueChange::Unmarked)), (Some(3), Some(2)));
        assert_eq!(identities.adopt(&rows[4]).unwrap().reason.unwrap(), "phone unmarked");
    }

    #[test]
    fn customers_whose_marks_are_not_believed_are_joined() {
        let rows = [row(1, "100", true), row(2, "100", true)];
        let mut identities = OldIdentities::new(AdoptionRules::default(), rows.len(), [0; 16]);
        rows.iter().for_each(|row| identities.add(row).unwrap());
        let mut identities = identities.decide(3, &BTreeSet::new(), &BTreeSet::new());
        assert_eq!(rows.each_ref().map(|row| identities.adopt(row).unwrap().linked_to), [None, Some(1)]);
        assert_eq!(identities.count_merges(), 1);
    }
}
