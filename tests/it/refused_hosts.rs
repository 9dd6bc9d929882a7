//! MySQL and MariaDB refuse the host of the service, whatever its user and password are.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use crate::harness::{Backend, MYSQL_SESSIONS, Proxy, Server, Service, Suite, TestDatabase, query, register};
use crate::readiness::{is_unusable, is_usable_again};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Mariadb, Backend::Mysql]): a_host_that_is_refused_before_the_handshake);
    register!(suite.on_own_server(&[Backend::Mariadb, Backend::Mysql]): a_host_without_an_account);
}

/// What a server sends first in place of its handshake, and words of the reason. It counts no failed connections from
/// its own machine, so a test cannot make it send the first one.
const REFUSALS: [(&[u8], &str); 2] = [
    (b"\x12\0\0\0\xff\x69\x04Host is blocked", "blocks this host"),
    (b"\x13\0\0\0\xff\x6a\x04Host not allowed", "allows no connection from this host"),
];

async fn a_host_that_is_refused_before_the_handshake(database: TestDatabase) {
    let proxy = Proxy::start(&database.url).await;
    let service = Service::start_with(&proxy.url, &[]).await;
    is_usable_again(&service).await;
    for (refusal, words) in REFUSALS {
        proxy.refuse(refusal);
        is_unusable(&service, words).await;
        proxy.refuse_nothing();
        is_usable_again(&service).await;
    }
    service.stop().await;
}

/// Error 1130. The server resolves no names, so the accounts of `localhost` are for its socket alone.
async fn a_host_without_an_account(server: Server) {
    server.kill();
    let server = tokio::task::spawn_blocking(move || {
        let mut server = server;
        server.start_again_with(&["--skip-name-resolve"]);
        server
    });
    let server = server.await.unwrap();
    let service = Service::start_with(&server.url, &[]).await;
    is_usable_again(&service).await;
    // The one session that stays.
    let mut options = sea_orm::ConnectOptions::new(&server.url);
    options.max_connections(1).idle_timeout(Duration::from_secs(600));
    let admin = sea_orm::Database::connect(options).await.unwrap();
    admin.execute_unprepared("RENAME USER app@'%' TO app@'10.0.0.1'").await.unwrap();
    admin.execute_unprepared("FLUSH PRIVILEGES").await.unwrap(); // Or the server lets any host come to the password.
    let others = format!("SELECT CAST(ID AS CHAR) FROM {MYSQL_SESSIONS} WHERE USER = 'app' AND ID <> CONNECTION_ID()");
    for row in query(&admin, &others).await {
        let id: String = row.try_get_by_index(0).unwrap();
        let _ = admin.execute_unprepared(&format!("KILL {id}")).await; // It may have ended.
    }
    is_unusable(&service, "allows no connection from this host").await;
    admin.execute_unprepared("RENAME USER app@'10.0.0.1' TO app@'%'").await.unwrap();
    is_usable_again(&service).await;
    admin.close().await.unwrap();
    service.stop().await;
}
