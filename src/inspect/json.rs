use std::io::{self, Write};

use serde::Serialize;

use super::inspected::Inspected;
use super::moment::moment_text;
use super::words::{kind_name, origin_name, set_name};
use crate::domain::graph::{Explanation, SeenSet};
use crate::domain::{ContactId, Identifier};

/// An identity.
#[derive(Serialize)]
pub(super) struct Shown {
    name: String,
    primary_contact_id: i64,
    create_time: Option<String>,
    update_time: String,
    read_time: Option<String>,
    complete_since: Option<String>,
    truncated: bool,
    masked: bool,
    identifiers: Vec<ShownIdentifier>,
    contacts: Vec<ShownContact>,
    evidence: Vec<ShownSet>,
    revisions: Vec<ShownRevision>,
}

#[derive(Serialize)]
struct ShownIdentifier {
    name: String,
    kind: &'static str,
    value: String,
    ignored: bool,
}

#[derive(Serialize)]
struct ShownContact {
    id: i64,
    primary: bool,
    create_time: String,
    identifiers: Vec<String>,
}

#[derive(Serialize)]
struct ShownSet {
    name: String,
    origin: &'static str,
    create_time: String,
    identifiers: Vec<String>,
}

#[derive(Serialize)]
struct ShownRevision {
    kind: &'static str,
    primary_contact_id: i64,
    contact_ids: Vec<i64>,
    absorbed: Vec<i64>,
    evidence: Option<String>,
    time: String,
}

/// An identity, and what holds it together. Evidence is named.
#[derive(Serialize)]
pub(super) struct Explained {
    #[serde(flatten)]
    identity: Shown,
    path: Vec<String>,
    weakest_cut: Vec<String>,
    bridges: Vec<String>,
    parts: Vec<ShownPart>,
}

#[derive(Serialize)]
struct ShownPart {
    primary_contact_id: Option<i64>,
    contact_ids: Vec<i64>,
    identifiers: Vec<String>,
}

/// Writes an object and a line feed.
pub(super) fn write(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    writeln!(out)
}

impl Shown {
    pub(super) fn new(identity: &Inspected) -> Self {
        let names = &identity.names;
        let name_all = |all: &mut dyn Iterator<Item = &Identifier>| all.map(|one| names.name(one)).collect();
        let identifiers = identity.shown().into_iter().map(|one| ShownIdentifier {
            name: names.name(one),
            kind: one.kind().name(),
            value: names.value(one),
            ignored: !identity.owns(one),
        });
        let contacts = identity.contacts.iter().enumerate().map(|(place, contact)| ShownContact {
            id: contact.id.0,
            primary: place == 0,
            create_time: moment_text(contact.created_at),
            identifiers: name_all(&mut contact.shown()),
        });
        let evidence = identity.sets.iter().map(|set| ShownSet {
            name: set_name(set.name),
            origin: origin_name(set.origin),
            create_time: moment_text(set.seen_at),
            identifiers: name_all(&mut set.identifiers.iter()),
        });
        let revisions = identity.revisions.iter().map(|revision| ShownRevision {
            kind: kind_name(revision.kind),
            primary_contact_id: revision.primary.0,
            contact_ids: ids(&revision.contacts),
            absorbed: ids(&revision.absorbed),
            evidence: revision.set.map(set_name),
            time: moment_text(revision.at),
        });
        let ContactId(primary) = identity.primary();
        Self {
            name: format!("identities/{primary}"),
            primary_contact_id: primary,
            create_time: identity.contacts.first().map(|contact| moment_text(contact.created_at)),
            update_time: moment_text(identity.updated_at),
            read_time: identity.read_time.map(moment_text),
            complete_since: identity.complete_since.map(moment_text),
            truncated: identity.is_full,
            masked: !names.shows_values(),
            identifiers: identifiers.collect(),
            contacts: contacts.collect(),
            evidence: evidence.collect(),
            revisions: revisions.collect(),
        }
    }
}

impl Explained {
    pub(super) fn new(identity: &Inspected, explanation: &Explanation) -> Self {
        let name_all = |sets: &[SeenSet]| sets.iter().map(|set| set_name(set.name)).collect();
        let parts = explanation.parts.iter().map(|part| ShownPart {
            primary_contact_id: part.primary.map(|primary| primary.0),
            contact_ids: ids(&part.contacts),
            identifiers: part.identifiers.iter().map(|one| identity.names.name(one)).collect(),
        });
        Self {
            identity: Shown::new(identity),
            path: name_all(&explanation.path),
            weakest_cut: name_all(&explanation.weakest_cut),
            bridges: name_all(&explanation.bridges),
            parts: parts.collect(),
        }
    }
}

fn ids(contacts: &[ContactId]) -> Vec<i64> {
    contacts.iter().map(|contact| contact.0).collect()
}
