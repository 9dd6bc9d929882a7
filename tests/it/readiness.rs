//! The database answers, and cannot be used all the same: health says so and why, callers get UNAVAILABLE, and both end
//! by themselves.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use url::Url;

use crate::failover::connect;
use crate::harness::{
    Api, Backend, Caller, Event, MYSQL_SESSIONS, Process, Server, Service, Suite, TestDatabase, execute, lock_row,
    query, register,
};
use crate::outage::turns;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): tables_that_are_gone, a_schema_that_is_behind);
    register!(suite.on(&[Backend::Sqlite]): a_file_that_cannot_be_written);
    register!(suite.on(&Backend::SERVERS): a_user_who_may_only_read, a_user_who_is_locked_out);
    register!(suite.on(&[Backend::Mariadb, Backend::Mysql]): a_user_who_does_not_see_the_tables);
    register!(suite.on(&[Backend::Mysql]): a_password_that_is_expired);
    register!(suite.on(&[Backend::Postgres]): a_database_that_takes_no_connections);
    register!(suite.on(&[Backend::Mariadb, Backend::Postgres]): a_time_limit_of_the_server);
    register!(suite.on_own_server(&[Backend::Mysql]): a_server_in_offline_mode, a_time_limit_of_all_sessions);
}

/// How soon a call must work again.
const SOON: Duration = Duration::from_secs(10);

/// What `/readyz` says.
async fn reason(service: &Service) -> String {
    reqwest::get(format!("http://{}/readyz", service.http)).await.unwrap().text().await.unwrap()
}

/// Waits until health says NOT_SERVING and `/readyz` has these words, and checks what callers get.
pub async fn is_unusable(service: &Service, words: &str) {
    turns(service, ServingStatus::NotServing).await;
    let begun = Instant::now();
    while !reason(service).await.contains(words) {
        assert!(begun.elapsed() < SOON, "no {words:?}: {}", reason(service).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for api in Api::BOTH {
        let refusal = service.caller().identify(api, Some("refused@x.de"), None).await.unwrap_err();
        assert_eq!((refusal.code, refusal.retry), (Code::Unavailable, true), "{refusal:?}");
    }
}

/// Waits until health says SERVING, and then calls.
pub async fn is_usable_again(service: &Service) {
    turns(service, ServingStatus::Serving).await;
    for api in Api::BOTH {
        let email = format!("again.{api:?}.{}@x.de", fastrand::u64(..));
        assert_eq!(service.caller().identify(api, Some(&email), None).await.expect("it works").outcome, "created");
    }
}

fn events(count: usize) -> Vec<Event> {
    (0..count).map(|number| Event { email: Some(format!("{number}@x.de")), phone: None }).collect()
}

async fn tables_that_are_gone(database: TestDatabase) {
    let process = Process::start(&[("DATABASE_URL", &database.url)]).await;
    let caller = process.caller();
    caller.identify(Api::Grpc, Some("a@x.de"), None).await.unwrap();
    let store = database.unmigrated_store().await;
    store.migrate_down(None).await.unwrap();
    for api in Api::BOTH {
        let refusal = caller.batch(api, &events(1_000)).await.unwrap_err();
        assert_eq!((refusal.code, refusal.retry), (Code::Unavailable, true), "{refusal:?}");
    }
    let begun = Instant::now();
    while caller.get("/readyz").await != 503 {
        assert!(begun.elapsed() < SOON, "still ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = process.log();
    let errors: Vec<_> = log.lines().filter(|line| line.contains(r#""level":"ERROR""#)).collect();
    assert!(errors.len() == 1 && errors[0].contains("identity migrate up"), "{errors:#?}");

    store.migrate_up().await.unwrap();
    let begun = Instant::now();
    while caller.get("/readyz").await != 200 {
        assert!(begun.elapsed() < SOON, "still not ready: {}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for api in Api::BOTH {
        let answers = caller.batch(api, &events(10)).await.unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
}

/// Every table is there, and one migration is not recorded.
async fn a_schema_that_is_behind(database: TestDatabase) {
    let service = Service::start(&database).await;
    let tables = database.raw().await;
    let last = r#"SELECT MAX("version") FROM "seaql_migrations""#;
    let version: String = query(&tables, last).await[0].try_get_by_index(0).unwrap();
    execute(&tables, &format!(r#"DELETE FROM "seaql_migrations" WHERE "version" = '{version}'"#)).await;
    turns(&service, ServingStatus::NotServing).await;
    assert!(reason(&service).await.contains("identity migrate up"));
    database.unmigrated_store().await.migrate_up().await.unwrap();
    is_usable_again(&service).await;
    tables.close().await.unwrap();
    service.stop().await;
}

async fn a_file_that_cannot_be_written(database: TestDatabase) {
    let service = Service::start(&database).await;
    service.caller().identify(Api::Grpc, Some("known@x.de"), None).await.unwrap();
    service.stop().await;
    let service = Service::start_with(&database.url.replace("mode=rwc", "mode=ro"), &[]).await;
    assert_eq!(service.caller().get("/readyz").await, 503, "from its first moment");
    is_unusable(&service, "read-only").await;
    let known = service.caller().identify(Api::Http, Some("known@x.de"), None).await.expect("it can be read");
    assert_eq!(known.outcome, "matched");
    assert_eq!(service.caller().get("/readyz").await, 503, "an answer does not show that it can write");
    service.stop().await;
}

/// A user of this test with no rights yet, and an administrator's connection.
struct User {
    name: String,
    url: String,
    admin: DatabaseConnection,
    database: TestDatabase,
}

impl User {
    async fn create(database: &TestDatabase) -> Self {
        drop(database.store().await); // The tables.
        let mut url = Url::parse(&database.url).unwrap();
        let name = url.path().trim_start_matches("/identity_").to_owned();
        url.set_username(&name).unwrap();
        url.set_password(Some("shop")).unwrap();
        let admin = database.raw().await;
        let user = Self { url: url.into(), admin, database: database.clone(), name };
        let sql = if user.is_mysql() {
            "CREATE USER {user} IDENTIFIED BY 'shop'"
        } else {
            "CREATE ROLE {user} LOGIN PASSWORD 'shop'"
        };
        user.run(sql).await;
        user
    }

    fn is_mysql(&self) -> bool {
        self.database.backend.is_mysql()
    }

    /// Runs a statement of the administrator.
    async fn run(&self, sql: &str) {
        let database = Url::parse(&self.database.url).unwrap().path()[1..].to_owned();
        let user = if self.is_mysql() { format!("{}@'%'", self.name) } else { self.name.clone() };
        let tables = if self.is_mysql() { format!("{database}.*") } else { "ALL TABLES IN SCHEMA public".to_owned() };
        let sql = sql.replace("{user}", &user).replace("{tables}", &tables).replace("{database}", &database);
        self.admin.execute_unprepared(&sql).await.expect(&sql);
    }

    async fn grant(&self, rights: &str) {
        self.run(&format!("GRANT {rights} ON {{tables}} TO {{user}}")).await;
        if !self.is_mysql() {
            self.run("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {user}").await;
        }
    }

    /// Ends every connection of the user.
    async fn disconnect(&self) {
        if !self.is_mysql() {
            let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'", self.name);
            query(&self.admin, &sql).await;
            return;
        }
        let sql = format!("SELECT CAST(ID AS CHAR) FROM {MYSQL_SESSIONS} WHERE USER = '{}'", self.name);
        for row in query(&self.admin, &sql).await {
            let id: String = row.try_get_by_index(0).unwrap();
            let _ = self.admin.execute_unprepared(&format!("KILL {id}")).await; // It may have ended.
        }
    }

    /// What the service says when it starts as this user. It must refuse.
    async fn migrate(&self) -> String {
        let mut database = self.database.clone();
        database.url.clone_from(&self.url);
        database.unmigrated_store().await.migrate_up().await.expect_err("a refusal").to_string()
    }

    async fn drop(self) {
        if !self.is_mysql() {
            self.run("DROP OWNED BY {user}").await;
        }
        self.run(if self.is_mysql() { "DROP USER {user}" } else { "DROP ROLE {user}" }).await;
        self.admin.close().await.unwrap();
    }
}

const ALL_RIGHTS: &str = "SELECT, INSERT, UPDATE, DELETE";

async fn a_user_who_may_only_read(database: TestDatabase) {
    let user = User::create(&database).await;
    user.grant("SELECT").await;
    let service = Service::start_with(&user.url, &["--migrate", "false"]).await;
    assert_eq!(service.caller().get("/readyz").await, 503, "from its first moment");
    is_unusable(&service, "lacks a right").await;
    user.grant(ALL_RIGHTS).await;
    is_usable_again(&service).await;
    user.run("REVOKE INSERT ON {tables} FROM {user}").await;
    if user.is_mysql() {
        user.disconnect().await; // A session keeps the rights that it has.
    }
    is_unusable(&service, "lacks a right").await;
    user.grant("INSERT").await;
    is_usable_again(&service).await;
    service.stop().await;
    user.drop().await;
}

/// MySQL and MariaDB hide tables and columns from a user without a right on them.
async fn a_user_who_does_not_see_the_tables(database: TestDatabase) {
    let user = User::create(&database).await;
    user.run("GRANT SELECT ON {database}.seaql_migrations TO {user}").await;
    let refusal = user.migrate().await;
    assert!(refusal.contains("lacks a right"), "{refusal}");
    user.run("GRANT SELECT (id) ON {database}.Contact TO {user}").await;
    let refusal = user.migrate().await;
    assert!(refusal.contains("lacks a right"), "{refusal}");
    user.drop().await;
}

async fn a_user_who_is_locked_out(database: TestDatabase) {
    let user = User::create(&database).await;
    user.grant(ALL_RIGHTS).await;
    let service = Service::start_with(&user.url, &["--migrate", "false"]).await;
    is_usable_again(&service).await;
    let (lock, unlock, words) = if user.is_mysql() {
        ("ALTER USER {user} ACCOUNT LOCK", "ALTER USER {user} ACCOUNT UNLOCK", "account of the database user is locked")
    } else {
        ("ALTER ROLE {user} NOLOGIN", "ALTER ROLE {user} LOGIN", "refuses the user or the password")
    };
    user.run(lock).await;
    user.disconnect().await;
    is_unusable(&service, words).await;
    user.run(unlock).await;
    is_usable_again(&service).await;
    service.stop().await;
    user.drop().await;
}

async fn a_password_that_is_expired(database: TestDatabase) {
    let user = User::create(&database).await;
    user.grant(ALL_RIGHTS).await;
    let service = Service::start_with(&user.url, &["--migrate", "false"]).await;
    user.run("ALTER USER {user} PASSWORD EXPIRE").await;
    user.disconnect().await;
    is_unusable(&service, "password of the database user is expired").await;
    user.run("ALTER USER {user} IDENTIFIED BY 'shop'").await;
    is_usable_again(&service).await;
    user.run("REVOKE ALL PRIVILEGES ON {tables} FROM {user}").await;
    user.disconnect().await;
    turns(&service, ServingStatus::NotServing).await;
    user.grant(ALL_RIGHTS).await;
    is_usable_again(&service).await;
    service.stop().await;
    user.drop().await;
}

async fn a_database_that_takes_no_connections(database: TestDatabase) {
    let user = User::create(&database).await;
    user.grant(ALL_RIGHTS).await;
    let service = Service::start_with(&user.url, &["--migrate", "false"]).await;
    // Of another database, as this one is renamed.
    let elsewhere = sea_orm::Database::connect(database.backend.server().unwrap()).await.unwrap();
    let name = Url::parse(&database.url).unwrap().path()[1..].to_owned();
    let run = async |sql: &str| {
        elsewhere.execute_unprepared(&sql.replace("{database}", &name)).await.expect(sql);
    };
    for (begin, end, words) in [
        (
            "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {database} TO PUBLIC",
            "lacks the right to connect",
        ),
        (
            "ALTER DATABASE {database} ALLOW_CONNECTIONS false",
            "ALTER DATABASE {database} ALLOW_CONNECTIONS true",
            "does not take connections",
        ),
        (
            "ALTER DATABASE {database} RENAME TO {database}_away",
            "ALTER DATABASE {database}_away RENAME TO {database}",
            "no database of that name",
        ),
    ] {
        if begin.contains("RENAME") {
            // It can be renamed while nobody is connected to it, for which the service must be kept out.
            run("ALTER DATABASE {database} ALLOW_CONNECTIONS false").await;
            run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'").await;
            run("SELECT pg_sleep(0.2)").await;
        }
        run(begin).await;
        run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'").await;
        is_unusable(&service, words).await;
        run(end).await;
        run("ALTER DATABASE {database} ALLOW_CONNECTIONS true").await;
        is_usable_again(&service).await;
    }
    service.stop().await;
    elsewhere.close().await.unwrap();
    user.drop().await;
}

/// A statement that the server gives up is one that may work later.
async fn a_time_limit_of_the_server(database: TestDatabase) {
    let user = User::create(&database).await;
    user.grant(ALL_RIGHTS).await;
    user.run(if user.is_mysql() {
        "ALTER USER {user} WITH MAX_STATEMENT_TIME 0.2"
    } else {
        "ALTER ROLE {user} SET statement_timeout = '200ms'"
    })
    .await;
    let service = Service::start_with(&user.url, &["--migrate", "false"]).await;
    is_ended_in_time(&service, &user.admin).await;
    service.stop().await;
    user.drop().await;
}

/// MySQL has one for all sessions of a server. An administrator sets it.
async fn a_time_limit_of_all_sessions(server: Server) {
    let admin = sea_orm::Database::connect(&server.url).await.unwrap();
    admin.execute_unprepared("SET GLOBAL max_execution_time = 200").await.unwrap();
    let service = Service::start_with(&server.url, &[]).await;
    is_ended_in_time(&service, &admin).await;
    service.stop().await;
}

/// Callers whose statement the server ends after a moment hear that a retry helps.
async fn is_ended_in_time(service: &Service, admin: &DatabaseConnection) {
    service.caller().identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap();
    let lock = admin.begin().await.unwrap();
    lock_row(&lock, 1).await;
    for api in Api::BOTH {
        let call = service.caller();
        let refusal = call.identify_within(Duration::from_secs(5), api, Some("b@x.de"), Some("1")).await.unwrap_err();
        assert_eq!((refusal.code, refusal.retry), (Code::Unavailable, true), "{refusal:?}");
        assert_eq!(call.get("/readyz").await, 200, "it is about one customer");
    }
    lock.rollback().await.unwrap();
    is_usable_again(service).await;
}

/// Calls until it works; every failure on the way says that a retry helps.
async fn eventually(caller: &Caller, email: &str) {
    let begun = Instant::now();
    while let Err(refusal) = caller.identify(Api::Grpc, Some(email), None).await {
        assert_eq!((refusal.code, refusal.retry), (Code::Unavailable, true), "{refusal:?}");
        assert!(begun.elapsed() < SOON, "still {refusal:?}");
    }
}

/// The first of two servers ends the connections of all but administrators, and refuses new ones.
async fn a_server_in_offline_mode(server: Server) {
    let second = tokio::task::spawn_blocking(|| Server::start(Backend::Mysql)).await.unwrap();
    let mut urls = Vec::new();
    for server in [&server, &second] {
        connect(&server.url, SOON).await.unwrap().migrate_up().await.unwrap();
        let admin = sea_orm::Database::connect(&server.url).await.unwrap();
        for sql in ["CREATE USER shop@'%' IDENTIFIED BY 'shop'", "GRANT ALL ON identity.* TO shop@'%'"] {
            admin.execute_unprepared(sql).await.unwrap();
        }
        admin.close().await.unwrap();
        urls.push(Url::parse(&server.url).unwrap());
    }
    let address = |url: &Url| format!("127.0.0.1:{}", url.port().unwrap());
    let both = format!("mysql://shop:shop@{},{}/identity", address(&urls[0]), address(&urls[1]));
    let service = Service::start_with(&both, &[]).await;
    is_usable_again(&service).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let admin = sea_orm::Database::connect(&server.url).await.unwrap();
    admin.execute_unprepared("SET GLOBAL offline_mode = 1").await.unwrap();
    eventually(&service.caller(), "two@x.de").await;
    is_usable_again(&service).await;
    let on_second = sea_orm::Database::connect(&second.url).await.unwrap();
    assert_eq!(query(&on_second, r#"SELECT * FROM "Identifier" WHERE "value" = 'two@x.de'"#).await.len(), 1);

    on_second.execute_unprepared("SET GLOBAL offline_mode = 1").await.unwrap();
    turns(&service, ServingStatus::NotServing).await;
    let refusal = service.caller().identify(Api::Http, Some("three@x.de"), None).await.unwrap_err();
    assert_eq!((refusal.code, refusal.retry), (Code::Unavailable, true), "{refusal:?}");
    admin.execute_unprepared("SET GLOBAL offline_mode = 0").await.unwrap();
    is_usable_again(&service).await;
    service.stop().await;
}
