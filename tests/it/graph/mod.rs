//! `GraphService`: what is known, by id, by identifier and in pages. Nothing is ever written.

mod counterfactuals;
mod explanations;
mod histories;
mod history_refusals;
mod json;
mod lists;
mod look_ups;
mod past;
mod reads;
mod refusals;
mod replicas;

use std::collections::BTreeMap;

use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::graph_service_client::GraphServiceClient;
use prost_reflect::prost_types;
use sea_orm::QueryResult;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{Api, Backend, Event, Reply, Service, Suite, TestDatabase, query};

pub fn register(suite: &mut Suite) {
    json::register(suite);
    reads::register(suite);
    look_ups::register(suite);
    lists::register(suite);
    histories::register(suite);
    explanations::register(suite);
    counterfactuals::register(suite);
    past::register(suite);
    history_refusals::register(suite);
    refusals::register(suite);
    replicas::register(suite);
}

/// A client of a running service.
pub fn client(service: &Service) -> GraphServiceClient<Channel> {
    let channel = Endpoint::from_shared(format!("http://{}", service.grpc)).unwrap().connect_lazy();
    GraphServiceClient::new(channel)
}

/// `GetIdentity`.
pub async fn get(service: &Service, name: &str) -> Result<pb::Identity, Status> {
    let request = pb::GetIdentityRequest { name: name.to_owned(), read_time: None };
    Ok(client(service).get_identity(request).await?.into_inner().identity.unwrap())
}

/// An identifier: an e-mail address if it has an `@`.
pub fn identifier(value: &str) -> pb::Identifier {
    let kind = if value.contains('@') { "email" } else { "phone" };
    pb::Identifier { kind: kind.to_owned(), value: value.to_owned() }
}

/// `LookupIdentities`: the identities, and the values that nobody owns.
pub async fn look_up(service: &Service, values: &[&str]) -> Result<(Vec<pb::Identity>, Vec<String>), Status> {
    let identifiers = values.iter().map(|value| identifier(value)).collect();
    let request = pb::LookupIdentitiesRequest { identifiers, read_time: None };
    let response = client(service).lookup_identities(request).await?.into_inner();
    Ok((response.identities, response.unknown.into_iter().map(|one| one.value).collect()))
}

/// A page of `ListIdentities`.
pub async fn page(service: &Service, page_size: i32, page_token: &str) -> Result<pb::ListIdentitiesResponse, Status> {
    let request = pb::ListIdentitiesRequest { page_size, page_token: page_token.to_owned() };
    Ok(client(service).list_identities(request).await?.into_inner())
}

/// A page of `ListContacts`.
pub async fn contacts(
    service: &Service,
    parent: &str,
    page_size: i32,
    page_token: &str,
) -> Result<pb::ListContactsResponse, Status> {
    let request = pb::ListContactsRequest { parent: parent.to_owned(), page_size, page_token: page_token.to_owned() };
    Ok(client(service).list_contacts(request).await?.into_inner())
}

/// A page of `ListEvidence`.
pub async fn evidence(
    service: &Service,
    parent: &str,
    page_size: i32,
    page_token: &str,
) -> Result<pb::ListEvidenceResponse, Status> {
    let request = pb::ListEvidenceRequest { parent: parent.to_owned(), page_size, page_token: page_token.to_owned() };
    Ok(client(service).list_evidence(request).await?.into_inner())
}

/// A page of `ListRevisions`.
pub async fn revisions(
    service: &Service,
    parent: &str,
    page_size: i32,
    page_token: &str,
) -> Result<pb::ListRevisionsResponse, Status> {
    let request = pb::ListRevisionsRequest { parent: parent.to_owned(), page_size, page_token: page_token.to_owned() };
    Ok(client(service).list_revisions(request).await?.into_inner())
}

/// `ExplainIdentity`.
pub async fn explain(
    service: &Service,
    request: pb::ExplainIdentityRequest,
) -> Result<pb::ExplainIdentityResponse, Status> {
    Ok(client(service).explain_identity(request).await?.into_inner())
}

/// What to explain: the whole identity.
pub fn question(name: &str) -> pb::ExplainIdentityRequest {
    pb::ExplainIdentityRequest { name: name.to_owned(), ..Default::default() }
}

/// `GetIdentity` at a moment: the response.
pub async fn get_at(
    service: &Service,
    name: &str,
    at: prost_types::Timestamp,
) -> Result<pb::GetIdentityResponse, Status> {
    let request = pb::GetIdentityRequest { name: name.to_owned(), read_time: Some(at) };
    Ok(client(service).get_identity(request).await?.into_inner())
}

/// `LookupIdentities` at a moment.
pub async fn look_up_at(
    service: &Service,
    values: &[&str],
    at: prost_types::Timestamp,
) -> Result<pb::LookupIdentitiesResponse, Status> {
    let identifiers = values.iter().map(|value| identifier(value)).collect();
    let request = pb::LookupIdentitiesRequest { identifiers, read_time: Some(at) };
    Ok(client(service).lookup_identities(request).await?.into_inner())
}

/// All evidence of an identity, in pages of this size: names and values.
pub async fn all_evidence(service: &Service, parent: &str, size: i32) -> Vec<pb::Evidence> {
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = evidence(service, parent, size, &token).await.unwrap();
        assert!(page.evidence.len() <= usize::try_from(size).unwrap());
        listed.extend(page.evidence);
        token = page.next_page_token;
        if token.is_empty() {
            return listed;
        }
    }
}

/// The names of evidence.
pub fn names(evidence: &[pb::Evidence]) -> Vec<&str> {
    evidence.iter().map(|one| &one.name[..]).collect()
}

/// The values of identifiers.
pub fn values(identifiers: &[pb::Identifier]) -> Vec<&str> {
    identifiers.iter().map(|one| &one.value[..]).collect()
}

pub async fn identify(service: &Service, email: &str, phone: &str) -> Reply {
    identify_by(Api::Grpc, service, email, phone).await
}

pub async fn identify_by(api: Api, service: &Service, email: &str, phone: &str) -> Reply {
    let [email, phone] = [email, phone].map(|value| Some(value).filter(|value| !value.is_empty()));
    service.caller().identify(api, email, phone).await.unwrap()
}

/// The least that an answer may have, in bytes.
pub const SMALL_ANSWERS: [&str; 2] = ["--answer-limit", "1048576"];

/// Makes an identity of so many contacts, which share a phone number. Each takes some 240 bytes of an answer.
pub async fn make_large(service: &Service, phone: &str, contacts: usize) {
    let events: Vec<Event> = (0..contacts).map(|n| Event::of(&format!("{n:0>230}@{phone}.de"), phone)).collect();
    for some in events.chunks(500) {
        // An item whose answer does not fit was carried out.
        assert_eq!(service.caller().batch(Api::Grpc, some).await.unwrap().len(), some.len());
    }
}

/// What an identity says, as `Identify` says it.
pub fn as_reply(identity: &pb::Identity) -> Reply {
    Reply {
        outcome: "matched",
        primary: identity.primary_contact_id,
        emails: identity.emails.clone(),
        phones: identity.phone_numbers.clone(),
        secondaries: identity.secondary_contact_ids.clone(),
    }
}

/// Asserts that a call failed so. Returns the names of the fields.
pub fn assert_refused(status: &Status, code: Code, reason: &str) -> Vec<String> {
    let details = status.get_error_details();
    assert_eq!((status.code(), &details.error_info().unwrap().reason[..]), (code, reason), "{status:?}");
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

/// All rows of all tables of the database, with all columns, as text.
pub async fn tables(database: &TestDatabase) -> BTreeMap<String, Vec<String>> {
    let raw = database.raw().await;
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in query(&raw, columns_of(database.backend)).await {
        let [table, column, kind] = [0, 1, 2].map(|place| row.try_get_by_index::<String>(place).unwrap());
        columns.entry(table).or_default().push(as_text(database.backend, &column, &kind));
    }
    assert!(columns["Contact"].len() == 9 && columns.contains_key("Evidence"), "{columns:?}");
    let mut tables = BTreeMap::new();
    for (table, columns) in columns {
        let rows = query(&raw, &format!(r#"SELECT {} FROM "{table}""#, columns.join(", "))).await;
        let cell = |row: &QueryResult, column| row.try_get_by_index::<Option<String>>(column).unwrap();
        let show =
            |row: &QueryResult| format!("{:?}", (0..columns.len()).map(|one| cell(row, one)).collect::<Vec<_>>());
        let mut rows: Vec<String> = rows.iter().map(show).collect();
        rows.sort();
        tables.insert(table, rows);
    }
    raw.close().await.unwrap();
    tables
}

/// Selects the table, the name and the type of each column of the database.
fn columns_of(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => {
            "SELECT t.name, c.name, c.type FROM sqlite_master t JOIN pragma_table_info(t.name) c
                WHERE t.type = 'table' ORDER BY t.name, c.cid"
        }
        Backend::Postgres => {
            "SELECT CAST(table_name AS text), CAST(column_name AS text), CAST(data_type AS text)
                FROM information_schema.columns WHERE table_schema = current_schema()
                ORDER BY table_name, ordinal_position"
        }
        Backend::Mariadb | Backend::Mysql => {
            "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(data_type AS CHAR)
                FROM information_schema.columns WHERE table_schema = database()
                ORDER BY table_name, ordinal_position"
        }
    }
}

/// An expression that is the whole value of a column as text.
fn as_text(backend: Backend, column: &str, kind: &str) -> String {
    match backend {
        Backend::Sqlite => format!(r#"quote("{column}")"#),
        Backend::Postgres => format!(r#"CAST("{column}" AS text)"#),
        Backend::Mariadb | Backend::Mysql if kind.contains("binary") || kind.contains("blob") => {
            format!(r#"HEX("{column}")"#)
        }
        Backend::Mariadb | Backend::Mysql => format!(r#"CAST("{column}" AS CHAR)"#),
    }
}
