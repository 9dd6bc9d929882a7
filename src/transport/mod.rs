//! What both APIs share: the transport-neutral edge of the service.
//!
//! The gRPC and the JSON API differ in how bytes become fields and how an error becomes bytes. What
//! a field means, what can go wrong, how long a call may take and how it is named in the log is here.

pub mod grpc;
pub mod http;

mod batch;
mod deadline;
mod errors;
mod ordering;
mod parse;
mod readiness;
mod request_id;
mod routes;

pub use batch::{BatchSize, ItemResult, MAX_BATCH_ITEMS, OpenTally, Tally, batch_body_limit, identify_batch};
pub use deadline::{Deadlines, MalformedTimeout};
pub use errors::{ApiError, DOMAIN};
pub use ordering::{IdentifierOrder, OrderedGroup};
pub use parse::{Field, Naming, Problem, Violation, parse};
pub use readiness::Readiness;
pub use request_id::RequestId;
pub use routes::{Route, RouteTable, code_name, outcome_name};
