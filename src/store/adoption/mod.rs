//! Taking over the table of another system: the tables of this service as `identity adopt` reads and writes them.
//!
//! Nobody else writes meanwhile: `serve` and the commands that write refuse to start until the adoption is done. So a
//! list may be read in several statements. Rows that the adoption cannot have written are never deleted.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `row_chunks` | how many rows one statement takes |
//! | `state` | the row of table `Adoption`, and which run may write |
//! | `contacts` | rows of `Contact` and `AdoptedContact`, by id |
//! | `identifiers` | who is to own which identifier, and who does |
//! | `holders` | the rows that hold ignored identifiers |
//! | `merges` | the joins that the other system did not have |
//! | `evidence` | the sets of an export that no contact carries |
//! | `digest` | whether anybody else has changed anything |
//! | `finish` | counters of ids, statistics, and emptying the tables |

mod contacts;
mod digest;
mod evidence;
mod finish;
mod holders;
mod identifiers;
mod merges;
mod row_chunks;
mod state;
#[cfg(test)]
mod statements;

pub use contacts::{ContactChanges, Original, StoredRow};
pub use evidence::AdoptedSet;
pub use finish::ServiceWrote;
pub use identifiers::{IdentifierChange, OwnedIdentifier};
pub use merges::StoredMerge;
pub use state::{AdoptionPhase, AdoptionRun, AdoptionState, RunToken};
