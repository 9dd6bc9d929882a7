//! Repairs whose commit has no answer.

use serde_json::json;
use url::Url;

use super::{Customers, clean, repairs, verify};
use crate::harness::{Backend, Proxy, Suite, TestDatabase, binary, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&Backend::SERVERS):
        a_repair_whose_commit_has_no_answer_is_reported_as_it_is,
        a_repair_of_which_nothing_is_known_says_so,
    );
}

/// A line to the database on which a proxy sees the commits.
async fn line_to(database: &TestDatabase) -> (Proxy, TestDatabase) {
    let mut url = Url::parse(&database.url).unwrap();
    url.set_query(Some(if database.backend.is_mysql() { "ssl-mode=DISABLED" } else { "sslmode=disable" }));
    let line = Proxy::start(url.as_str()).await;
    let mut through = database.clone();
    through.url.clone_from(&line.url);
    (line, through)
}

/// The commit was carried out, and its answer was lost. The report has what it changed.
async fn a_repair_whose_commit_has_no_answer_is_reported_as_it_is(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let (line, through) = line_to(&database).await;
    for (damage, repair) in [
        (r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = $3"#, "linked"),
        (r#"INSERT INTO "Identifier" ("kind", "value", "contactId") VALUES ('email', BYTES('x'), $1)"#, "released"),
    ] {
        customers.break_by(damage).await;
        line.lose_commits(1);
        let report = through.clone();
        let (status, report) = tokio::task::spawn_blocking(move || verify(&report, &["--repair"])).await.unwrap();
        let [finding] = &report["findings"].as_array().unwrap()[..] else { panic!("{report}") };
        assert_eq!((status, &finding["repaired"], finding.get("failure")), (0, &json!(true), None), "{report}");
        let repairs: Vec<_> = repairs(&report).into_iter().map(|one| one["repair"].as_str().unwrap()).collect();
        assert_eq!(repairs, [repair], "{report}");
        assert_eq!(line.commits_to_lose(), 0);
    }
    clean(&database);
    customers.end().await;
}

/// The database is away after a commit, so nobody can read whether it was carried out.
async fn a_repair_of_which_nothing_is_known_says_so(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    customers.break_by(r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = $3"#).await;
    let (line, through) = line_to(&database).await;
    line.down_after_commit();
    let run = move || binary().args(["verify", "--repair"]).env("DATABASE_URL", &through.url).output().unwrap();
    let done = tokio::task::spawn_blocking(run).await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(3), "{said}");
    assert!(said.contains("it is unknown whether the repair was carried out"), "{said}");
    customers.end().await;
}
