//! Identifiers that are expensive to read.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::figures::{self, milliseconds, timed};
use super::innocent::Innocent;
use super::{BACKENDS, duration, is_long, start};
use crate::harness::{Api, Caller, Event, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&BACKENDS): expensive_emails);
}

/// Callers that send the expensive batches at the same time.
const CALLERS: usize = 6;

/// Texts of 254 bytes, or of many more, that a parser may take long for.
fn expensive() -> Vec<(&'static str, String)> {
    let domain = "a.".repeat(63);
    vec![
        ("open comments", format!("a@{domain}{}", "(".repeat(126))),
        ("many comments", format!("a@{domain}{}", "()(a)".repeat(25))),
        ("dots", format!("a@{}a", ".".repeat(250))),
        ("quotes", format!("\"{}\"@x.de", "\\\"".repeat(120))),
        ("accents", format!("a{}@x.de", "\u{301}".repeat(123))),
        ("invisible", format!("{}a@x.de", "\u{200b}".repeat(80))),
        ("marks", format!("a{}@x.de", "\u{301}\u{327}".repeat(61))),
        ("decomposed", format!("{}@x.de", "e\u{301}".repeat(160))),
        ("long", "é".repeat(250)),
        ("too long", "é".repeat(500)),
    ]
}

fn batch(text: &str) -> Vec<Event> {
    (0..1_000).map(|_| Event::of(text, "")).collect()
}

/// A batch of the text: each item has its result. Or the service has no room for it, which is allowed beside others.
async fn send(caller: &Caller, api: Api, text: &str) -> Duration {
    let (answer, time) = timed(caller.batch(api, &batch(text))).await;
    match answer {
        Ok(items) => assert_eq!(items.len(), 1_000),
        Err(refusal) => assert!(refusal.retry, "{refusal:?}"),
    }
    time
}

async fn expensive_emails(database: TestDatabase) {
    let process = start(&database).await;
    let caller = process.caller();
    for api in Api::BOTH {
        send(&caller, api, "plain@x.de").await; // It is known from now on.
    }
    let best = async |text: &str| {
        let mut best = Duration::MAX;
        for api in Api::BOTH.into_iter().cycle().take(if is_long() { 20 } else { 6 }) {
            best = best.min(send(&caller, api, text).await);
        }
        best
    };
    let plain = best("plain@x.de").await;
    let expensive = expensive();
    let mut times = Vec::new();
    for (name, text) in &expensive {
        times.push((best(text).await, *name));
    }
    times.sort_unstable();
    let worst = times[times.len() - 1];
    let each: Vec<String> = times.iter().map(|(time, name)| format!("{name} {}", milliseconds(*time))).collect();

    let innocent = Innocent::start(&process);
    let mut attackers = JoinSet::new();
    let until = Instant::now() + duration();
    for number in 0..CALLERS {
        let (caller, texts) = (process.caller(), expensive.clone());
        attackers.spawn(async move {
            for (_, text) in texts.iter().cycle().skip(number) {
                if Instant::now() > until {
                    break;
                }
                send(&caller, Api::BOTH[number % 2], text).await;
            }
        });
    }
    attackers.join_all().await;
    let innocents = innocent.finish().await;
    figures::print(
        "expensive e-mails",
        &database,
        &[
            ("batch of plain ones, ms", milliseconds(plain)),
            ("batch of the worst, ms", milliseconds(worst.0)),
            ("the worst", json!(worst.1)),
            ("each, ms", json!(each.join(", "))),
            ("worst / plain", json!((worst.0.as_secs_f64() / plain.as_secs_f64() * 10.0).round() / 10.0)),
            ("innocent beside 6 callers, p50 ms", innocents.percentile(50)),
            ("innocent beside 6 callers, worst ms", innocents.percentile(100)),
        ],
    );
}
