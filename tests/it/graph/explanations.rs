//! `ExplainIdentity`.

use identity::proto::identity::v1 as pb;
use tonic::Code;

use super::json::{as_json, ok};
use super::{
    SMALL_ANSWERS, all_evidence, assert_refused, explain, identifier, identify, identify_by, make_large, names,
    question, tables, values,
};
use crate::harness::{Api, Service, Suite, TestDatabase, execute, register};
use crate::ignored;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_ring_of_four_identifiers,
        an_identity_before_it_was_absorbed,
        a_set_with_what_is_ignored_connects_nothing,
        what_is_ignored_or_deleted_is_no_evidence,
        an_identity_of_a_thousand_contacts,
        what_does_not_fit_fails,
        an_identity_with_all_sets_that_it_may_have,
    );
}

/// `(a,1)`, `(b,1)`, `(b,2)`, and then `(a,2)`. Each API sends every other one.
async fn make_ring(service: &Service) {
    for (api, email, phone, outcome) in [
        (Api::Grpc, "a@x.de", "1000", "created"),
        (Api::Http, "b@x.de", "1000", "linked"),
        (Api::Grpc, "b@x.de", "2000", "linked"),
        (Api::Http, "a@x.de", "2000", "matched"),
    ] {
        assert_eq!(identify_by(api, service, email, phone).await.outcome, outcome);
    }
}

/// `ExplainIdentity` through both APIs, which must say the same.
async fn explain_by_both(service: &Service, request: pb::ExplainIdentityRequest) -> pb::ExplainIdentityResponse {
    let explained = explain(service, request.clone()).await.unwrap();
    let mut body = as_json("ExplainIdentityRequest", &request);
    body.as_object_mut().unwrap().remove("name").expect("it is in the path");
    let answer = ok(service, &format!("/v1/{}:explain", request.name), Some(body)).await;
    assert_eq!(answer, as_json("ExplainIdentityResponse", &explained));
    explained
}

/// The identifiers and the contacts of each part.
fn parts(explained: &pb::ExplainIdentityResponse) -> Vec<(Vec<&str>, &[i64])> {
    let part = |part: &pb::Part| assert_eq!(part.contact_ids.first().copied().unwrap_or(0), part.primary_contact_id);
    explained.parts.iter().for_each(part);
    explained.parts.iter().map(|part| (values(&part.identifiers), &part.contact_ids[..])).collect()
}

async fn a_ring_of_four_identifiers(database: TestDatabase) {
    let service = Service::start(&database).await;
    make_ring(&service).await;
    let before = tables(&database).await;
    assert_eq!(before["Evidence"].len(), 1);
    for api in Api::BOTH {
        assert_eq!(identify_by(api, &service, "a@x.de", "2000").await.outcome, "matched");
        assert_eq!(tables(&database).await, before, "the second time nothing is written");
    }

    let without = |names: &[&str]| pb::ExplainIdentityRequest {
        without_evidence: names.iter().map(|name| (*name).to_owned()).collect(),
        ..question("identities/2")
    };
    let all = ["a@x.de", "1000", "b@x.de", "2000"];
    let whole = explain_by_both(&service, without(&[])).await;
    assert_eq!(parts(&whole), [(all.to_vec(), &[1, 2, 3][..])]);
    assert!(whole.path.is_empty() && whole.weakest_cut.is_empty() && whole.bridges.is_empty() && !whole.truncated);
    assert!(whole.complete_since.is_some(), "the database is new");
    assert_eq!(explain_by_both(&service, without(&["evidence/c2"])).await.parts.len(), 1);
    let two = explain_by_both(&service, without(&["evidence/c2", "evidence/e1"])).await;
    assert_eq!(parts(&two), [(vec!["a@x.de", "1000"], &[1][..]), (vec!["b@x.de", "2000"], &[2, 3][..])]);

    let between = [identifier("A@x.de"), identifier("20-00")].to_vec();
    let between = explain_by_both(&service, pb::ExplainIdentityRequest { between, ..question("identities/1") }).await;
    assert_eq!((names(&between.path), between.weakest_cut.len()), (vec!["evidence/e1"], 2));
    let path = &between.path[0];
    assert_eq!((path.origin(), values(&path.identifiers)), (pb::EvidenceOrigin::Match, vec!["a@x.de", "2000"]));
    assert!(path.create_time.is_some());

    let without_identifiers = [identifier("1000"), identifier("2000")].to_vec();
    let request = pb::ExplainIdentityRequest { without_identifiers, ..question("identities/1") };
    let apart = explain_by_both(&service, request).await;
    assert_eq!(parts(&apart), [(vec!["a@x.de"], &[1][..]), (vec!["b@x.de"], &[2, 3][..])]);

    // Before the third and the fourth request.
    let second = all_evidence(&service, "identities/1", 10).await[1].clone();
    let request = pb::ExplainIdentityRequest { read_time: second.create_time, ..question("identities/2") };
    let then = explain_by_both(&service, request).await;
    assert_eq!(parts(&then), [(all[..3].to_vec(), &[1, 2][..])]);
    assert_eq!(names(&then.bridges), ["evidence/c1", "evidence/c2"]);
    assert_eq!(tables(&database).await, before, "nothing was written");
    service.stop().await;
}

async fn an_identity_before_it_was_absorbed(database: TestDatabase) {
    let service = Service::start(&database).await;
    for (email, phone) in [("g@x.de", "1000"), ("h@x.de", "2000"), ("i@x.de", "2000"), ("g@x.de", "2000")] {
        identify(&service, email, phone).await;
    }
    let evidence = all_evidence(&service, "identities/1", 10).await;
    assert_eq!(names(&evidence), ["evidence/c1", "evidence/c2", "evidence/c3", "evidence/e1"]);
    assert_eq!(evidence[3].origin(), pb::EvidenceOrigin::Merge);
    let then = evidence[2].create_time;
    let about = |name: &str| pb::ExplainIdentityRequest { read_time: then, ..question(name) };
    let absorbed = explain(&service, about("identities/2")).await.unwrap();
    assert_eq!(parts(&absorbed), [(vec!["h@x.de", "2000", "i@x.de"], &[2, 3][..])]);
    assert_eq!(names(&absorbed.bridges), ["evidence/c2", "evidence/c3"]);
    let survivor = explain(&service, about("identities/1")).await.unwrap();
    assert_eq!(parts(&survivor), [(vec!["g@x.de", "1000"], &[1][..])]);
    assert_eq!(names(&survivor.bridges), ["evidence/c1"]);
    // What the other identity had then is none of this one's.
    let other = pb::ExplainIdentityRequest { without_evidence: vec!["evidence/c1".into()], ..about("identities/2") };
    let refused = explain(&service, other).await.unwrap_err();
    assert_eq!(assert_refused(&refused, Code::InvalidArgument, "EVIDENCE_UNKNOWN"), ["without_evidence[0]"]);
    let between = [identifier("h@x.de"), identifier("1000")].to_vec();
    let other = pb::ExplainIdentityRequest { between, ..about("identities/2") };
    let refused = explain(&service, other).await.unwrap_err();
    assert_eq!(assert_refused(&refused, Code::InvalidArgument, "IDENTIFIER_UNKNOWN"), ["between[1]"]);
    let bridges = explain(&service, question("identities/3")).await.unwrap().bridges;
    assert_eq!(names(&bridges), names(&evidence), "it is a chain now");
    service.stop().await;
}

/// A stored set of it stays, and connects nothing.
async fn a_set_with_what_is_ignored_connects_nothing(database: TestDatabase) {
    let service = Service::start(&database).await;
    make_ring(&service).await;
    let whole = explain(&service, question("identities/1")).await.unwrap();
    ignored::ignore(&database, &["add", "phone", "2000"]);
    let evidence = all_evidence(&service, "identities/1", 10).await;
    assert_eq!(names(&evidence), ["evidence/c1", "evidence/c2"]);
    let explained = explain(&service, question("identities/1")).await.unwrap();
    assert_eq!(parts(&explained), [(vec!["a@x.de", "1000", "b@x.de"], &[1, 2, 3][..])]);
    assert_eq!(names(&explained.bridges), ["evidence/c1", "evidence/c2"]);
    ignored::ignore(&database, &["remove", "phone", "2000"]);
    assert_eq!(explain(&service, question("identities/1")).await.unwrap(), whole, "it counts again");
    service.stop().await;
}

async fn what_is_ignored_or_deleted_is_no_evidence(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--cache-size=0"]).await;
    make_ring(&service).await;
    ignored::ignore(&database, &["add", "phone", "1000"]);
    let before = tables(&database).await;
    let explained = explain(&service, question("identities/1")).await.unwrap();
    assert_eq!(parts(&explained), [(vec!["a@x.de", "b@x.de", "2000"], &[1, 2, 3][..])]);
    assert_eq!(names(&explained.bridges), ["evidence/c3", "evidence/e1"]);
    let between = [identifier("a@x.de"), identifier("1000")].to_vec();
    let request = pb::ExplainIdentityRequest { between, ..question("identities/1") };
    let refused = explain(&service, request).await.unwrap_err();
    assert_eq!(assert_refused(&refused, Code::InvalidArgument, "IDENTIFIER_UNKNOWN"), ["between[1]"]);
    assert_eq!(tables(&database).await, before);

    let raw = database.raw().await;
    execute(&raw, r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "id" = 3"#).await;
    let explained = explain(&service, question("identities/1")).await.unwrap();
    assert!(explained.parts[0].contact_ids == [1, 2] && explained.parts.len() == 1, "{explained:?}");
    let refused = explain(&service, question("identities/3")).await.unwrap_err();
    assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");
    raw.close().await.unwrap();
    service.stop().await;
}

/// Customers who share a phone number, of whom pairs have another one in common.
async fn an_identity_of_a_thousand_contacts(database: TestDatabase) {
    let service = Service::start(&database).await;
    make_large(&service, "1000", 1_000).await;
    let explained = explain(&service, question("identities/500")).await.unwrap();
    assert_eq!((explained.parts.len(), explained.parts[0].contact_ids.len()), (1, 1_000));
    assert_eq!(explained.bridges.len(), 1_000);
    let without_identifiers = vec![identifier("1000")];
    let request = pb::ExplainIdentityRequest { without_identifiers, ..question("identities/1") };
    let apart = explain(&service, request).await.unwrap();
    assert_eq!(apart.parts.len(), 1_000);
    assert!(apart.parts.iter().all(|part| part.contact_ids.len() == 1 && part.identifiers.len() == 1));
    service.stop().await;
}

async fn what_does_not_fit_fails(database: TestDatabase) {
    let service = Service::start_with(&database.url, &SMALL_ANSWERS).await;
    make_large(&service, "1000", 5_000).await;
    identify(&service, "small@x.de", "").await;
    let (refused, small) =
        tokio::join!(explain(&service, question("identities/7")), explain(&service, question("identities/5001")));
    assert_refused(&refused.unwrap_err(), Code::ResourceExhausted, "ANSWER_TOO_LARGE");
    assert_eq!(small.unwrap().parts.len(), 1);
    service.stop().await;
}

async fn an_identity_with_all_sets_that_it_may_have(database: TestDatabase) {
    use identity::store::entity::{contact_merge::MergeCause, evidence};
    use sea_orm::{ActiveValue::Set, EntityTrait};

    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "1000").await;
    assert!(!explain(&service, question("identities/1")).await.unwrap().truncated);
    let raw = database.raw().await;
    let row = |number: u64| evidence::ActiveModel {
        set_key: Set([number.to_be_bytes(), [7; 8]].concat()),
        contact_id: Set(1),
        origin: Set("match".to_owned()),
        identifiers: Set(MergeCause(Vec::new())),
        created_at: Set(chrono::DateTime::from_timestamp_micros(0).unwrap().naive_utc()),
        ..Default::default()
    };
    let rows: Vec<_> = (0..10_000).map(row).collect();
    for some in rows.chunks(1_000) {
        evidence::Entity::insert_many(some.to_vec()).exec_without_returning(&raw).await.unwrap();
    }
    assert!(explain(&service, question("identities/1")).await.unwrap().truncated);
    raw.close().await.unwrap();
    service.stop().await;
}
