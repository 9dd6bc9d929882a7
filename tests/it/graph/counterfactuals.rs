//! Each counterfactual of some 2,000 generated events, against a rule that is slow and simple.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use identity::proto::identity::v1 as pb;

use super::json::{as_json, ok};
use super::{all_evidence, contacts, explain, page, question, tables};
use crate::harness::{Api, Event, Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): each_counterfactual_is_as_brute_force_says);
}

const EVENTS: usize = 2_000;
const CUSTOMERS: u64 = 500;

/// So many identities are asked about: those with the most evidence.
const IDENTITIES: usize = 80;

/// Of an identity with more evidence, so many are left out, one after another. Of the others, each one is.
const OF_LARGE: usize = 40;

/// Customers with several addresses and numbers, families that share a phone, customers who type the name of another
/// one, and a till whose phone number some get.
fn event(random: &mut Rng) -> Event {
    let customer = random.u64(..CUSTOMERS);
    let name = if random.u64(..200) == 0 { random.u64(..CUSTOMERS) } else { customer };
    let email = format!("{name}.{}@x.de", random.u64(..3));
    let phone = match random.u64(..60) {
        0 => "1000".to_owned(),                   // The phone of the till.
        1..=6 => format!("2{:04}", customer / 3), // The phone of a family.
        _ => format!("3{customer:04}{}", random.u64(..2)),
    };
    match random.u64(..10) {
        0 => Event::of(&email, ""),
        1 => Event::of("", &phone),
        _ => Event::of(&email, &phone),
    }
}

type Pair = (String, String);

fn pairs(identifiers: &[pb::Identifier]) -> Vec<Pair> {
    identifiers.iter().map(|one| (one.kind.clone(), one.value.clone())).collect()
}

fn root(parents: &mut [usize], mut node: usize) -> usize {
    while parents[node] != node {
        parents[node] = parents[parents[node]];
        node = parents[node];
    }
    node
}

/// Identifiers, and the ids of the contacts of which they carry the first one.
type Parts = BTreeSet<(BTreeSet<Pair>, BTreeSet<i64>)>;

/// What this evidence connects.
fn expected<'a>(contacts: &[pb::Contact], evidence: impl Iterator<Item = &'a pb::Evidence>) -> Parts {
    let carried: BTreeSet<Pair> = contacts.iter().flat_map(|one| pairs(&one.identifiers)).collect();
    let nodes: BTreeMap<Pair, usize> = carried.into_iter().zip(0..).collect();
    let mut parents: Vec<usize> = (0..nodes.len()).collect();
    for one in evidence {
        let members = pairs(&one.identifiers);
        for two in members.windows(2) {
            let [from, to] = [0, 1].map(|place| root(&mut parents, nodes[&two[place]]));
            parents[from] = to;
        }
    }
    let mut parts: BTreeMap<usize, (BTreeSet<Pair>, BTreeSet<i64>)> = BTreeMap::new();
    for (pair, node) in &nodes {
        parts.entry(root(&mut parents, *node)).or_default().0.insert(pair.clone());
    }
    for one in contacts {
        let first = root(&mut parents, nodes[&pairs(&one.identifiers)[0]]);
        parts.get_mut(&first).unwrap().1.insert(one.id);
    }
    parts.into_values().collect()
}

fn found(explained: &pb::ExplainIdentityResponse) -> Parts {
    let part =
        |part: &pb::Part| (pairs(&part.identifiers).into_iter().collect(), part.contact_ids.iter().copied().collect());
    explained.parts.iter().map(part).collect()
}

async fn each_counterfactual_is_as_brute_force_says(database: TestDatabase) {
    let service = Service::start(&database).await;
    let mut random = Rng::with_seed(7);
    let events: Vec<Event> = (0..EVENTS).map(|_| event(&mut random)).collect();
    for some in events.chunks(500) {
        assert!(service.caller().batch(Api::Grpc, some).await.unwrap().iter().all(Result::is_ok));
    }
    let before = tables(&database).await;
    let mut identities = page(&service, 1_000, "").await.unwrap().identities;
    identities.sort_by_key(|one| std::cmp::Reverse(one.contact_count));
    let (mut asked, mut fell_apart) = (0, 0);
    for identity in identities.iter().take(IDENTITIES) {
        let name = &identity.name;
        let evidence = all_evidence(&service, name, 1_000).await;
        let rows = contacts(&service, name, 1_000, "").await.unwrap().contacts;
        assert_eq!(rows.len(), usize::try_from(identity.contact_count).unwrap(), "a page holds all");
        assert_eq!(expected(&rows, evidence.iter()).len(), 1, "its evidence connects all of it");
        let whole = explain(&service, question(name)).await.unwrap();
        let bridges: BTreeSet<&str> = super::names(&whole.bridges).into_iter().collect();
        for left_out in evidence.iter().step_by(evidence.len().div_ceil(OF_LARGE).max(1)) {
            let request =
                pb::ExplainIdentityRequest { without_evidence: vec![left_out.name.clone()], ..question(name) };
            let explained = explain(&service, request).await.unwrap();
            let rest = evidence.iter().filter(|one| one.name != left_out.name);
            let parts = expected(&rows, rest);
            assert_eq!(found(&explained), parts, "{name} without {}", left_out.name);
            assert_eq!(explained.parts.len(), parts.len());
            assert_eq!(bridges.contains(&left_out.name[..]), parts.len() > 1, "{name} {}", left_out.name);
            if asked % 10 == 0 {
                let body = serde_json::json!({"withoutEvidence": [left_out.name]});
                let answer = ok(&service, &format!("/v1/{name}:explain"), Some(body)).await;
                assert_eq!(answer, as_json("ExplainIdentityResponse", &explained));
            }
            asked += 1;
            fell_apart += usize::from(parts.len() > 1);
        }
    }
    assert!(asked > 250 && fell_apart > 50 && asked - fell_apart > 20, "{fell_apart} of {asked}");
    assert_eq!(tables(&database).await, before, "nothing was written");
    service.stop().await;
}
