//! Who calls: tokens, client certificates, scopes and rate limits.
//!
//! The rules are pure: [`Scope`], the file of callers ([`CallerTable::parse`]), the names of a certificate and how they
//! become a caller. [`Authenticator`] is the one place where credentials become a caller.

mod access_control;
mod append;
mod authenticator;
mod bearer;
mod caller_file;
mod caller_table;
mod certificate_names;
mod entries;
mod known_caller;
mod permission;
mod scope;
mod token;

pub use access_control::{AccessControl, Refusal};
pub use append::{AppendError, NewToken, append};
pub use authenticator::{Authenticator, Credentials, Unauthenticated};
pub use bearer::bearer;
pub use caller_file::{CallerFile, Callers};
pub use caller_table::CallerTable;
pub use certificate_names::certificate_names;
pub use entries::{CallerEntry, InvalidName, Rate, check_name};
pub use known_caller::KnownCaller;
pub use permission::Permission;
pub use scope::{Scope, Scopes};
pub use token::{Token, TokenHash};
