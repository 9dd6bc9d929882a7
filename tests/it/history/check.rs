//! The checker. Each rule is one that every history of a right service keeps.

use std::collections::{HashMap, HashSet};

use super::groups::Groups;
use super::{Call, Key, Seen};

/// What an answer is made of: identifiers, and the contacts that brought them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Element {
    Key(Key),
    Contact(i64),
}

/// Every rule that a history breaks, in words; none when it can have come from one service that handles
/// requests one at a time.
pub fn check(history: &[Call]) -> Vec<String> {
    let mut refused = Vec::new();
    by_itself(history, &mut refused);
    in_time(history, &mut refused);
    by_growth(history, &mut refused);
    contacts_are_brought_once(history, &mut refused);
    refused
}

fn answers(history: &[Call]) -> impl Iterator<Item = (&Call, u64, &Seen)> {
    history.iter().filter_map(|call| call.end.as_ref().map(|(end, seen)| (call, *end, seen)))
}

fn elements(seen: &Seen) -> Vec<Element> {
    let contacts = seen.contacts.iter().map(|contact| Element::Contact(*contact));
    seen.keys().map(Element::Key).chain(contacts).collect()
}

/// An answer has what was asked for, nothing twice, and the shape of its outcome.
fn by_itself(history: &[Call], refused: &mut Vec<String>) {
    for (call, _, seen) in answers(history) {
        let elements = elements(seen);
        let distinct: HashSet<&Element> = elements.iter().collect();
        let has_all =
            seen.outcome == "unknown" || call.request.iter().all(|key| distinct.contains(&Element::Key(key.clone())));
        let fits = match seen.outcome {
            "found" => call.is_look_up,
            "unknown" => call.is_look_up && elements.is_empty(),
            _ if call.is_look_up => false,
            "created" => seen.contacts.len() == 1 && seen.keys().count() == call.request.len(),
            "linked" => seen.contacts.len() > 1 && call.request.len() > 1,
            "merged" => seen.contacts.len() > 1 && call.request.len() > 1,
            "matched" => true,
            _ => false,
        };
        if !has_all || !fits || distinct.len() != elements.len() {
            refused.push(format!("an answer that cannot be: {call:?}"));
        }
    }
}

/// What must have happened before a call and what may have happened before its end.
fn in_time(history: &[Call], refused: &mut Vec<String>) {
    // Ends before starts of the same moment would claim an order that nobody saw; so starts come first.
    let mut moments: Vec<(u64, bool, &Call)> = Vec::new();
    for call in history {
        moments.push((call.start, false, call));
        moments.extend(call.end.as_ref().map(|(end, _)| (*end, true, call)));
    }
    moments.sort_by_key(|(moment, is_end, _)| (*moment, *is_end));
    let (mut said, mut sent) = (Groups::<Element>::new(), Groups::<Key>::new());
    let mut senders: HashMap<Key, usize> = HashMap::new();
    for (_, is_end, call) in moments {
        let seen = call.end.as_ref().map(|(_, seen)| seen);
        match (is_end, seen) {
            (false, _) => {
                if let Some(seen) = seen {
                    must(&said, call, seen, refused);
                }
                if !call.is_look_up {
                    sent.join(&call.request);
                    call.request.iter().for_each(|key| *senders.entry(key.clone()).or_default() += 1);
                }
            }
            (true, Some(seen)) => {
                may(&sent, &senders, call, seen, refused);
                said.join(&elements(seen));
            }
            (true, None) => {}
        }
    }
}

/// At its start: all that was said of any of its elements is part of the answer, and the outcome fits what
/// was known.
fn must(said: &Groups<Element>, call: &Call, seen: &Seen, refused: &mut Vec<String>) {
    let elements = elements(seen);
    let has: HashSet<&Element> = elements.iter().collect();
    for group in said.groups(&elements) {
        if let Some(lost) = said.in_group(group).iter().find(|one| !has.contains(one)) {
            refused.push(format!("{lost:?} was acknowledged before, and is not in the answer: {call:?}"));
        }
    }
    let keys: Vec<Element> = call.request.iter().cloned().map(Element::Key).collect();
    let known = keys.iter().filter(|key| said.knows(key)).count();
    if seen.outcome == "unknown" && known > 0 {
        refused.push(format!("it was acknowledged before, and is not found: {call:?}"));
    }
    let is_joined = known == keys.len() && said.groups(&keys).len() == 1;
    let fits = match seen.outcome {
        "created" => known == 0,
        "linked" => known < keys.len(),
        "merged" => !is_joined,
        _ => true,
    };
    if !fits {
        refused.push(format!("what it did was done before: {call:?}"));
    }
    let newest = seen.contacts.last().filter(|_| matches!(seen.outcome, "created" | "linked"));
    if newest.is_some_and(|contact| said.knows(&Element::Contact(*contact))) {
        refused.push(format!("its new contact was seen before: {call:?}"));
    }
}

/// At its end: requests have been sent that join all of it, and that gave what it found known.
fn may(sent: &Groups<Key>, senders: &HashMap<Key, usize>, call: &Call, seen: &Seen, refused: &mut Vec<String>) {
    let own = call.request.first().and_then(|key| sent.group(key));
    if let Some(stranger) = seen.keys().find(|key| sent.group(key) != own) {
        refused.push(format!("{stranger:?} was joined with it by no request: {call:?}"));
    }
    if seen.outcome == "found" && !call.request.iter().all(|key| senders.contains_key(key)) {
        refused.push(format!("nobody had sent what was found: {call:?}"));
    }
    let is_alone = |key: &Key| senders.get(key).copied().unwrap_or_default() < 2;
    let alone = call.request.iter().filter(|key| is_alone(key)).count();
    let fits = match seen.outcome {
        "matched" | "merged" => alone == 0,
        "linked" => alone < call.request.len(),
        _ => true,
    };
    if !fits {
        refused.push(format!("nobody can have brought what it found: {call:?}"));
    }
}

/// Two answers of one identity are nested, whenever they came, and agree on the order of what both have.
fn by_growth(history: &[Call], refused: &mut Vec<String>) {
    let mut all: Vec<(&Call, &Seen)> = answers(history).map(|(call, _, seen)| (call, seen)).collect();
    all.retain(|(_, seen)| seen.outcome != "unknown");
    all.sort_by_key(|(_, seen)| seen.contacts.len() + seen.emails.len() + seen.phones.len());
    let mut grown = Groups::<Element>::new();
    let mut orders: HashMap<usize, [Vec<Element>; 3]> = HashMap::new();
    for (call, seen) in all {
        let elements = elements(seen);
        let place: HashMap<&Element, usize> = elements.iter().enumerate().map(|(n, one)| (one, n)).collect();
        let mut is_right = true;
        for group in grown.groups(&elements) {
            if grown.in_group(group).iter().any(|one| !place.contains_key(one)) {
                refused.push(format!("neither before nor after another answer of its identity: {call:?}"));
                is_right = false;
                break;
            }
            let ascends = |order: &Vec<Element>| order.is_sorted_by_key(|one| place.get(one));
            if !orders.get(&group).is_none_or(|orders| orders.iter().all(ascends)) {
                refused.push(format!("another order than in an answer before: {call:?}"));
            }
        }
        if is_right {
            grown.join(&elements);
            let key = |kind: char, values: &[String]| {
                values.iter().map(|value| Element::Key((kind, value.clone()))).collect::<Vec<_>>()
            };
            let contacts = seen.contacts.iter().map(|contact| Element::Contact(*contact)).collect();
            if let Some(group) = elements.first().and_then(|one| grown.group(one)) {
                orders.insert(group, [contacts, key('e', &seen.emails), key('p', &seen.phones)]);
            }
        }
    }
}

/// Each contact was brought by one call: one that says so, or one of those whose end nobody knows.
fn contacts_are_brought_once(history: &[Call], refused: &mut Vec<String>) {
    let mut brought: HashMap<i64, &Call> = HashMap::new();
    for (call, _, seen) in answers(history).filter(|(_, _, seen)| matches!(seen.outcome, "created" | "linked")) {
        if let Some(contact) = seen.contacts.last()
            && let Some(other) = brought.insert(*contact, call)
        {
            refused.push(format!("two calls brought contact {contact}: {other:?} and {call:?}"));
        }
    }
    let mut joined = Groups::<Key>::new();
    let carried_out = || history.iter().filter(|call| !call.is_look_up);
    carried_out().for_each(|call| joined.join(&call.request));
    let mut unexplained: HashMap<usize, HashSet<i64>> = HashMap::new();
    for (call, _, seen) in answers(history) {
        let Some(group) = call.request.first().and_then(|key| joined.group(key)) else { continue };
        let without = seen.contacts.iter().filter(|contact| !brought.contains_key(contact));
        unexplained.entry(group).or_default().extend(without);
    }
    for call in carried_out().filter(|call| call.end.is_none()) {
        let group = call.request.first().and_then(|key| joined.group(key));
        if let Some(contacts) = group.and_then(|group| unexplained.get_mut(&group)) {
            let any = contacts.iter().next().copied();
            any.map(|contact| contacts.remove(&contact));
        }
    }
    for contact in unexplained.into_values().flatten() {
        refused.push(format!("no call brought contact {contact}"));
    }
}
