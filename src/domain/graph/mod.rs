//! The graph of an identity: what connects its identifiers, and what it was at earlier moments.
//!
//! A node is an identifier. Each set of identifiers that was seen together connects its members. `docs/graph.md` has
//! the words and an example.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `seen_set` | a set of identifiers that was seen, and its name |
//! | `history` | all rows of an identity, and the moments at which they connect |
//! | `join_times` | since when two rows belong together |
//! | `past` | the identity at an earlier moment |
//! | `revisions` | the changes of an identity, one by one |
//! | `sets` | what connects an identity, at a moment |
//! | `explain` | a question about these sets, and the answer |
//! | `incidence` | which identifiers are in which sets |
//! | `path`, `weakest_cut` | the shortest chain between two identifiers, and the fewest sets that part them |
//! | `bridges` | the sets of which each one alone holds the identity together |
//! | `parts` | what is left without some sets or identifiers |
//! | `examples`, `brute_force`, `generated` | tests: by example, and against slow and simple rules |

mod bridges;
mod explain;
mod history;
mod incidence;
mod join_times;
mod parts;
mod past;
mod path;
mod revisions;
mod seen_set;
mod sets;
mod weakest_cut;

#[cfg(test)]
mod brute_force;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod generated;

pub use explain::{Explanation, Part, Question};
pub use history::{History, HistoryContact, LinkMerge};
pub use past::PastIdentity;
pub use revisions::{Revision, RevisionKind};
pub use seen_set::{SeenSet, SetName, SetNotes, SetOrigin, StoredSet};
