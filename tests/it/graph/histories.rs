//! `ListEvidence` and `ListRevisions`.

use std::collections::{BTreeMap, BTreeSet};

use identity::proto::identity::v1 as pb;
use identity::store::entity::contact_merge::{self, CauseIdentifier, MergeCause};
use identity::store::entity::{contact, evidence_state};
use pb::ChangeKind::{Created, Evidence, Linked, Merged};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use tonic::Code;

use super::{all_evidence, assert_refused, evidence, identify, names, revisions, tables, values};
use crate::harness::{Api, Event, Service, Suite, TestDatabase, execute, register};
use crate::ignored;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        what_was_seen_and_what_it_changed,
        a_merge_names_what_it_absorbed,
        pages_have_everything_once,
        pages_beside_writers_miss_nothing_that_stays,
        a_link_that_nothing_confirms_is_shown,
        what_is_deleted_or_ignored,
    );
}

/// All changes of an identity, in pages of this size.
async fn all_revisions(service: &Service, parent: &str, size: i32) -> Vec<pb::Revision> {
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = revisions(service, parent, size, &token).await.unwrap();
        listed.extend(page.revisions);
        token = page.next_page_token;
        if token.is_empty() {
            return listed;
        }
    }
}

/// Kind, primary, contacts that came, absorbed ones, and evidence.
type Shown<'a> = (pb::ChangeKind, i64, &'a [i64], &'a [i64], &'a str);

fn shown(revision: &pb::Revision) -> Shown<'_> {
    let change = revision.change.as_ref().unwrap();
    assert!(change.time.is_some());
    (change.kind(), change.primary_contact_id, &change.contact_ids, &change.absorbed, &revision.evidence)
}

async fn what_was_seen_and_what_it_changed(database: TestDatabase) {
    let service = Service::start(&database).await;
    for (email, phone) in
        [("a@x.de", "1000"), ("b@x.de", "1000"), ("b@x.de", "2000"), ("a@x.de", "2000"), ("b@x.de", "1000")]
    {
        identify(&service, email, phone).await;
    }
    let before = tables(&database).await;
    for name in ["identities/1", "identities/3"] {
        let known = all_evidence(&service, name, 10).await;
        assert_eq!(names(&known), ["evidence/c1", "evidence/c2", "evidence/c3", "evidence/e1"]);
        let origins: Vec<_> = known.iter().map(pb::Evidence::origin).collect();
        let contact = pb::EvidenceOrigin::Contact;
        assert_eq!(origins, [contact, contact, contact, pb::EvidenceOrigin::Match]);
        assert_eq!(values(&known[1].identifiers), ["b@x.de", "1000"]);
        let times: Vec<_> = known.iter().map(|one| one.create_time.unwrap()).collect();
        assert!(times.is_sorted_by_key(|time| (time.seconds, time.nanos)));
        let changes = all_revisions(&service, name, 10).await;
        let expected: [Shown; 4] = [
            (Created, 1, &[1], &[], "evidence/c1"),
            (Linked, 1, &[2], &[], "evidence/c2"),
            (Linked, 1, &[3], &[], "evidence/c3"),
            (Evidence, 1, &[], &[], "evidence/e1"),
        ];
        assert_eq!(changes.iter().map(shown).collect::<Vec<_>>(), expected);
        let moments: Vec<_> = changes.iter().map(|one| one.change.as_ref().unwrap().time.unwrap()).collect();
        assert_eq!(moments, times);
    }
    assert_eq!(tables(&database).await, before, "nothing was written");
    service.stop().await;
}

async fn a_merge_names_what_it_absorbed(database: TestDatabase) {
    let service = Service::start(&database).await;
    for (email, phone) in [
        ("lorraine@hillvalley.edu", "123456"),
        ("mcfly@hillvalley.edu", "123456"),
        ("george@hillvalley.edu", "919191"),
        ("biffsucks@hillvalley.edu", "717171"),
        ("george@hillvalley.edu", "717171"),
        ("doc@hillvalley.edu", ""),
        ("doc@hillvalley.edu", "717171"),
    ] {
        identify(&service, email, phone).await;
    }
    for name in ["identities/3", "identities/4", "identities/5"] {
        let changes = all_revisions(&service, name, 2).await;
        let expected: [Shown; 5] = [
            (Created, 3, &[3], &[], "evidence/c3"),
            (Created, 4, &[4], &[], "evidence/c4"),
            (Merged, 3, &[4], &[4], "evidence/e1"),
            (Created, 5, &[5], &[], ""),
            (Merged, 3, &[5], &[5], "evidence/e2"),
        ];
        assert_eq!(changes.iter().map(shown).collect::<Vec<_>>(), expected);
        assert_eq!(
            names(&all_evidence(&service, name, 2).await),
            ["evidence/c3", "evidence/c4", "evidence/e1", "evidence/e2"],
            "one identifier alone is no evidence"
        );
    }
    assert_eq!(all_evidence(&service, "identities/2", 10).await.len(), 2);
    service.stop().await;
}

async fn pages_have_everything_once(database: TestDatabase) {
    let service = Service::start(&database).await;
    // A ladder: every pair of neighbours is seen, and some more.
    let events: Vec<Event> = (0..120).map(|n| Event::of(&format!("{n}@x.de"), &format!("{}", 1_000 + n / 3))).collect();
    assert!(service.caller().batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
    for n in 1..40 {
        identify(&service, &format!("{}@x.de", 3 * n - 1), &format!("{}", 1_000 + n)).await;
    }
    for n in 2..40 {
        identify(&service, &format!("{}@x.de", 3 * n), &format!("{}", 998 + n)).await;
    }
    let before = tables(&database).await;
    let (all, changes) =
        (all_evidence(&service, "identities/1", 1_000).await, all_revisions(&service, "identities/1", 1_000).await);
    assert_eq!((all.len(), changes.len()), (120 + 39 + 38, 120 + 39 + 38));
    let distinct: BTreeSet<&str> = names(&all).into_iter().collect();
    assert_eq!(distinct.len(), all.len());
    for size in [1, 7, 196, 197, 198] {
        assert_eq!(all_evidence(&service, "identities/100", size).await, all, "in pages of {size}");
        assert_eq!(all_revisions(&service, "identities/100", size).await, changes, "in pages of {size}");
    }
    assert_eq!(evidence(&service, "identities/1", 0, "").await.unwrap().evidence.len(), 100, "the default");
    assert_eq!(revisions(&service, "identities/1", i32::MAX, "").await.unwrap().revisions.len(), 197);
    assert_eq!(tables(&database).await, before, "nothing was written");
    service.stop().await;
}

/// New contacts, new pairs, and a merge with an older identity.
async fn pages_beside_writers_miss_nothing_that_stays(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "oldest@x.de", "500").await;
    let events: Vec<Event> = (0..80).map(|n| Event::of(&format!("{n}@x.de"), &format!("{}", 1_000 + n / 2))).collect();
    let joined = (0..40).map(|n| Event::of(&format!("{}@x.de", 2 * n), "1000"));
    let events: Vec<Event> = events.into_iter().chain(joined).collect();
    assert!(service.caller().batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
    let parent = "identities/2";
    let before = all_evidence(&service, parent, 1_000).await;
    let changes_before = all_revisions(&service, parent, 1_000).await;
    assert!(before.len() > 100 && changes_before.len() > 100);
    let write = async {
        for n in 0..40 {
            identify(&service, &format!("new{n}@x.de"), "1000").await;
            identify(&service, &format!("{}@x.de", 2 * n + 1), "1000").await;
            if n == 20 {
                assert_eq!(identify(&service, "oldest@x.de", "1000").await.primary, 1);
            }
        }
    };
    let list = async {
        let mut lists = Vec::new();
        for size in [1, 5, 20, 5, 20] {
            lists.push((all_evidence(&service, parent, size).await, all_revisions(&service, parent, size).await));
        }
        lists
    };
    let ((), lists) = tokio::join!(write, list);
    for (evidence, changes) in lists {
        let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
        names(&evidence).into_iter().for_each(|name| *listed.entry(name).or_default() += 1);
        assert!(listed.values().all(|times| *times == 1), "each at most once");
        assert!(names(&before).iter().all(|name| listed.contains_key(name)), "what stays is in each list");
        let mut texts: Vec<String> = changes.iter().map(|one| format!("{one:?}")).collect();
        let count = texts.len();
        assert!(changes_before.iter().all(|one| texts.contains(&format!("{one:?}"))));
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), count, "each at most once");
    }
    service.stop().await;
}

/// As `identity adopt` takes such a link over.
async fn a_link_that_nothing_confirms_is_shown(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--cache-size=0"]).await;
    for (email, phone) in [("a@x.de", "1000"), ("b@x.de", "2000"), ("c@x.de", "2000")] {
        identify(&service, email, phone).await;
    }
    let raw = database.raw().await;
    contact::Entity::update_many()
        .col_expr(contact::Column::LinkedId, Expr::value(1_i64))
        .filter(contact::Column::Id.is_in([2_i64, 3]))
        .exec(&raw)
        .await
        .unwrap();
    execute(&raw, r#"UPDATE "Contact" SET "linkPrecedence" = 'secondary' WHERE "id" = 2"#).await;
    let merged_at = chrono::DateTime::from_timestamp(4_000_000_000, 7_000).unwrap().naive_utc();
    let with = |cause: Vec<CauseIdentifier>| contact_merge::ActiveModel {
        survivor_id: Set(1),
        absorbed_id: Set(2),
        cause: Set(MergeCause(cause)),
        created_at: Set(merged_at),
        ..Default::default()
    };
    let link = CauseIdentifier { kind: "link".to_owned(), value: String::new() };
    // Another cause that has the word in it is none.
    let value = CauseIdentifier { kind: "email".to_owned(), value: "link@x.de".to_owned() };
    contact_merge::Entity::insert_many([with(vec![link]), with(vec![value])])
        .exec_without_returning(&raw)
        .await
        .unwrap();
    raw.close().await.unwrap();
    let known = all_evidence(&service, "identities/3", 10).await;
    assert_eq!(names(&known), ["evidence/c1", "evidence/c2", "evidence/c3", "evidence/l2"]);
    assert_eq!(known[3].origin(), pb::EvidenceOrigin::Manual);
    assert_eq!(known[3].create_time.unwrap().seconds, 4_000_000_000);
    assert_eq!((known[3].create_time.unwrap().nanos, known[3].identifiers.len()), (7_000, 2));
    let changes = all_revisions(&service, "identities/1", 10).await;
    assert_eq!(shown(changes.last().unwrap()), (Merged, 1, &[2, 3][..], &[2][..], "evidence/l2"));
    service.stop().await;
}

async fn what_is_deleted_or_ignored(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--cache-size=0"]).await;
    for (email, phone) in [("a@x.de", "1000"), ("b@x.de", "1000"), ("b@x.de", "2000"), ("c@x.de", "2000")] {
        identify(&service, email, phone).await;
    }
    let raw = database.raw().await;
    execute(&raw, r#"UPDATE "Contact" SET "deletedAt" = "updatedAt" WHERE "id" = 4"#).await;
    let before = tables(&database).await;
    assert_eq!(names(&all_evidence(&service, "identities/1", 10).await), ["evidence/c1", "evidence/c2", "evidence/c3"]);
    assert_eq!(all_revisions(&service, "identities/1", 10).await.len(), 4, "it was there");
    for refused in [
        evidence(&service, "identities/4", 0, "").await.unwrap_err(),
        revisions(&service, "identities/4", 0, "").await.unwrap_err(),
        evidence(&service, "identities/99", 0, "").await.unwrap_err(),
    ] {
        assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");
    }
    assert_eq!(tables(&database).await, before, "nothing was written");
    ignored::ignore(&database, &["add", "phone", "2000"]);
    let before = tables(&database).await;
    let known = all_evidence(&service, "identities/1", 10).await;
    assert_eq!(names(&known), ["evidence/c1", "evidence/c2"], "one identifier alone is no evidence");
    // A holder of an ignored identifier is no customer.
    let holder = contact::Entity::find().filter(contact::Column::Flags.eq(4)).one(&raw).await.unwrap().unwrap().id;
    let refused = evidence(&service, &format!("identities/{holder}"), 0, "").await.unwrap_err();
    assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");
    assert_eq!(tables(&database).await, before, "nothing was written");
    // Without the row about the evidence nothing is promised, and everything is read.
    evidence_state::Entity::delete_many().exec(&raw).await.unwrap();
    assert_eq!(all_evidence(&service, "identities/1", 10).await, known);
    raw.close().await.unwrap();
    service.stop().await;
}
