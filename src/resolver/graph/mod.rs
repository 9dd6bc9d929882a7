//! Reads for the callers who ask what the service knows. They write nothing.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `read_graph` | the trait that the APIs call |
//! | `job`, `lane` | reads that wait, and the lanes that carry them out |
//! | `by_id` | identities by the ids of their contacts |
//! | `large_contacts` | the contacts of large identities, whose reads have a lane of their own |
//! | `list` | a page of all identities |
//! | `history` | the past of an identity |
//! | `past_owners` | who owned identifiers at an earlier moment |
//! | `locked` | the same reads under locks, where several servers take writes |
//!
//! Look-ups by identifiers go through the read lanes and the batch lanes, as requests to identify do.

mod by_id;
mod history;
mod job;
mod lane;
mod large_contacts;
mod list;
mod locked;
mod past_owners;
mod read_graph;

pub(super) use by_id::IdReader;
pub(super) use job::{GraphJob, GraphQueue, GraphRead, HistoryQuery, PageQuery};
pub(super) use lane::GraphLane;
pub(super) use large_contacts::LargeContacts;
pub use past_owners::PastLookUp;
pub(super) use past_owners::PastQuery;
pub use read_graph::{IdentityPage, ReadGraph};
