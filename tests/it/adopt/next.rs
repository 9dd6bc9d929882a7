//! The next requests after an adoption: what is ignored, and phone numbers of a region.

use std::collections::BTreeSet;

use serde_json::json;

use super::model::{Model, TILL, values};
use super::{Old, run};
use crate::harness::{Api, Backend, Caller, Proxy, Service, Suite, TestDatabase, register};
use crate::old_tables::{BEGINNING, MadeRow, OldKind, damaged_rows};
use crate::round_trips::proxy;
use crate::verify;

pub fn register(suite: &mut Suite) {
    register!(suite.on(&Backend::SERVERS): an_identifier_that_was_ignored_costs_no_statement_and_joins_nobody);
    register!(suite.on_all(): the_next_phone_number_is_found_in_each_spelling_of_a_region);
}

/// Requests that are counted together.
const REQUESTS: usize = 5;

/// The service also probes its database each second. Of so many counts, one is without a probe.
const COUNTS: usize = 40;

/// The least round trips of so many requests, over many counts. `request` gets a number of its own each time.
async fn least(proxy: &Proxy, request: impl AsyncFn(usize)) -> usize {
    let mut least = usize::MAX;
    for first in (0..COUNTS).map(|count| count * REQUESTS) {
        let before = proxy.traffic().round_trips;
        for number in first..first + REQUESTS {
            request(number).await;
        }
        least = least.min(proxy.traffic().round_trips - before);
    }
    least
}

async fn an_identifier_that_was_ignored_costs_no_statement_and_joins_nobody(target: TestDatabase) {
    let old = Old::make(target.backend, OldKind::Prisma, &damaged_rows(131, 120)).await;
    let (status, done) = run(&mut old.adopt(&target, &["--ignore", &old.file("ignore"), "--apply"]));
    assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
    let proxy = proxy(&target).await;
    // Without copies in memory, each request reads.
    let service = Service::start_with(&proxy.url, &["--cache-size", "0"]).await;
    let caller = service.caller();
    let model = Model::new(&old.rows, true);
    let known = old.rows.iter().find(|row| row.deleted_at.is_none() && values(row).0.is_some()).expect("a live row");
    let (email, primary) = (values(known).0.expect("an address"), model.primary[&known.id]);
    let ask = async |phone: Option<&str>| {
        let reply = caller.identify(Api::Grpc, Some(&email), phone).await.expect("an answer");
        assert_eq!(reply.primary, primary);
        reply.outcome
    };
    ask(Some(TILL)).await;
    let with = least(&proxy, async |_| assert_eq!(ask(Some(TILL)).await, "matched")).await;
    let without = least(&proxy, async |_| assert_eq!(ask(None).await, "matched")).await;
    assert_eq!((with, without), (REQUESTS, REQUESTS), "known requests, with an ignored number and without");
    let create = async |name: &str, number: usize, phone: Option<&str>| {
        let email = format!("{name}{number}@example.org");
        let reply = caller.identify(Api::Grpc, Some(&email), phone).await.expect("an answer");
        assert_eq!((reply.outcome, reply.secondaries.len()), ("created", 0), "{email}");
        assert_ne!(reply.primary, primary);
    };
    let with = least(&proxy, async |number| create("with", number, Some(TILL)).await).await;
    let without = least(&proxy, async |number| create("without", number, None).await).await;
    assert_eq!(with, without, "new requests, with an ignored number and without");
    service.stop().await;
    verify::clean(&target);
    old.drop().await;
}

/// Customers with a number in Berlin, each in another spelling; two have the same one.
fn germans() -> Vec<MadeRow> {
    let numbers = ["030 123456", "(030) 234-567", "+49 30 345678", "0049 30 456789", "+49 (30) 123456"];
    let row = |(id, number): (i64, &str)| MadeRow {
        id,
        email: Some(format!("g{id}@example.com")),
        phone_number: Some(number.to_owned()),
        linked_id: None,
        is_secondary: false,
        created_at: Some(BEGINNING + id * 60_000_000),
        updated_at: Some(BEGINNING + id * 60_000_000),
        deleted_at: None,
    };
    (1..).zip(numbers).map(row).collect()
}

async fn ask_in_each_spelling(caller: &Caller, local: &str, ids: &[i64]) {
    let spellings =
        [format!("030 {local}"), format!("+4930{local}"), format!("0049-30-{local}"), format!("030/{local}")];
    for spelling in spellings {
        for api in [Api::Grpc, Api::Http] {
            let reply = caller.identify(api, None, Some(&spelling)).await.expect("an answer");
            let found: BTreeSet<i64> = reply.secondaries.into_iter().chain([reply.primary]).collect();
            assert_eq!((reply.outcome, reply.primary), ("matched", ids[0]), "{spelling}");
            assert_eq!(found, ids.iter().copied().collect::<BTreeSet<_>>(), "{spelling}");
            assert_eq!(reply.phones, [format!("+4930{local}")], "{spelling}");
        }
    }
}

async fn the_next_phone_number_is_found_in_each_spelling_of_a_region(target: TestDatabase) {
    let old = Old::make(target.backend, OldKind::Sqlx, &germans()).await;
    let adopt = |flags: &[&str]| {
        let mut command = old.adopt(&target, flags);
        command.env("PHONE_REGION", "DE");
        command
    };
    let (status, done) = run(&mut adopt(&["--apply"]));
    assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
    assert_eq!(done["report"]["joins"], json!({"phone": 1}));
    let service = Service::start_with(&target.url, &["--phone-region", "DE"]).await;
    let caller = service.caller();
    for (local, ids) in [("123456", &[1, 5][..]), ("234567", &[2]), ("345678", &[3]), ("456789", &[4])] {
        ask_in_each_spelling(&caller, local, ids).await;
    }
    service.stop().await;
    verify::clean(&target);
    old.drop().await;
}
