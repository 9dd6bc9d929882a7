use std::collections::{HashMap, HashSet};

use super::inspected::{Asked, Inspected};
use super::moment::moment_text;
use super::words::{origin_name, set_name};
use crate::domain::graph::{Explanation, SeenSet, SetName, SetOrigin};
use crate::domain::{ContactId, Identifier};

/// Nodes and lines: a round node for each identifier, and a box for each contact and each set that no contact carries.
pub(super) struct Drawing {
    pub(super) title: String,
    pub(super) nodes: Vec<Node>,
    /// From a box to an identifier, by the names of the nodes.
    pub(super) lines: Vec<Line>,
    /// The parts of a counterfactual, by the names of their nodes. Nodes that are in none are in the open.
    pub(super) parts: Vec<Vec<String>>,
}

pub(super) struct Node {
    pub(super) name: String,
    /// Its lines of text.
    pub(super) text: Vec<String>,
    pub(super) is_identifier: bool,
    pub(super) mark: Mark,
}

pub(super) struct Line {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) mark: Mark,
}

/// How something is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Plain,
    /// It connects nobody: an ignored identifier, or a set or an identifier that a question takes away.
    Absent,
    /// Its loss alone splits the identity.
    Bridge,
    /// It is on the path.
    Path,
    /// It is in the weakest cut.
    Cut,
}

impl Drawing {
    /// Returns an identity as it is.
    pub(super) fn from_identity(identity: &Inspected) -> Self {
        Self::marked(identity, |_| Mark::Plain, |_| Mark::Plain)
    }

    /// Returns an identity with the answer to a question: the path and the cut, or the parts, or the bridges.
    pub(super) fn of_explanation(identity: &Inspected, asked: &Asked, explanation: &Explanation) -> Self {
        let names = |sets: &[SeenSet]| sets.iter().map(|set| set.name).collect::<HashSet<SetName>>();
        let is_plain = asked.between.is_none() && !asked.is_counterfactual();
        let absent: HashSet<SetName> = asked.without_sets.iter().copied().collect();
        let [path, cut] = [&explanation.path, &explanation.weakest_cut].map(|sets| names(sets));
        let bridges = if is_plain { names(&explanation.bridges) } else { HashSet::new() };
        let mark = |name: SetName| {
            let marks = [(&absent, Mark::Absent), (&cut, Mark::Cut), (&path, Mark::Path), (&bridges, Mark::Bridge)];
            marks.into_iter().find(|(sets, _)| sets.contains(&name)).map_or(Mark::Plain, |(_, mark)| mark)
        };
        let mark_of_identifier = |one: &Identifier| match &asked.between {
            _ if asked.without_identifiers.contains(one) => Mark::Absent,
            Some(ends) if ends.contains(one) => Mark::Path,
            _ => Mark::Plain,
        };
        let mut drawing = Self::marked(identity, mark, mark_of_identifier);
        if explanation.parts.len() > 1 {
            drawing.parts = parts(identity, asked, explanation);
        }
        drawing
    }

    fn marked(
        identity: &Inspected,
        mark: impl Fn(SetName) -> Mark,
        mark_of_identifier: impl Fn(&Identifier) -> Mark,
    ) -> Self {
        let ContactId(id) = identity.primary();
        let title = format!("identities/{id}");
        let mut drawing = Self { title, nodes: Vec::new(), lines: Vec::new(), parts: Vec::new() };
        for one in identity.shown() {
            let mark = if identity.owns(one) { mark_of_identifier(one) } else { Mark::Absent };
            let text = vec![identity.names.label(one)];
            drawing.nodes.push(Node { name: identity.names.name(one), text, is_identifier: true, mark });
        }
        let by_set = sets_of_contacts(identity);
        for (place, contact) in identity.contacts.iter().enumerate() {
            let ContactId(id) = contact.id;
            let primary = if place == 0 { ", primary" } else { "" };
            let text = vec![format!("contact {id}{primary}"), moment_text(contact.created_at)];
            let name = format!("c{id}");
            let mark = by_set.get(&contact.id).map_or(Mark::Plain, |set| mark(*set));
            drawing.add_lines(identity, &name, contact.identifiers.iter(), mark);
            drawing.add_lines(identity, &name, contact.ignored.iter(), Mark::Absent);
            drawing.nodes.push(Node { name, text, is_identifier: false, mark });
        }
        for set in identity.sets.iter().filter(|set| set.origin != SetOrigin::Contact) {
            let text = vec![format!("{}, {}", set_name(set.name), origin_name(set.origin)), moment_text(set.seen_at)];
            let name = node_name(set.name);
            drawing.add_lines(identity, &name, set.identifiers.iter(), mark(set.name));
            drawing.nodes.push(Node { name, text, is_identifier: false, mark: mark(set.name) });
        }
        drawing
    }

    fn add_lines<'a>(
        &mut self,
        identity: &Inspected,
        from: &str,
        identifiers: impl Iterator<Item = &'a Identifier>,
        mark: Mark,
    ) {
        let line = |one| Line { from: from.to_owned(), to: identity.names.name(one), mark };
        self.lines.extend(identifiers.map(line));
    }
}

/// The set that each contact carries. The oldest contact that carries it names it.
fn sets_of_contacts(identity: &Inspected) -> HashMap<ContactId, SetName> {
    let sorted = |set: &[Identifier]| {
        let mut set = set.to_vec();
        set.sort_unstable();
        set
    };
    let named: HashMap<Vec<Identifier>, SetName> =
        identity.sets.iter().map(|set| (sorted(&set.identifiers), set.name)).collect();
    let set = |contact: &crate::domain::Contact| Some((contact.id, *named.get(&sorted(&contact.identifiers))?));
    identity.contacts.iter().filter_map(set).collect()
}

/// The nodes of each part. A set is in the part of its identifiers, unless the question takes it away.
fn parts(identity: &Inspected, asked: &Asked, explanation: &Explanation) -> Vec<Vec<String>> {
    let names = &identity.names;
    let by_set = sets_of_contacts(identity);
    let stored = identity.sets.iter().filter(|set| set.origin != SetOrigin::Contact);
    let stored: Vec<&SeenSet> = stored.filter(|set| !asked.without_sets.contains(&set.name)).collect();
    let part = |part: &crate::domain::graph::Part| {
        let is_left = |id: &&ContactId| by_set.get(*id).is_none_or(|set| !asked.without_sets.contains(set));
        let contacts = part.contacts.iter().filter(is_left).map(|id| format!("c{}", id.0));
        let members: HashSet<&Identifier> = part.identifiers.iter().collect();
        let sets = stored.iter().filter(|set| set.identifiers.iter().any(|one| members.contains(one)));
        let sets = sets.map(|set| node_name(set.name));
        part.identifiers.iter().map(|one| names.name(one)).chain(contacts).chain(sets).collect()
    };
    explanation.parts.iter().map(part).collect()
}

fn node_name(name: SetName) -> String {
    match name {
        SetName::Contact(ContactId(id)) => format!("c{id}"),
        SetName::Stored(id) => format!("e{id}"),
        SetName::Link(ContactId(id)) => format!("l{id}"),
    }
}
