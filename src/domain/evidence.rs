//! Evidence: the distinct sets of two or more identifiers that were seen in one observation.
//!
//! An identity is what its evidence connects. Most of it is contacts: a contact carries the set of the observation that
//! inserted it. An observation that inserts none can bring a new set all the same, of identifiers that are known
//! already: one that merges identities, and one that is MATCHED through contacts of which none carries exactly its set.
//! These sets are stored beside the contacts, each once: see [`NewEvidence`].
//!
//! A set of one identifier connects nothing, so it is no evidence. Identifiers that are ignored are in no set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ring::digest::{Context, SHA256};

use super::contact::{ContactId, ContactRef};
use super::identifier::Identifier;
use super::note::Note;

/// Maximum sets of an identity that are stored beside its contacts. A set that a MATCHED would add beyond it is not
/// stored. The sets of merges always are: an identity has fewer of them than contacts.
pub const MAX_EVIDENCE: usize = 10_000;

/// Returns whether an identity of so many contacts can have [`MAX_EVIDENCE`] sets, so that they have to be counted. It
/// has at most as many e-mail addresses and as many phone numbers as contacts, and a set has one of each.
///
/// Identities that a merge has just joined can have a few more sets than this says. The limit bounds the work of
/// readers, so that does no harm.
pub fn may_be_full(contacts: usize) -> bool {
    contacts.saturating_mul(contacts) >= MAX_EVIDENCE
}

/// Names a set of identifiers: the first 128 bits of a digest of the set.
///
/// Nobody can make two sets with one key: that takes 2^64 digests. It would gain nothing: one of the two is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetKey([u8; 16]);

impl SetKey {
    /// Returns the key of a set. The order of the identifiers does not matter.
    pub fn of(identifiers: &[Identifier]) -> Self {
        let mut set: Vec<(&str, &str)> = identifiers.iter().map(|one| (one.kind().name(), one.value())).collect();
        set.sort_unstable(); // By name: the order of the kinds in the code can change.
        set.dedup();
        let mut context = Context::new(&SHA256);
        for text in set.into_iter().flat_map(|(kind, value)| [kind, value]) {
            context.update(&(text.len() as u64).to_le_bytes());
            context.update(text.as_bytes());
        }
        let mut key = [0; 16];
        key.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(key)
    }

    /// Returns the key with these bytes, from the store.
    pub fn from_stored(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Prints nothing of the key: with it, somebody could check a guess at the identifiers.
impl fmt::Debug for SetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetKey")
    }
}

/// What kind of observation brought a set that no contact carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceOrigin {
    /// It merged identities.
    Merge,
    /// One identity owned all of its identifiers.
    Match,
}

impl EvidenceOrigin {
    /// All origins.
    pub const ALL: [Self; 2] = [Self::Merge, Self::Match];

    /// Returns the name of the origin in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Match => "match",
        }
    }
}

/// A set to store. Its time is [`Plan::updated_at`](super::Plan::updated_at).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvidence {
    /// The key of the set.
    pub key: SetKey,
    /// The set: two or more identifiers, sorted.
    pub identifiers: Arc<[Identifier]>,
    /// The oldest contact that carries the first of them. The identity is that contact's, also after a merge.
    pub contact: ContactRef,
    /// What brought it.
    pub origin: EvidenceOrigin,
    /// What the caller says about it.
    pub note: Option<Arc<Note>>,
    /// Whether its key has a row that leads to another identity, or to none: it is deleted first.
    pub replaces: bool,
}

/// The sets that have a row, each with the root that the contact of the row leads to. `None` if there is no such
/// contact.
///
/// A set is stored only if that root is the identity's. Somebody may have deleted the contact by SQL.
pub type StoredSets = BTreeMap<SetKey, Option<ContactId>>;

/// What is known of the sets that are stored beside the contacts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredEvidence {
    /// Those of the sets asked for that have a row.
    pub sets: StoredSets,
    /// How many sets of an identity are stored, by its root. At most [`MAX_EVIDENCE`] are counted.
    pub counts: BTreeMap<ContactId, usize>,
}

impl StoredEvidence {
    /// Returns the roots of the identities that have so many sets that a MATCHED stores no further one.
    pub fn full(&self) -> BTreeSet<ContactId> {
        self.counts.iter().filter(|(_, sets)| **sets >= MAX_EVIDENCE).map(|(root, _)| *root).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::model::Tables;
    use super::super::{IdentifierKind, Observation, Outcome, Timestamp};
    use super::*;

    #[test]
    fn sets_of_small_identities_need_no_count() {
        let most = |contacts: usize| contacts * contacts;
        assert!(!may_be_full(0) && !may_be_full(99) && most(99) < MAX_EVIDENCE);
        assert!(may_be_full(100) && may_be_full(usize::MAX));
    }

    /// One value of a kind. The model takes more kinds than the service has: the value says which.
    fn identifier(kind: usize, number: u8) -> Identifier {
        Identifier::from_stored(IdentifierKind::ALL[kind % 2], format!("{kind}-{number}"))
    }

    /// At most one value of each of so many kinds.
    fn observation(kinds: usize) -> impl Strategy<Value = Observation> {
        prop::collection::vec(prop::option::weighted(0.75, 0..6_u8), kinds).prop_filter_map("nothing", |numbers| {
            let given = numbers.into_iter().enumerate();
            Observation::new(given.filter_map(|(kind, number)| Some(identifier(kind, number?)))).ok()
        })
    }

    /// A history in batches.
    fn history(kinds: usize) -> impl Strategy<Value = Vec<Vec<Observation>>> {
        prop::collection::vec(prop::collection::vec(observation(kinds), 1..6), 1..12)
    }

    type Sets = BTreeSet<BTreeSet<Identifier>>;

    /// After a history, the tables hold each set that was seen, once. What they connect without some of them is
    /// checked beside `History::explain`.
    fn check(history: &[Vec<Observation>]) -> Result<(), TestCaseError> {
        let (mut tables, mut seen) = (Tables::default(), Sets::new());
        for (batch, now) in history.iter().zip((1_000..).step_by(100)) {
            tables.identify(batch, now);
            let sets = batch.iter().map(|one| one.identifiers().iter().cloned().collect());
            seen.extend(sets.filter(|set: &BTreeSet<_>| set.len() > 1));
        }
        let carried = tables.contacts.iter().map(|row| row.identifiers.iter().cloned().collect());
        let carried: Vec<BTreeSet<Identifier>> = carried.filter(|set: &BTreeSet<_>| set.len() > 1).collect();
        let stored: Vec<BTreeSet<Identifier>> =
            tables.evidence.values().map(|one| one.identifiers.iter().cloned().collect()).collect();
        let held: Sets = carried.iter().chain(&stored).cloned().collect();
        prop_assert_eq!(held.len(), carried.len() + stored.len(), "a set is held twice");
        prop_assert_eq!(&held, &seen);
        let before = (tables.contacts.clone(), tables.evidence.clone());
        let again = tables.identify(&history.concat(), 900_000);
        prop_assert!(again.iter().flatten().all(|answer| answer.outcome == Outcome::Matched));
        prop_assert_eq!((tables.contacts, tables.evidence), before, "the second time");
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn with_two_kinds_every_set_is_held_once(seen in history(2)) {
            check(&seen)?;
        }

        #[test]
        fn with_three_kinds_every_set_is_held_once(seen in history(3)) {
            check(&seen)?;
        }
    }

    fn observing(given: &[(usize, u8)]) -> Observation {
        Observation::new(given.iter().map(|(kind, number)| identifier(*kind, *number))).unwrap()
    }

    #[test]
    fn a_pair_that_no_contact_carries_is_stored_once_and_the_root_is_written() {
        let mut tables = Tables::default();
        let pair_of = |email, phone| observing(&[(0, email), (1, phone)]);
        tables.identify(&[pair_of(0, 1), pair_of(1, 1), pair_of(1, 2)], 1_000);
        assert!(tables.evidence.is_empty(), "contacts carry all of it");
        let pair = pair_of(0, 2);
        let version = tables.contacts[0].updated_at;
        // Two items of one batch with the same set.
        let answers = tables.identify(&[pair.clone(), pair.clone()], 3_000);
        assert!(answers.iter().flatten().all(|answer| answer.outcome == Outcome::Matched));
        assert_eq!(tables.evidence.len(), 1);
        assert!(tables.contacts[0].updated_at > version);
        let stored = tables.evidence.values().next().unwrap();
        assert_eq!((&stored.identifiers[..], stored.origin), (pair.identifiers(), EvidenceOrigin::Match));
    }

    #[test]
    fn a_merge_is_carried_by_its_contact_or_stored() {
        let mut tables = Tables::default();
        tables.identify(&[observing(&[(0, 1)]), observing(&[(1, 1)]), observing(&[(1, 2)])], 1_000);
        tables.identify(&[observing(&[(0, 1), (1, 1)])], 2_000);
        let origins = |tables: &Tables| tables.evidence.values().map(|one| one.origin).collect::<Vec<_>>();
        assert_eq!(origins(&tables), [EvidenceOrigin::Merge]);
        tables.identify(&[observing(&[(0, 1), (1, 2), (2, 7)])], 3_000);
        assert_eq!((tables.merges.len(), origins(&tables).len()), (2, 1), "the new contact carries it");
    }

    /// Somebody has deleted its contact by SQL, or given the identifiers to another identity.
    #[test]
    fn a_row_that_does_not_lead_to_the_identity_is_replaced() {
        for elsewhere in [ContactId(4), ContactId(1_000)] {
            let mut tables = Tables::default();
            let pair_of = |email, phone| observing(&[(0, email), (1, phone)]);
            tables.identify(&[pair_of(0, 1), pair_of(1, 1), pair_of(1, 2), pair_of(7, 7)], 1_000);
            tables.identify(&[pair_of(0, 2)], 2_000);
            let row = tables.evidence.values_mut().next().unwrap();
            let own = std::mem::replace(&mut row.contact, ContactRef::Stored(elsewhere));
            tables.identify(&[pair_of(0, 2), pair_of(0, 2)], 3_000);
            assert_eq!(tables.evidence.values().map(|row| row.contact).collect::<Vec<_>>(), [own]);
            assert_eq!(tables.contacts[0].updated_at, Timestamp(3_000), "the root is written");
        }
    }

    #[test]
    fn a_note_is_that_of_the_first_observation_of_its_set() {
        let noted = |given: &[(usize, u8)], text: &str| {
            observing(given).with_note(Note::new(Some(text.to_owned()), None, None))
        };
        let pair_of = |email, phone| [(0, email), (1, phone)];
        let mut tables = Tables::default();
        tables.ignore(&identifier(1, 9));
        let first = [
            noted(&pair_of(1, 1), "created"),
            noted(&pair_of(1, 1), "again"),
            noted(&[(0, 2)], "alone"),
            noted(&pair_of(3, 9), "beside an ignored one"),
            noted(&pair_of(2, 2), "linked"),
        ];
        tables.identify(&first, 1_000);
        let then = [noted(&pair_of(1, 2), "merged"), noted(&pair_of(2, 1), "matched"), noted(&pair_of(2, 1), "again")];
        tables.identify(&then, 2_000);
        tables.identify(&[&first[..], &then].concat(), 3_000);
        let text = |note: &Note| note.source().unwrap().to_owned();
        let of_contacts: Vec<_> = tables.notes.iter().map(|(id, note)| (id.0, text(note))).collect();
        assert_eq!(of_contacts, [(1, "created".to_owned()), (4, "linked".to_owned())]);
        let mut of_sets: Vec<_> =
            tables.evidence.values().map(|set| (set.origin, text(set.note.as_ref().unwrap()))).collect();
        of_sets.sort();
        let expected = [(EvidenceOrigin::Merge, "merged"), (EvidenceOrigin::Match, "matched")];
        assert_eq!(of_sets, expected.map(|(origin, text)| (origin, text.to_owned())));
    }

    #[test]
    fn what_is_ignored_is_in_no_set() {
        let mut tables = Tables::default();
        let seen = [observing(&[(0, 1), (1, 1)]), observing(&[(0, 2), (1, 1)]), observing(&[(0, 1), (1, 2)])];
        tables.identify(&seen, 1_000);
        tables.ignore(&identifier(1, 2));
        let answers = tables.identify(&[observing(&[(0, 2), (1, 2)])], 2_000);
        assert_eq!(answers[0].as_ref().unwrap().outcome, Outcome::Matched);
        assert!(tables.evidence.is_empty());
    }

    #[test]
    fn beyond_the_limit_only_the_sets_of_merges_are_stored() {
        let mut tables = Tables { max_evidence: Some(2), ..Tables::default() };
        let chain: Vec<Observation> = (0..4).map(|number| observing(&[(0, number), (1, number)])).collect();
        let joins: Vec<Observation> = (1..4).map(|number| observing(&[(0, number - 1), (1, number)])).collect();
        tables.identify(&chain, 1_000);
        tables.identify(&joins, 2_000);
        assert_eq!(tables.evidence.len(), 3, "merges");
        tables.identify(&[observing(&[(0, 3), (1, 0)])], 3_000);
        assert_eq!(tables.evidence.len(), 3);
    }

    #[test]
    fn a_key_tells_kinds_and_values_apart_and_no_order() {
        let of = |given: &[(IdentifierKind, &str)]| {
            SetKey::of(&given.iter().map(|(kind, value)| Identifier::from_stored(*kind, *value)).collect::<Vec<_>>())
        };
        let (email, phone) = (IdentifierKind::Email, IdentifierKind::Phone);
        assert_eq!(of(&[(email, "a"), (phone, "1")]), of(&[(phone, "1"), (email, "a"), (phone, "1")]));
        let others = [of(&[(email, "a"), (phone, "1")]), of(&[(phone, "a"), (email, "1")]), of(&[(email, "a1")])];
        assert_eq!(BTreeSet::from(others).len(), 3);
        // It is stored: it must never change.
        let known = of(&[(email, "lorraine@hillvalley.edu"), (phone, "123456")]);
        let text: String = known.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "5920dd3566846d8a6ac7730a3bfc7029");
        assert_eq!(format!("{known:?}"), "SetKey");
    }
}
