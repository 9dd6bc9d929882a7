use std::collections::BTreeMap;

use super::explain::Part;
use super::history::History;
use super::incidence::Incidence;
use crate::domain::contact::{ContactId, Timestamp};

impl History {
    /// Returns what is connected without these sets and without these identifiers. The part with the oldest contact
    /// comes first. A part without a contact comes last: only contacts of other parts carry its identifiers.
    pub(super) fn parts(
        &self,
        graph: &Incidence,
        at: Option<Timestamp>,
        is_set_removed: impl Fn(usize) -> bool,
        is_removed: impl Fn(usize) -> bool,
    ) -> Vec<Part> {
        let component = graph.components(is_set_removed, &is_removed);
        let mut parts: BTreeMap<usize, Part> = BTreeMap::new();
        for (index, identifier) in graph.identifiers.iter().enumerate().filter(|(index, _)| !is_removed(*index)) {
            let part = parts.entry(component[index]).or_default();
            part.identifiers.push(identifier.clone());
        }
        let mut order: BTreeMap<usize, usize> = BTreeMap::new(); // By component, the place of its oldest contact.
        let mut without: Vec<(usize, ContactId)> = Vec::new();
        for (place, row) in self.contacts.iter().enumerate().filter(|(_, row)| row.is_there(at)) {
            let indexes = row.contact.identifiers.iter().filter_map(|identifier| graph.index(identifier));
            match indexes.into_iter().find(|index| !is_removed(*index)) {
                Some(first) => {
                    order.entry(component[first]).or_insert(place);
                    parts.entry(component[first]).or_default().contacts.push(row.contact.id);
                }
                None if row.contact.identifiers.is_empty() => without.push((place, row.contact.id)),
                None => {}
            }
        }
        for (place, id) in without {
            let group = |place: usize| self.joined.root_at(place, at.unwrap_or(Timestamp(i64::MAX)));
            let primary =
                order.iter().filter(|(_, other)| group(**other) == group(place)).min_by_key(|(_, other)| **other);
            let part = primary.map_or(usize::MAX, |(component, _)| *component);
            order.entry(part).or_insert(place);
            parts.entry(part).or_default().contacts.push(id);
        }
        let mut sorted: Vec<(usize, Part)> = Vec::with_capacity(parts.len());
        for (component, mut part) in parts {
            part.contacts.sort_by_key(|id| self.place(*id));
            part.primary = part.contacts.first().copied();
            sorted.push((order.get(&component).copied().unwrap_or(usize::MAX), part));
        }
        sorted.sort_by_key(|(place, _)| *place); // Stable: those without a contact stay in the order of identifiers.
        sorted.into_iter().map(|(_, part)| part).collect()
    }
}
