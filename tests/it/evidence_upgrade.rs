//! Evidence of merges that older versions recorded: what is copied, from where on, and what is not.

use identity::store::entity::contact_merge::{self, CauseIdentifier, MergeCause};
use identity::store::entity::{contact, evidence};
use sea_orm::{ActiveValue::Set, DatabaseConnection, EntityTrait, QueryOrder};

use crate::evidence::{command, identify, rows, verify};
use crate::harness::{Service, Suite, TestDatabase, execute, query, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_copy_that_was_ended_goes_on_where_it_was,
        the_causes_of_repairs_are_no_evidence,
        evidence_of_tables_that_an_older_version_made_is_not_complete,
    );
}

async fn merges(tables: &DatabaseConnection) -> Vec<contact_merge::Model> {
    contact_merge::Entity::find().order_by_asc(contact_merge::Column::Id).all(tables).await.expect("merges")
}

/// What an older version leaves: merges without their sets.
async fn forget(tables: &DatabaseConnection) {
    execute(tables, r#"DELETE FROM "Evidence""#).await;
    execute(tables, r#"UPDATE "EvidenceState" SET "completeSince" = NULL, "copiedMergeId" = 0"#).await;
}

async fn copied_up_to(tables: &DatabaseConnection) -> i64 {
    query(tables, r#"SELECT "copiedMergeId" FROM "EvidenceState""#).await[0].try_get_by_index(0).expect("a number")
}

/// A cause that cannot be read ends it after two pages, as a crash does.
async fn a_copy_that_was_ended_goes_on_where_it_was(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    for number in 0..160 {
        identify(&caller, &format!("e{number}@x.de"), &format!("55500{number}")).await;
    }
    for number in 1..160 {
        assert_eq!(identify(&caller, &format!("e{}@x.de", number - 1), &format!("55500{number}")).await, "merged");
    }
    service.stop().await;
    assert_eq!(rows(&tables).await.len(), 159);
    forget(&tables).await;
    execute(&tables, r#"UPDATE "ContactMerge" SET "createdAt" = '2020-01-01 00:00:00'"#).await;
    let all = merges(&tables).await;
    let unreadable = &all[140];
    execute(&tables, &format!(r#"UPDATE "ContactMerge" SET "cause" = '{{}}' WHERE "id" = {}"#, unreadable.id)).await;
    let (status, said) = command(&database, &["migrate", "up"]);
    assert_eq!(status, Some(3), "{said}");
    let copied = rows(&tables).await;
    assert_eq!((copied.len(), copied_up_to(&tables).await), (128, all[127].id), "two pages of 64");

    // A set that is missing shows that the first page is not read again. One of the third page is there already.
    execute(&tables, &format!(r#"DELETE FROM "Evidence" WHERE "id" = {}"#, copied[7].id)).await;
    let MergeCause(cause) = unreadable.cause.clone();
    let cause =
        contact_merge::ActiveModel { id: Set(unreadable.id), cause: Set(MergeCause(cause)), ..Default::default() };
    contact_merge::Entity::update(cause).exec(&tables).await.expect("written");
    for _ in 0..2 {
        assert_eq!(command(&database, &["migrate", "up"]).0, Some(0));
        assert_eq!((rows(&tables).await.len(), copied_up_to(&tables).await), (158, all[158].id));
    }
    tables.close().await.expect("closed");
}

/// Two customers share an address and a number that nobody gave together. They can be damaged like this by SQL.
async fn the_causes_of_repairs_are_no_evidence(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    for (email, phone) in [("e@x.de", "111111"), ("y@x.de", "111111"), ("y@x.de", "222222")] {
        identify(&caller, email, phone).await;
    }
    let now = chrono::DateTime::from_timestamp_micros(1_700_000_000_000_000).expect("a moment").naive_utc();
    let others = [("e@x.de", "333333"), ("z@x.de", "333333"), ("z@x.de", "222222")];
    let others = (101..).zip(others).map(|(id, (email, phone))| contact::ActiveModel {
        id: Set(id),
        email: Set(Some(email.to_owned())),
        phone_number: Set(Some(phone.to_owned())),
        linked_id: Set((id != 101).then_some(101)),
        link_precedence: Set(match id {
            101 => contact::LinkPrecedence::Primary,
            _ => contact::LinkPrecedence::Secondary,
        }),
        created_at: Set(now),
        updated_at: Set(now),
        deleted_at: Set(None),
        flags: Set(0),
    });
    contact::Entity::insert_many(others).exec_without_returning(&tables).await.expect("inserted");
    forget(&tables).await;
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!(status, Some(0), "{report}");
    let [merge] = &merges(&tables).await[..] else { panic!("one merge") };
    let kinds: Vec<&str> = merge.cause.0.iter().map(|one| &one.kind[..]).collect();
    assert_eq!(kinds, ["email", "phone", "repair"]);
    assert_eq!(command(&database, &["migrate", "finish"]).0, Some(0));
    assert!(rows(&tables).await.is_empty(), "nobody gave them together");
    let (status, report) = verify(&database, &[]);
    assert_eq!(status, Some(0), "{report}");
    // A repair by an older version had no mark. This one had two addresses.
    forget(&tables).await;
    let one = |kind: &str, value: &str| CauseIdentifier { kind: kind.to_owned(), value: value.to_owned() };
    let cause = MergeCause(vec![one("email", "e@x.de"), one("email", "y@x.de")]);
    let cause = contact_merge::ActiveModel { id: Set(merge.id), cause: Set(cause), ..Default::default() };
    contact_merge::Entity::update(cause).exec(&tables).await.expect("written");
    assert_eq!(command(&database, &["migrate", "finish"]).0, Some(0));
    assert!(evidence::Entity::find().all(&tables).await.expect("rows").is_empty());
    service.stop().await;
    tables.close().await.expect("closed");
}

/// It can still serve from them: what it matches leaves no trace.
async fn evidence_of_tables_that_an_older_version_made_is_not_complete(database: TestDatabase) {
    let tables = database.raw().await;
    let complete = async || {
        let state = query(&tables, r#"SELECT 1 FROM "EvidenceState" WHERE "completeSince" IS NOT NULL"#).await;
        state.len()
    };
    let up = || assert_eq!(command(&database, &["migrate", "up"]).0, Some(0));
    up();
    assert_eq!(complete().await, 1, "this version made all tables");
    // The migrations of an older version are the first ones.
    let (status, said) = command(&database, &["migrate", "down", "8", "--yes"]);
    assert_eq!(status, Some(0), "{said}");
    up();
    assert_eq!(complete().await, 0);
    assert_eq!(command(&database, &["migrate", "finish"]).0, Some(0));
    assert_eq!(complete().await, 1);
    tables.close().await.expect("closed");
}
