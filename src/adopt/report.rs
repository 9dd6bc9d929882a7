//! What an adoption reports, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;

use crate::domain::adoption::{AdoptionFacts, HubCause, JoinedIdentity, LinkFacts};

/// How the report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

/// The dates of the old table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DateFacts {
    /// Rows without createdAt.
    pub created_missing: u64,
    /// Rows without updatedAt.
    pub updated_missing: u64,
    /// Dates that could not be read. They count as missing.
    pub unreadable: u64,
    /// Dates later than now.
    pub in_the_future: u64,
}

/// An identifier that alone joins many identities of the old table, or a row that is missing and has many links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportedHub {
    /// Its kind; `link` for a missing row.
    pub kind: &'static str,
    /// How many identities of the old table it joins, or how many rows link to the missing one.
    pub old_identities: usize,
    /// The id of a contact that has it, or of the missing row.
    pub contact: i64,
    /// Whether it is in the file of `--accept`.
    pub accepted: bool,
    /// The value, as the old table has it; only with `--show-values`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The sets of identifiers that an export says were seen together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReportedEvidence {
    /// Sets that are stored.
    pub kept: u64,
    /// Sets that a contact carries, so that they are held already.
    pub carried_by_contacts: u64,
    /// Left out: the identifiers belong to several identities.
    pub of_several_identities: u64,
    /// Left out: an identifier belongs to nobody, or is none by the rules in force.
    pub of_nobody: u64,
    /// Left out: fewer than two identifiers, or one of a kind that this version does not know.
    pub too_small: u64,
    /// The ids of the first that are left out.
    pub left_out_first: Vec<i64>,
}

/// What an adoption does, or would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdoptionReport {
    /// The table and its columns, as they were recognised.
    pub table: Vec<String>,
    /// Rows read.
    pub rows: u64,
    /// Rows that are deleted.
    pub deleted: u64,
    /// Identities with a live row.
    pub identities: u64,
    /// Identities of deleted rows alone.
    pub deleted_identities: u64,
    /// Live contacts of the largest identity.
    pub largest_identity: u64,
    /// Identities that are larger than MAX_CONTACTS. They are answered, and get no further contact.
    pub identities_over_max_contacts: u64,
    /// Live rows without any identifier.
    pub without_identifier: u64,
    /// Changed values, by kind and change.
    pub values: BTreeMap<String, u64>,
    /// Values that are too long for `AdoptedContact`, which has their beginning.
    pub values_shortened: u64,
    /// Changed links.
    pub links: ReportedLinks,
    /// Rows whose precedence was corrected.
    pub precedences_corrected: u64,
    /// Dates.
    pub dates: DateFacts,
    /// Ids of primaries that change: other tables may refer to them.
    pub primaries_changed: u64,
    /// The first of them: old id, new id.
    pub primaries_changed_first: Vec<(i64, i64)>,
    /// The joins that the old table does not have, by cause.
    pub joins: BTreeMap<String, u64>,
    /// Joined identities, by how many of the old table they have.
    pub joined_by_size: BTreeMap<u64, u64>,
    /// The largest of them.
    pub largest_joins: Vec<ReportedJoin>,
    /// Identifiers over `--max-join`.
    pub over_max_join: Vec<ReportedHub>,
    /// Evidence, if the source has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<ReportedEvidence>,
}

/// Changed links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReportedLinks {
    flattened: u64,
    broken: u64,
    circular: u64,
    removed: u64,
    added: u64,
    unreadable: u64,
}

/// A joined identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReportedJoin {
    primary: i64,
    old_identities: u64,
    contacts: u64,
}

impl ReportedEvidence {
    fn write_text(&self, text: &mut String) {
        write_line(text, 0, "sets of identifiers that were seen together, kept", self.kept);
        write_line(text, 2, "left out, of several identities", self.of_several_identities);
        write_line(text, 2, "left out, with an identifier that belongs to nobody", self.of_nobody);
        write_line(text, 2, "left out, with fewer than two identifiers that are known", self.too_small);
        for id in &self.left_out_first {
            let _ = writeln!(text, "    evidence {id} is left out");
        }
    }
}

/// Writes a line with a count, unless that is 0.
fn write_line(text: &mut String, indent: usize, what: &str, count: u64) {
    if count > 0 {
        let _ = writeln!(text, "{:indent$}{what}: {count}", "");
    }
}

/// How many changed primaries a report has.
pub(super) const FIRST_CHANGES: usize = 10;

impl AdoptionReport {
    /// Returns the report of these numbers.
    pub(super) fn new(
        table: Vec<String>,
        facts: AdoptionFacts,
        dates: DateFacts,
        changed: &[(i64, i64)],
        over_max_join: Vec<ReportedHub>,
    ) -> Self {
        let LinkFacts { flattened, broken, circular, removed, added, unreadable } = facts.links;
        let name = |kind: crate::domain::IdentifierKind, change: &str| format!("{}_{change}", kind.name());
        let join = |join: JoinedIdentity| {
            let JoinedIdentity { primary, old_identities, contacts } = join;
            ReportedJoin { primary, old_identities, contacts }
        };
        Self {
            table,
            rows: facts.rows,
            deleted: facts.deleted,
            identities: facts.identities,
            deleted_identities: facts.deleted_identities,
            largest_identity: facts.largest,
            identities_over_max_contacts: facts.too_large,
            without_identifier: facts.without_identifier,
            values: facts
                .values
                .into_iter()
                .map(|((kind, change), count)| (name(kind, change.name()), count))
                .collect(),
            values_shortened: facts.shortened,
            links: ReportedLinks { flattened, broken, circular, removed, added, unreadable },
            precedences_corrected: facts.precedences,
            dates,
            primaries_changed: u64::try_from(changed.len()).unwrap_or(u64::MAX),
            primaries_changed_first: changed.iter().take(FIRST_CHANGES).copied().collect(),
            joins: facts.joins,
            joined_by_size: facts.joined_by_size,
            largest_joins: facts.largest_joins.into_iter().map(join).collect(),
            over_max_join,
            evidence: None,
        }
    }

    /// Returns whether a decision is missing.
    pub(super) fn needs_decision(&self) -> bool {
        self.over_max_join.iter().any(|hub| !hub.accepted)
    }

    /// Returns the lines for people.
    pub fn as_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text);
        text
    }

    fn write_text(&self, text: &mut String) {
        let mut line = |indent: usize, what: &str, count: u64| write_line(text, indent, what, count);
        line(0, "rows read and kept", self.rows);
        line(2, "deleted", self.deleted);
        line(2, "live without an e-mail address or phone number", self.without_identifier);
        line(0, "identities", self.identities);
        line(2, "contacts of the largest", self.largest_identity);
        line(2, "larger than MAX_CONTACTS", self.identities_over_max_contacts);
        line(2, "of deleted rows alone", self.deleted_identities);
        line(0, "values changed", self.values.values().sum());
        for (what, count) in &self.values {
            line(2, &what.replace('_', " "), *count);
        }
        line(0, "values of which AdoptedContact keeps only the beginning", self.values_shortened);
        let ReportedLinks { flattened, broken, circular, removed, added, unreadable } = self.links;
        line(0, "links changed", flattened + broken + circular + removed + added);
        line(2, "flattened", flattened);
        line(2, "to a row that does not exist", broken);
        line(2, "in a circle", circular);
        line(2, "removed from a primary", removed);
        line(2, "added", added);
        line(0, "links that cannot be read: their rows count as linked to nothing", unreadable);
        line(0, "precedences corrected", self.precedences_corrected);
        line(0, "rows without createdAt", self.dates.created_missing);
        line(0, "rows without updatedAt", self.dates.updated_missing);
        line(0, "dates that cannot be read", self.dates.unreadable);
        line(0, "dates in the future", self.dates.in_the_future);
        line(0, "joins that the old table does not have", self.joins.values().sum());
        for (cause, count) in &self.joins {
            line(2, &format!("by {}", cause.replace('+', " and ")), *count);
        }
        for (size, count) in &self.joined_by_size {
            line(2, &format!("identities of {size} old ones"), *count);
        }
        for join in &self.largest_joins {
            let of = format!("identity {} joins old ones", join.primary);
            line(4, &of, join.old_identities);
        }
        line(0, "primaries whose id changes", self.primaries_changed);
        for (old, new) in &self.primaries_changed_first {
            let _ = writeln!(text, "  {old} becomes {new}");
        }
        if let Some(evidence) = &self.evidence {
            evidence.write_text(text);
        }
        for hub in &self.over_max_join {
            let decided = if hub.accepted { "accepted" } else { "needs a decision: list it in --ignore or --accept" };
            if hub.kind == HubCause::MissingRow.name() {
                let _ = writeln!(
                    text,
                    "{} rows link to {}, which does not exist, and count as one customer ({decided})",
                    hub.old_identities, hub.contact
                );
                continue;
            }
            let value = hub.value.as_deref().map(|value| format!(" {value:?}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "the {}{value} of contact {} alone joins {} old identities ({decided})",
                hub.kind, hub.contact, hub.old_identities
            );
        }
    }
}
