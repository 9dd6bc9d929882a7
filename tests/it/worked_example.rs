//! The worked example that is the reference for every implementation of this service, line by line.

use identity::proto::identity::v1::IdentifyRequest;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use sea_orm::DatabaseConnection;
use serde_json::{Value, json};

use crate::harness::{Api, Backend, Reply, Service, Suite, TestDatabase, query, register};

pub fn register(suite: &mut Suite) {
    suite.on_all("worked_example::grpc", |database| line_by_line(database, Api::Grpc));
    suite.on_all("worked_example::http", |database| line_by_line(database, Api::Http));
    register!(suite.on(&[Backend::Sqlite]): the_readme_shows_what_is_answered);
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

/// The calls of the README in their order, each with the answer that stands below it.
fn readme_calls() -> Vec<(&'static str, String)> {
    let mut calls: Vec<(&str, String)> = Vec::new();
    let blocks = include_str!("../../README.md").split("```console\n").skip(1);
    for line in blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()) {
        match line.strip_prefix("$ ") {
            Some(command) => calls.push((command, String::new())),
            None => calls.last_mut().expect("a command first").1 += line,
        }
    }
    calls
}

async fn the_readme_shows_what_is_answered(database: TestDatabase) {
    let service = Service::start(&database).await;
    let calls = readme_calls();
    assert_eq!(calls.len(), 5);
    for (command, shown) in calls {
        let body = command.split('\'').nth(1).expect("a body in quotes");
        let answered = if command.starts_with("curl ") {
            let path = command.split("localhost:3000").nth(1).and_then(|rest| rest.split(' ').next()).expect("a path");
            let call = reqwest::Client::new().post(format!("http://{}{path}", service.http)).body(body.to_owned());
            call.send().await.unwrap().text().await.unwrap()
        } else {
            assert!(command.starts_with("grpcurl ") && command.ends_with(" identity.v1.IdentityService/Identify"));
            proto_json(&service, &serde_json::from_str(body).unwrap()).await
        };
        // grpcurl spreads its answer over lines.
        let shown = if command.starts_with("curl ") { shown } else { shown.parse::<Value>().unwrap().to_string() };
        assert_eq!(answered, shown, "{command}");
    }
    service.stop().await;
}

/// Calls `Identify` over gRPC. Returns the answer as grpcurl spells it.
async fn proto_json(service: &Service, body: &Value) -> String {
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let request = IdentifyRequest { email: text("email"), phone_number: text("phone_number"), ..Default::default() };
    let mut client = IdentityServiceClient::connect(format!("http://{}", service.grpc)).await.unwrap();
    let response = client.identify(request).await.unwrap().into_inner();
    let outcome = response.outcome().as_str_name();
    let contact = response.contact.unwrap();
    let secondaries: Vec<String> = contact.secondary_contact_ids.iter().map(i64::to_string).collect();
    let mut shown = json!({
        "primaryContactId": contact.primary_contact_id.to_string(),
        "emails": contact.emails,
        "phoneNumbers": contact.phone_numbers,
    });
    // An empty list is left out.
    if !secondaries.is_empty() {
        shown["secondaryContactIds"] = json!(secondaries);
    }
    shown["contactCount"] = json!(contact.contact_count);
    json!({"contact": shown, "outcome": outcome}).to_string()
}
