//! How a campaign ends: everything is proved, and its figures are printed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::load::is_honest;
use super::{Ended, Fleet, Load, RECOVERY, Script};
use crate::harness::{Components, binary};
use crate::history::{self, Call};

/// A campaign under way.
pub struct Campaign {
    name: &'static str,
    database: &'static str,
    url: String,
    pub fleet: Fleet,
    pub load: Load,
    pub script: Script,
    began: Instant,
    pub faults: usize,
    /// How many of them the database did by itself.
    pub crashes: usize,
    recoveries: Vec<Duration>,
}

impl Campaign {
    /// Begins the load, and waits until it is answered.
    pub async fn begin(name: &'static str, database: &'static str, url: &str, fleet: Fleet) -> Self {
        let script = Script::from_env();
        let load = Load::start(&fleet, script.seed).await;
        while load.ended() < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (url, began) = (url.to_owned(), Instant::now());
        Self { name, database, url, fleet, load, script, began, faults: 0, crashes: 0, recoveries: Vec::new() }
    }

    pub fn goes_on(&self) -> bool {
        self.script.goes_on(self.faults)
    }

    /// Waits until every replica serves: from now on its database does.
    pub async fn recover(&mut self) {
        let took = self.fleet.recover(&format!("{}.{}", self.name.replace(' ', "-"), self.faults)).await;
        self.recoveries.push(took);
    }

    /// Ends the load and proves: no acknowledged fact lost, no invariant broken, no history refused, and it
    /// serves again soon after the last fault. The calls.
    pub async fn end(mut self) -> Vec<Ended> {
        self.recover().await;
        self.fleet.assert_alive().await;
        let Self { name, database, url, fleet, load, script, began, faults, crashes, recoveries } = self;
        let seconds = began.elapsed();
        let ended = load.finish().await;
        fleet.stop().await;
        let calls: Vec<Call> = ended.iter().map(|ended| ended.call.clone()).collect();
        let checking = Instant::now();
        let refused = history::check(&calls);
        let checked = checking.elapsed();
        let (findings, verified) = verify(&url);
        let sets = calls.iter().filter(|call| call.end.is_some() && call.request.len() > 1);
        Components::assert_sets_held(&url, sets.map(|call| &call.request[..])).await;
        let answered = calls.iter().filter(|call| call.end.is_some()).count();
        let longest = recoveries.iter().max().copied().unwrap_or_default();
        let last = recoveries.last().copied().unwrap_or_default();
        let figures = json!({
            "campaign": name, "database": database, "seed": script.seed, "replicas": fleet.len(),
            "seconds": seconds.as_secs(), "requests": calls.len(), "answered": answered,
            "unanswered": calls.len() - answered, "faults": faults, "crashes": crashes,
            "recovery_ms": {"longest": longest.as_millis(), "last": last.as_millis()},
            "contacts": verified["contacts"], "merges": verified["merges"],
            "findings": findings.len(), "histories_refused": refused.len(), "check_seconds": checked.as_secs(),
        });
        println!("\nchaos {figures}"); // Behind the name of the test.
        let some = |list: &[String]| list.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
        let all = || keep(&ended, &format!("chaos-{}-{}.txt", name.replace(' ', "-"), script.seed));
        assert!(
            refused.is_empty(),
            "the history in {:?} is refused, {} times:\n{}",
            all(),
            refused.len(),
            some(&refused)
        );
        assert!(findings.is_empty(), "invariants are broken, {} times:\n{}", findings.len(), some(&findings));
        assert!(answered > 50, "there was load: {answered}");
        let dishonest = ended.iter().filter_map(|ended| ended.refusal.as_ref()).find(|refusal| !is_honest(refusal));
        assert!(dishonest.is_none(), "an error that a retry does not help: {dishonest:?}");
        assert!(last <= RECOVERY, "it took {last:?} to serve again");
        ended
    }
}

/// Writes all calls down, a line each, so that what was refused can be understood; the file.
fn keep(ended: &[Ended], name: &str) -> PathBuf {
    let file = std::env::temp_dir().join(name);
    let line = |one: &&Ended| {
        let Call { request, is_look_up, start, end } = &one.call;
        let verb = if *is_look_up { "look up" } else { "identify" };
        let outcome = end.as_ref().map_or_else(|| format!("{:?}", one.refusal), |(_, seen)| format!("{seen:?}"));
        format!("{start} to {}, replica {}: {verb} {request:?} {outcome}", one.until, one.replica)
    };
    let mut sorted: Vec<&Ended> = ended.iter().collect();
    sorted.sort_by_key(|one| one.call.start);
    let text: Vec<String> = sorted.iter().map(line).collect();
    std::fs::write(&file, text.join("\n")).expect("a place for temporary files");
    file
}

/// What `identity verify` finds, and how much it looked at.
fn verify(url: &str) -> (Vec<String>, Value) {
    let done = binary().args(["verify", "--format", "json"]).env("DATABASE_URL", url).env("RUST_LOG", "off").output();
    let done = done.expect("the binary runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let report: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("no report: {said}"));
    let findings: Vec<String> =
        report["findings"].as_array().expect("a list").iter().map(ToString::to_string).collect();
    assert_eq!(done.status.success(), findings.is_empty(), "{said}");
    (findings, report)
}
