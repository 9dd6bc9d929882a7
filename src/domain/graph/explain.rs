use std::collections::BTreeSet;

use super::bridges::bridges;
use super::history::History;
use super::incidence::Incidence;
use super::path::shortest_path;
use super::seen_set::{SeenSet, SetName};
use super::weakest_cut::weakest_cut;
use crate::domain::contact::{ContactId, Timestamp};
use crate::domain::identifier::Identifier;

/// A question about what holds an identity together.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The moment that the question is about. `None` is now.
    pub at: Option<Timestamp>,
    /// Two identifiers, for the path and the weakest cut between them.
    pub between: Option<[Identifier; 2]>,
    /// The sets without which the parts are formed.
    pub without_sets: BTreeSet<SetName>,
    /// The identifiers without which the parts are formed.
    pub without_identifiers: BTreeSet<Identifier>,
}

/// What holds an identity together. Sets of a list are in the order of [`History::sets`], those of `path` in the order
/// of the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The fewest sets that lead from one identifier to the other. Empty if the question names none.
    pub path: Vec<SeenSet>,
    /// The fewest sets whose loss parts the two. Empty if the question names none.
    pub weakest_cut: Vec<SeenSet>,
    /// The sets of which the loss of each one alone splits the identity.
    pub bridges: Vec<SeenSet>,
    /// What is left without the sets and identifiers of the question: one part for each customer that it would be.
    pub parts: Vec<Part>,
}

/// Identifiers that are connected.
///
/// A contact belongs to the part of its first identifier that is left. One of which no identifier is left is in no
/// part. One that never had an identifier belongs to the part of its primary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The oldest of its contacts, if it has one.
    pub primary: Option<ContactId>,
    /// Its identifiers: those of the oldest contact first.
    pub identifiers: Vec<Identifier>,
    /// Its contacts, the oldest first.
    pub contacts: Vec<ContactId>,
}

impl History {
    /// Answers a question. Names and identifiers that the identity does not have change nothing.
    pub fn explain(&self, question: &Question) -> Explanation {
        let sets = self.sets(question.at);
        let graph = Incidence::from_history(self, &sets, question.at);
        let pick = |places: Vec<usize>| places.into_iter().map(|place| sets[place].clone()).collect::<Vec<_>>();
        let between = question.between.as_ref().map(|pair| pair.each_ref().map(|one| graph.index(one)));
        let ends = match between {
            Some([Some(from), Some(to)]) if from != to => Some((from, to)),
            _ => None,
        };
        let removed: Vec<bool> = sets.iter().map(|set| question.without_sets.contains(&set.name)).collect();
        let is_removed = |index: usize| question.without_identifiers.contains(&graph.identifiers[index]);
        Explanation {
            path: ends.map(|(from, to)| pick(shortest_path(&graph, from, to))).unwrap_or_default(),
            weakest_cut: ends.map(|(from, to)| pick(weakest_cut(&graph, from, to))).unwrap_or_default(),
            bridges: pick(bridges(&graph)),
            parts: self.parts(&graph, question.at, |set| removed[set], is_removed),
        }
    }
}
