//! `read_time`: what was known at an earlier moment.

use identity::proto::identity::v1 as pb;
use identity::store::entity::{contact, evidence_state};
use prost_reflect::prost_types::Timestamp;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use tonic::Code;

use super::{
    SMALL_ANSWERS, assert_refused, explain, get, get_at, identify, look_up, look_up_at, make_large, question, tables,
    values,
};
use crate::harness::{Api, Event, Service, Suite, TestDatabase, register};
use crate::ignored;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        the_worked_example_before_its_merge,
        who_owned_identifiers,
        what_was_deleted_since_was_there,
        what_is_promised,
        moments_that_are_refused,
        look_ups_of_the_past_beside_writers_show_no_contact_twice,
        large_identities_of_the_past,
    );
}

/// A microsecond before this moment.
fn before(moment: Timestamp) -> Timestamp {
    match moment.nanos {
        0 => Timestamp { seconds: moment.seconds - 1, nanos: 999_999_000 },
        nanos => Timestamp { nanos: nanos - 1_000, ..moment },
    }
}

async fn the_worked_example_before_its_merge(database: TestDatabase) {
    let service = Service::start(&database).await;
    let mut states = Vec::new();
    for (email, phone, id) in [
        ("lorraine@hillvalley.edu", "123456", 1),
        ("mcfly@hillvalley.edu", "123456", 1),
        ("george@hillvalley.edu", "919191", 3),
        ("biffsucks@hillvalley.edu", "717171", 4),
        ("george@hillvalley.edu", "717171", 4),
        ("mcfly@hillvalley.edu", "123456", 1),
    ] {
        identify(&service, email, phone).await;
        states.push(get(&service, &format!("identities/{id}")).await.unwrap());
    }
    let tables_before = tables(&database).await;
    assert_eq!(get(&service, "identities/4").await.unwrap().name, "identities/3");
    let merged = states[4].update_time.unwrap();
    let alone = get_at(&service, "identities/4", before(merged)).await.unwrap();
    assert!(alone.complete_since.is_some(), "the database is new");
    let alone = alone.identity.unwrap();
    assert_eq!((&alone.name[..], alone.contact_count), ("identities/4", 1));
    assert_eq!((&alone.emails, &alone.phone_numbers), (&states[3].emails, &states[3].phone_numbers));
    // Each identity is what it was after each request, and has no etag.
    for state in &states {
        let then = get_at(&service, &state.name, state.update_time.unwrap()).await.unwrap().identity.unwrap();
        let (changed, updated) = (then.update_time.unwrap(), state.update_time.unwrap());
        assert!(
            changed == updated || changed == before(updated),
            "the moment of the youngest row: {changed} {updated}"
        );
        let expected = pb::Identity { etag: String::new(), update_time: then.update_time, ..state.clone() };
        assert_eq!(then, expected);
        let created = state.create_time.unwrap();
        let refused = get_at(&service, &state.name, before(created)).await.unwrap_err();
        assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");
        assert_eq!(get_at(&service, &state.name, created).await.unwrap().identity.unwrap().contact_count, 1);
    }
    assert_eq!(tables(&database).await, tables_before, "nothing was written");
    service.stop().await;
}

async fn who_owned_identifiers(database: TestDatabase) {
    for flags in [&[][..], &["--cache-size", "0"]] {
        let service = Service::start_with(&database.url, flags).await;
        for (email, phone) in [("a@x.de", "1000"), ("b@x.de", "2000"), ("c@x.de", "1000")] {
            identify(&service, email, phone).await;
        }
        let two = get(&service, "identities/2").await.unwrap();
        if two.primary_contact_id == 2 {
            identify(&service, "b@x.de", "1000").await; // A merge.
            identify(&service, "d@x.de", "2000").await;
        }
        let asked = ["d@x.de", "2000", "a@x.de", "1000", "b@x.de", "nobody@x.de"];
        let third = get(&service, "identities/1").await.unwrap().create_time.unwrap();
        let first = look_up_at(&service, &asked, third).await.unwrap();
        let names = |found: &pb::LookupIdentitiesResponse| {
            found.identities.iter().map(|one| (one.name.clone(), one.contact_count)).collect::<Vec<_>>()
        };
        assert_eq!(names(&first), [("identities/1".to_owned(), 1)]);
        assert_eq!(values(&first.unknown), ["d@x.de", "2000", "b@x.de", "nobody@x.de"]);
        let changes = super::revisions(&service, "identities/1", 10, "").await.unwrap().revisions;
        let moments: Vec<_> = changes.iter().map(|one| one.change.as_ref().unwrap().time.unwrap()).collect();
        let [_, _, linked, merged, last] = moments[..] else { panic!("{moments:?}") };
        let apart = look_up_at(&service, &asked, linked).await.unwrap();
        assert_eq!(names(&apart), [("identities/2".to_owned(), 1), ("identities/1".to_owned(), 2)]);
        assert_eq!(values(&apart.unknown), ["d@x.de", "nobody@x.de"]);
        assert!(apart.complete_since.is_some() && apart.identities.iter().all(|one| one.etag.is_empty()));
        let together = look_up_at(&service, &asked, merged).await.unwrap();
        assert_eq!(names(&together), [("identities/1".to_owned(), 3)]);
        let present = look_up_at(&service, &asked, last).await.unwrap();
        let (now, unknown) = look_up(&service, &asked).await.unwrap();
        assert_eq!((present.identities[0].contact_count, values(&present.unknown)), (4, vec!["nobody@x.de"]));
        assert_eq!((&now[0].secondary_contact_ids, unknown.len()), (&present.identities[0].secondary_contact_ids, 1));
        assert_eq!(look_up_at(&service, &["nobody@x.de"], last).await.unwrap().unknown.len(), 1);
        service.stop().await;
    }
}

async fn what_was_deleted_since_was_there(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--cache-size", "0"]).await;
    for (email, phone) in [("a@x.de", "1000"), ("b@x.de", "1000"), ("c@x.de", "3000")] {
        identify(&service, email, phone).await;
    }
    ignored::ignore(&database, &["add", "phone", "3000"]);
    let created = |id: i64| {
        let (service, name) = (&service, format!("identities/{id}"));
        async move { get(service, &name).await.unwrap() }
    };
    let (two, three) = (created(2).await.update_time.unwrap(), created(3).await.create_time.unwrap());
    let raw = database.raw().await;
    let deleted_at = chrono::DateTime::from_timestamp(three.seconds, 0).unwrap().naive_utc()
        + chrono::Duration::nanoseconds(i64::from(three.nanos));
    contact::Entity::update_many()
        .col_expr(contact::Column::DeletedAt, Expr::value(deleted_at))
        .filter(contact::Column::Id.is_in([1_i64, 2]))
        .exec(&raw)
        .await
        .unwrap();
    let tables_before = tables(&database).await;
    let refused = get(&service, "identities/2").await.unwrap_err();
    assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");
    for id in [1, 2] {
        let name = format!("identities/{id}");
        let then = get_at(&service, &name, two).await.unwrap().identity.unwrap();
        assert_eq!((then.primary_contact_id, then.contact_count), (1, 2));
        let refused = get_at(&service, &name, three).await.unwrap_err();
        assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");
        assert_refused(&explain(&service, question(&name)).await.unwrap_err(), Code::NotFound, "IDENTITY_UNKNOWN");
    }
    let found = look_up_at(&service, &["b@x.de", "1000"], two).await.unwrap();
    assert_eq!((found.identities.len(), found.unknown.len()), (1, 0), "its row still names the contact");
    assert_eq!(look_up_at(&service, &["b@x.de", "1000"], three).await.unwrap().unknown.len(), 2);
    // What is ignored today belongs to nobody, and is shown.
    let found = look_up_at(&service, &["3000", "c@x.de"], three).await.unwrap();
    assert_eq!(values(&found.unknown), ["3000"]);
    assert_eq!(found.identities[0].phone_numbers, ["3000"]);
    assert_eq!(tables(&database).await, tables_before, "nothing was written");
    raw.close().await.unwrap();
    service.stop().await;
}

async fn what_is_promised(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "1000").await;
    let now = get(&service, "identities/1").await.unwrap().update_time.unwrap();
    let promised = get_at(&service, "identities/1", now).await.unwrap().complete_since.unwrap();
    assert!((promised.seconds, promised.nanos) < (now.seconds, now.nanos));
    assert_eq!(look_up_at(&service, &["a@x.de"], now).await.unwrap().complete_since, Some(promised));
    assert_eq!(explain(&service, question("identities/1")).await.unwrap().complete_since, Some(promised));
    // A database that an older version has written to.
    let raw = database.raw().await;
    let unknown = evidence_state::ActiveModel { id: Set(1), complete_since: Set(None), ..Default::default() };
    evidence_state::Entity::update(unknown).exec(&raw).await.unwrap();
    raw.close().await.unwrap();
    assert_eq!(get_at(&service, "identities/1", now).await.unwrap().complete_since, None);
    assert_eq!(look_up_at(&service, &["a@x.de"], now).await.unwrap().complete_since, None);
    assert_eq!(explain(&service, question("identities/1")).await.unwrap().complete_since, None);
    service.stop().await;
}

async fn moments_that_are_refused(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "1000").await;
    let now = get(&service, "identities/1").await.unwrap().update_time.unwrap();
    let later = Timestamp { seconds: now.seconds + 3_600, nanos: 0 };
    let tables_before = tables(&database).await;
    let malformed = [
        Timestamp { seconds: now.seconds, nanos: -1 },
        Timestamp { seconds: now.seconds, nanos: 1_000_000_000 },
        Timestamp { seconds: i64::MAX, nanos: 0 },
        Timestamp { seconds: i64::MIN, nanos: 0 },
    ];
    for at in malformed.into_iter().chain([later]) {
        let question = pb::ExplainIdentityRequest { read_time: Some(at), ..question("identities/1") };
        for refused in [
            get_at(&service, "identities/1", at).await.unwrap_err(),
            get_at(&service, "identities/99", at).await.unwrap_err(),
            look_up_at(&service, &["a@x.de", "1000"], at).await.unwrap_err(),
            look_up_at(&service, &["nobody@x.de"], at).await.unwrap_err(),
            explain(&service, question).await.unwrap_err(),
        ] {
            assert_eq!(assert_refused(&refused, Code::InvalidArgument, "READ_TIME_INVALID"), ["read_time"]);
        }
    }
    let first = Timestamp { seconds: -62_135_596_800, nanos: 0 };
    assert_refused(&get_at(&service, "identities/1", first).await.unwrap_err(), Code::NotFound, "IDENTITY_UNKNOWN");
    assert_eq!(look_up_at(&service, &["a@x.de"], first).await.unwrap().unknown.len(), 1);
    assert_eq!(tables(&database).await, tables_before, "nothing was written");
    service.stop().await;
}

async fn look_ups_of_the_past_beside_writers_show_no_contact_twice(database: TestDatabase) {
    let service = Service::start(&database).await;
    let customers = 60;
    let events: Vec<Event> = (0..customers).map(|n| Event::of(&format!("{n}@x.de"), "")).collect();
    assert!(service.caller().batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
    let all: Vec<String> = (0..customers).map(|n| format!("{n}@x.de")).collect();
    let asked: Vec<&str> = all.iter().map(String::as_str).collect();
    let created = get(&service, &format!("identities/{customers}")).await.unwrap().create_time.unwrap();
    let merge = async {
        for n in 1..customers {
            let phone = format!("{}", 1_000 + n);
            identify(&service, &format!("{}@x.de", n - 1), &phone).await;
            identify(&service, &format!("{n}@x.de"), &phone).await;
        }
    };
    let look = async {
        loop {
            // The newest moment that the database accepts.
            let (now, _) = look_up(&service, &asked).await.unwrap();
            let moment = now.iter().map(|one| one.update_time.unwrap()).max_by_key(|at| (at.seconds, at.nanos));
            let found = look_up_at(&service, &asked, moment.unwrap()).await.unwrap();
            assert!(found.unknown.is_empty());
            let contacts = found
                .identities
                .iter()
                .flat_map(|one| [one.primary_contact_id].into_iter().chain(one.secondary_contact_ids.clone()));
            let mut contacts: Vec<i64> = contacts.collect();
            let count = contacts.len();
            contacts.sort_unstable();
            contacts.dedup();
            assert_eq!(contacts.len(), count, "a contact of two identities");
            assert_eq!(look_up_at(&service, &asked, created).await.unwrap().identities.len(), 60, "the past stays");
            if now.len() == 1 {
                return;
            }
        }
    };
    tokio::join!(merge, look);
    service.stop().await;
}

async fn large_identities_of_the_past(database: TestDatabase) {
    let service = Service::start_with(&database.url, &SMALL_ANSWERS).await;
    make_large(&service, "1000", 5_000).await;
    identify(&service, "other@x.de", "").await;
    let now = get(&service, "identities/5001").await.unwrap().update_time.unwrap();
    let large = get_at(&service, "identities/7", now).await.unwrap().identity.unwrap();
    assert!(large.truncated && large.contact_count == 5_000);
    let one = look_up_at(&service, &["1000", "nobody@x.de"], now).await.unwrap();
    assert!(one.identities[0].truncated && one.unknown.len() == 1, "one identity is truncated");
    let refused = look_up_at(&service, &["other@x.de", "1000"], now).await.unwrap_err();
    assert_refused(&refused, Code::ResourceExhausted, "ANSWER_TOO_LARGE");
    service.stop().await;
}
