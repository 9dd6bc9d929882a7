//! The identity service: tells which customer a checkout event belongs to.
//!
//! Layers, each using only those below it:
//!
//! | module | |
//! | --- | --- |
//! | [`resolver`] | use cases: batching, the lock protocol, retries; the only writer |
//! | [`store`] | SeaORM entities and queries; entities stop here |
//! | [`domain`] | identifiers, contacts, identities, and the planner: pure |

pub mod domain;
pub mod resolver;
pub mod store;
