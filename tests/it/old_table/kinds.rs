//! Each system on each database.

use identity::store::old_table::OldTable;

use super::{all_rows, dump, is_same};
use crate::harness::{Suite, TestDatabase, register};
use crate::old_tables::{OldKind, damaged_rows};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): each_system_is_read_as_it_is);
}

async fn each_system_is_read_as_it_is(database: TestDatabase) {
    for kind in OldKind::on(database.backend) {
        let database = TestDatabase::create(database.backend).await;
        read_kind(kind, &database).await;
        database.drop().await;
    }
}

async fn read_kind(kind: OldKind, database: &TestDatabase) {
    let made = kind.make(database, &damaged_rows(7, 200)).await;
    let tables = database.raw().await;
    let before = dump(&tables, kind.table()).await;
    let options = kind.options(database.backend);
    let old = OldTable::open(&database.url, &options).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    assert_eq!(old.mapping().table(), kind.table());
    let [id, email, ..] = kind.columns();
    let fingerprint = old.mapping().fingerprint();
    assert!(fingerprint.contains(&format!("id={id} email={email}")), "{fingerprint}");
    assert!(fingerprint.contains(&format!("deletedAt={}", kind.columns()[7])), "{fingerprint}");
    for page in [7, 200, 201, 5_000] {
        let rows = all_rows(&old, page).await;
        assert_eq!(rows.len(), made.len(), "{kind:?}");
        for (row, made) in rows.iter().zip(&made) {
            assert!(is_same(row, made), "{kind:?} on {:?}: {made:?} was read as {row:?}", database.backend);
        }
    }
    assert_eq!(old.count().await.unwrap(), 200);
    let ids = (made[0].id, made[199].id);
    assert_eq!(old.id_range().await.unwrap(), Some(ids));
    let some = old.rows_by_id(&[made[5].id, 999_999_999, made[3].id]).await.unwrap();
    assert!(some.len() == 2 && is_same(&some[0], &made[3]) && is_same(&some[1], &made[5]), "{some:?}");
    old.close().await;
    assert_eq!(dump(&tables, kind.table()).await, before, "{kind:?}");
    tables.close().await.unwrap();
    // Which zone is asked for, and which is known.
    let without_zone = OldTable::open(&database.url, &super::options("", &[], "")).await;
    let is_asked = kind.time_zone(database.backend).is_some();
    match without_zone {
        Err(error) => {
            let error = error.to_string();
            assert!(
                is_asked && error.contains("--time-zone") && error.contains(kind.columns()[5]),
                "{kind:?}: {error}"
            );
        }
        Ok(old) => {
            assert!(!is_asked, "{kind:?} needs a zone: {}", old.mapping());
            old.close().await;
        }
    }
}
