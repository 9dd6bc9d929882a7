//! `identity verify`: databases that were broken by SQL, reported and repaired, alone and beside live traffic.

mod failed_repairs;
mod invariants;
mod lost_commits;
mod volume;

use sea_orm::{DatabaseConnection, DbBackend};
use serde_json::{Value, json};

use crate::harness::{Api, Service, Suite, TestDatabase, binary, execute};

pub fn register(suite: &mut Suite) {
    invariants::register(suite);
    volume::register(suite);
    failed_repairs::register(suite);
    lost_commits::register(suite);
}

/// What `identity verify --format json` says, and its exit status.
pub fn verify(database: &TestDatabase, flags: &[&str]) -> (i32, Value) {
    let flags = [&["verify", "--format", "json"], flags].concat();
    let done = binary().args(flags).env("DATABASE_URL", &database.url).env("RUST_LOG", "off").output();
    let done = done.expect("the binary runs");
    let said = String::from_utf8(done.stdout).expect("text");
    let complaint = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(complaint, "");
    (done.status.code().expect("an exit"), serde_json::from_str(&said).expect("one JSON object"))
}

/// The findings without what was done about them, sorted as text.
pub fn findings(report: &Value) -> Vec<String> {
    let strip = |finding: &Value| {
        let mut finding = finding.clone();
        let object = finding.as_object_mut().expect("an object");
        object.remove("repaired");
        object.remove("repairs");
        finding.to_string()
    };
    let mut findings: Vec<String> = report["findings"].as_array().expect("a list").iter().map(strip).collect();
    findings.sort();
    findings
}

/// The repairs under all findings.
pub fn repairs(report: &Value) -> Vec<&Value> {
    let findings = report["findings"].as_array().expect("a list").iter();
    findings.filter_map(|finding| finding["repairs"].as_array()).flatten().collect()
}

pub fn clean(database: &TestDatabase) {
    let (status, report) = verify(database, &[]);
    assert_eq!((status, findings(&report)), (0, vec![]), "{report}");
}

/// A service's customers: 1 with secondaries 2 and 3, who was merged with 4; and 5, a stranger.
pub struct Customers {
    pub service: Service,
    pub tables: DatabaseConnection,
    /// The ids of contacts 1 to 5 (a cluster's ids are not consecutive).
    pub ids: [i64; 5],
}

impl Customers {
    pub async fn new(database: &TestDatabase) -> Self {
        let service = Service::start(database).await;
        let caller = service.caller();
        let call = async |email, phone| caller.identify(Api::Grpc, Some(email), phone).await.expect("an answer");
        let one = call("one@x.de", Some("1")).await.primary;
        let two = call("two@x.de", Some("1")).await.secondaries[0];
        let three = call("three@x.de", Some("1")).await.secondaries[1];
        let four = call("four@x.de", Some("4")).await.primary;
        assert_eq!(call("four@x.de", Some("1")).await.outcome, "merged");
        let five = call("five@x.de", Some("5")).await.primary;
        Self { service, tables: database.raw().await, ids: [one, two, three, four, five] }
    }

    pub async fn break_by(&self, sql: &str) {
        let mut sql = sql.to_owned();
        for (number, id) in (1..).zip(self.ids) {
            sql = sql.replace(&format!("${number}"), &id.to_string());
        }
        if self.tables.get_database_backend() == DbBackend::Sqlite {
            // A text is equal to no bytes there.
            sql = sql.replace("BYTES('x')", "X'78'").replace("BYTES('77')", "X'3737'");
        }
        let sql = sql.replace("BYTES", "");
        assert_eq!(execute(&self.tables, &sql).await, 1, "{sql}");
    }

    /// The same with the numbers 1 to 5 in place of ids.
    pub fn numbered(&self, findings: Vec<String>) -> Vec<String> {
        let number = |value: &mut Value| {
            if let Some(position) = value.as_i64().and_then(|id| self.ids.iter().position(|own| *own == id)) {
                *value = json!(position + 1);
            }
        };
        let renumber = |finding: String| {
            let mut finding: Value = serde_json::from_str(&finding).expect("JSON");
            let object = finding.as_object_mut().expect("an object");
            object.iter_mut().filter(|(name, _)| *name != "merge").for_each(|(_, value)| number(value));
            finding.to_string()
        };
        findings.into_iter().map(renumber).collect()
    }

    /// Asserts that each e-mail address finds the complete customer, with this primary.
    pub async fn assert_complete(&self, primary: usize) {
        for email in ["one@x.de", "two@x.de", "three@x.de", "four@x.de"] {
            let answer = self.service.caller().identify(Api::Http, Some(email), None).await.expect("an answer");
            assert_eq!((answer.outcome, answer.primary), ("matched", self.ids[primary - 1]), "{email}");
            assert_eq!((answer.emails.len(), answer.phones.len(), answer.secondaries.len()), (4, 2, 3));
        }
    }

    pub async fn end(self) {
        self.tables.close().await.unwrap();
        self.service.stop().await;
    }
}

/// Runs `verify` with these flags, and counts the identities that it repairs, or tries to.
pub fn verify_and_count(database: &TestDatabase, flags: &[&str]) -> (i32, Value, usize) {
    let mut verify = binary();
    verify.args(["verify", "--format", "json"]).args(flags).env("DATABASE_URL", &database.url);
    let done = verify.env("RUST_LOG", "identity::verify=debug").output().expect("the binary runs");
    let (report, log) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    let attempts = log.lines().filter(|line| line.contains("repairing an identity")).count();
    (done.status.code().unwrap(), serde_json::from_str(&report).expect("one JSON object"), attempts)
}
