//! `LookupIdentities`.

use serde_json::json;
use tonic::Code;

use super::json::call;
use super::{SMALL_ANSWERS, as_reply, assert_refused, identify, look_up, make_large, tables};
use crate::harness::{Api, Event, Service, Suite, TestDatabase, register};
use crate::ignored;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        owners_are_found_and_nothing_is_written,
        an_ignored_identifier_is_unknown,
        a_thousand_identifiers_have_one_answer,
        what_does_not_fit_fails,
        look_ups_beside_writers_show_no_contact_twice,
    );
}

async fn owners_are_found_and_nothing_is_written(database: TestDatabase) {
    for flags in [&["--phone-region", "DE"][..], &["--cache-size", "0"]] {
        let service = Service::start_with(&database.url, flags).await;
        let one = identify(&service, "a@x.de", "+4930123456").await;
        let two = identify(&service, "b@x.de", "2000").await;
        let before = tables(&database).await;
        for _ in 0..2 {
            let asked = ["new@x.de", " B@x.de", "+49 30 123456", "a@X.DE", "9999", "new@x.de", "2000"];
            let (found, unknown) = look_up(&service, &asked).await.unwrap();
            let replies: Vec<_> = found.iter().map(as_reply).collect();
            assert_eq!(replies.iter().map(|one| one.primary).collect::<Vec<_>>(), [two.primary, one.primary]);
            assert_eq!((&replies[0].emails, &replies[1].emails), (&two.emails, &one.emails));
            assert_eq!(unknown, ["new@x.de", "9999"]);
            assert_eq!(look_up(&service, &["new@x.de"]).await.unwrap(), (vec![], vec!["new@x.de".to_owned()]));
        }
        assert_eq!(tables(&database).await, before, "a look-up makes no customer");
        service.stop().await;
    }
}

async fn an_ignored_identifier_is_unknown(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "1000").await;
    assert_eq!(look_up(&service, &["1000"]).await.unwrap().0.len(), 1);
    ignored::ignore(&database, &["add", "phone", "1000"]);
    let before = tables(&database).await;
    assert_eq!(look_up(&service, &["1000"]).await.unwrap(), (vec![], vec!["1000".to_owned()]));
    let (found, unknown) = look_up(&service, &["1000", "a@x.de"]).await.unwrap();
    assert_eq!((found[0].phone_numbers.clone(), unknown), (vec!["1000".to_owned()], vec!["1000".to_owned()]));
    assert_eq!(tables(&database).await, before);
    service.stop().await;
}

async fn a_thousand_identifiers_have_one_answer(database: TestDatabase) {
    let service = Service::start(&database).await;
    let events: Vec<Event> = (0..300).map(|n| Event::of(&format!("{n}@x.de"), &format!("{}", 1_000 + n / 3))).collect();
    assert!(service.caller().batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
    let asked: Vec<String> =
        (0..600).map(|n| format!("{n}@x.de")).chain((0..400).map(|n| format!("{}", 1_000 + n))).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let before = tables(&database).await;
    let (found, unknown) = look_up(&service, &asked).await.unwrap();
    assert_eq!((found.len(), unknown.len()), (100, 600));
    let ids: Vec<i64> = found.iter().map(|identity| identity.primary_contact_id).collect();
    assert_eq!(ids, (0..100).map(|n| 3 * n + 1).collect::<Vec<_>>());
    let mut more = asked.clone();
    more.push("1");
    let refused = look_up(&service, &more).await.unwrap_err();
    assert_eq!(assert_refused(&refused, Code::InvalidArgument, "IDENTIFIERS_TOO_MANY"), ["identifiers"]);

    // Ten times as many, by both APIs.
    let many: Vec<String> = (0..10_000).map(|n| format!("{n}@x.de")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = look_up(&service, &many).await.unwrap_err();
    assert_eq!(assert_refused(&refused, Code::InvalidArgument, "IDENTIFIERS_TOO_MANY"), ["identifiers"]);
    let many: Vec<_> = many.iter().map(|value| json!({"kind": "email", "value": value})).collect();
    let (status, answer) = call(&service, "/v1/identities:lookup", Some(json!({"identifiers": many}))).await;
    assert_eq!((status, &answer["details"][0]["reason"]), (400, &json!("IDENTIFIERS_TOO_MANY")), "{answer}");
    assert!(!answer.to_string().contains("x.de"), "{answer}");
    assert_eq!(tables(&database).await, before, "nothing was written");
    service.stop().await;
}

async fn what_does_not_fit_fails(database: TestDatabase) {
    let service = Service::start_with(&database.url, &SMALL_ANSWERS).await;
    make_large(&service, "1000", 5_000).await;
    identify(&service, "other@x.de", "").await;
    let (found, _) = look_up(&service, &["1000", "nobody@x.de"]).await.unwrap();
    assert!(found[0].truncated && found[0].contact_count == 5_000, "one identity is truncated");
    let refused = look_up(&service, &["other@x.de", "1000"]).await.unwrap_err();
    assert_refused(&refused, Code::ResourceExhausted, "ANSWER_TOO_LARGE");
    service.stop().await;
}

/// An identity that is absorbed between two statements of one look-up is not shown beside its survivor.
async fn look_ups_beside_writers_show_no_contact_twice(database: TestDatabase) {
    let service = Service::start(&database).await;
    let customers = 200;
    let events: Vec<Event> = (0..customers).map(|n| Event::of(&format!("{n}@x.de"), "")).collect();
    assert!(service.caller().batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
    let all: Vec<String> = (0..customers).map(|n| format!("{n}@x.de")).collect();
    let asked: Vec<&str> = all.iter().map(String::as_str).collect();
    let merge = async {
        for n in 1..customers {
            let (one, other) = (format!("{}@x.de", n - 1), format!("{n}@x.de"));
            let phone = format!("{}", 1_000 + n);
            identify(&service, &one, &phone).await;
            identify(&service, &other, &phone).await;
        }
    };
    let look = async {
        loop {
            let (found, unknown) = look_up(&service, &asked).await.unwrap();
            assert!(unknown.is_empty());
            let contacts = found
                .iter()
                .flat_map(|one| [one.primary_contact_id].into_iter().chain(one.secondary_contact_ids.clone()));
            let mut contacts: Vec<i64> = contacts.collect();
            let count = contacts.len();
            contacts.sort_unstable();
            contacts.dedup();
            assert_eq!(contacts.len(), count, "a contact of two identities");
            if found.len() == 1 {
                return;
            }
        }
    };
    tokio::join!(merge, look);
    service.stop().await;
}
