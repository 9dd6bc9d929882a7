//! Two replicas: what one has acknowledged, the other one reads at once.

use super::{contacts, evidence, explain, get, get_at, identify, look_up, look_up_at, page, question, revisions};
use crate::harness::{Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): what_one_replica_wrote_the_other_one_reads, a_token_is_good_on_every_replica_and_later);
}

async fn what_one_replica_wrote_the_other_one_reads(database: TestDatabase) {
    let (writer, reader) = (Service::start(&database).await, Service::start(&database).await);
    let first = identify(&writer, "a@x.de", "1000").await.primary;
    for n in 0..30 {
        let email = format!("{n}@x.de");
        assert_eq!(look_up(&reader, &[&email]).await.unwrap().0.len(), 0);
        let linked = identify(&writer, &email, "1000").await;
        let name = format!("identities/{first}");
        let read = get(&reader, &name).await.unwrap();
        assert_eq!(read.secondary_contact_ids, linked.secondaries, "also if a copy is in memory");
        let (found, unknown) = look_up(&reader, &[&email, "1000"]).await.unwrap();
        assert_eq!((found.len(), unknown.len(), &found[0]), (1, 0, &read));
        let newest = *linked.secondaries.last().unwrap();
        assert_eq!(get(&reader, &format!("identities/{newest}")).await.unwrap(), read);
        let all = contacts(&reader, &name, 1_000, "").await.unwrap().contacts;
        assert_eq!((all.len(), all.last().unwrap().id), (2 * n + 2, newest));

        let known = evidence(&reader, &name, 1_000, "").await.unwrap().evidence;
        assert_eq!(known.last().unwrap().name, format!("evidence/c{newest}"));
        let explained = explain(&reader, question(&name)).await.unwrap();
        assert_eq!(explained.parts[0].contact_ids.last(), Some(&newest));
        let last = revisions(&reader, &name, 1_000, "").await.unwrap().revisions.pop().unwrap();
        assert_eq!(last.change.as_ref().unwrap().contact_ids, [newest]);
        let written = last.change.unwrap().time.unwrap();
        let then = get_at(&reader, &name, written).await.unwrap().identity.unwrap();
        assert_eq!((&then.secondary_contact_ids, then.update_time), (&linked.secondaries, Some(written)));
        assert_eq!(look_up_at(&reader, &[&email], written).await.unwrap().identities, [then]);

        let other = identify(&writer, &format!("other{n}@x.de"), "").await.primary;
        assert_eq!(page(&reader, 1_000, "").await.unwrap().identities.len(), 2);
        assert_eq!(get(&reader, &format!("identities/{other}")).await.unwrap().contact_count, 1);
        identify(&writer, &format!("other{n}@x.de"), "1000").await; // A merge.
        assert_eq!(get(&reader, &format!("identities/{other}")).await.unwrap().primary_contact_id, first);
        assert_eq!(page(&reader, 1_000, "").await.unwrap().identities.len(), 1);
    }
    writer.stop().await;
    reader.stop().await;
}

async fn a_token_is_good_on_every_replica_and_later(database: TestDatabase) {
    let one = Service::start(&database).await;
    for n in 0..10 {
        identify(&one, &format!("{n}@x.de"), "").await;
        identify(&one, &format!("{n}@y.de"), "1000").await;
    }
    let identities = page(&one, 3, "").await.unwrap().next_page_token;
    let of_contacts = contacts(&one, "identities/2", 3, "").await.unwrap().next_page_token;
    let of_evidence = evidence(&one, "identities/2", 3, "").await.unwrap().next_page_token;
    let of_revisions = revisions(&one, "identities/2", 3, "").await.unwrap().next_page_token;
    let read = async |service: &Service| {
        (
            page(service, 3, &identities).await.unwrap(),
            contacts(service, "identities/2", 3, &of_contacts).await.unwrap(),
            evidence(service, "identities/2", 3, &of_evidence).await.unwrap(),
            revisions(service, "identities/2", 3, &of_revisions).await.unwrap(),
        )
    };
    let expected = read(&one).await;
    assert_eq!((expected.2.evidence.len(), expected.3.revisions.len()), (3, 3));
    let other = Service::start(&database).await;
    assert_eq!(read(&other).await, expected, "beside it");
    one.stop().await;
    assert_eq!(read(&other).await, expected, "after it");
    other.stop().await;
}
