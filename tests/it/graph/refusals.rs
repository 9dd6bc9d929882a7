//! What is refused, and how.

use identity::proto::identity::v1 as pb;
use tonic::Code;

use super::{assert_refused, client, contacts, get, identify, page, tables};
use crate::harness::{Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): names_sizes_tokens_and_identifiers);
}

async fn names_sizes_tokens_and_identifiers(database: TestDatabase) {
    let service = Service::start(&database).await;
    for n in 0..4 {
        identify(&service, &format!("{n}@x.de"), "1000").await;
        identify(&service, &format!("other{n}@x.de"), "").await;
    }
    let before = tables(&database).await;
    for name in ["", "identities/", "identities/0", "identities/-1", "identities/9223372036854775808", "a@b.co", "1"] {
        let refused = get(&service, name).await.unwrap_err();
        assert_eq!(assert_refused(&refused, Code::InvalidArgument, "NAME_INVALID"), ["name"]);
        assert!(!refused.message().contains("a@b.co") && !refused.message().contains("9223"), "{refused:?}");
        let refused = contacts(&service, name, 0, "").await.unwrap_err();
        assert_eq!(assert_refused(&refused, Code::InvalidArgument, "NAME_INVALID"), ["parent"]);
    }
    let refused = contacts(&service, "identities/9999", 0, "").await.unwrap_err();
    assert_refused(&refused, Code::NotFound, "IDENTITY_UNKNOWN");

    for refused in
        [page(&service, -1, "").await.unwrap_err(), contacts(&service, "identities/1", -7, "").await.unwrap_err()]
    {
        assert_eq!(assert_refused(&refused, Code::InvalidArgument, "PAGE_SIZE_INVALID"), ["page_size"]);
    }
    let of_identities = page(&service, 1, "").await.unwrap().next_page_token;
    let of_contacts = contacts(&service, "identities/1", 1, "").await.unwrap().next_page_token;
    let mut changed = of_identities.clone();
    changed.replace_range(20..21, if &changed[20..21] == "0" { "1" } else { "0" });
    for token in [&changed, &of_contacts, "x", &of_identities[1..]] {
        let refused = page(&service, 1, token).await.unwrap_err();
        assert_eq!(assert_refused(&refused, Code::InvalidArgument, "PAGE_TOKEN_INVALID"), ["page_token"]);
    }
    for (parent, token) in
        [("identities/1", &of_identities), ("identities/2", &of_contacts), ("identities/3", &of_contacts)]
    {
        let refused = contacts(&service, parent, 1, token).await.unwrap_err();
        assert_eq!(assert_refused(&refused, Code::InvalidArgument, "PAGE_TOKEN_INVALID"), ["page_token"]);
    }
    assert!(contacts(&service, "identities/1", 1, &of_contacts).await.is_ok());

    for (kind, value, reason, field) in [
        ("email", " ", "IDENTIFIER_MISSING", "identifiers[0].value"),
        ("email", "nobody", "IDENTIFIER_INVALID", "identifiers[0].value"),
        ("mail", "a@b.co", "IDENTIFIER_INVALID", "identifiers[0].kind"),
    ] {
        let identifiers = vec![pb::Identifier { kind: kind.into(), value: value.into() }];
        let request = pb::LookupIdentitiesRequest { identifiers, read_time: None };
        let refused = client(&service).lookup_identities(request).await.unwrap_err();
        assert_eq!(assert_refused(&refused, Code::InvalidArgument, reason), [field]);
        assert!(!refused.message().contains("nobody") && !refused.message().contains("a@b.co"));
    }
    let none = pb::LookupIdentitiesRequest::default();
    let refused = client(&service).lookup_identities(none).await.unwrap_err();
    assert_eq!(assert_refused(&refused, Code::InvalidArgument, "IDENTIFIER_MISSING"), ["identifiers"]);
    assert_eq!(tables(&database).await, before, "nothing was written");
    service.stop().await;
}
