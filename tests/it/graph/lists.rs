//! `ListIdentities` and `ListContacts`.

use std::collections::{BTreeMap, BTreeSet};

use identity::proto::identity::v1 as pb;

use super::{SMALL_ANSWERS, contacts, get, identify, make_large, page, tables};
use crate::harness::{Api, Event, Service, Suite, TestDatabase, execute, register};
use crate::ignored;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        pages_have_each_identity_once,
        an_identity_without_a_live_root_is_listed,
        pages_of_large_identities_end_early,
        a_list_beside_writers_misses_nobody_who_stays,
        contacts_come_in_pages_the_oldest_first,
        the_pages_of_an_absorbed_identity_go_on_with_the_survivor,
    );
}

/// All identities, in pages of this size.
async fn all(service: &Service, size: i32) -> Vec<pb::Identity> {
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = page(service, size, &token).await.unwrap();
        assert!(page.identities.len() <= usize::try_from(size).unwrap());
        listed.extend(page.identities);
        token = page.next_page_token;
        if token.is_empty() {
            return listed;
        }
    }
}

fn ids(identities: &[pb::Identity]) -> Vec<i64> {
    identities.iter().map(|identity| identity.primary_contact_id).collect()
}

async fn pages_have_each_identity_once(database: TestDatabase) {
    let service = Service::start(&database).await;
    assert!(page(&service, 0, "").await.unwrap().identities.is_empty(), "there are none yet");
    let events: Vec<Event> = (0..260).map(|n| Event::of(&format!("{n}@x.de"), &format!("{}", 1_000 + n / 2))).collect();
    assert!(service.caller().batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
    identify(&service, "0@x.de", "1001").await; // A merge.
    for phone in ["1005", "777"] {
        ignored::ignore(&database, &["add", "phone", phone]);
    }
    identify(&service, "last@x.de", "").await;
    let before = tables(&database).await;
    let expected = all(&service, 1_000).await;
    assert_eq!(expected.len(), 130);
    assert!(ids(&expected).is_sorted());
    for identity in [&expected[0], &expected[4], &expected[129]] {
        assert_eq!(&get(&service, &identity.name).await.unwrap(), identity);
    }
    assert_eq!((expected[0].contact_count, expected[1].primary_contact_id), (4, 5));
    for size in [1, 7, 128, 129, 130] {
        assert_eq!(all(&service, size).await, expected, "in pages of {size}");
    }
    let first = page(&service, 0, "").await.unwrap();
    assert_eq!(first.identities.len(), 100, "the default");
    assert_eq!(page(&service, i32::MAX, &first.next_page_token).await.unwrap().identities.len(), 30);
    assert_eq!(tables(&database).await, before, "nothing was written");
    service.stop().await;
}

async fn an_identity_without_a_live_root_is_listed(database: TestDatabase) {
    let service = Service::start(&database).await;
    for (email, phone) in [("a@x.de", "1000"), ("b@x.de", "1000"), ("c@x.de", ""), ("d@x.de", "")] {
        identify(&service, email, phone).await;
    }
    let raw = database.raw().await;
    execute(&raw, r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "id" IN (1, 3)"#).await;
    raw.close().await.unwrap();
    for size in [1, 2, 10] {
        assert_eq!(ids(&all(&service, size).await), [2, 4]);
    }
    service.stop().await;
}

async fn pages_of_large_identities_end_early(database: TestDatabase) {
    let service = Service::start_with(&database.url, &SMALL_ANSWERS).await;
    // The second is larger than an answer, and the first and the third are together.
    for (customer, count) in [("1000", 2_500), ("2000", 5_000), ("3000", 2_500), ("4000", 1)] {
        make_large(&service, customer, count).await;
    }
    let mut sizes = Vec::new();
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = page(&service, 10, &token).await.unwrap();
        sizes.push(page.identities.len());
        listed.extend(page.identities);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [1, 1, 2]);
    assert_eq!(listed.iter().map(|one| one.contact_count).collect::<Vec<_>>(), [2_500, 5_000, 2_500, 1]);
    assert_eq!(listed.iter().map(|one| one.truncated).collect::<Vec<_>>(), [false, true, false, false]);
    service.stop().await;
}

async fn a_list_beside_writers_misses_nobody_who_stays(database: TestDatabase) {
    let service = Service::start(&database).await;
    let events: Vec<Event> = (0..300).map(|n| Event::of(&format!("{n}@x.de"), "")).collect();
    assert!(service.caller().batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
    // The odd ones are absorbed meanwhile, the even ones stay, and new ones come.
    let write = async {
        for n in (1..300).step_by(6) {
            let phone = format!("{}", 1_000 + n);
            identify(&service, &format!("{}@x.de", 300 - n), &phone).await;
            identify(&service, &format!("{}@x.de", (300 - n) / 2 * 2), &phone).await;
            identify(&service, &format!("new{n}@x.de"), "").await;
        }
    };
    let list = async {
        let mut lists = Vec::new();
        for size in [1, 3, 10, 50, 3, 10] {
            lists.push(all(&service, size).await);
        }
        lists
    };
    let ((), lists) = tokio::join!(write, list);
    for listed in lists {
        let ids = ids(&listed);
        assert!(ids.is_sorted_by(|one, next| one < next), "each once");
        let seen: BTreeSet<i64> = ids.into_iter().collect();
        assert!((0..300).step_by(2).all(|n| seen.contains(&(n + 1))), "who stays is in each list");
    }
    service.stop().await;
}

async fn contacts_come_in_pages_the_oldest_first(database: TestDatabase) {
    for flags in [&[][..], &["--cache-size", "0"]] {
        let service = Service::start_with(&database.url, flags).await;
        let events: Vec<Event> = (0..250).map(|n| Event::of(&format!("{n}@x.de"), "1000")).collect();
        assert!(service.caller().batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
        for (parent, size) in
            [("identities/1", 1_000), ("identities/1", 7), ("identities/77", 249), ("identities/250", 250)]
        {
            let (mut listed, mut token) = (Vec::new(), String::new());
            loop {
                let page = contacts(&service, parent, size, &token).await.unwrap();
                listed.extend(page.contacts);
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), (1..=250).collect::<Vec<_>>());
            let values = |one: &pb::Contact| -> BTreeMap<String, String> {
                one.identifiers.iter().map(|one| (one.kind.clone(), one.value.clone())).collect()
            };
            for (n, contact) in listed.iter().enumerate() {
                assert_eq!(contact.name, format!("identities/1/contacts/{}", n + 1));
                assert_eq!((contact.primary, &values(contact)["email"]), (n == 0, &format!("{n}@x.de")));
                assert!(contact.create_time.is_some() && contact.update_time.is_some());
            }
        }
        assert_eq!(contacts(&service, "identities/1", 0, "").await.unwrap().contacts.len(), 100, "the default");
        service.stop().await;
    }
}

async fn the_pages_of_an_absorbed_identity_go_on_with_the_survivor(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "1000").await;
    for n in 0..4 {
        identify(&service, &format!("{n}@x.de"), "2000").await;
    }
    let first = contacts(&service, "identities/2", 2, "").await.unwrap();
    assert_eq!(first.contacts.iter().map(|one| one.id).collect::<Vec<_>>(), [2, 3]);
    identify(&service, "a@x.de", "2000").await; // 1 absorbs 2.
    identify(&service, "b@x.de", "1000").await;
    let rest = contacts(&service, "identities/2", 10, &first.next_page_token).await.unwrap();
    assert_eq!(rest.contacts.iter().map(|one| one.id).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(rest.contacts[0].name, "identities/1/contacts/4");
    assert!(rest.next_page_token.is_empty());
    service.stop().await;
}
