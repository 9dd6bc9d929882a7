use std::collections::{BTreeSet, HashSet};

use super::names::Names;
use crate::domain::graph::{Explanation, History, PastIdentity, Question, Revision, SeenSet, SetName};
use crate::domain::{Contact, ContactId, Identifier, Timestamp};
use crate::store::HistoryRows;

/// Later than every row.
const PRESENT: Timestamp = Timestamp(i64::MAX);

/// An identity that was read.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The oldest first. There is at least one.
    pub(super) contacts: Vec<Contact>,
    pub(super) updated_at: Timestamp,
    /// The evidence, the oldest first.
    pub(super) sets: Vec<SeenSet>,
    /// The changes up to the moment, the oldest first.
    pub(super) revisions: Vec<Revision>,
    pub(super) read_time: Option<Timestamp>,
    /// From when on all evidence is stored.
    pub(super) complete_since: Option<Timestamp>,
    /// Whether the identity has so much evidence that it gets no more.
    pub(super) is_full: bool,
    pub(super) names: Names,
    history: History,
    members: HashSet<ContactId>,
    owned: HashSet<Identifier>,
}

/// A set or an identifier that somebody names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A set.
    Set(SetName),
    /// The identifier with this number.
    Number(usize),
    /// An identifier.
    Identifier(Identifier),
}

/// Why the identity cannot be asked about something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotThere {
    /// No such set.
    #[error("the identity has no such evidence")]
    Set,
    /// No such identifier.
    #[error("the identity does not own this identifier")]
    Identifier,
    /// Evidence stands where an identifier should.
    #[error("must be an identifier, not evidence")]
    NoIdentifier,
    /// Both ends are one identifier.
    #[error("must be another identifier than the first one")]
    Same,
}

/// What is asked about an identity.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Two identifiers.
    pub(super) between: Option<[Identifier; 2]>,
    pub(super) without_sets: BTreeSet<SetName>,
    pub(super) without_identifiers: BTreeSet<Identifier>,
}

impl Asked {
    /// Returns whether it asks what would be without something.
    pub(super) fn is_counterfactual(&self) -> bool {
        !(self.without_sets.is_empty() && self.without_identifiers.is_empty())
    }
}

impl Inspected {
    /// Returns the identity that `past` finds in these rows at a moment, if it finds one.
    pub(super) fn new(
        rows: HistoryRows,
        complete_since: Option<Timestamp>,
        read_time: Option<Timestamp>,
        shows_values: bool,
        past: impl FnOnce(&History, Timestamp) -> Option<PastIdentity>,
    ) -> Option<Self> {
        let names = Names::new(&rows, shows_values);
        let is_full = rows.is_full();
        let history = rows.into_history();
        let PastIdentity { contacts, updated_at } = past(&history, read_time.unwrap_or(PRESENT))?;
        let members: HashSet<ContactId> = contacts.iter().map(|contact| contact.id).collect();
        let owned: HashSet<Identifier> =
            contacts.iter().flat_map(|contact| contact.identifiers.iter()).cloned().collect();
        // Also what is no evidence, such as an ignored identifier, changes the row of the primary.
        let updated_at = if read_time.is_none() { contacts.first()?.updated_at } else { updated_at };
        let mut found = Self {
            contacts,
            updated_at,
            sets: Vec::new(),
            revisions: Vec::new(),
            read_time,
            complete_since,
            is_full,
            names,
            history,
            members,
            owned,
        };
        found.sets = found.history.sets(read_time);
        found.sets = std::mem::take(&mut found.sets).into_iter().filter(|set| found.has_set(set)).collect();
        found.revisions = found.history.revisions();
        found.revisions = std::mem::take(&mut found.revisions).into_iter().filter(|one| found.had(one)).collect();
        Some(found)
    }

    /// Returns its id.
    pub(super) fn primary(&self) -> ContactId {
        self.contacts.first().map_or(ContactId(0), |contact| contact.id)
    }

    /// Returns how many identifiers its contacts show.
    pub(super) fn identifier_count(&self) -> usize {
        self.shown().len()
    }

    /// Returns the identifiers that its contacts show, also those that are ignored, in the order of their names.
    pub(super) fn shown(&self) -> Vec<&Identifier> {
        let shown: HashSet<&Identifier> = self.contacts.iter().flat_map(Contact::shown).collect();
        let mut shown: Vec<&Identifier> = shown.into_iter().collect();
        shown.sort_by_key(|identifier| self.names.number(identifier));
        shown
    }

    /// Returns whether one of its contacts carries an identifier. It shows the others: they are ignored.
    pub(super) fn owns(&self, identifier: &Identifier) -> bool {
        self.owned.contains(identifier)
    }

    /// Returns whether its evidence at the moment may lack sets that were seen.
    pub(super) fn may_lack_evidence(&self) -> bool {
        self.is_full || self.complete_since.is_none_or(|since| self.read_time.is_some_and(|at| at < since))
    }

    /// Puts a question together.
    ///
    /// # Errors
    /// What of it the identity does not have, with its place: those of `between` come first.
    pub fn asked(&self, between: Option<[Member; 2]>, without: Vec<Member>) -> Result<Asked, (usize, NotThere)> {
        let mut asked = Asked::default();
        if let Some([one, other]) = between {
            let one = self.identifier_of(one).map_err(|problem| (0, problem))?;
            let other = self.identifier_of(other).map_err(|problem| (1, problem))?;
            if one == other {
                return Err((1, NotThere::Same));
            }
            asked.between = Some([one, other]);
        }
        for (place, member) in without.into_iter().enumerate() {
            match member {
                Member::Set(name) if self.sets.iter().any(|set| set.name == name) => {
                    asked.without_sets.insert(name);
                }
                Member::Set(_) => return Err((place, NotThere::Set)),
                other @ (Member::Number(_) | Member::Identifier(_)) => {
                    let identifier = self.identifier_of(other).map_err(|problem| (place, problem))?;
                    asked.without_identifiers.insert(identifier);
                }
            }
        }
        Ok(asked)
    }

    fn identifier_of(&self, member: Member) -> Result<Identifier, NotThere> {
        let identifier = match member {
            Member::Set(_) => return Err(NotThere::NoIdentifier),
            Member::Number(number) => self.names.identifier(number).cloned(),
            Member::Identifier(identifier) => Some(identifier),
        };
        identifier.filter(|one| self.owns(one)).ok_or(NotThere::Identifier)
    }

    /// Answers a question. What belongs to other identities of that moment, which it absorbed later, is left out.
    pub(super) fn explain(&self, asked: &Asked) -> Explanation {
        let Asked { between, without_sets, without_identifiers } = asked.clone();
        let mut found =
            self.history.explain(&Question { at: self.read_time, between, without_sets, without_identifiers });
        found.bridges.retain(|set| self.has_set(set));
        found.parts.retain(|part| {
            part.contacts.iter().any(|contact| self.members.contains(contact))
                || part.identifiers.iter().any(|identifier| self.owned.contains(identifier))
        });
        found
    }

    fn has_set(&self, set: &SeenSet) -> bool {
        match set.name {
            SetName::Contact(contact) | SetName::Link(contact) => self.members.contains(&contact),
            SetName::Stored(_) => set.identifiers.iter().any(|identifier| self.owned.contains(identifier)),
        }
    }

    /// Whether a change had been made at the moment, and made this identity.
    fn had(&self, revision: &Revision) -> bool {
        let Some(at) = self.read_time else { return true };
        let mut contacts = revision.contacts.iter().chain(&revision.absorbed).chain([&revision.primary]);
        revision.at <= at && contacts.any(|contact| self.members.contains(contact))
    }
}
