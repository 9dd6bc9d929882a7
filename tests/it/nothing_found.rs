//! A read that finds nothing on a server that was demoted: the customer may be new on the one that was promoted.

use std::time::Duration;

use identity::domain::graph::SetName;
use identity::domain::{ContactId, Identifier, IdentifierKind};
use identity::store::{Database, ExpectedSize, IfNothing, Store, StoreError, Transaction};

use crate::failover::{Candidate, connect};
use crate::harness::{Backend, Proxy, Server, Suite, connections, database_settings, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_own_server(&[Backend::Mysql, Backend::Mariadb]):
        no_read_takes_it_for_an_answer,
        the_connection_of_the_read_is_asked,
    );
}

const PATIENT: Duration = Duration::from_secs(10);

fn unknown() -> Vec<Identifier> {
    vec![Identifier::from_stored(IdentifierKind::Email, "unknown@x.de")]
}

async fn look_up(store: &Database, if_nothing: IfNothing) -> Result<bool, StoreError> {
    let read = store.find_identities(&unknown(), ExpectedSize::Usual, if_nothing).await?;
    assert!(read.found.identities.is_empty() && read.found.ignored.is_empty(), "nobody has it");
    Ok(read.is_latest)
}

/// Each read is the first of a store that does not know yet.
async fn no_read_takes_it_for_an_answer(server: Server) {
    let primary = Candidate::new(server).await;
    let contact = ContactId(999);
    for read in ["look up", "owners", "by id", "large by id", "page", "notes", "transaction"] {
        let store = connect(primary.url.as_str(), PATIENT).await.expect("it takes writes");
        let mut transaction = store.begin().await.expect("a transaction");
        for is_demoted in [false, true] {
            primary.set_read_only(is_demoted).await;
            let result = match read {
                "look up" => look_up(&store, IfNothing::CheckServer).await.map(drop),
                "owners" => store.owner_rows(&unknown()).await.map(drop),
                "by id" => store.identities_of(&[contact], ExpectedSize::NotLarge).await.map(drop),
                "large by id" => store.identities_of(&[contact], ExpectedSize::Large).await.map(drop),
                "page" => store.roots_after(Some(contact), 10).await.map(drop),
                "notes" => store.notes_of(&[SetName::Contact(contact)]).await.map(drop),
                _ => transaction.check_takes_writes().await,
            };
            assert_eq!(result.err().map(|error| error.is_unavailable()), is_demoted.then_some(true), "{read}");
        }
        primary.set_read_only(false).await;
    }
    let store = connect(primary.url.as_str(), PATIENT).await.expect("it takes writes");
    assert_eq!(look_up(&store, IfNothing::CheckServer).await.ok(), Some(true));
    assert_eq!(look_up(&store, IfNothing::Return).await.ok(), Some(false), "nobody was asked");
}

/// One connection leads to the old primary, another to the new one, because the address moved in between.
async fn the_connection_of_the_read_is_asked(server: Server) {
    let old = Candidate::new(server).await;
    let new = old.another().await;
    let address = Proxy::start(old.url.as_str()).await;
    // Two of three are kept.
    let store = Database::connect(&database_settings(&address.url, 3, PATIENT)).await.expect("it takes writes");
    let of_old = store.begin().await.expect("a transaction");
    address.redirect(new.url.as_str());
    assert_eq!(look_up(&store, IfNothing::CheckServer).await.ok(), Some(true), "on a connection to the new primary");
    of_old.commit().await.expect("nothing is written");
    old.set_read_only(true).await;
    assert_eq!(connections(&store), [2, 0], "both are kept");
    // The connection that was used last is taken first.
    assert!(look_up(&store, IfNothing::CheckServer).await.is_err_and(|error| error.is_unavailable()));
}
