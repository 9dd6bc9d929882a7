//! The worked example that is the reference for every implementation of this service, line by line.

use sea_orm::DatabaseConnection;

use crate::harness::{Api, Reply, Service, Suite, TestDatabase, query};

pub fn register(suite: &mut Suite) {
    suite.on_all("worked_example::grpc", |database| line_by_line(database, Api::Grpc));
    suite.on_all("worked_example::http", |database| line_by_line(database, Api::Http));
}

const LORRAINE: Option<&str> = Some("lorraine@hillvalley.edu");
const MCFLY: Option<&str> = Some("mcfly@hillvalley.edu");
const GEORGE: Option<&str> = Some("george@hillvalley.edu");
const BIFF: Option<&str> = Some("biffsucks@hillvalley.edu");

async fn line_by_line(database: TestDatabase, api: Api) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let tables = database.raw().await;
    let identify = async |email, phone| caller.identify(api, email, phone).await.unwrap();
    let reply = |outcome, primary, emails: &[Option<&str>], phones: &[&str], secondaries: &[i64]| Reply {
        outcome,
        primary,
        emails: emails.iter().map(|email| email.unwrap().to_owned()).collect(),
        phones: phones.iter().map(|phone| (*phone).to_owned()).collect(),
        secondaries: secondaries.to_vec(),
    };

    let answer = identify(LORRAINE, Some("123456")).await;
    assert_eq!(answer, reply("created", 1, &[LORRAINE], &["123456"], &[]));
    assert_eq!(contacts(&tables).await, ["1 primary"]);

    let answer = identify(MCFLY, Some("123456")).await;
    assert_eq!(answer, reply("linked", 1, &[LORRAINE, MCFLY], &["123456"], &[2]));
    assert_eq!(contacts(&tables).await, ["1 primary", "2 secondary of 1"]);

    for (email, phone) in [(None, Some("123456")), (MCFLY, None), (LORRAINE, None), (MCFLY, Some("123456"))] {
        let answer = identify(email, phone).await;
        assert_eq!(answer, reply("matched", 1, &[LORRAINE, MCFLY], &["123456"], &[2]));
        assert_eq!(contacts(&tables).await, ["1 primary", "2 secondary of 1"]);
    }

    let answer = identify(GEORGE, Some("919191")).await;
    assert_eq!(answer, reply("created", 3, &[GEORGE], &["919191"], &[]));

    let answer = identify(BIFF, Some("717171")).await;
    assert_eq!(answer, reply("created", 4, &[BIFF], &["717171"], &[]));
    assert_eq!(contacts(&tables).await, ["1 primary", "2 secondary of 1", "3 primary", "4 primary"]);

    let answer = identify(GEORGE, Some("717171")).await;
    assert_eq!(answer, reply("merged", 3, &[GEORGE, BIFF], &["919191", "717171"], &[4]));
    assert_eq!(contacts(&tables).await, ["1 primary", "2 secondary of 1", "3 primary", "4 secondary of 3"]);
    let merges = query(&tables, r#"SELECT "survivorId", "absorbedId" FROM "ContactMerge""#).await;
    let pairs: Vec<(i64, i64)> =
        merges.iter().map(|row| (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap())).collect();
    assert_eq!(pairs, [(3, 4)]);

    service.stop().await;
    tables.close().await.unwrap();
}

/// The rows as the systems that this one replaces read them, with plain SQL.
async fn contacts(tables: &DatabaseConnection) -> Vec<String> {
    let sql = r#"SELECT "id", "linkedId", "linkPrecedence", "createdAt", "updatedAt", "deletedAt"
        FROM "Contact" ORDER BY "id""#;
    let rows = query(tables, sql).await;
    let show = |row: &sea_orm::QueryResult| {
        let id: i64 = row.try_get_by_index(0).unwrap();
        let linked: Option<i64> = row.try_get_by_index(1).unwrap();
        let precedence: identity::store::entity::contact::LinkPrecedence = row.try_get_by_index(2).unwrap();
        let created: chrono::NaiveDateTime = row.try_get_by_index(3).unwrap();
        let updated: chrono::NaiveDateTime = row.try_get_by_index(4).unwrap();
        let deleted: Option<chrono::NaiveDateTime> = row.try_get_by_index(5).unwrap();
        assert!(updated >= created && deleted.is_none());
        assert!((chrono::Utc::now().naive_utc() - updated).num_seconds().abs() < 60, "UTC: {updated}");
        let precedence = format!("{precedence:?}").to_lowercase();
        match linked {
            Some(primary) => format!("{id} {precedence} of {primary}"),
            None => format!("{id} {precedence}"),
        }
    };
    rows.iter().map(show).collect()
}
