//! `GetIdentity`.

use std::time::Duration;

use identity::proto::identity::v1 as pb;
use tonic::{Code, Request};

use super::{SMALL_ANSWERS, as_reply, assert_refused, client, get, identify, make_large, tables};
use crate::harness::{Service, Suite, TestDatabase, execute, query, register};
use crate::ignored;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        the_worked_example,
        an_identity_changes_its_etag_and_nothing_else_does,
        what_is_deleted_leads_nowhere,
        what_is_ignored_is_shown_and_its_holder_is_no_customer,
        a_large_identity_is_truncated_and_does_not_hold_up_others,
        a_call_without_time_ends,
    );
}

async fn the_worked_example(database: TestDatabase) {
    for flags in [&[][..], &["--cache-size", "0"]] {
        let service = Service::start_with(&database.url, flags).await;
        for (email, phone) in [
            ("lorraine@hillvalley.edu", "123456"),
            ("mcfly@hillvalley.edu", "123456"),
            ("george@hillvalley.edu", "919191"),
            ("biffsucks@hillvalley.edu", "717171"),
            ("george@hillvalley.edu", "717171"),
        ] {
            identify(&service, email, phone).await;
        }
        let before = tables(&database).await;
        for (asked, primary) in [(1, 1), (2, 1), (3, 3), (4, 3), (4, 3), (1, 1)] {
            let identity = get(&service, &format!("identities/{asked}")).await.unwrap();
            assert_eq!((&identity.name, identity.contact_count), (&format!("identities/{primary}"), 2));
            let email = identity.emails[0].clone();
            assert_eq!(as_reply(&identity), identify(&service, &email, "").await);
            assert!(!identity.truncated && !identity.etag.is_empty());
            let (created, updated) = (identity.create_time.unwrap(), identity.update_time.unwrap());
            assert!((created.seconds, created.nanos) < (updated.seconds, updated.nanos));
        }
        for id in [5, 1_000, 9_007_199_254_740_993, i64::MAX] {
            let refused = get(&service, &format!("identities/{id}")).await.unwrap_err();
            assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");
        }
        // Many at once share statements.
        let one = |asked: i64| {
            let service = &service;
            async move { Some(get(service, &format!("identities/{asked}")).await.ok()?.primary_contact_id) }
        };
        let all = futures::future::join_all((0..200).map(|n| one(n % 5 + 1))).await;
        for (n, answer) in all.into_iter().enumerate() {
            let expected = [Some(1), Some(1), Some(3), Some(3), None][n % 5];
            assert_eq!(answer, expected);
        }
        assert_eq!(tables(&database).await, before, "nothing was written");
        service.stop().await;
    }
}

async fn an_identity_changes_its_etag_and_nothing_else_does(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "1000").await;
    identify(&service, "z@x.de", "").await;
    let mut seen = Vec::new();
    // Two contacts, a merge, a contact, and a MATCHED whose set nothing has yet.
    for (email, phone, outcome) in [
        ("b@x.de", "1000", "linked"),
        ("c@x.de", "1000", "linked"),
        ("z@x.de", "1000", "merged"),
        ("c@x.de", "2000", "linked"),
        ("a@x.de", "2000", "matched"),
    ] {
        let before = get(&service, "identities/1").await.unwrap();
        assert_eq!(get(&service, "identities/1").await.unwrap(), before);
        identify(&service, "a@x.de", "1000").await;
        assert_eq!(get(&service, "identities/1").await.unwrap().etag, before.etag, "nothing new");
        assert_eq!(identify(&service, email, phone).await.outcome, outcome);
        let after = get(&service, "identities/1").await.unwrap();
        assert!(after.etag != before.etag && after.create_time == before.create_time);
        assert_ne!(after.update_time, before.update_time);
        assert_eq!(identify(&service, email, phone).await.outcome, "matched");
        assert_eq!(get(&service, "identities/1").await.unwrap(), after, "a replay");
        seen.push(before.etag);
    }
    seen.push(get(&service, "identities/1").await.unwrap().etag);
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "none comes again");
    service.stop().await;
}

async fn what_is_deleted_leads_nowhere(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--cache-size", "0"]).await;
    for (email, phone) in [("a@x.de", "1000"), ("b@x.de", "1000"), ("c@x.de", "1000"), ("d@x.de", "")] {
        identify(&service, email, phone).await;
    }
    let raw = database.raw().await;
    let delete = async |id: i64| {
        let sql = format!(r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "id" = {id}"#);
        assert_eq!(execute(&raw, &sql).await, 1);
    };
    let unknown = async |id: i64| {
        let refused = get(&service, &format!("identities/{id}")).await.unwrap_err();
        assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");
    };
    delete(2).await;
    let before = tables(&database).await;
    unknown(2).await;
    assert_eq!(get(&service, "identities/3").await.unwrap().secondary_contact_ids, [3]);
    assert_eq!(tables(&database).await, before, "nothing was written");
    delete(1).await; // The root.
    let before = tables(&database).await;
    unknown(1).await;
    let left = get(&service, "identities/3").await.unwrap();
    assert_eq!((&left.name[..], left.primary_contact_id, left.contact_count), ("identities/3", 3, 1));
    assert_eq!(left.emails, ["c@x.de"]);
    assert_eq!(tables(&database).await, before, "nothing was written");
    delete(4).await;
    let before = tables(&database).await;
    unknown(4).await;
    assert_eq!(tables(&database).await, before, "nothing was written");
    raw.close().await.unwrap();
    service.stop().await;
}

async fn what_is_ignored_is_shown_and_its_holder_is_no_customer(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "1000").await;
    for phone in ["1000", "2000"] {
        ignored::ignore(&database, &["add", "phone", phone]);
    }
    let identity = get(&service, "identities/1").await.unwrap();
    assert_eq!((identity.emails, identity.phone_numbers), (vec!["a@x.de".to_owned()], vec!["1000".to_owned()]));
    let raw = database.raw().await;
    let holders = query(&raw, r#"SELECT "id" FROM "Contact" WHERE "flags" = 4"#).await;
    assert_eq!(holders.len(), 2);
    for row in &holders {
        let id: i64 = row.try_get_by_index(0).unwrap();
        let refused = get(&service, &format!("identities/{id}")).await.unwrap_err();
        assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");
    }
    raw.close().await.unwrap();
    service.stop().await;
}

async fn a_large_identity_is_truncated_and_does_not_hold_up_others(database: TestDatabase) {
    let service = Service::start_with(&database.url, &SMALL_ANSWERS).await;
    make_large(&service, "1000", 5_000).await;
    identify(&service, "small@x.de", "").await;
    let large = get(&service, "identities/7").await.unwrap();
    assert!(large.truncated);
    assert_eq!((large.contact_count, large.primary_contact_id), (5_000, 1));
    assert!((4_000..4_600).contains(&large.emails.len()), "{}", large.emails.len());
    let small = "identities/5001";
    let all =
        futures::future::join_all((0..20).map(|n| get(&service, if n % 2 == 0 { small } else { "identities/9" })));
    for (n, identity) in all.await.into_iter().enumerate() {
        assert_eq!(identity.unwrap().truncated, n % 2 == 1);
    }
    service.stop().await;
}

async fn a_call_without_time_ends(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "").await;
    let mut request = Request::new(pb::GetIdentityRequest { name: "identities/1".to_owned(), read_time: None });
    request.set_timeout(Duration::from_nanos(1));
    let status = client(&service).get_identity(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted), "{status:?}");
    service.stop().await;
}
