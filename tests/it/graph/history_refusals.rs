//! What reads of the history refuse, and how.

use identity::proto::identity::v1 as pb;
use identity::store::entity::contact;
use sea_orm::{ActiveValue::Set, EntityTrait};
use tonic::Code;

use super::{
    assert_refused, contacts, evidence, explain, get, get_at, identifier, identify, question, revisions, tables,
};
use crate::harness::{Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): names_sizes_and_tokens, questions_about_nothing, an_identity_that_is_too_large);
}

async fn names_sizes_and_tokens(database: TestDatabase) {
    let service = Service::start(&database).await;
    for n in 0..4 {
        identify(&service, &format!("{n}@x.de"), "1000").await;
        identify(&service, &format!("other{n}@x.de"), &format!("200{n}")).await;
    }
    let before = tables(&database).await;
    for name in ["", "identities/0", "evidence/c1", "identities/9223372036854775808", "a@b.co"] {
        for (refused, field) in [
            (evidence(&service, name, 0, "").await.unwrap_err(), "parent"),
            (revisions(&service, name, 0, "").await.unwrap_err(), "parent"),
            (explain(&service, question(name)).await.unwrap_err(), "name"),
        ] {
            assert_eq!(assert_refused(&refused, Code::InvalidArgument, "NAME_INVALID"), [field]);
            assert!(!refused.message().contains("a@b.co"));
        }
    }
    for refused in [
        evidence(&service, "identities/9007199254740993", 0, "").await.unwrap_err(),
        revisions(&service, "identities/99", 0, "").await.unwrap_err(),
        explain(&service, question("identities/99")).await.unwrap_err(),
    ] {
        assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");
    }
    for refused in [
        evidence(&service, "identities/1", -1, "").await.unwrap_err(),
        revisions(&service, "identities/1", i32::MIN, "").await.unwrap_err(),
    ] {
        assert_eq!(assert_refused(&refused, Code::InvalidArgument, "PAGE_SIZE_INVALID"), ["page_size"]);
    }
    let of_evidence = evidence(&service, "identities/1", 1, "").await.unwrap().next_page_token;
    let of_revisions = revisions(&service, "identities/1", 1, "").await.unwrap().next_page_token;
    let of_contacts = contacts(&service, "identities/1", 1, "").await.unwrap().next_page_token;
    let mut changed = of_evidence.clone();
    changed.replace_range(20..21, if &changed[20..21] == "0" { "1" } else { "0" });
    for (parent, token) in [
        ("identities/1", &changed[..]),
        ("identities/1", &of_revisions),
        ("identities/1", &of_contacts),
        ("identities/3", &of_evidence),
        ("identities/1", "x"),
    ] {
        let refused = evidence(&service, parent, 1, token).await.unwrap_err();
        assert_eq!(assert_refused(&refused, Code::InvalidArgument, "PAGE_TOKEN_INVALID"), ["page_token"]);
    }
    for (parent, token) in [("identities/1", &of_evidence), ("identities/3", &of_revisions)] {
        let refused = revisions(&service, parent, 1, token).await.unwrap_err();
        assert_eq!(assert_refused(&refused, Code::InvalidArgument, "PAGE_TOKEN_INVALID"), ["page_token"]);
    }
    assert!(evidence(&service, "identities/1", 1, &of_evidence).await.is_ok());
    assert!(revisions(&service, "identities/1", 1, &of_revisions).await.is_ok());
    assert_eq!(tables(&database).await, before, "nothing was written");
    service.stop().await;
}

async fn questions_about_nothing(database: TestDatabase) {
    let service = Service::start(&database).await;
    for (email, phone) in [("a@x.de", "5551"), ("b@x.de", "5551"), ("other@x.de", "2000")] {
        identify(&service, email, phone).await;
    }
    let before = tables(&database).await;
    let one = || question("identities/1");
    let between = |all: &[&str]| pb::ExplainIdentityRequest {
        between: all.iter().map(|value| identifier(value)).collect(),
        ..one()
    };
    let without = |all: &[&str]| pb::ExplainIdentityRequest {
        without_identifiers: all.iter().map(|value| identifier(value)).collect(),
        ..one()
    };
    let names = |all: &[&str]| pb::ExplainIdentityRequest {
        without_evidence: all.iter().map(|name| (*name).to_owned()).collect(),
        ..one()
    };
    let odd = pb::Identifier { kind: "device".into(), value: "secret".into() };
    let both =
        pb::ExplainIdentityRequest { without_evidence: vec!["evidence/c1".into()], ..between(&["a@x.de", "5551"]) };
    let all =
        pb::ExplainIdentityRequest { without_identifiers: vec![identifier("b@x.de")], ..between(&["a@x.de", "5551"]) };
    for (request, reason, fields) in [
        (between(&["a@x.de"]), "BETWEEN_INVALID", vec!["between"]),
        (between(&["a@x.de", "A@x.de"]), "BETWEEN_INVALID", vec!["between"]),
        (between(&["a@x.de", "5551", "b@x.de"]), "BETWEEN_INVALID", vec!["between"]),
        (both, "BETWEEN_INVALID", vec!["between"]),
        (all, "BETWEEN_INVALID", vec!["between"]),
        (between(&["a@x.de", "other@x.de"]), "IDENTIFIER_UNKNOWN", vec!["between[1]"]),
        (between(&["strange@x.de", "2000"]), "IDENTIFIER_UNKNOWN", vec!["between[0]", "between[1]"]),
        (between(&["a@x.de", "secret"]), "IDENTIFIER_INVALID", vec!["between[1].value"]),
        (without(&["5551", " ", "b@x.de"]), "IDENTIFIER_MISSING", vec!["without_identifiers[1].value"]),
        (without(&["5551", "2000"]), "IDENTIFIER_UNKNOWN", vec!["without_identifiers[1]"]),
        (
            pb::ExplainIdentityRequest { without_identifiers: vec![odd], ..one() },
            "IDENTIFIER_INVALID",
            vec!["without_identifiers[0].kind"],
        ),
        (names(&["evidence/c1", "evidence/c3"]), "EVIDENCE_UNKNOWN", vec!["without_evidence[1]"]),
        (names(&["evidence/e1"]), "EVIDENCE_UNKNOWN", vec!["without_evidence[0]"]),
        (names(&["evidence/l1"]), "EVIDENCE_UNKNOWN", vec!["without_evidence[0]"]),
        (names(&["evidence/c1", "secret"]), "NAME_INVALID", vec!["without_evidence[1]"]),
        (names(&["evidence/c1"; 1_001]), "EVIDENCE_TOO_MANY", vec!["without_evidence"]),
        (without(&["5551"; 1_001]), "IDENTIFIERS_TOO_MANY", vec!["without_identifiers"]),
    ] {
        let refused = explain(&service, request).await.unwrap_err();
        assert_eq!(assert_refused(&refused, Code::InvalidArgument, reason), fields);
        for quoted in ["secret", "strange", "x.de", "5551", "2000", "evidence/c1"] {
            assert!(!refused.message().contains(quoted), "{refused:?}");
        }
    }
    assert!(explain(&service, names(&["evidence/c1"; 1_000])).await.is_ok(), "a name may come twice");
    assert!(explain(&service, without(&["5551"; 1_000])).await.is_ok());
    assert_eq!(tables(&database).await, before, "nothing was written");
    service.stop().await;
}

/// More contacts than one call reads.
async fn an_identity_that_is_too_large(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "1000").await;
    let raw = database.raw().await;
    let now = contact::Entity::find_by_id(1).one(&raw).await.unwrap().unwrap().created_at;
    let row = |id: i64| contact::ActiveModel {
        id: Set(id),
        email: Set(None),
        phone_number: Set(Some("1000".to_owned())),
        linked_id: Set(Some(1)),
        link_precedence: Set(contact::LinkPrecedence::Secondary),
        created_at: Set(now),
        updated_at: Set(now),
        deleted_at: Set(None),
        flags: Set(0),
    };
    let rows: Vec<_> = (2..=20_000).map(row).collect();
    for some in rows.chunks(1_000) {
        contact::Entity::insert_many(some.to_vec()).exec_without_returning(&raw).await.unwrap();
    }
    let at = get(&service, "identities/1").await.unwrap().update_time.unwrap();
    assert!(get_at(&service, "identities/1", at).await.is_ok(), "20,000 contacts are read");
    contact::Entity::insert(row(20_001)).exec_without_returning(&raw).await.unwrap();
    let before = tables(&database).await;
    for refused in [
        get_at(&service, "identities/7", at).await.unwrap_err(),
        evidence(&service, "identities/1", 1, "").await.unwrap_err(),
        revisions(&service, "identities/1", 1, "").await.unwrap_err(),
        explain(&service, question("identities/20001")).await.unwrap_err(),
        super::look_up_at(&service, &["a@x.de"], at).await.unwrap_err(),
    ] {
        assert_refused(&refused, Code::FailedPrecondition, "IDENTITY_TOO_LARGE");
    }
    assert!(get(&service, "identities/1").await.is_ok(), "the present has no such bound");
    assert_eq!(tables(&database).await, before, "nothing was written");
    let whole = database.store().await.whole_history_of(identity::domain::ContactId(7)).await.unwrap();
    assert_eq!(whole.identity.unwrap().contacts.len(), 20_001);
    raw.close().await.unwrap();
    service.stop().await;
}
