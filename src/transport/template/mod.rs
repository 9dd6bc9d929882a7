//! Path templates of `google.api.http`: `/v1/{name=identities/*}:explain`.
//!
//! The rules stand in `proto/google/api/http.proto`, under "Path template syntax".

mod capture;
mod percent;
mod syntax;
mod table;

pub(crate) use self::capture::Capture;
pub(crate) use self::percent::decode;
pub(crate) use self::syntax::Template;
pub(crate) use self::table::{Found, HttpMethod, TemplateTable};
