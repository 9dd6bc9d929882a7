use std::io::{self, Write};

use super::inspected::{Asked, Inspected};
use super::moment::moment_text;
use super::tree::{head, write_foot};
use super::words::{count, ids, labels, set_line, set_name};
use crate::domain::ContactId;
use crate::domain::graph::{Explanation, Part, SeenSet};

/// Writes an explanation in words.
pub(super) fn write(
    out: &mut impl Write,
    identity: &Inspected,
    asked: &Asked,
    explanation: &Explanation,
) -> io::Result<()> {
    writeln!(out, "{}", head(identity))?;
    if let Some([one, other]) = &asked.between {
        let [one, other] = [one, other].map(|end| identity.names.label(end));
        let (path, cut) = (&explanation.path, &explanation.weakest_cut);
        writeln!(out, "the shortest path from {one} to {other} has {}:", sets(path.len()))?;
        write_sets(out, identity, path)?;
        writeln!(
            out,
            "the weakest cut between them has {}; without it they belong to two customers:",
            sets(cut.len())
        )?;
        write_sets(out, identity, cut)?;
    } else if asked.is_counterfactual() {
        write_parts(out, identity, asked, &explanation.parts)?;
    } else {
        let bridges = &explanation.bridges;
        match bridges.len() {
            0 => writeln!(out, "it stays together without any one of its sets")?,
            number => writeln!(out, "{} of {} split it if that one alone is lost:", number, sets(identity.sets.len()))?,
        }
        write_sets(out, identity, bridges)?;
    }
    write_foot(out, identity)
}

fn sets(number: usize) -> String {
    count(number, "set", "sets")
}

fn write_sets(out: &mut impl Write, identity: &Inspected, sets: &[SeenSet]) -> io::Result<()> {
    for set in sets {
        writeln!(out, "  {}  {}", moment_text(set.seen_at), set_line(&identity.names, set))?;
    }
    Ok(())
}

fn write_parts(out: &mut impl Write, identity: &Inspected, asked: &Asked, parts: &[Part]) -> io::Result<()> {
    let removed = asked.without_sets.iter().map(|name| set_name(*name));
    let removed = removed.chain(asked.without_identifiers.iter().map(|one| identity.names.label(one)));
    let removed = removed.collect::<Vec<_>>().join(", ");
    match parts.len() {
        0 => writeln!(out, "without {removed} nothing is left")?,
        1 => writeln!(out, "without {removed} it is still one customer")?,
        number => writeln!(out, "without {removed} it falls into {number} parts:")?,
    }
    for part in parts {
        let identifiers = labels(&identity.names, &part.identifiers);
        match part.primary {
            Some(ContactId(primary)) => {
                let contacts = if part.contacts.len() == 1 { "contact" } else { "contacts" };
                writeln!(out, "  primary {primary}, {contacts} {}: {identifiers}", ids(&part.contacts))?;
            }
            None => writeln!(out, "  no contact of its own: {identifiers}")?,
        }
    }
    Ok(())
}
