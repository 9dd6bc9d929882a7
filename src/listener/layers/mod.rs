//! The layers of [`stack`](super::stack), one file each. All are tower services with named futures, so that no
//! layer boxes a future.

mod access_log;
mod admitted;
mod authenticate;
mod begin_trace;
mod call_limit;
mod catch_panic;
mod deadline;
mod error_response;
mod failure;
mod failure_sample;
mod message_count;
mod origin_check;
mod queue_place;
mod request_id;
mod rpc_metrics;
mod unread_body;

pub(super) use access_log::AccessLog;
pub(super) use authenticate::Authenticate;
pub(super) use begin_trace::BeginTrace;
pub(super) use call_limit::{CallLimit, Places};
pub(super) use catch_panic::CatchPanic;
pub(super) use deadline::DeadlineLimit;
pub(super) use error_response::ErrorResponse;
pub(super) use origin_check::OriginCheck;
pub(super) use queue_place::QueuePlace;
pub(super) use request_id::AssignRequestId;
pub(super) use rpc_metrics::RpcMetrics;
pub(super) use unread_body::DrainUnread;
