//! `identity show` and `identity explain`: one identity for people, as text, JSON or a drawing. It changes nothing.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `find` | reads an identity from the database |
//! | `inspected` | what was read, and what is asked about it |
//! | `names` | short names for identifiers, and what of their values is printed |
//! | `moment` | moments as text |
//! | `words` | rows in words |
//! | `tree` | an identity as a tree |
//! | `explanation` | an explanation in words |
//! | `json` | both as JSON |
//! | `drawing`, `graphviz`, `mermaid` | both as a drawing |
//! | `examples` | tests: the worked example in each format |

mod drawing;
#[cfg(test)]
mod examples;
mod explanation;
mod find;
mod graphviz;
mod inspected;
mod json;
mod mermaid;
mod moment;
mod names;
mod tree;
mod words;

use std::io::{self, Write};

use clap::ValueEnum;

use drawing::Drawing;
pub use find::{InspectError, Lookup, Who, find_identity};
pub use inspected::{Asked, Inspected, Member, NotThere};
pub use moment::{moment_text, parse_moment};
pub use names::masked;

/// How an identity is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
    /// A drawing, for Graphviz
    Dot,
    /// A drawing, for Mermaid
    Mermaid,
}

/// Prints an identity.
///
/// # Errors
/// It cannot be written.
pub fn show(out: &mut impl Write, identity: &Inspected, format: Format) -> io::Result<()> {
    match format {
        Format::Text => tree::write(out, identity),
        Format::Json => json::write(out, &json::Shown::new(identity)),
        Format::Dot => graphviz::write(out, &Drawing::from_identity(identity)),
        Format::Mermaid => mermaid::write(out, &Drawing::from_identity(identity)),
    }
}

/// Prints what holds an identity together.
///
/// # Errors
/// It cannot be written.
pub fn explain(out: &mut impl Write, identity: &Inspected, asked: &Asked, format: Format) -> io::Result<()> {
    let explanation = identity.explain(asked);
    match format {
        Format::Text => explanation::write(out, identity, asked, &explanation),
        Format::Json => json::write(out, &json::Explained::new(identity, &explanation)),
        Format::Dot => graphviz::write(out, &Drawing::of_explanation(identity, asked, &explanation)),
        Format::Mermaid => mermaid::write(out, &Drawing::of_explanation(identity, asked, &explanation)),
    }
}
