//! What the tables must hold: the connected components of the events, and nothing else.
//!
//! Brute force, without primaries, links and merges. It shares no code with the planner's model (`domain::model`), the
//! history checker or the simulation's checker: what checks the service must not share its mistakes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use identity::domain::{Email, PhoneNumber};
use identity::store::Database;
use identity::store::entity::{contact, contact_merge, evidence, identifier};
use sea_orm::{DatabaseConnection, EntityTrait};

use super::{Event, database_settings};

/// Kind and canonical value.
type Key = (&'static str, String);

/// The groups of identifiers that events join.
pub struct Components {
    groups: BTreeSet<BTreeSet<Key>>,
    /// The sets of two identifiers or more: the evidence.
    sets: BTreeSet<BTreeSet<Key>>,
}

impl Components {
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let sets: Vec<BTreeSet<Key>> = events.into_iter().map(|event| canonical(event).into_iter().collect()).collect();
        let groups = joined(sets.iter().cloned());
        Self { groups, sets: sets.into_iter().filter(|set| set.len() > 1).collect() }
    }

    /// Fails unless the tables at this address hold each of these acknowledged sets, and their evidence joins what the
    /// identities have. Kinds are `e` and `p`.
    pub async fn assert_sets_held(url: &str, sets: impl Iterator<Item = &[(char, String)]>) {
        let settings = database_settings(url, 2, Duration::from_secs(60));
        let store = Database::wait_and_connect(&settings).await.expect("the database answers");
        let connection = store.connection();
        let tables = Tables::read(&connection).await;
        tables.check();
        let held = tables.sets();
        for set in sets {
            let key = |(kind, value): &(char, String)| (if *kind == 'e' { "email" } else { "phone" }, value.clone());
            assert!(held.contains(&set.iter().map(key).collect::<BTreeSet<Key>>()), "an acknowledged set is not held");
        }
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Fails unless the tables hold exactly these components, and every promise about rows is kept.
    pub async fn assert_tables(&self, connection: &DatabaseConnection) {
        let tables = Tables::read(connection).await;
        tables.check();
        let found = tables.identities();
        assert_eq!(found.len(), self.groups.len(), "identities");
        assert!(found == self.groups, "the identities are not the components");
        assert!(tables.sets() == self.sets, "the evidence is not what was seen together");
    }

    /// Fails unless each of these components is within one identity, and every promise about rows is kept.
    pub async fn assert_tables_include(&self, connection: &DatabaseConnection) {
        let tables = Tables::read(connection).await;
        tables.check();
        let found = tables.identities();
        for group in &self.groups {
            assert!(found.iter().any(|identity| identity.is_superset(group)), "something acknowledged is lost");
        }
        assert!(tables.sets().is_superset(&self.sets), "evidence that was acknowledged is lost");
    }
}

/// The groups that these sets join.
fn joined(sets: impl IntoIterator<Item = BTreeSet<Key>>) -> BTreeSet<BTreeSet<Key>> {
    let mut group_of: HashMap<Key, usize> = HashMap::new();
    let mut groups: Vec<BTreeSet<Key>> = Vec::new();
    for mut joined in sets {
        let touched: BTreeSet<usize> = joined.iter().filter_map(|key| group_of.get(key).copied()).collect();
        for group in touched {
            joined.extend(std::mem::take(&mut groups[group]));
        }
        for key in &joined {
            group_of.insert(key.clone(), groups.len());
        }
        groups.push(joined);
    }
    groups.into_iter().filter(|group| !group.is_empty()).collect()
}

/// All rows.
struct Tables {
    contacts: HashMap<i64, contact::Model>,
    identifiers: Vec<identifier::Model>,
    merges: Vec<contact_merge::Model>,
    evidence: Vec<evidence::Model>,
}

impl Tables {
    async fn read(connection: &DatabaseConnection) -> Self {
        let contacts = contact::Entity::find().all(connection).await.expect("contacts");
        Self {
            contacts: contacts.into_iter().map(|row| (row.id, row)).collect(),
            identifiers: identifier::Entity::find().all(connection).await.expect("identifiers"),
            merges: contact_merge::Entity::find().all(connection).await.expect("merges"),
            evidence: evidence::Entity::find().all(connection).await.expect("evidence"),
        }
    }

    fn primary(&self, row: &contact::Model) -> &contact::Model {
        &self.contacts[&row.linked_id.unwrap_or(row.id)]
    }

    /// What each identity owns.
    fn identities(&self) -> BTreeSet<BTreeSet<Key>> {
        let mut identities: BTreeMap<i64, BTreeSet<Key>> = BTreeMap::new();
        for row in self.contacts.values() {
            identities.entry(self.primary(row).id).or_default().extend(carried(row));
        }
        identities.into_values().collect()
    }

    /// The sets of two identifiers or more, of contacts and beside them.
    fn sets(&self) -> BTreeSet<BTreeSet<Key>> {
        let carried = self.contacts.values().map(|row| carried(row).into_iter().collect::<BTreeSet<Key>>());
        carried.filter(|set| set.len() > 1).chain(self.evidence.iter().map(set_of)).collect()
    }

    /// The promises about rows.
    fn check(&self) {
        let age = |row: &contact::Model| (row.created_at, row.id);
        for row in self.contacts.values() {
            let (id, primary) = (row.id, self.primary(row));
            assert_eq!(primary.linked_id, None, "contact {id} links to {}, which is no primary", primary.id);
            assert_eq!(
                row.link_precedence == contact::LinkPrecedence::Primary,
                row.linked_id.is_none(),
                "contact {id}: precedence and link disagree"
            );
            assert!(age(primary) <= age(row), "contact {id} is older than its primary {}", primary.id);
            assert!(row.updated_at >= row.created_at, "contact {id}");
        }
        let mut owned: BTreeMap<Key, i64> = BTreeMap::new();
        for row in &self.identifiers {
            let key = (kind(&row.kind), String::from_utf8(row.value.clone()).expect("UTF-8"));
            let owner = &self.contacts[&row.contact_id];
            assert!(carried(owner).contains(&key), "contact {} does not carry what it owns", owner.id);
            owned.insert(key, owner.id);
        }
        let bringers: BTreeSet<i64> = owned.values().copied().collect();
        assert_eq!(bringers.len(), self.contacts.len(), "a contact that brought nothing new");
        for row in self.contacts.values() {
            for key in carried(row) {
                let owner = owned.get(&key).map(|owner| self.primary(&self.contacts[owner]).id);
                assert_eq!(owner, Some(self.primary(row).id), "contact {} carries what is not its identity's", row.id);
            }
        }
        let mut held: BTreeSet<BTreeSet<Key>> =
            self.contacts.values().map(|row| carried(row).into_iter().collect()).collect();
        for row in &self.evidence {
            let (set, primary) = (set_of(row), self.primary(&self.contacts[&row.contact_id]));
            let mut owners = set.iter().map(|key| self.primary(&self.contacts[&owned[key]]).id);
            assert!(owners.all(|owner| owner == primary.id), "evidence {} is of several", row.id);
            assert!(primary.updated_at >= row.created_at, "evidence {}: its root was not written", row.id);
            assert!(set.len() > 1 && held.insert(set), "evidence {} is held twice", row.id);
        }
        assert!(joined(held) == self.identities(), "the evidence does not join what the identities have");
        for merge in &self.merges {
            let [survivor, absorbed] = [merge.survivor_id, merge.absorbed_id].map(|id| &self.contacts[&id]);
            assert_eq!(self.primary(survivor).id, self.primary(absorbed).id, "merge {}", merge.id);
            assert!(absorbed.linked_id.is_some(), "merge {}: the absorbed one is a primary", merge.id);
            assert!(merge.cause.0.len() > 1, "merge {} has no cause", merge.id);
        }
    }
}

fn kind(name: &str) -> &'static str {
    ["email", "phone"].into_iter().find(|kind| *kind == name).expect("a kind")
}

fn canonical(event: &Event) -> Vec<Key> {
    let email = Email::parse(event.email.as_deref().unwrap_or_default()).expect("a valid e-mail");
    let phone = PhoneNumber::parse(event.phone.as_deref().unwrap_or_default(), None).expect("a valid phone");
    let email = email.map(|email| ("email", email.as_str().to_owned()));
    email.into_iter().chain(phone.map(|phone| ("phone", phone.as_str().to_owned()))).collect()
}

fn set_of(row: &evidence::Model) -> BTreeSet<Key> {
    row.identifiers.0.iter().map(|one| (kind(&one.kind), one.value.clone())).collect()
}

fn carried(row: &contact::Model) -> Vec<Key> {
    let email = row.email.clone().map(|email| ("email", email));
    email.into_iter().chain(row.phone_number.clone().map(|phone| ("phone", phone))).collect()
}
