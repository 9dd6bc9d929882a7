//! What the identities of an old table are, from its rows alone, by brute force. It shares no code with the service but
//! the rules for values.

use std::collections::{BTreeMap, BTreeSet};

use identity::domain::{Email, PhoneNumber};

use crate::old_tables::MadeRow;

/// Kind and canonical value.
pub type Key = (&'static str, String);

/// A till's phone number, which [`damaged_rows`](crate::old_tables::damaged_rows) gives to strangers.
pub const TILL: &str = "0000000000";

pub struct Model<'a> {
    rows: BTreeMap<i64, &'a MadeRow>,
    created: BTreeMap<i64, i64>,
    /// The primary of each row.
    pub primary: BTreeMap<i64, i64>,
    /// Whether the number of the till joins nobody.
    ignores_till: bool,
}

/// What a row is to carry.
pub fn values(row: &MadeRow) -> (Option<String>, Option<String>) {
    let email = Email::parse(row.email.as_deref().unwrap_or_default()).ok().flatten();
    let phone = PhoneNumber::parse(row.phone_number.as_deref().unwrap_or_default(), None).ok().flatten();
    (email.map(|email| email.as_str().to_owned()), phone.map(|phone| phone.as_str().to_owned()))
}

impl<'a> Model<'a> {
    pub fn new(rows: &'a [MadeRow], ignores_till: bool) -> Self {
        let rows: BTreeMap<i64, &MadeRow> = rows.iter().map(|row| (row.id, row)).collect();
        let own = |row: &MadeRow| row.created_at.or(row.updated_at);
        let mut before = rows.values().find_map(|row| own(row)).unwrap_or_default();
        let mut created = BTreeMap::new();
        for (id, row) in &rows {
            before = own(row).unwrap_or(before);
            created.insert(*id, before);
        }
        let mut model = Self { rows, created, primary: BTreeMap::new(), ignores_till };
        for set in model.connected() {
            let age = |id: &&i64| (model.rows[*id].deleted_at.is_some(), model.created[*id], **id);
            let primary = *set.iter().min_by_key(age).expect("not empty");
            model.primary.extend(set.iter().map(|id| (*id, primary)));
        }
        model
    }

    /// What a live row carries.
    pub fn carried(&self, id: i64) -> BTreeSet<Key> {
        let row = self.rows[&id];
        if row.deleted_at.is_some() {
            return BTreeSet::new();
        }
        let (email, phone) = values(row);
        let phone = phone.filter(|phone| !(self.ignores_till && phone == TILL));
        email.map(|email| ("email", email)).into_iter().chain(phone.map(|phone| ("phone", phone))).collect()
    }

    pub fn created(&self, id: i64) -> i64 {
        self.created[&id]
    }

    /// Follows every edge from every row.
    fn connected(&self) -> Vec<BTreeSet<i64>> {
        let mut edges: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for (id, row) in &self.rows {
            edges.entry(format!("row {id}")).or_default().insert(*id);
            if let Some(linked) = row.linked_id.filter(|linked| *linked > 0) {
                edges.entry(format!("row {linked}")).or_default().insert(*id);
            }
            for (kind, value) in self.carried(*id) {
                edges.entry(format!("{kind} {value}")).or_default().insert(*id);
            }
        }
        let mut of_row: BTreeMap<i64, Vec<&BTreeSet<i64>>> = BTreeMap::new();
        for joined in edges.values() {
            joined.iter().for_each(|id| of_row.entry(*id).or_default().push(joined));
        }
        let (mut seen, mut sets) = (BTreeSet::new(), Vec::new());
        for id in self.rows.keys() {
            let (mut set, mut next) = (BTreeSet::new(), vec![*id]);
            while let Some(id) = next.pop() {
                if seen.insert(id) {
                    set.insert(id);
                    next.extend(of_row[&id].iter().flat_map(|joined| joined.iter().copied()));
                }
            }
            if !set.is_empty() {
                sets.push(set);
            }
        }
        sets
    }
}
