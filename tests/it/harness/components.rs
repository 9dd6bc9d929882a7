//! What the tables must hold: the connected components of the events, and nothing else.
//!
//! Brute force, without primaries, links and merges. It shares no code with the planner's model (`domain::model`), the
//! history checker or the simulation's checker: what checks the service must not share its mistakes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use identity::domain::{Email, PhoneNumber};
use identity::store::entity::{contact, contact_merge, identifier};
use sea_orm::{DatabaseConnection, EntityTrait};

use super::Event;

/// Kind and canonical value.
type Key = (&'static str, String);

/// The groups of identifiers that events join.
pub struct Components {
    groups: BTreeSet<BTreeSet<Key>>,
}

impl Components {
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut group_of: HashMap<Key, usize> = HashMap::new();
        let mut groups: Vec<BTreeSet<Key>> = Vec::new();
        for event in events {
            let keys = canonical(event);
            let mut joined: BTreeSet<Key> = keys.iter().cloned().collect();
            let touched: BTreeSet<usize> = keys.iter().filter_map(|key| group_of.get(key).copied()).collect();
            for group in touched {
                joined.extend(std::mem::take(&mut groups[group]));
            }
            for key in &joined {
                group_of.insert(key.clone(), groups.len());
            }
            groups.push(joined);
        }
        Self { groups: groups.into_iter().filter(|group| !group.is_empty()).collect() }
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
    }

    /// Fails unless each of these components is within one identity, and every promise about rows is kept.
    pub async fn assert_tables_include(&self, connection: &DatabaseConnection) {
        let tables = Tables::read(connection).await;
        tables.check();
        let found = tables.identities();
        for group in &self.groups {
            assert!(found.iter().any(|identity| identity.is_superset(group)), "something acknowledged is lost");
        }
    }
}

/// All rows.
struct Tables {
    contacts: HashMap<i64, contact::Model>,
    identifiers: Vec<identifier::Model>,
    merges: Vec<contact_merge::Model>,
}

impl Tables {
    async fn read(connection: &DatabaseConnection) -> Self {
        let contacts = contact::Entity::find().all(connection).await.expect("contacts");
        Self {
            contacts: contacts.into_iter().map(|row| (row.id, row)).collect(),
            identifiers: identifier::Entity::find().all(connection).await.expect("identifiers"),
            merges: contact_merge::Entity::find().all(connection).await.expect("merges"),
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

fn carried(row: &contact::Model) -> Vec<Key> {
    let email = row.email.clone().map(|email| ("email", email));
    email.into_iter().chain(row.phone_number.clone().map(|phone| ("phone", phone))).collect()
}
