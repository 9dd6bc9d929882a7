//! The suite that every store must pass, on every database.

#[path = "../shared/store_conformance.rs"]
mod cases;

use crate::harness::{Suite, TestDatabase, register};

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
