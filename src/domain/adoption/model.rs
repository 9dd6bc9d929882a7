//! The same by brute force, from the definitions, and random tables that compare the two.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::domain::contact::Timestamp;
use crate::domain::identifier::{Identifier, IdentifierKind};

/// What names an identity of the old table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OldIdentity {
    /// Its primary, whether or not there is such a row.
    Primary(i64),
    /// The smallest id of its circle.
    Circle(i64),
}

struct Model<'a> {
    rules: &'a AdoptionRules,
    rows: BTreeMap<i64, &'a OldContact>,
    created: BTreeMap<i64, Timestamp>,
    /// The smallest id of the connected set.
    set: BTreeMap<i64, i64>,
}

impl<'a> Model<'a> {
    fn new(rules: &'a AdoptionRules, rows: &'a [OldContact]) -> Self {
        let rows: BTreeMap<i64, &OldContact> = rows.iter().map(|row| (row.id, row)).collect();
        let own = |row: &&OldContact| row.created_at.or(row.updated_at);
        let first = rows.values().find_map(own).unwrap_or(Timestamp(0));
        let mut created = BTreeMap::new();
        for (id, row) in &rows {
            let before = created.values().last().copied().unwrap_or(first);
            created.insert(*id, own(row).unwrap_or(before));
        }
        let mut model = Self { rules, rows, created, set: BTreeMap::new() };
        model.set = model.connect(|model, one, other| model.links(one, other) || model.shares(one, other));
        model
    }

    /// The smallest id that each row is connected with.
    fn connect(&self, is_edge: impl Fn(&Self, i64, i64) -> bool) -> BTreeMap<i64, i64> {
        let mut set: BTreeMap<i64, i64> = self.rows.keys().map(|id| (*id, *id)).collect();
        loop {
            let before = set.clone();
            for one in self.rows.keys() {
                for other in self.rows.keys() {
                    if is_edge(self, *one, *other) {
                        let least = set[one].min(set[other]);
                        set.extend([(*one, least), (*other, least)]);
                    }
                }
            }
            if set == before {
                return set;
            }
        }
    }

    fn link(&self, id: i64) -> Option<i64> {
        self.rows[&id].linked_id.filter(|link| *link > 0 && *link != id)
    }

    /// Whether one links to the other, or both to one row that may be missing.
    fn links(&self, one: i64, other: i64) -> bool {
        self.link(one) == Some(other) || (self.link(one).is_some() && self.link(one) == self.link(other))
    }

    fn identifiers(&self, id: i64) -> BTreeSet<Identifier> {
        let row = self.rows[&id];
        let values = self.rules.clean_values(row).into_iter().filter_map(|(_, value)| value.carried().cloned());
        if row.deleted_at.is_some() { BTreeSet::new() } else { values.collect() }
    }

    fn shares(&self, one: i64, other: i64) -> bool {
        !self.identifiers(one).is_disjoint(&self.identifiers(other))
    }

    fn is_live(&self, id: i64) -> bool {
        self.rows[&id].deleted_at.is_none()
    }

    fn primary(&self, id: i64) -> i64 {
        let same = self.rows.keys().copied().filter(|other| self.set[other] == self.set[&id]);
        same.min_by_key(|id| (!self.is_live(*id), self.created[id], *id)).unwrap()
    }

    fn is_old_primary(&self, id: i64) -> bool {
        self.rows[&id].says_primary == Some(true) || self.link(id).is_none()
    }

    fn old_identity(&self, id: i64) -> OldIdentity {
        let (mut way, mut at) = (vec![id], id);
        while self.rows.contains_key(&at) && !self.is_old_primary(at) {
            at = self.link(at).unwrap();
            if let Some(begin) = way.iter().position(|one| *one == at) {
                return OldIdentity::Circle(*way[begin..].iter().min().unwrap());
            }
            way.push(at);
        }
        OldIdentity::Primary(at)
    }

    fn merges(&self) -> Vec<AdoptedMerge> {
        let live: Vec<i64> = self.rows.keys().copied().filter(|id| self.is_live(*id)).collect();
        let old: BTreeMap<i64, OldIdentity> = live.iter().map(|id| (*id, self.old_identity(*id))).collect();
        let age = |id: &i64| (self.created[id], *id);
        let by_identifiers = self.connect(|model, one, other| {
            model.shares(one, other) || model.old_identity(one) == model.old_identity(other)
        });
        let mut merges = Vec::new();
        for identity in old.values().collect::<BTreeSet<_>>() {
            let rows: Vec<i64> = live.iter().copied().filter(|id| old[id] == *identity).collect();
            let survivor = self.primary(rows[0]);
            if old[&survivor] == *identity {
                continue;
            }
            let primary = rows.iter().copied().find(|id| OldIdentity::Primary(*id) == *identity);
            let others: Vec<i64> = live.iter().copied().filter(|id| old[id] != *identity).collect();
            let carried = |ids: &[i64]| ids.iter().flat_map(|id| self.identifiers(*id)).collect::<BTreeSet<_>>();
            let class = by_identifiers[&rows[0]];
            let of_class = live.iter().copied().filter(|id| by_identifiers[id] == class);
            let stands_for_class = of_class.min_by_key(age).unwrap();
            merges.push(AdoptedMerge {
                survivor,
                absorbed: primary.unwrap_or_else(|| rows.iter().copied().min_by_key(age).unwrap()),
                identifiers: carried(&rows).intersection(&carried(&others)).cloned().collect(),
                by_link: by_identifiers[&survivor] != class && old[&stands_for_class] == *identity,
            });
        }
        merges.sort_by_key(|merge| merge.absorbed);
        merges
    }

    fn changed_primaries(&self) -> Vec<(i64, i64)> {
        let live = self.rows.keys().copied().filter(|id| self.is_live(*id));
        let named =
            live.map(|id| (if self.is_old_primary(id) { id } else { self.link(id).unwrap() }, self.primary(id)));
        named.filter(|(old, new)| old != new).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn hubs(&self, max_join: usize) -> BTreeSet<(Identifier, usize)> {
        let live: Vec<i64> = self.rows.keys().copied().filter(|id| self.is_live(*id)).collect();
        let all: BTreeSet<Identifier> = live.iter().flat_map(|id| self.identifiers(*id)).collect();
        let joined = |identifier: &Identifier| {
            let carriers = live.iter().filter(|id| self.identifiers(**id).contains(identifier));
            carriers.map(|id| self.old_identity(*id)).collect::<BTreeSet<_>>().len()
        };
        all.into_iter().map(|one| (one.clone(), joined(&one))).filter(|(_, count)| *count > max_join).collect()
    }
}

fn decided(rules: &AdoptionRules, rows: &[OldContact], max_join: usize) -> (AdoptedIdentities, Vec<AdoptedRow>) {
    let mut table = OldIdentities::new(rules.clone(), rows.len(), [7; 16]);
    for row in rows {
        table.add(row).unwrap();
    }
    let mut identities = table.decide(max_join, &BTreeSet::new(), &BTreeSet::new());
    let adopted = rows.iter().map(|row| identities.adopt(row).unwrap()).collect();
    (identities, adopted)
}

fn row() -> impl Strategy<Value = OldContact> {
    let text = |values: &'static [&'static str]| {
        let some = proptest::sample::select(values).prop_map(|text| Some(text.to_owned()));
        prop_oneof![2 => Just(None), 5 => some]
    };
    let time = |weight| prop_oneof![weight => (0..6_i64).prop_map(|at| Some(Timestamp(at))), 1 => Just(None)];
    let emails = text(&["a@x.de", "A@X.de", "b@x.de", "c@x.de", "d@x.de", "e@x.de", "", "no address", "till@x.de"]);
    let phones = text(&["1", "2", "3", "4", "0-0", "00", " ", "x"]);
    let link = prop_oneof![3 => Just(None), 1 => Just(Some(0)), 6 => (1..14_i64).prop_map(Some)];
    let says = prop_oneof![Just(None), Just(Some(true)), Just(Some(false))];
    let deleted = prop_oneof![4 => Just(None), 1 => Just(Some(Timestamp(9)))];
    (emails, phones, link, says, (time(5), time(5), deleted)).prop_map(
        |(email, phone_number, linked_id, says_primary, (created_at, updated_at, deleted_at))| OldContact {
            id: 0,
            email,
            phone_number,
            linked_id,
            says_primary,
            created_at,
            updated_at,
            deleted_at,
            shown: [false; 2],
            unreadable: UnreadableParts::default(),
            precedence: None,
        },
    )
}

fn table() -> impl Strategy<Value = Vec<OldContact>> {
    proptest::collection::vec((row(), 1..3_i64), 0..11).prop_map(|rows| {
        let mut id = 0;
        let number = |(row, step): (OldContact, i64)| {
            id += step;
            OldContact { id, ..row }
        };
        rows.into_iter().map(number).collect()
    })
}

fn rules() -> AdoptionRules {
    AdoptionRules {
        ignored: BTreeSet::from([Identifier::from_stored(IdentifierKind::Email, "till@x.de")]),
        ..AdoptionRules::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_table_is_adopted_as_by_brute_force(rows in table(), max_join in 1..4_usize) {
        let rules = rules();
        let (identities, adopted) = decided(&rules, &rows, max_join);
        let model = Model::new(&rules, &rows);
        for (row, old) in adopted.iter().zip(&rows) {
            let primary = model.primary(row.id);
            prop_assert_eq!(row.linked_to, (primary != row.id).then_some(primary), "the link of {}", row.id);
            prop_assert_eq!(row.created_at, model.created[&row.id]);
            prop_assert_eq!(row.updated_at, old.updated_at.unwrap_or(row.created_at));
            prop_assert_eq!(row.deleted_at, old.deleted_at);
        }
        prop_assert_eq!(identities.merges().collect::<Vec<_>>(), model.merges());
        prop_assert_eq!(identities.changed_primaries(), model.changed_primaries());
        let hubs = identities.hubs().iter().map(|hub| (hub.cause, hub.identities)).collect::<Vec<_>>();
        let of_identifiers = model.hubs(max_join).into_iter();
        let mut expected: Vec<_> =
            of_identifiers.map(|(one, count)| (HubCause::Identifier(one.kind()), count)).collect();
        let missing: BTreeSet<i64> =
            model.rows.keys().filter_map(|id| model.link(*id)).filter(|id| !model.rows.contains_key(id)).collect();
        let links = missing.iter().map(|to| model.rows.keys().filter(|id| model.link(**id) == Some(*to)).count());
        expected.extend(links.filter(|count| *count > max_join).map(|count| (HubCause::MissingRow, count)));
        expected.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        let mut found = hubs;
        found.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        prop_assert_eq!(found, expected);
        let facts = identities.facts(3);
        let roots: BTreeSet<i64> = rows.iter().filter(|row| row.is_live()).map(|row| model.primary(row.id)).collect();
        prop_assert_eq!(facts.identities, u64::try_from(roots.len()).unwrap());
        prop_assert_eq!(facts.joins.values().sum::<u64>(), u64::try_from(model.merges().len()).unwrap());
        let reasons = |text: &str| adopted.iter().filter(|row| {
            row.reason.as_deref().unwrap_or_default().split(", ").any(|reason| reason == text)
        }).count() as u64;
        prop_assert_eq!(facts.links.flattened, reasons("link flattened"));
        prop_assert_eq!(facts.links.broken, reasons("link broken"));
        prop_assert_eq!(facts.links.circular, reasons("link circular"));
        prop_assert_eq!(facts.links.added, reasons("link added"));
        prop_assert_eq!(facts.links.removed, reasons("link removed"));
        prop_assert_eq!(facts.precedences, reasons("precedence corrected"));
        prop_assert_eq!(facts.without_identifier, reasons("no identifier"));
    }
}

#[test]
fn two_reads_have_the_same_content_only_if_the_rows_are_equal() {
    let mut rows = vec![OldContact {
        id: 1,
        email: Some("a@x.de".to_owned()),
        phone_number: None,
        linked_id: None,
        says_primary: Some(true),
        created_at: Some(Timestamp(1)),
        updated_at: None,
        deleted_at: None,
        shown: [false; 2],
        unreadable: UnreadableParts::default(),
        precedence: None,
    }];
    let content = |rows: &[OldContact]| decided(&rules(), rows, 3).0.content();
    let before = content(&rows);
    assert_eq!(content(&rows), before);
    rows[0].updated_at = Some(Timestamp(2));
    assert_ne!(content(&rows), before);
}

#[test]
fn what_cannot_be_read_is_said() {
    let row = |id, unreadable| OldContact {
        id,
        email: Some("a@x.de".to_owned()),
        phone_number: None,
        linked_id: None,
        says_primary: None,
        created_at: Some(Timestamp(id)),
        updated_at: Some(Timestamp(50 + id)),
        deleted_at: None,
        shown: [false; 2],
        unreadable,
        precedence: None,
    };
    let unreadable = UnreadableParts { link: true, ..UnreadableParts::default() };
    let rows = [row(2, unreadable), row(3, UnreadableParts::default())];
    let (identities, adopted) = decided(&rules(), &rows, 3);
    let reasons: Vec<&str> = adopted.iter().map(|row| row.reason.as_deref().unwrap_or_default()).collect();
    assert_eq!(reasons, ["link unreadable", "link added"]);
    assert_eq!((adopted[0].linked_to, adopted[1].linked_to), (None, Some(2)));
    let mut other = rows.clone();
    other[0].unreadable.link = false;
    assert_ne!(decided(&rules(), &other, 3).0.content(), identities.content());
    other[0].unreadable.link = true;
    other[0].precedence = Some("secondary ".to_owned());
    assert_ne!(decided(&rules(), &other, 3).0.content(), identities.content());
}
