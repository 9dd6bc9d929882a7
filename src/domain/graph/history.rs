use std::collections::HashMap;

use super::join_times::JoinTimes;
use super::seen_set::StoredSet;
use crate::domain::contact::{Contact, ContactId, Timestamp};
use crate::domain::identifier::Identifier;

/// A row of table `Contact`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryContact {
    /// The contact.
    pub contact: Contact,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

impl HistoryContact {
    /// Returns whether it was there at this moment, or is there now if there is none.
    pub(super) fn is_there(&self, at: Option<Timestamp>) -> bool {
        match at {
            None => self.deleted_at.is_none(),
            Some(at) => self.contact.created_at <= at && self.deleted_at.is_none_or(|deleted| deleted > at),
        }
    }
}

/// A row of table `ContactMerge` whose cause is a link of an adopted table alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkMerge {
    /// The primary of the identity that was absorbed.
    pub absorbed: ContactId,
    /// The primary of the identity that stayed.
    pub survivor: ContactId,
    /// When.
    pub at: Timestamp,
}

/// All rows of an identity: contacts, also deleted ones, and sets that no contact carries.
///
/// What was joined stays together, also if the contact that joined it was deleted by SQL since, or its identifier is
/// ignored by now.
#[derive(Clone, Debug)]
pub struct History {
    /// Sorted by age.
    pub(super) contacts: Vec<HistoryContact>,
    /// Sorted by time, then by id.
    pub(super) stored: Vec<StoredSet>,
    /// In the order of time.
    pub(super) events: Vec<Event>,
    /// The node of each identifier that a row shows. Before them are the nodes of the contacts, in order.
    nodes: HashMap<Identifier, usize>,
    places: HashMap<ContactId, usize>,
    pub(super) joined: JoinTimes,
}

/// Something that joined rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) at: Timestamp,
    pub(super) what: Joining,
}

/// What joined them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Joining {
    /// The contact at this place.
    Contact(usize),
    /// The set at this place.
    Stored(usize),
    /// A link between the contacts at these places. It has no row of its own, or a row of `ContactMerge`.
    Link { older: usize, younger: usize },
}

impl History {
    /// Returns the history of these rows. `root` is the row that the others are linked to.
    ///
    /// Rows that nothing else joins are joined to the root by their link: since the later of both was inserted.
    pub fn new(
        root: ContactId,
        mut contacts: Vec<HistoryContact>,
        mut stored: Vec<StoredSet>,
        links: Vec<LinkMerge>,
    ) -> Self {
        contacts.sort_by_key(|row| row.contact.age());
        stored.sort_by_key(|set| (set.seen_at, set.id));
        let places: HashMap<ContactId, usize> =
            (0..).zip(&contacts).map(|(place, row)| (row.contact.id, place)).collect();
        let mut nodes = HashMap::new();
        let shown = contacts.iter().flat_map(|row| row.contact.shown());
        for identifier in shown.chain(stored.iter().flat_map(|set| set.identifiers.iter())) {
            let next = contacts.len() + nodes.len();
            nodes.entry(identifier.clone()).or_insert(next);
        }
        let mut history = Self { contacts, stored, events: Vec::new(), nodes, places, joined: JoinTimes::default() };
        history.events = history.events_of(&links);
        history.joined = history.join_times();
        let links = history.other_links(root);
        if !links.is_empty() {
            history.events.extend(links);
            history.sort_events();
            history.joined = history.join_times();
        }
        history
    }

    /// Returns the place of a contact, if it is one of these.
    pub(super) fn place(&self, contact: ContactId) -> Option<usize> {
        self.places.get(&contact).copied()
    }

    /// Returns the node of an identifier, if a row shows it.
    pub(super) fn node(&self, identifier: &Identifier) -> Option<usize> {
        self.nodes.get(identifier).copied()
    }

    /// Returns the nodes that an event joins. That of the youngest contact comes first, if it has one.
    pub(super) fn nodes_of(&self, what: Joining) -> Vec<usize> {
        let nodes = |identifiers: &mut dyn Iterator<Item = &Identifier>| {
            identifiers.filter_map(|identifier| self.node(identifier)).collect::<Vec<_>>()
        };
        match what {
            Joining::Contact(place) => [vec![place], nodes(&mut self.contacts[place].contact.shown())].concat(),
            Joining::Stored(place) => nodes(&mut self.stored[place].identifiers.iter()),
            Joining::Link { older, younger } => vec![younger, older],
        }
    }

    /// Returns how many nodes there are.
    pub(super) fn node_count(&self) -> usize {
        self.contacts.len() + self.nodes.len()
    }

    fn events_of(&self, links: &[LinkMerge]) -> Vec<Event> {
        let contacts = (0..).zip(&self.contacts);
        let contacts = contacts.map(|(place, row)| Event { at: row.contact.created_at, what: Joining::Contact(place) });
        let stored = (0..).zip(&self.stored);
        let stored = stored.map(|(place, set)| Event { at: set.seen_at, what: Joining::Stored(place) });
        let links = links.iter().filter_map(|link| {
            let (one, other) = (self.place(link.absorbed)?, self.place(link.survivor)?);
            Some(Event { at: link.at, what: Joining::Link { older: one.min(other), younger: one.max(other) } })
        });
        let mut events: Vec<Event> = contacts.chain(stored).chain(links).collect();
        events.sort_by_key(|event| self.order(*event));
        events
    }

    fn sort_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|event| self.order(*event));
        self.events = events;
    }

    /// Of one moment, contacts come before sets. A link comes directly behind the contact that was inserted then.
    fn order(&self, event: Event) -> (Timestamp, usize, usize, usize) {
        let (kind, place, link) = match event.what {
            Joining::Contact(place) => (0, place, 0),
            Joining::Stored(place) => (1, place, 0),
            Joining::Link { younger, .. } if self.contacts[younger].contact.created_at == event.at => (0, younger, 1),
            Joining::Link { younger, .. } => (2, younger, 0),
        };
        (event.at, kind, place, link)
    }

    fn join_times(&self) -> JoinTimes {
        let mut joined = JoinTimes::new(self.node_count());
        for event in &self.events {
            let nodes = self.nodes_of(event.what);
            for pair in nodes.windows(2) {
                joined.join(pair[0], pair[1], event.at);
            }
        }
        joined
    }

    /// Returns links for the rows that no event joins with the root: from the oldest contact of each group.
    fn other_links(&self, root: ContactId) -> Vec<Event> {
        let root = self.place(root).unwrap_or_default();
        let mut groups: HashMap<usize, usize> = HashMap::new(); // By the node that stands for it, its oldest contact.
        for place in 0..self.contacts.len() {
            groups.entry(self.joined.root(place)).or_insert(place);
        }
        let Some(main) = (!self.contacts.is_empty()).then(|| self.joined.root(root)) else { return Vec::new() };
        let oldest = groups.get(&main).copied().unwrap_or(root);
        let others = groups.iter().filter(|(group, _)| **group != main);
        let link = |place: usize| {
            let (older, younger) = (place.min(oldest), place.max(oldest));
            Event { at: self.contacts[younger].contact.created_at, what: Joining::Link { older, younger } }
        };
        others.map(|(_, place)| link(*place)).collect()
    }
}
