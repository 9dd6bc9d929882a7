//! Servers and databases whose defaults are not those that the service needs: it sets what it relies on, or says in one
//! line what is wrong.

use std::time::Duration;

use identity::store::ConnectError;
use sea_orm::ConnectionTrait;
use url::Url;

use crate::failover::connect;
use crate::harness::{Api, Backend, Proxy, Server, Service, Suite, TestDatabase, query, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&Backend::SERVERS): an_ipv6_address, a_certificate_file_that_is_not_there);
    register!(suite.on(&[Backend::Mysql]): a_certificate_of_another_authority);
    register!(suite.on(&[Backend::Postgres]): an_encoding_that_cannot_store_every_address, tls_that_is_not_there);
    register!(suite.on_own_server(&[Backend::Mysql, Backend::Mariadb]): defaults_that_would_cut_or_refuse);
}

const SOON: Duration = Duration::from_secs(10);

async fn an_ipv6_address(database: TestDatabase) {
    let proxy = Proxy::start_at("[::1]", &database.url).await;
    assert!(proxy.url.contains("@[::1]:"), "{}", proxy.url);
    let service = Service::start_with(&proxy.url, &[]).await;
    assert_eq!(service.caller().identify(Api::Grpc, Some("a@x.de"), None).await.unwrap().outcome, "created");
    service.stop().await;
}

async fn refusal(database: &TestDatabase, query: &str) -> ConnectError {
    let mut url = Url::parse(&database.url).unwrap();
    url.set_query(Some(query));
    connect(url.as_str(), SOON).await.expect_err(query)
}

async fn a_certificate_file_that_is_not_there(database: TestDatabase) {
    let query = if database.backend.is_mysql() {
        "ssl-mode=VERIFY_CA&ssl-ca=/no/such.pem"
    } else {
        "sslmode=verify-full&sslrootcert=/no/such.pem"
    };
    let refusal = refusal(&database, query).await;
    assert!(refusal.is_lasting() && refusal.to_string().contains("cannot be read"), "{refusal}");
}

/// Of nobody: made for this test, valid until 2126.
const ANOTHER_AUTHORITY: &str = include_str!("another_authority.pem");

async fn a_certificate_of_another_authority(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, ANOTHER_AUTHORITY).unwrap();
    for mode in ["VERIFY_CA", "VERIFY_IDENTITY"] {
        let refusal = refusal(&database, &format!("ssl-mode={mode}&ssl-ca={}", file.display())).await;
        assert!(refusal.is_lasting() && refusal.to_string().contains("another authority"), "{refusal}");
    }
}

async fn tls_that_is_not_there(database: TestDatabase) {
    let refusal = refusal(&database, "sslmode=require").await;
    assert!(refusal.is_lasting() && refusal.to_string().contains("offers no TLS"), "{refusal}");
}

async fn an_encoding_that_cannot_store_every_address(database: TestDatabase) {
    let admin = database.raw().await;
    let mut url = Url::parse(&database.url).unwrap();
    let name = format!("{}_latin1", &url.path()[1..]);
    let create = format!("CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    admin.execute_unprepared(&create).await.unwrap();
    url.set_path(&name);
    let refusal = connect(url.as_str(), SOON).await.err().unwrap();
    assert!(refusal.is_lasting() && refusal.to_string().contains("UTF8"), "{refusal}");
    admin.execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    admin.close().await.unwrap();
}

async fn defaults_that_would_cut_or_refuse(server: Server) {
    let admin = sea_orm::Database::connect(&server.url).await.unwrap();
    let sql_mode =
        if server.backend == Backend::Mariadb { "ORACLE" } else { "ANSI,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE" };
    for statement in [
        "SET GLOBAL sql_select_limit = 2, sql_big_selects = 0, max_join_size = 1, sql_safe_updates = 1",
        "SET GLOBAL completion_type = 1, sql_auto_is_null = 1, eq_range_index_dive_limit = 1",
        "SET GLOBAL innodb_default_row_format = compact, default_storage_engine = MyISAM",
        "CREATE USER shop@'%' IDENTIFIED BY 'shop'",
        "GRANT ALL ON identity.* TO shop@'%'",
        &format!("SET GLOBAL sql_mode = '{sql_mode}'"),
    ] {
        admin.execute_unprepared(statement).await.expect(statement);
    }
    let mut url = Url::parse(&server.url).unwrap();
    url.set_username("shop").unwrap();
    url.set_password(Some("shop")).unwrap();
    let service = Service::start_with(url.as_str(), &[]).await;
    assert_eq!(service.caller().get("/readyz").await, 200);
    let caller = service.caller();
    for number in 0..5 {
        caller.identify(Api::Grpc, Some(&format!("{number}@x.de")), Some("1")).await.unwrap();
    }
    caller.identify(Api::Http, Some("other@x.de"), Some("2")).await.unwrap();
    assert_eq!(caller.identify(Api::Http, Some("other@x.de"), Some("1")).await.unwrap().outcome, "merged");
    let answer = caller.identify(Api::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((answer.emails.len(), answer.phones.len(), answer.secondaries.len()), (6, 2, 5), "{answer:?}");
    // For the question of this test, on a new connection.
    let usual =
        "SET GLOBAL sql_big_selects = 1, max_join_size = DEFAULT, sql_select_limit = DEFAULT, sql_mode = DEFAULT";
    admin.execute_unprepared(usual).await.unwrap();
    admin.close().await.unwrap();
    let admin = sea_orm::Database::connect(&server.url).await.unwrap();
    let engines = "SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema = 'identity'";
    let engines: Vec<String> =
        query(&admin, engines).await.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
    assert_eq!(engines, ["InnoDB"], "of all tables");
    service.stop().await;
    admin.close().await.unwrap();
}
