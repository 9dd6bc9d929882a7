use std::collections::{BTreeMap, HashMap};

use super::history::{Event, History, Joining};
use super::seen_set::SetName;
use super::sets::sorted;
use crate::domain::contact::{ContactId, Timestamp};
use crate::domain::identifier::Identifier;

/// How an identity changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionKind {
    /// Its first contact was inserted.
    Created,
    /// A contact was added.
    Linked,
    /// It absorbed others.
    Merged,
    /// A set was seen of identifiers that it owned already.
    Confirmed,
}

/// A change of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// What changed.
    pub kind: RevisionKind,
    /// The primary of the identity afterwards.
    pub primary: ContactId,
    /// The contacts that were added or moved, the oldest first.
    pub contacts: Vec<ContactId>,
    /// The primaries of the identities that were absorbed, the oldest first.
    pub absorbed: Vec<ContactId>,
    /// The set that caused it. `None` for a contact with one identifier.
    pub set: Option<SetName>,
    /// When it happened.
    pub at: Timestamp,
}

impl History {
    /// Returns all changes, the oldest first: also those of the identities that this one has absorbed.
    ///
    /// A contact that somebody deleted by SQL is in the changes that it caused. Its deletion is no change that is
    /// listed. Only until then it can be the primary.
    pub fn revisions(&self) -> Vec<Revision> {
        let (parents, groups, carried) = ((0..self.node_count()).collect(), BTreeMap::new(), HashMap::new());
        let mut replay = Replay { history: self, parents, groups, carried };
        let mut revisions: Vec<Revision> = Vec::new();
        for event in &self.events {
            let Some(revision) = replay.take(*event) else { continue };
            match revisions.last_mut() {
                // A row of an adopted table that only its link joins was never an identity of its own.
                Some(last) if is_link_of(&revision, last) => {
                    *last = Revision { kind: RevisionKind::Linked, absorbed: Vec::new(), ..revision };
                }
                _ => revisions.push(revision),
            }
        }
        revisions
    }
}

/// Whether a revision links the contact that the one before inserted at the same moment.
fn is_link_of(revision: &Revision, before: &Revision) -> bool {
    matches!(revision.set, Some(SetName::Link(_)))
        && before.kind == RevisionKind::Created
        && (revision.at, &revision.contacts) == (before.at, &before.contacts)
}

/// The rows that belong together so far.
struct Replay<'a> {
    history: &'a History,
    parents: Vec<usize>,
    /// The places of the contacts of each group, by the node that stands for it.
    groups: BTreeMap<usize, Vec<usize>>,
    /// The oldest contact that carries each set.
    carried: HashMap<Vec<Identifier>, ContactId>,
}

impl Replay<'_> {
    fn root(&mut self, mut node: usize) -> usize {
        while self.parents[node] != node {
            self.parents[node] = self.parents[self.parents[node]];
            node = self.parents[node];
        }
        node
    }

    /// Carries an event out. Returns what it changed, if it changed anything.
    fn take(&mut self, event: Event) -> Option<Revision> {
        let nodes = self.history.nodes_of(event.what);
        let mut roots: Vec<usize> = nodes.into_iter().map(|node| self.root(node)).collect();
        roots.sort_unstable();
        roots.dedup();
        let mut met: Vec<Vec<usize>> = roots.iter().filter_map(|root| self.groups.remove(root)).collect();
        met.sort_by_key(|places| self.primary(places, event.at));

        let new = if let Joining::Contact(place) = event.what { Some(place) } else { None };
        let kind = match (new, met.len()) {
            (None, 0) => return self.keep(&roots, Vec::new()),
            (Some(_), 0) => RevisionKind::Created,
            (None, 1) => RevisionKind::Confirmed,
            (Some(_), 1) => RevisionKind::Linked,
            (_, _) => RevisionKind::Merged,
        };
        let absorbed: Vec<usize> = met.iter().skip(1).map(|places| self.primary(places, event.at)).collect();
        let mut changed: Vec<usize> = met.iter().skip(1).flatten().copied().chain(new).collect();
        changed.sort_unstable();
        // The largest list takes the others.
        let largest = (0..met.len()).max_by_key(|index| met[*index].len());
        let mut all = largest.map(|index| met.swap_remove(index)).unwrap_or_default();
        all.extend(met.into_iter().flatten().chain(new));
        let history = self.history;
        let id = |place: &usize| history.contacts[*place].contact.id;
        let revision = Revision {
            kind,
            primary: id(&self.primary(&all, event.at)),
            contacts: changed.iter().map(id).collect(),
            absorbed: absorbed.iter().map(id).collect(),
            set: self.set_of(event.what),
            at: event.at,
        };
        self.keep(&roots, all);
        // A link between rows that belong together already says nothing.
        let is_news = kind != RevisionKind::Confirmed || matches!(event.what, Joining::Stored(_));
        is_news.then_some(revision)
    }

    /// Joins these groups into one of these contacts.
    fn keep(&mut self, roots: &[usize], contacts: Vec<usize>) -> Option<Revision> {
        let root = *roots.first()?;
        for other in roots {
            self.parents[*other] = root;
        }
        if !contacts.is_empty() {
            self.groups.insert(root, contacts);
        }
        None
    }

    /// The oldest of these contacts that is not deleted at this moment, or the oldest if all are.
    fn primary(&self, places: &[usize], at: Timestamp) -> usize {
        let is_there = |place: &&usize| self.history.contacts[**place].is_there(Some(at));
        let there = places.iter().filter(is_there).min();
        there.or(places.iter().min()).copied().unwrap_or_default()
    }

    fn set_of(&mut self, what: Joining) -> Option<SetName> {
        match what {
            Joining::Contact(place) => {
                let contact = &self.history.contacts[place].contact;
                let set = Some(sorted(&contact.identifiers)).filter(|set| set.len() > 1)?;
                Some(SetName::Contact(*self.carried.entry(set).or_insert(contact.id)))
            }
            Joining::Stored(place) => Some(SetName::Stored(self.history.stored[place].id)),
            Joining::Link { younger, .. } => Some(SetName::Link(self.history.contacts[younger].contact.id)),
        }
    }
}
