//! What is done to the service and to its database.

use std::sync::Arc;
use std::time::Duration;

use super::{Campaign, Disk, Fleet};
use crate::harness::{Backend, Cluster, ClusterKind, Proxy, Server, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    let both = [Backend::Sqlite, Backend::Mysql];
    register!(suite.on(&both): replicas_are_killed);
    register!(suite.on_own_server(&[Backend::Mysql]): the_database_is_killed);
    register!(suite.on(&[Backend::Mysql]): connections_are_cut_and_delayed);
    register!(suite.on(&both): replicas_are_terminated);
    suite.with_servers("chaos::a_primary_of_a_cluster_is_killed", || {
        a_server_of_a_cluster_is_killed(ClusterKind::OnePrimary)
    });
    suite.with_servers("chaos::a_server_of_a_multi_primary_cluster_is_killed", || {
        a_server_of_a_cluster_is_killed(ClusterKind::SeveralPrimaries)
    });
    suite.with_servers("chaos::a_server_of_a_galera_cluster_is_killed", || {
        a_server_of_a_cluster_is_killed(ClusterKind::Galera)
    });
    register!(suite.on_with(faketime().map(drop), &both): a_clock_is_wrong);
    register!(suite.on_with(Disk::missing(), &[Backend::Sqlite]): the_disk_is_full);
}

/// What every replica gets.
fn settings(url: &str) -> Vec<(&'static str, String)> {
    let fixed = [("RUST_LOG", "warn,identity::commands::serve=info"), ("DATABASE_TIMEOUT", "2s")];
    let url = [("DATABASE_URL", url.to_owned())];
    fixed.map(|(name, value)| (name, value.to_owned())).into_iter().chain(url).collect()
}

/// kill -9 of a replica in the middle of load, again and again.
async fn replicas_are_killed(database: TestDatabase) {
    let fleet = Fleet::start(vec![settings(&database.url), settings(&database.url)]).await;
    let mut campaign = Campaign::begin("replica killed", database.backend.name(), &database.url, fleet).await;
    while campaign.goes_on() {
        campaign.script.pause(50, 600).await;
        let number = campaign.faults % campaign.fleet.len();
        let down = campaign.script.between(0, 200);
        campaign.fleet.crash(number, down).await;
        campaign.faults += 1;
    }
    campaign.end().await;
}

/// kill -9 of the database server, again and again.
async fn the_database_is_killed(mut server: Server) {
    let fleet = Fleet::start(vec![settings(&server.url), settings(&server.url)]).await;
    let mut campaign = Campaign::begin("database killed", server.backend.name(), &server.url, fleet).await;
    while campaign.goes_on() {
        campaign.script.pause(300, 1_500).await;
        server = run(move || {
            server.kill();
            server.start_again();
            server
        })
        .await;
        campaign.recover().await;
        campaign.faults += 1;
    }
    campaign.end().await;
}

/// Every replica has a line of its own to the database.
async fn connections_are_cut_and_delayed(database: TestDatabase) {
    let lines = [Proxy::start(&database.url).await, Proxy::start(&database.url).await];
    let fleet = Fleet::start(lines.iter().map(|line| settings(&line.url)).collect()).await;
    let name = "connections cut and delayed";
    let mut campaign = Campaign::begin(name, database.backend.name(), &database.url, fleet).await;
    while campaign.goes_on() {
        let line = &lines[campaign.script.random.usize(0..lines.len())];
        campaign.script.pause(100, 500).await;
        match campaign.script.random.u32(0..4) {
            0 => line.cut(),
            1 => {
                line.down();
                campaign.script.pause(50, 1_500).await;
                line.up();
            }
            2 => {
                line.delay(campaign.script.between(5, 150));
                campaign.script.pause(200, 800).await;
                line.delay(Duration::ZERO);
            }
            _ => {
                // Commits arrive, and nobody learns of them.
                line.lose_answers(true);
                campaign.script.pause(20, 200).await;
                line.cut();
                line.lose_answers(false);
            }
        }
        campaign.recover().await;
        campaign.faults += 1;
    }
    campaign.end().await;
}

/// A call that was sent so long before SIGTERM was accepted, on any machine.
const SURELY_ACCEPTED: Duration = Duration::from_millis(250);

/// SIGTERM in the middle of load: no request that was accepted fails. On MySQL the line to the database is
/// slow, so that there are requests which were accepted long ago and are not done.
async fn replicas_are_terminated(database: TestDatabase) {
    let (mut url, mut slow_line) = (database.url.clone(), None);
    if database.backend == Backend::Mysql {
        let line = Proxy::start(&url).await;
        line.delay(Duration::from_millis(15));
        url.clone_from(&line.url);
        slow_line = Some(line);
    }
    let fleet = Fleet::start(vec![settings(&url), settings(&url)]).await;
    let mut campaign = Campaign::begin("SIGTERM", database.backend.name(), &database.url, fleet).await;
    let mut signals = Vec::new();
    while campaign.goes_on() {
        campaign.script.pause(100, 600).await;
        let number = campaign.faults % campaign.fleet.len();
        let load = campaign.load.clone();
        signals.push(campaign.fleet.terminate(number, move || load.now()).await);
        campaign.faults += 1;
    }
    if let Some(line) = slow_line {
        line.delay(Duration::ZERO);
    }
    let ended = campaign.end().await;
    let early = u64::try_from(SURELY_ACCEPTED.as_nanos()).expect("small");
    let mut in_flight = 0;
    for one in &ended {
        let is_around = |signal: &&u64| one.call.start + early < **signal && **signal <= one.until;
        if signals.iter().any(|signal| is_around(&signal)) {
            in_flight += 1;
            assert!(one.refusal.is_none(), "an accepted request failed: {:?}", one.refusal);
        }
    }
    println!("chaos SIGTERM: {in_flight} calls were surely accepted and under way at a signal");
}

/// The library that gives a process another clock: Debian's package `faketime`.
fn faketime() -> Result<String, String> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).filter(|file| file.exists());
    let library = found.next().ok_or_else(|| "no faketime is installed".to_owned())?;
    library.into_os_string().into_string().map_err(|_| "an odd path".to_owned())
}

/// One replica's clock is ten minutes ahead, another's ten minutes behind, a third's right; and each is
/// killed again and again, so that now this one goes on with an identity and now that one.
async fn a_clock_is_wrong(database: TestDatabase) {
    let off = |by: &str| {
        let library = faketime().expect("checked before");
        let clock = [("LD_PRELOAD", library), ("FAKETIME", by.to_owned()), ("DONT_FAKE_MONOTONIC", "1".to_owned())];
        settings(&database.url).into_iter().chain(clock).collect()
    };
    let fleet = Fleet::start(vec![off("+600"), settings(&database.url), off("-600")]).await;
    let mut campaign = Campaign::begin("clock wrong", database.backend.name(), &database.url, fleet).await;
    while campaign.goes_on() {
        campaign.script.pause(100, 600).await;
        let number = campaign.faults % campaign.fleet.len();
        campaign.fleet.crash(number, Duration::ZERO).await;
        campaign.faults += 1;
    }
    campaign.end().await;
}

/// The disk of an SQLite file fills up, and has room again.
async fn the_disk_is_full(_: TestDatabase) {
    let disk = Disk::new();
    let url = format!("sqlite://{}?mode=rwc", disk.file("identity.db").display());
    let fleet = Fleet::start(vec![settings(&url), settings(&url)]).await;
    let mut campaign = Campaign::begin("disk full", "sqlite", &url, fleet).await;
    while campaign.goes_on() {
        campaign.script.pause(100, 600).await;
        disk.fill();
        campaign.script.pause(100, 800).await;
        disk.empty();
        campaign.recover().await;
        campaign.faults += 1;
    }
    campaign.end().await;
}

/// kill -9 of a server of a cluster (MySQL's Group Replication or MariaDB's Galera), again and again: of the primary,
/// or, where every server is one, of any. It comes back into the cluster each time.
///
/// Every replica has a list of addresses of its own. Where every server is a primary, two replicas must not end up with
/// the same one, as nothing could be seen there that another server has and this one has not: so each has one
/// address that the other has not.
async fn a_server_of_a_cluster_is_killed(kind: ClusterKind) {
    let multi_primary = kind.is_multi_primary();
    let cluster = Cluster::start(kind).await;
    cluster.prepare().await;
    let lists: [&[usize]; 2] = if multi_primary { [&[0, 1], &[2, 1]] } else { [&[0, 1, 2], &[1, 2, 0]] };
    let fleet = Fleet::start(lists.iter().map(|list| settings(&cluster.url_of(list))).collect()).await;
    let name = match kind {
        ClusterKind::OnePrimary => "primary of a cluster killed",
        ClusterKind::SeveralPrimaries => "server of a multi-primary cluster killed",
        ClusterKind::Galera => "server of a Galera cluster killed",
    };
    let mut campaign = Campaign::begin(name, kind.server(), &cluster.url_of(&[0, 1, 2]), fleet).await;
    let cluster = Arc::new(cluster);
    while campaign.script.goes_on_slowly(campaign.faults) {
        campaign.script.pause(500, 3_000).await;
        let drawn =
            if multi_primary { campaign.script.random.usize(0..cluster.len()) } else { cluster.primary().await };
        // A server crashes by itself too, if seldom: a fault like the others.
        let victim = cluster.silent().await.unwrap_or(drawn);
        let own = Arc::clone(&cluster);
        campaign.crashes += usize::from(!run(move || own.kill(victim)).await);
        cluster.expels(victim).await;
        cluster.takes_writes().await;
        campaign.recover().await;
        let own = Arc::clone(&cluster);
        run(move || own.rejoin(victim)).await;
        campaign.faults += 1;
    }
    campaign.end().await;
}

/// What blocks, where it may.
async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}
