//! The two APIs: bytes to requests, answers and errors to bytes.
//!
//! The gRPC API ([`grpc`]) and the JSON API ([`http`]) differ in how bytes become fields and how an error becomes
//! bytes. The files beside them hold what both share: what a field means, what can go wrong, how long a call may take
//! and how the log names it.
//!
//! To add an RPC:
//!
//! 1. the RPC, its messages and their comments in `proto/identity/v1/`;
//! 2. its method in `grpc/service.rs`, over a use case of the resolver; a stream gets a file of its own, and so does
//!    each method of `GraphService` in `grpc/graph/`;
//! 3. if it has a `google.api.http` rule: nothing. The gateway of `http/gateway/` translates each RPC of a service that
//!    the listener gives it. JSON of another form needs a handler in a file of `http/`, and a line in `http::routes`.
//!    The start fails for a rule that nothing serves, and for a handler without a rule;
//! 4. the scope that it needs, in `access.rs`; an entry in `methods.rs` if its messages may be large;
//! 5. new errors as variants of [`ApiError`](errors::ApiError), where the compiler asks for code, reason and metadata.
//!
//! Reflection, the log and the deadline need nothing: they are made from the descriptors.

pub(crate) mod access;
pub mod answered;
pub mod batch;
mod batch_answer;
pub mod batch_size;
pub mod call_outcome;
pub mod call_place;
pub mod connection;
pub mod deadline;
pub mod errors;
pub mod grpc;
pub mod gunzip;
pub mod http;
mod identity_bytes;
pub mod invalid_field;
mod listing;
pub(crate) mod methods;
pub mod note;
pub mod ordering;
pub mod parse;
pub mod peer;
pub mod readiness;
pub mod request_id;
pub mod routes;
mod slices;
mod stream_end;
pub(crate) mod template;
