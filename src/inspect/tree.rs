use std::io::{self, Write};

use super::inspected::Inspected;
use super::moment::moment_text;
use super::words::{count, origin_name, revision_line, set_name};
use crate::domain::ContactId;
use crate::domain::graph::SetOrigin;

/// A line, and the lines below it.
struct Branch {
    line: String,
    below: Vec<String>,
}

/// Writes an identity as a tree: its contacts, the evidence that no contact carries, and its changes.
pub(super) fn write(out: &mut impl Write, identity: &Inspected) -> io::Result<()> {
    writeln!(out, "{}", head(identity))?;
    let mut branches: Vec<Branch> = contacts(identity);
    branches.extend(stored(identity));
    branches.push(Branch {
        line: "history".to_owned(),
        below: identity
            .revisions
            .iter()
            .map(|revision| format!("{}  {}", moment_text(revision.at), revision_line(revision)))
            .collect(),
    });
    let last = branches.len() - 1;
    for (place, branch) in branches.iter().enumerate() {
        let (fork, bar) = if place == last { ("└── ", "    ") } else { ("├── ", "│   ") };
        writeln!(out, "{fork}{}", branch.line)?;
        for (number, line) in (1..).zip(&branch.below) {
            let fork = if number == branch.below.len() { "└── " } else { "├── " };
            writeln!(out, "{bar}{fork}{line}")?;
        }
    }
    write_foot(out, identity)
}

/// What an identity is, in one line.
pub(super) fn head(identity: &Inspected) -> String {
    let ContactId(id) = identity.primary();
    let contacts = count(identity.contacts.len(), "contact", "contacts");
    let identifiers = count(identity.identifier_count(), "identifier", "identifiers");
    let sets = count(identity.sets.len(), "set of evidence", "sets of evidence");
    let changed = moment_text(identity.updated_at);
    let at = identity.read_time.map(|at| format!(", as it was at {}", moment_text(at))).unwrap_or_default();
    format!("identities/{id}{at}: {contacts}, {identifiers}, {sets}; last changed {changed}")
}

/// Says since when evidence is complete.
pub(super) fn write_foot(out: &mut impl Write, identity: &Inspected) -> io::Result<()> {
    match identity.complete_since {
        Some(since) => writeln!(out, "evidence is complete since {}", moment_text(since))?,
        None => writeln!(out, "since when evidence is complete is not known: see `identity migrate finish`")?,
    }
    if identity.is_full {
        writeln!(out, "the identity has so many sets that further ones are not stored")?;
    }
    if identity.read_time.is_some() && identity.may_lack_evidence() {
        writeln!(out, "evidence of that moment may be missing")?;
    }
    Ok(())
}

fn contacts(identity: &Inspected) -> Vec<Branch> {
    let branch = |(place, contact): (usize, &crate::domain::Contact)| {
        let primary = if place == 0 { ", primary" } else { "" };
        let ContactId(id) = contact.id;
        let ignored = contact.ignored.iter().map(|one| format!("{} (ignored)", identity.names.label(one)));
        Branch {
            line: format!("contact {id}{primary}, {}", moment_text(contact.created_at)),
            below: contact.identifiers.iter().map(|one| identity.names.label(one)).chain(ignored).collect(),
        }
    };
    identity.contacts.iter().enumerate().map(branch).collect()
}

/// What no contact carries.
fn stored(identity: &Inspected) -> impl Iterator<Item = Branch> {
    let sets = identity.sets.iter().filter(|set| set.origin != SetOrigin::Contact);
    sets.map(|set| Branch {
        line: format!("{}, {}, {}", set_name(set.name), origin_name(set.origin), moment_text(set.seen_at)),
        below: set.identifiers.iter().map(|one| identity.names.label(one)).collect(),
    })
}
