//! The test oracle of the planner: a brute-force model, and the tables in memory.
//!
//! The model knows no primaries, links or merges. It knows only which identifiers were seen together, what is
//! connected, and what came first. Other checkers have models of their own, on purpose:
//! `tests/it/harness/components.rs` for the tables, `tests/it/history` and `tests/simulation/check.rs` for what callers
//! saw.
#![expect(missing_docs, clippy::expect_used, reason = "only for tests and the fuzzer")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::*;

/// All observations so far, and the ones that became contacts (numbered from 1, in order).
#[derive(Default)]
pub struct Model {
    /// Maximum contacts of an identity.
    pub max_contacts: Option<usize>,
    pub seen: Vec<BTreeSet<Identifier>>,
    pub contacts: Vec<BTreeSet<Identifier>>,
    pub ignored: BTreeSet<Identifier>,
    /// How often an identifier was ignored.
    pub times: usize,
}

/// Stands between a value and a number. No observation has it.
const NAMELESS: char = '#';

/// The value that an answer shows.
fn shown(value: &str) -> &str {
    value.split(NAMELESS).next().unwrap_or(value)
}

#[derive(Debug, PartialEq)]
pub struct Expected {
    pub outcome: Outcome,
    /// The identifiers that were left out.
    pub ignored: Vec<Identifier>,
    pub contacts: Vec<i64>,
    pub values: Vec<Vec<String>>,
}

impl Model {
    /// Returns all identifiers that are connected to these.
    fn component(&self, from: &BTreeSet<Identifier>) -> BTreeSet<Identifier> {
        let mut reached = from.clone();
        loop {
            let before = reached.len();
            for seen in &self.seen {
                if !seen.is_disjoint(&reached) {
                    reached.extend(seen.iter().cloned());
                }
            }
            if reached.len() == before {
                return reached;
            }
        }
    }

    /// Returns the numbers of the contacts that carry any of these identifiers, and what they carry.
    fn carriers(&self, of: &BTreeSet<Identifier>) -> Vec<(i64, &BTreeSet<Identifier>)> {
        (1_i64..).zip(&self.contacts).filter(|(_, carried)| !carried.is_disjoint(of)).collect()
    }

    /// Puts one identifier in the place of another, in all that was seen and all that became a contact.
    fn rename(&mut self, which: impl Fn(&BTreeSet<Identifier>) -> bool, from: &Identifier, to: &Identifier) {
        for set in self.seen.iter_mut().chain(&mut self.contacts).filter(|set| which(set)) {
            if set.remove(from) {
                set.insert(to.clone());
            }
        }
    }

    /// From now on nobody is joined by this identifier. Who was joined by it stays together: in what was seen, an
    /// identifier stands in its place that nobody gives any more.
    pub fn ignore(&mut self, identifier: &Identifier) {
        if self.ignored.insert(identifier.clone()) {
            self.times += 1;
            let nameless = format!("{}{NAMELESS}{}", identifier.value(), self.times);
            self.rename(|_| true, identifier, &Identifier::from_stored(identifier.kind(), nameless));
        }
    }

    /// The identifier counts again, for the customer of the oldest contact that shows it.
    pub fn stop_ignoring(&mut self, identifier: &Identifier) {
        if !self.ignored.remove(identifier) {
            return;
        }
        let is_it = |one: &&Identifier| one.kind() == identifier.kind() && shown(one.value()) == identifier.value();
        let Some(oldest) = self.contacts.iter().find_map(|carried| carried.iter().find(is_it)).cloned() else { return };
        let component = self.component(&BTreeSet::from([oldest]));
        for nameless in component.iter().filter(is_it) {
            self.rename(|set| !set.is_disjoint(&component), nameless, identifier);
        }
    }

    pub fn observe(&mut self, observation: &Observation) -> Result<Expected, Refusal> {
        let (given, ignored): (BTreeSet<Identifier>, Vec<Identifier>) = {
            let all = observation.identifiers().iter().cloned();
            let (ignored, given): (BTreeSet<_>, BTreeSet<_>) = all.partition(|one| self.ignored.contains(one));
            (given, ignored.into_iter().collect())
        };
        if given.is_empty() {
            return Err(Refusal::OnlyIgnored);
        }
        let known = |identifier: &&Identifier| self.seen.iter().any(|seen| seen.contains(*identifier));
        let (old, new): (Vec<_>, Vec<_>) = given.iter().partition(known);
        let components: BTreeSet<BTreeSet<Identifier>> =
            old.into_iter().map(|identifier| self.component(&BTreeSet::from([identifier.clone()]))).collect();
        let outcome = match (components.len(), new.is_empty()) {
            (0, _) => Outcome::Created,
            (1, true) => Outcome::Matched,
            (1, false) => Outcome::Linked,
            _ => Outcome::Merged,
        };
        let contact_count = self.carriers(&self.component(&given)).len() + usize::from(!new.is_empty());
        match self.max_contacts {
            Some(limit) if contact_count > limit && [Outcome::Linked, Outcome::Merged].contains(&outcome) => {
                return Err(IdentityTooLarge { limit }.into());
            }
            _ => {}
        }
        if !new.is_empty() {
            self.contacts.push(given.clone());
        }
        self.seen.push(given.clone());
        let mine = self.carriers(&self.component(&given));
        let values = |kind| {
            let mut values: Vec<String> = Vec::new();
            for identifier in mine.iter().flat_map(|(_, carried)| *carried).filter(|i| i.kind() == kind) {
                if !values.iter().any(|value| value == shown(identifier.value())) {
                    values.push(shown(identifier.value()).to_owned());
                }
            }
            values
        };
        Ok(Expected {
            outcome,
            ignored,
            contacts: mine.iter().map(|(id, _)| *id).collect(),
            values: IdentifierKind::ALL.map(values).into(),
        })
    }
}

/// The tables in memory. They apply plans as the store does.
#[derive(Default)]
pub struct Tables {
    /// Maximum contacts of an identity.
    pub max_contacts: Option<usize>,
    pub contacts: Vec<Contact>,
    pub deleted: BTreeSet<ContactId>,
    pub identifiers: HashMap<Identifier, ContactId>,
    pub merges: Vec<(ContactId, ContactId)>,
    /// The sets beside the contacts.
    pub evidence: BTreeMap<SetKey, NewEvidence>,
    /// The notes of the sets of contacts.
    pub notes: BTreeMap<ContactId, Arc<Note>>,
    /// Maximum sets of an identity, if it is not [`MAX_EVIDENCE`].
    pub max_evidence: Option<usize>,
    /// The identifiers whose row names a holder.
    pub ignored: BTreeSet<Identifier>,
}

impl Tables {
    fn root(&self, contact: ContactId) -> ContactId {
        match self.contacts.iter().find(|row| row.id == contact).expect("rows are never removed").link {
            Link::Primary => contact,
            Link::SecondaryOf(primary) => primary,
        }
    }

    pub fn snapshot(&self, observations: &[Observation]) -> Snapshot {
        let requested = observations.iter().flat_map(|observation| observation.identifiers());
        let roots: BTreeSet<ContactId> =
            requested.filter_map(|identifier| self.identifiers.get(identifier)).map(|id| self.root(*id)).collect();
        let identity = |root: ContactId| {
            let rows = self.contacts.iter().filter(|row| self.root(row.id) == root).cloned();
            let (deleted, live): (Vec<_>, Vec<_>) = rows.partition(|row| self.deleted.contains(&row.id));
            Some(Identity::new(live)?.with_deleted(deleted))
        };
        let ignored = observations.iter().flat_map(|observation| observation.identifiers().to_vec());
        let ignored = ignored.filter(|identifier| self.ignored.contains(identifier)).collect();
        Snapshot::new(roots.into_iter().filter_map(identity).collect()).with_ignored(ignored)
    }

    /// Gives the identifier to a holder. The contacts of its owner show it from now on and do not carry it.
    pub fn ignore(&mut self, identifier: &Identifier) {
        if self.ignored.insert(identifier.clone())
            && let Some(owner) = self.identifiers.remove(identifier)
        {
            self.mark(self.root(owner), identifier, true);
        }
    }

    /// Gives the identifier back to the oldest live contact that shows it, and its identity carries it again. Sets that
    /// do not belong to one identity by then are deleted, as by `identity ignore remove`.
    pub fn stop_ignoring(&mut self, identifier: &Identifier) {
        let shows = |row: &&Contact| row.ignored.contains(identifier) && !self.deleted.contains(&row.id);
        let oldest = self.contacts.iter().filter(shows).min_by_key(|row| row.age()).map(|row| row.id);
        if !self.ignored.remove(identifier) {
            return;
        }
        if let Some(oldest) = oldest {
            self.identifiers.insert(identifier.clone(), oldest);
            self.mark(self.root(oldest), identifier, false);
        }
        let with_it: Vec<NewEvidence> =
            self.evidence.values().filter(|one| one.identifiers.contains(identifier)).cloned().collect();
        for one in with_it {
            self.repair_evidence(&one);
        }
    }

    /// As `DatabaseTransaction::repair_evidence`.
    fn repair_evidence(&mut self, one: &NewEvidence) {
        let observation = Observation::new(one.identifiers.iter().cloned()).expect("a set has identifiers");
        match sets_of_merges(&self.snapshot(&[observation]), &[one.identifiers.to_vec()]).pop() {
            Some((root, _)) if self.root_of_set(one) == Some(root) => {}
            Some((_, new)) => drop(self.evidence.insert(one.key, NewEvidence { origin: one.origin, ..new })),
            None => drop(self.evidence.remove(&one.key)),
        }
    }

    fn mark(&mut self, root: ContactId, identifier: &Identifier, is_ignored: bool) {
        let of_root = |row: &Contact| row.id == root || row.link == Link::SecondaryOf(root);
        for row in self.contacts.iter_mut().filter(|row| of_root(row)) {
            let shown: Vec<Identifier> = row.shown().cloned().collect();
            let (it, others): (Vec<_>, Vec<_>) = shown.into_iter().partition(|one| one == identifier);
            let (mut carried, mut ignored): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|one| row.identifiers.contains(one));
            if is_ignored { &mut ignored } else { &mut carried }.extend(it);
            (row.identifiers, row.ignored) = (carried.into(), ignored.into());
            if row.id == root {
                row.updated_at = row.updated_at.next();
            }
        }
    }

    fn carry_out(&mut self, plan: &Plan) -> Vec<ContactId> {
        let first = self.contacts.len() as i64 + 1;
        let ids: Vec<ContactId> = (first..).take(plan.new_contacts.len()).map(ContactId).collect();
        let resolve = |id: ContactRef| match id {
            ContactRef::Stored(id) => id,
            ContactRef::Planned(index) => ids[index],
        };
        let resolve_link = |link: Link<ContactRef>| match link {
            Link::Primary => Link::Primary,
            Link::SecondaryOf(primary) => Link::SecondaryOf(resolve(primary)),
        };
        for (new, id) in plan.new_contacts.iter().zip(&ids) {
            self.contacts.push(Contact {
                id: *id,
                identifiers: Arc::clone(&new.identifiers),
                ignored: Arc::default(),
                created_at: new.created_at,
                updated_at: new.updated_at,
                link: resolve_link(new.link),
            });
        }
        let noted =
            plan.new_contacts.iter().zip(&ids).filter_map(|(new, id)| Some((*id, Arc::clone(new.note.as_ref()?))));
        self.notes.extend(noted);
        for (identifier, owner) in &plan.new_identifiers {
            assert_eq!(self.identifiers.insert(identifier.clone(), resolve(*owner)), None, "owned twice");
        }
        for row in &mut self.contacts {
            let is_moved = |moved: &&Move| row.link == Link::SecondaryOf(moved.from);
            if let Some(moved) = plan.moves.iter().find(is_moved) {
                row.link = Link::SecondaryOf(resolve(moved.to));
                assert!(plan.updated_at > row.updated_at);
                row.updated_at = plan.updated_at;
            }
            if let Some(relink) = plan.relinks.iter().find(|relink| relink.contact == row.id) {
                row.link = resolve_link(relink.link);
                assert!(plan.updated_at >= row.updated_at);
                row.updated_at = plan.updated_at;
            }
            if plan.touched.contains(&row.id) {
                assert!(plan.updated_at > row.updated_at);
                row.updated_at = plan.updated_at;
            }
        }
        for new in &plan.new_evidence {
            let stored = NewEvidence { contact: ContactRef::Stored(resolve(new.contact)), ..new.clone() };
            let before = self.evidence.insert(new.key, stored);
            assert_eq!(before.is_some(), new.replaces, "stored twice");
        }
        self.merges.extend(plan.merges.iter().map(|merge| (resolve(merge.survivor), resolve(merge.absorbed))));
        ids
    }

    /// The root that the contact of a stored set leads to.
    pub fn root_of_set(&self, one: &NewEvidence) -> Option<ContactId> {
        let ContactRef::Stored(contact) = one.contact else { return None };
        self.contacts.iter().any(|row| row.id == contact).then(|| self.root(contact))
    }

    /// What the store says of these sets, and of the identities of these roots.
    fn stored_evidence(&self, sets: &[SetKey], roots: &BTreeSet<ContactId>) -> StoredEvidence {
        let of_root = |root: ContactId| {
            let count = self.evidence.values().filter(|one| self.root_of_set(one) == Some(root)).count();
            let is_full = self.max_evidence.is_some_and(|max| count >= max);
            (root, if is_full { MAX_EVIDENCE } else { count })
        };
        StoredEvidence {
            sets: sets.iter().filter_map(|set| Some((*set, self.root_of_set(self.evidence.get(set)?)))).collect(),
            counts: roots.iter().copied().map(of_root).collect(),
        }
    }

    pub fn identify(&mut self, observations: &[Observation], now: i64) -> Vec<Result<Answer, Refusal>> {
        let before = self.contacts.clone();
        let known = self.snapshot(observations);
        let identifiers = observations.iter().flat_map(|observation| observation.identifiers());
        for orphan in identifiers.filter(|identifier| !known.owns(identifier)) {
            if self.identifiers.remove(orphan).is_some() {
                self.evidence.retain(|_, one| !one.identifiers.contains(orphan));
            }
        }
        let max_contacts = self.max_contacts.unwrap_or(usize::MAX);
        let first = plan(observations, &known, Timestamp(now), max_contacts);
        let (sets, roots) = first.evidence_to_look_up(false);
        let known = if sets.is_empty() { known } else { known.with_evidence(self.stored_evidence(&sets, roots)) };
        let plan = plan(observations, &known, Timestamp(now), max_contacts);
        let ids = self.carry_out(&plan);
        self.check(&before);
        let answers = plan.answers(&ids);
        self.check_answers(&answers);
        let is_all_known = answers.iter().flatten().all(|answer| answer.outcome == Outcome::Matched);
        assert_eq!(plan.is_empty(), is_all_known && plan.new_evidence.is_empty());
        let written = before.iter().filter(|row| !self.contacts.contains(row)).map(|row| row.id);
        let is_moved = |row: &&Contact| plan.moves.iter().any(|moved| row.link == Link::SecondaryOf(moved.from));
        let moved = before.iter().filter(is_moved).map(|row| row.id);
        assert_eq!(plan.written().into_iter().chain(moved).collect::<BTreeSet<_>>(), written.collect());
        answers
    }

    /// Checks that each answer holds its identity as it is stored now, row by row: a copy for later.
    fn check_answers(&self, answers: &[Result<Answer, Refusal>]) {
        for identity in answers.iter().flatten().map(|answer| answer.identity.list()) {
            let root = identity.root();
            let mut stored: Vec<&Contact> = self.contacts.iter().filter(|row| self.root(row.id) == root).collect();
            let mut kept: Vec<&Contact> = identity.rows().collect();
            stored.sort_by_key(|row| row.id);
            kept.sort_by_key(|row| row.id);
            assert_eq!(kept, stored, "the identity of an answer is not what is stored");
            assert!(identity.deleted().iter().all(|row| self.deleted.contains(&row.id)));
        }
    }

    /// Checks the invariants of the rows, after every plan.
    fn check(&self, before: &[Contact]) {
        for (key, one) in &self.evidence {
            assert!(*key == SetKey::of(&one.identifiers) && one.identifiers.len() > 1);
            let ContactRef::Stored(contact) = one.contact else { unreachable!("it was given an id") };
            let owned = one.identifiers.iter().filter_map(|member| self.identifiers.get(member));
            assert!(owned.map(|owner| self.root(*owner)).all(|root| root == self.root(contact)), "of several");
        }
        for row in &self.contacts {
            let root = self.contacts.iter().find(|other| other.id == self.root(row.id));
            let root = root.expect("a link leads to a row");
            assert_eq!(root.link, Link::Primary, "a chain");
            let are_live = [root, row].iter().all(|row| !self.deleted.contains(&row.id));
            assert!(!are_live || root.age() <= row.age(), "a primary that is not the oldest");
            let changed = |other: &Contact| before.iter().find(|row| row.id == other.id) != Some(other);
            if changed(row) {
                assert!(changed(root), "a change of an identity must touch its primary");
            }
            if !self.deleted.contains(&row.id) {
                let first = |identifier| self.root(self.identifiers[identifier]);
                assert!(row.identifiers.iter().all(|identifier| first(identifier) == root.id), "it cannot be found");
            }
        }
    }
}

pub fn show(answer: &Result<Answer, Refusal>) -> Result<Expected, Refusal> {
    let Answer { outcome, identity, ignored } = answer.as_ref().map_err(|error| *error)?;
    assert_eq!(identity.contact_count(), identity.contacts().count());
    let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
    Ok(Expected {
        outcome: *outcome,
        ignored: ignored.clone(),
        contacts: identity.contacts().map(|contact| contact.id.0).collect(),
        values: IdentifierKind::ALL.map(|kind| owned(identity.values(kind))).into(),
    })
}
