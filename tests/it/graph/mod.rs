//! `GraphService`: what is known, by id, by identifier and in pages. Nothing is ever written.

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

use crate::harness::{Api, Event, Reply, Service, Suite, TestDatabase, query};

pub fn register(suite: &mut Suite) {
    json::register(suite);
    reads::register(suite);
    look_ups::register(suite);
    lists::register(suite);
    histories::register(suite);
    explanations::register(suite);
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
    let [email, phone] = [email, phone].map(|value| Some(value).filter(|value| !value.is_empty()));
    service.caller().identify(Api::Grpc, email, phone).await.unwrap()
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

/// All rows of all tables of the service, as text.
pub async fn tables(database: &TestDatabase) -> BTreeMap<&'static str, Vec<String>> {
    let raw = database.raw().await;
    let mut tables = BTreeMap::new();
    for (table, columns) in [
        ("Contact", &["id", "email", "phoneNumber", "linkedId", "createdAt", "updatedAt", "deletedAt", "flags"][..]),
        ("Identifier", &["kind", "value", "contactId"]),
        ("ContactMerge", &["id", "survivorId", "absorbedId", "createdAt"]),
        ("Evidence", &["id", "setKey", "contactId", "origin", "createdAt", "retractedBy"]),
        ("EvidenceState", &["id", "copiedMergeId", "completeSince"]),
    ] {
        let list = columns.iter().map(|column| format!(r#""{column}""#)).collect::<Vec<_>>().join(", ");
        let rows = query(&raw, &format!(r#"SELECT {list} FROM "{table}" ORDER BY {list}"#)).await;
        let show = |row: &QueryResult| (0..columns.len()).map(|column| cell(row, column)).collect::<Vec<_>>().join("|");
        tables.insert(table, rows.iter().map(show).collect());
    }
    raw.close().await.unwrap();
    tables
}

fn cell(row: &QueryResult, column: usize) -> String {
    if let Ok(number) = row.try_get_by_index::<Option<i64>>(column) {
        return format!("{number:?}");
    }
    if let Ok(number) = row.try_get_by_index::<Option<i16>>(column) {
        return format!("{number:?}");
    }
    if let Ok(moment) = row.try_get_by_index::<Option<chrono::NaiveDateTime>>(column) {
        return format!("{moment:?}");
    }
    if let Ok(text) = row.try_get_by_index::<Option<String>>(column) {
        return format!("{text:?}");
    }
    format!("{:?}", row.try_get_by_index::<Vec<u8>>(column).unwrap())
}
