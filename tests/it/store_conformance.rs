//! The suite that every store must pass, on every database.

#[path = "../shared/store_conformance.rs"]
mod cases;

use identity::domain::Identifier;
use identity::store::{Database, Store, Transaction};

use crate::harness::{Suite, TestDatabase, register};

impl cases::IgnoresIdentifiers for Database {
    async fn ignore(&self, identifier: &Identifier) {
        let mut transaction = self.begin().await.expect("a transaction");
        transaction.ignore(identifier).await.expect("a write");
        transaction.commit().await.expect("a commit");
    }

    async fn stop_ignoring(&self, identifier: &Identifier) {
        let showing = self.showing(std::slice::from_ref(identifier)).await.expect("a read");
        let mut transaction = self.begin().await.expect("a transaction");
        transaction.stop_ignoring(identifier, &showing[identifier]).await.expect("a write");
        transaction.commit().await.expect("a commit");
    }
}

macro_rules! on_every_database {
    ($($case:ident),+ $(,)?) => {
        $(
            async fn $case(database: TestDatabase) {
                cases::$case(&database.store().await).await;
            }
        )+

        pub fn register(suite: &mut Suite) {
            register!(suite.on_all(): $($case),+);
        }
    };
}

cases::for_each_case!(on_every_database);
