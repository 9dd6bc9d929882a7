//! The file of callers changes while the service runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use identity::auth::{NewToken, append};
use tonic::Code;

use crate::callers::{FILE, Guarded, MAY_IDENTIFY, entry, identify, token};
use crate::harness::until;

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing_and_is_counted() {
    let known = token();
    let text = entry("checkout", &known, MAY_IDENTIFY);
    let guarded = Guarded::start(&text).await;
    for (failures, wrong) in [&text[..text.len() / 2], "[[caller]]", &text.repeat(2)].into_iter().enumerate() {
        guarded.files.write(FILE, wrong);
        until(|| guarded.server.reloads("tokens")[1] == failures as u64 + 1).await;
        guarded.identify(Some(known.expose())).await.unwrap();
    }
    // A connection that is open learns of a change, too.
    let mut client = guarded.server.client().await;
    identify(&mut client, Some(known.expose())).await.unwrap();
    guarded.files.write(FILE, "");
    until(|| guarded.server.reloads("tokens")[1] == 4).await;
    identify(&mut client, Some(known.expose())).await.unwrap();
    guarded.files.write(FILE, &entry("other", &token(), MAY_IDENTIFY));
    until(|| guarded.server.reloads("tokens")[0] == 1).await;
    assert_eq!(identify(&mut client, Some(known.expose())).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_rotate_fifty_times_under_load_and_no_call_fails() {
    let first = token();
    let guarded = Arc::new(Guarded::start(&entry("checkout", &first, MAY_IDENTIFY)).await);
    let current = Arc::new(std::sync::Mutex::new(first));
    let is_over = Arc::new(AtomicBool::new(false));
    let calls: Arc<[AtomicUsize; 4]> = Arc::default();
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let (guarded, current) = (Arc::clone(&guarded), Arc::clone(&current));
            let (is_over, calls) = (Arc::clone(&is_over), Arc::clone(&calls));
            tokio::spawn(async move {
                let mut client = guarded.server.client().await;
                while !is_over.load(Ordering::Relaxed) {
                    let token = current.lock().unwrap().clone();
                    match number % 2 {
                        0 => identify(&mut client, Some(token.expose())).await.unwrap(),
                        _ => assert_eq!(guarded.send("/identify", Some(token.expose())).await.status(), 200),
                    }
                    calls[number].fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for rotation in 1..=50 {
        // As docs/security.md has it: the new token beside the old one, then the callers, then the old one goes.
        let next = token();
        let path = guarded.files.path(FILE);
        append(&path, NewToken { name: "checkout".into(), token: next.hash(), scopes: None, rate: None }).unwrap();
        until(|| guarded.server.reloads("tokens")[0] == 2 * rotation - 1).await;
        *current.lock().unwrap() = next.clone();
        // Every task has made its last call with the old token.
        let before = calls.each_ref().map(|calls| calls.load(Ordering::Relaxed));
        until(|| calls.iter().zip(before).all(|(calls, before)| calls.load(Ordering::Relaxed) >= before + 2)).await;
        guarded.files.write(FILE, &entry("checkout", &next, MAY_IDENTIFY));
        until(|| guarded.server.reloads("tokens")[0] == 2 * rotation).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(guarded.server.reloads("tokens")[1], 0);
}
