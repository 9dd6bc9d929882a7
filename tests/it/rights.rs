//! The rights in the database that the documents give: their SQL, pasted into real servers, is enough and not more.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, RuntimeErr};
use sqlx::mysql::MySqlDatabaseError;
use url::Url;

use crate::harness::{Api, Backend, Event, Process, Suite, TestDatabase, binary, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&Backend::SERVERS): a_second_user_serves_with_the_rights_of_the_documents);
}

/// Returns the statements of a block of SQL in a document, without comments. `\connect` of psql is one.
pub fn statements(document: &str, first_line: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(path).expect("the document");
    let block = text.split("```sql\n").find(|block| block.starts_with(first_line)).expect("the block");
    let block = block.split("```").next().expect("its end");
    let code: String =
        block.lines().map(|line| line.split("--").next().unwrap_or_default().to_owned() + "\n").collect();
    let code = code.replace("\\connect identity", "\\connect identity;");
    code.split(';').map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect()
}

/// An administrator who pastes the SQL of the documents, with names of this test.
struct Administrator {
    database: TestDatabase,
    connection: DatabaseConnection,
    /// The database and the user that migrates.
    name: String,
}

impl Administrator {
    async fn connect(database: &TestDatabase, name: &str) -> Self {
        let name = format!("{}_{name}", database.url.rsplit('/').next().expect("a name"));
        Self { database: database.clone(), connection: database.raw().await, name }
    }

    fn is_postgres(&self) -> bool {
        self.database.backend == Backend::Postgres
    }

    fn sql(&self) -> Vec<String> {
        if self.is_postgres() {
            return statements("docs/operations.md", "-- PostgreSQL");
        }
        let mut sql = statements("docs/operations.md", "-- MySQL, MariaDB: one user");
        assert!(sql.starts_with(&statements("README.md", "CREATE DATABASE identity")), "the README begins as it does");
        // MariaDB has no such table: the right is for Group Replication.
        sql.retain(|statement| self.database.backend == Backend::Mysql || !statement.contains("performance_schema"));
        sql
    }

    async fn paste(&mut self, statement: &str) {
        let words = |text: &str| text.replace("identity", &self.name).replace("serving", &self.user("serving"));
        let statement = words(statement);
        if statement.starts_with("\\connect") {
            let mut url = Url::parse(&self.database.url).expect("a URL");
            url.set_path(&self.name);
            self.connection = sea_orm::Database::connect(url.as_str()).await.expect("it connects");
            return;
        }
        self.connection.execute_unprepared(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    fn user(&self, user: &str) -> String {
        if user == "identity" { self.name.clone() } else { format!("{}_s", self.name) }
    }

    /// The URL of a user of the documents.
    fn url(&self, user: &str) -> String {
        let mut url = Url::parse(&self.database.url).expect("a URL");
        url.set_username(&self.user(user)).expect("a user");
        url.set_password(Some("change me")).expect("a password");
        url.set_path(&self.name);
        url.into()
    }

    async fn clean_up(self) {
        let admin = self.database.raw().await;
        let mut sql = vec![format!("DROP DATABASE {}", self.name)];
        for user in ["identity", "serving"] {
            let user = self.user(user);
            sql.push(if self.is_postgres() { format!("DROP USER {user}") } else { format!("DROP USER {user}@'%'") });
        }
        self.connection.close().await.expect("close");
        for statement in sql {
            admin.execute_unprepared(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        admin.close().await.expect("close");
    }
}

fn run(arguments: &[&str], url: &str) {
    let done = binary().args(arguments).env("DATABASE_URL", url).env("RUST_LOG", "warn").output().expect("it runs");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Says whether the database refused a statement because the user lacks the right.
fn is_denied(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else {
        return false;
    };
    // 42501 of PostgreSQL; of the others, 42000 is also a wrong statement: 1142 is the denial.
    let Some(error) = error.as_database_error() else { return false };
    match error.try_downcast_ref::<MySqlDatabaseError>() {
        Some(error) => error.number() == 1142,
        None => error.code().as_deref() == Some("42501"),
    }
}

async fn only_one_user_is_left_with_the_rights_to_serve(admin: &mut Administrator) {
    for statement in statements("docs/operations.md", "-- MySQL, MariaDB: from now on") {
        admin.paste(&statement).await;
    }
    let url = admin.url("identity");
    let first = sea_orm::Database::connect(&url).await.expect("it connects");
    for statement in ["CREATE TABLE more (id INT)", "ALTER TABLE Contact ADD more INT", "DROP TABLE Contact"] {
        let error = first.execute_unprepared(statement).await.expect_err("it may not change tables any more");
        assert!(is_denied(&error), "{statement}: {error}");
    }
    first.close().await.expect("close");
    let mut process = Process::start(&[("DATABASE_URL", &url), ("MIGRATE", "false")]).await;
    let answer = process.caller().identify(Api::Grpc, Some("last@x.de"), Some("9")).await.expect("an answer");
    assert_eq!(answer.outcome, "created");
    process.signal("-TERM");
    assert!(process.end().await.success());
}

async fn a_second_user_serves_with_the_rights_of_the_documents(database: TestDatabase) {
    // The second user can be made before the tables or after them.
    for (order, migrates_first) in [("a", false), ("b", true)] {
        let mut admin = Administrator::connect(&database, order).await;
        let sql = admin.sql();
        let of_second = sql.iter().position(|statement| statement.contains("serving")).expect("the second user");
        for statement in &sql[..of_second] {
            admin.paste(statement).await;
        }
        if migrates_first {
            run(&["migrate", "up"], &admin.url("identity"));
        }
        for statement in &sql[of_second..] {
            admin.paste(statement).await;
        }
        run(&["migrate", "up"], &admin.url("identity"));

        let url = admin.url("serving");
        let mut process = Process::start(&[("DATABASE_URL", &url), ("MIGRATE", "false")]).await;
        let caller = process.caller();
        for api in Api::BOTH {
            let mail = |name: &str| format!("{name}.{api:?}@x.de");
            let outcome = async |email: &str, phone| {
                caller.identify(api, Some(&mail(email)), phone).await.expect("an answer").outcome
            };
            let phones = match api {
                Api::Grpc => ["1", "2"],
                Api::Http => ["3", "4"],
            };
            assert_eq!(outcome("a", Some(phones[0])).await, "created");
            assert_eq!(outcome("b", Some(phones[0])).await, "linked");
            assert_eq!(outcome("c", Some(phones[1])).await, "created");
            assert_eq!(outcome("c", Some(phones[0])).await, "merged");
            assert_eq!(outcome("a", Some(phones[1])).await, "matched");
        }
        let events: Vec<_> = (0..10).map(|n| Event { email: Some(format!("{n}@batch.de")), phone: None }).collect();
        assert!(caller.batch(Api::Grpc, &events).await.expect("answers").iter().all(Result::is_ok));
        process.signal("-TERM");
        assert!(process.end().await.success());
        run(&["verify"], &url);

        let second = sea_orm::Database::connect(&url).await.expect("it connects");
        let drop_table = if admin.is_postgres() { r#"DROP TABLE "Contact""# } else { "DROP TABLE Contact" };
        for statement in ["CREATE TABLE more (id INT)", drop_table] {
            let error = second.execute_unprepared(statement).await.expect_err("it may not change tables");
            assert!(is_denied(&error), "{statement}: {error}");
        }
        second.close().await.expect("close");
        if !admin.is_postgres() {
            only_one_user_is_left_with_the_rights_to_serve(&mut admin).await;
        }
        admin.clean_up().await;
    }
}
