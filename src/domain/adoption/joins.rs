//! The joins that the old table does not have, and the identifiers that cause them.

use std::collections::BTreeSet;

use crate::domain::identifier::{Identifier, IdentifierKind};

/// What joins an identity of the old table with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinCauses {
    /// An e-mail address.
    pub by_email: bool,
    /// A phone number.
    pub by_phone: bool,
    /// A link, without which identifiers would not join it with the primary.
    pub by_link: bool,
}

impl JoinCauses {
    pub(super) fn add(&mut self, kind: IdentifierKind) {
        match kind {
            IdentifierKind::Email => self.by_email = true,
            IdentifierKind::Phone => self.by_phone = true,
        }
    }

    /// Returns its name in reports: `email`, `email+phone`, `link`, ….
    pub fn name(self) -> String {
        let all = [(self.by_email, "email"), (self.by_phone, "phone"), (self.by_link, "link")];
        all.iter().filter(|(is_one, _)| *is_one).map(|(_, name)| *name).collect::<Vec<_>>().join("+")
    }
}

/// A join that the old table does not have, by indexes of rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    pub(super) survivor: u32,
    pub(super) absorbed: u32,
    pub(super) old_identity: u32,
    pub(super) causes: JoinCauses,
}

/// A merge as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedMerge {
    /// The primary.
    pub survivor: i64,
    /// The contact that stood for the other identity: its primary, or its oldest live contact.
    pub absorbed: i64,
    /// The identifiers that it shares with the others.
    pub identifiers: BTreeSet<Identifier>,
    /// Whether identifiers alone do not join it with the primary.
    pub by_link: bool,
}

/// The bytes of a noted identifier: its place in the list and in the order of a merge, and the value itself, which is
/// seldom longer.
const BYTES_OF_IDENTIFIER: usize = size_of::<(u32, Identifier)>() + size_of::<u32>() + 64;

/// All joins, and what is noted of their causes.
#[derive(Debug)]
pub(super) struct Joins {
    /// By the id that is absorbed.
    all: Vec<Join>,
    /// Old identity and position in `all`, sorted.
    positions: Vec<(u32, u32)>,
    /// Position in `all` and identifier, as they were seen. One can be there more than once.
    noted: Vec<(u32, Identifier)>,
    /// How many identifiers will be noted.
    causes: usize,
}

impl Joins {
    /// These joins, by the id that is absorbed.
    pub(super) fn new(all: Vec<Join>) -> Self {
        let mut positions: Vec<(u32, u32)> =
            (0..).zip(&all).map(|(position, join)| (join.old_identity, position)).collect();
        positions.sort_unstable();
        Self { all, positions, noted: Vec::new(), causes: 0 }
    }

    /// Announces that so many identifiers of an old identity will be noted.
    pub(super) fn expect(&mut self, old_identity: u32, identifiers: usize) {
        if self.position(old_identity).is_some() {
            self.causes += identifiers;
        }
    }

    pub(super) fn all(&self) -> &[Join] {
        &self.all
    }

    /// The position of the join in which an old identity is absorbed.
    pub(super) fn position(&self, old_identity: u32) -> Option<u32> {
        let found = self.positions.binary_search_by_key(&old_identity, |(identity, _)| *identity);
        found.ok().map(|at| self.positions[at].1)
    }

    /// Notes an identifier that causes a join.
    pub(super) fn note(&mut self, position: u32, identifier: Identifier) {
        if self.noted.is_empty() {
            self.noted.reserve_exact(self.causes);
        }
        self.noted.push((position, identifier));
    }

    /// The joins, each with the identifiers that were noted.
    pub(super) fn with_identifiers(&self) -> impl Iterator<Item = (&Join, BTreeSet<Identifier>)> {
        let mut order: Vec<u32> = (0..).zip(&self.noted).map(|(at, _)| at).collect();
        order.sort_unstable_by_key(|at| self.noted[*at as usize].0);
        let mut begin = 0;
        (0..).zip(&self.all).map(move |(position, join)| {
            let of_join = order[begin..].iter().map(|at| &self.noted[*at as usize]);
            let identifiers: Vec<&Identifier> =
                of_join.take_while(|(of, _)| *of == position).map(|(_, identifier)| identifier).collect();
            begin += identifiers.len();
            (join, identifiers.into_iter().cloned().collect())
        })
    }

    /// About so many bytes of memory, with what will be noted.
    pub(super) fn bytes(&self) -> usize {
        self.all.len() * (size_of::<Join>() + size_of::<(u32, u32)>()) + self.causes * BYTES_OF_IDENTIFIER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_join_gets_the_identifiers_that_were_noted_for_it_once() {
        let join = |old_identity| Join { survivor: 0, absorbed: 1, old_identity, causes: JoinCauses::default() };
        let mut joins = Joins::new([9, 4, 6].map(join).to_vec());
        assert_eq!([4, 5, 6, 9].map(|identity| joins.position(identity)), [Some(1), None, Some(2), Some(0)]);
        let before = joins.bytes();
        for (identity, count) in [(9, 3), (5, 100), (6, 1)] {
            joins.expect(identity, count);
        }
        assert_eq!(joins.bytes() - before, 4 * BYTES_OF_IDENTIFIER, "what stays as it is needs nothing");
        let email = |value: &str| Identifier::from_stored(IdentifierKind::Email, value);
        for (position, value) in [(2, "c"), (0, "b"), (0, "a"), (0, "b")] {
            joins.note(position, email(value));
        }
        let found: Vec<(u32, BTreeSet<Identifier>)> =
            joins.with_identifiers().map(|(join, identifiers)| (join.old_identity, identifiers)).collect();
        let expected = [(9, BTreeSet::from([email("a"), email("b")])), (4, BTreeSet::new()), (6, [email("c")].into())];
        assert_eq!(found, expected);
    }
}
