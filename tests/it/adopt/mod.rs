//! `identity adopt`: the tables of other systems, taken over, and compared with a brute force that reads them alone.
//!
//! `ADOPT_KILLS` is the number of kills of the test that kills the command (default 6). `ADOPT_ROWS` is the number of
//! rows of the damaged tables (default 200). With many of them `TEST_TIME_LIMIT` must be longer.

mod cutover;
mod kills;
mod kinds;
mod model;
mod next;
mod refusals;
mod replay;
mod report;
mod report_model;
mod report_text;
mod runs;
mod schemas;
mod statistics;

use std::process::{Command, Output};

use sea_orm::{DatabaseConnection, EntityTrait, QueryOrder};
use serde_json::Value;

use identity::store::entity::{adopted_contact, contact, contact_merge, evidence, identifier};

use crate::harness::{Backend, Dump, Suite, TestDatabase, binary, dump};
use crate::old_tables::{MadeRow, OldKind};

pub use kills::killed_after;

pub fn register(suite: &mut Suite) {
    kinds::register(suite);
    cutover::register(suite);
    kills::register(suite);
    next::register(suite);
    refusals::register(suite);
    report::register(suite);
    report_text::register(suite);
    replay::register(suite);
    runs::register(suite);
    schemas::register(suite);
    statistics::register(suite);
}

/// An old table, and the flags that it needs.
pub struct Old {
    pub database: TestDatabase,
    pub kind: OldKind,
    pub rows: Vec<MadeRow>,
    files: std::path::PathBuf,
}

impl Old {
    /// The table of a system with those of these rows that it can hold.
    pub async fn make(backend: Backend, kind: OldKind, rows: &[MadeRow]) -> Self {
        let database = TestDatabase::create(backend).await;
        let rows = kind.make(&database, rows).await;
        let files = tempfile::tempdir().expect("a folder").keep();
        std::fs::write(files.join("ignore"), "# tills\nphone 000 000 0000\n").expect("a file");
        std::fs::write(files.join("accept"), "phone 0000000000\n").expect("a file");
        Self { database, kind, rows, files }
    }

    /// The command, with these flags.
    pub fn adopt(&self, target: &TestDatabase, flags: &[&str]) -> Command {
        self.adopt_as("json", target, flags)
    }

    /// The same with the report in this format.
    pub fn adopt_as(&self, format: &str, target: &TestDatabase, flags: &[&str]) -> Command {
        let mut command = binary();
        command.args(["adopt", "--format", format]).args(flags);
        if let Some(zone) = self.kind.time_zone(self.database.backend) {
            command.args(["--time-zone", zone]);
        }
        command.env("ADOPT_FROM", &self.database.url).env("DATABASE_URL", &target.url).env("RUST_LOG", "off");
        command
    }

    pub fn file(&self, name: &str) -> String {
        self.files.join(name).display().to_string()
    }

    /// Everything in the database of the old table.
    pub async fn content(&self) -> Dump {
        dump(&self.database).await
    }

    pub async fn drop(self) {
        let _ = std::fs::remove_dir_all(&self.files);
        self.database.drop().await;
    }
}

/// The exit status, and the JSON object on stdout.
pub fn run(command: &mut Command) -> (i32, Value) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let said = String::from_utf8(stdout).expect("text");
    let complaint = String::from_utf8_lossy(&stderr);
    let value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("no JSON: {said:?} {complaint}"));
    (status.code().expect("an exit"), value)
}

/// The exit status, and the line on stderr.
pub fn refusal(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().expect("the binary runs");
    (status.code().expect("an exit"), String::from_utf8(stderr).expect("text"))
}

pub fn undo(target: &TestDatabase) -> Command {
    let mut undo = binary();
    undo.args(["adopt", "--undo"]).env("DATABASE_URL", &target.url).env("RUST_LOG", "off");
    undo
}

/// What the service's tables hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    pub contacts: Vec<contact::Model>,
    pub originals: Vec<adopted_contact::Model>,
    pub identifiers: Vec<identifier::Model>,
    pub merges: Vec<contact_merge::Model>,
    pub evidence: Vec<evidence::Model>,
}

impl Tables {
    pub async fn read(tables: &DatabaseConnection) -> Self {
        let contacts = contact::Entity::find().order_by_asc(contact::Column::Id);
        let originals = adopted_contact::Entity::find().order_by_asc(adopted_contact::Column::Id);
        let identifiers =
            identifier::Entity::find().order_by_asc(identifier::Column::Kind).order_by_asc(identifier::Column::Value);
        let merges = contact_merge::Entity::find().order_by_asc(contact_merge::Column::Id);
        let evidence = evidence::Entity::find().order_by_asc(evidence::Column::Id);
        Self {
            contacts: contacts.all(tables).await.expect("contacts"),
            originals: originals.all(tables).await.expect("originals"),
            identifiers: identifiers.all(tables).await.expect("identifiers"),
            merges: merges.all(tables).await.expect("merges"),
            evidence: evidence.all(tables).await.expect("evidence"),
        }
    }

    pub async fn of(database: &TestDatabase) -> Self {
        let tables = database.raw().await;
        let read = Self::read(&tables).await;
        tables.close().await.expect("closed");
        read
    }

    /// The same without holders and what they hold: their ids depend on the ids that were used before.
    pub fn without_holders(mut self) -> Self {
        let is_holder = |contact: &contact::Model| contact.flags & 4 != 0;
        let holders: Vec<i64> = self.contacts.iter().filter(|one| is_holder(one)).map(|one| one.id).collect();
        self.contacts.retain(|contact| !is_holder(contact));
        self.identifiers.retain(|identifier| !holders.contains(&identifier.contact_id));
        self
    }

    /// The same without what depends on the moment of the adoption: the dates of merges and of holders.
    pub fn without_moments(mut self) -> Self {
        let moment = chrono::DateTime::UNIX_EPOCH.naive_utc();
        self.merges.iter_mut().for_each(|merge| merge.created_at = moment);
        for holder in self.contacts.iter_mut().filter(|contact| contact.flags & 4 != 0) {
            (holder.created_at, holder.updated_at, holder.deleted_at) = (moment, moment, Some(moment));
        }
        self
    }
}
