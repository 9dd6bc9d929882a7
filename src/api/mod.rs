//! What both doors share: the transport-neutral edge of the service.
//!
//! The gRPC and the JSON door differ in how bytes become fields and how an error becomes bytes. What
//! a field means, what can go wrong, how long a call may take and how it is named in the log is here.

mod batch;
mod fault;
mod in_order;
mod parse;
mod readiness;
mod request_id;
mod surface;
mod timeout;

pub use batch::{BatchSize, ItemResult, MAX_BATCH_ITEMS, OpenTally, Tally, batch_body_limit, identify_batch};
pub use fault::{DOMAIN, Fault};
pub use in_order::{InOrder, Run};
pub use parse::{Field, Naming, Problem, Violation, parse};
pub use readiness::Readiness;
pub use request_id::RequestId;
pub use surface::{AskedDeadline, Deadline, Route, Surface, code_name, outcome_name};
pub use timeout::{MalformedTimeout, Timeouts, asked};
