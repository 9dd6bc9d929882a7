//! Which identifiers are the same, through both apis: by the rules, and never by a database's collation.

use crate::harness::{Api, Backend, Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): no_collation_joins, canonical_forms_join);
    register!(suite.on(&[Backend::Sqlite]):
        blank_is_not_given,
        a_bad_one_is_named,
        a_bad_one_can_be_left_out,
        a_region_completes_phone_numbers,
    );
    register!(suite.on_all(): the_longest_fit);
}

async fn no_collation_joins(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let emails = [
        "jose@x.de",
        "josé@x.de",
        "strasse@x.de",
        "straße@x.de",
        "i@x.tr",
        "İ@x.tr",
        "ı@x.tr",
        "ss@x.de",
        "ß@x.de",
        "a@x.de",
        "a\u{34f}@x.de",
        "ａ@x.de",
        "å@x.de",
        "ä@x.de",
        "ae@x.de",
        "æ@x.de",
        "が@x.jp",
        "か@x.jp",
        "カ@x.jp",
    ];
    for (api, email) in Api::BOTH.into_iter().cycle().zip(emails) {
        assert_eq!(caller.identify(api, Some(email), None).await.unwrap().outcome, "created", "{email}");
    }
    for (api, email) in Api::BOTH.into_iter().rev().cycle().zip(emails) {
        let again = caller.identify(api, Some(email), None).await.unwrap();
        assert_eq!((again.outcome, again.emails.len()), ("matched", 1), "{email}");
    }
    // The same digits, as an address and as a number.
    assert_eq!(caller.identify(Api::Grpc, Some("1@1"), Some("11")).await.unwrap().outcome, "created");
    for phone in ["+11", "011", "0011"] {
        assert_eq!(caller.identify(Api::Grpc, None, Some(phone)).await.unwrap().outcome, "created", "{phone}");
    }
    service.stop().await;
}

async fn canonical_forms_join(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let first = caller.identify(Api::Grpc, Some("JOSE\u{301}@Example.COM"), Some("+49 (30) 123-456")).await.unwrap();
    assert_eq!(first.emails, ["jos\u{e9}@example.com"]);
    assert_eq!(first.phones, ["+4930123456"]);
    for (email, phone) in [
        (Some(" jos\u{e9}@example.com  "), None),
        (
            Some("\u{feff}jos\u{e9}@example.com\u{200b}"),
            Some("\u{202a}+49\u{a0}\u{ff08}30\u{ff09} 123\u{2011}456\u{202c}"),
        ),
        (Some("JOS\u{c9}@EXAMPLE.COM"), Some("+4930123456")),
        (None, Some("\t+49.30/123 456\n")),
        (None, Some("+٤٩٣٠١٢٣٤٥٦")),
    ] {
        for api in Api::BOTH {
            let again = caller.identify(api, email, phone).await.unwrap();
            assert_eq!((again.outcome, again.primary), ("matched", first.primary), "{email:?} {phone:?}");
        }
    }
    service.stop().await;
}

async fn blank_is_not_given(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    for api in Api::BOTH {
        let answer = caller.identify(api, Some(" \u{a0}\t"), Some("1")).await.unwrap();
        assert_eq!((answer.emails.len(), answer.phones.len()), (0, 1));
        for (email, phone) in [(None, None), (Some(""), None), (Some("  "), Some("\n"))] {
            let refusal = caller.identify(api, email, phone).await.unwrap_err();
            assert_eq!(refusal.code, tonic::Code::InvalidArgument);
            assert!(refusal.fields.contains(&"email".to_owned()), "{refusal:?}");
        }
    }
    service.stop().await;
}

async fn a_bad_one_is_named(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let phone_field = |api| if api == Api::Grpc { "phone_number" } else { "phoneNumber" };
    for api in Api::BOTH {
        for (email, phone, fields) in [
            (Some("secret-plain"), Some("1"), vec!["email"]),
            (Some("a@b"), Some("secret-12a"), vec![phone_field(api)]),
            (Some("secret@@b"), Some("+"), vec!["email", phone_field(api)]),
            (Some("sec\u{200b}ret@b"), Some("1.0"), vec!["email", phone_field(api)]),
        ] {
            let refusal = caller.identify(api, email, phone).await.unwrap_err();
            assert_eq!(refusal.code, tonic::Code::InvalidArgument);
            assert_eq!(refusal.fields, fields);
            assert!(fields.iter().all(|field| refusal.message.contains(field)), "{refusal:?}");
            assert!(!format!("{refusal:?}").contains("secret"), "{refusal:?}");
            assert!(!refusal.retry, "a retry does not help");
        }
    }
    service.stop().await;
}

async fn a_bad_one_can_be_left_out(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--invalid-identifiers", "ignore"]).await;
    let caller = service.caller();
    let first = caller.identify(Api::Grpc, Some("a@b.co"), Some("N/A")).await.unwrap();
    assert_eq!((first.outcome, first.phones.len()), ("created", 0));
    let again = caller.identify(Api::Http, Some("a@b.co"), Some("555-0100 ext 5")).await.unwrap();
    assert_eq!((again.outcome, again.primary), ("matched", first.primary));
    for api in Api::BOTH {
        assert_eq!(caller.identify(api, Some("no"), Some("N/A")).await.unwrap_err().code, tonic::Code::InvalidArgument);
    }
    service.stop().await;
}

async fn a_region_completes_phone_numbers(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--phone-region", "DE"]).await;
    let caller = service.caller();
    let first = caller.identify(Api::Grpc, None, Some("030 123456")).await.unwrap();
    assert_eq!(first.phones, ["+4930123456"]);
    let again = caller.identify(Api::Http, None, Some("0049 30 12 34 56")).await.unwrap();
    assert_eq!((again.outcome, again.primary), ("matched", first.primary));
    let no_number = caller.identify(Api::Http, None, Some("123456")).await.unwrap();
    assert_eq!((no_number.outcome, &no_number.phones[0][..]), ("created", "123456"));
    service.stop().await;
}

async fn the_longest_fit(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let email = format!("{}@x.de", "é".repeat(124));
    let phone = format!("+{}", "9".repeat(32));
    for (outcome, api) in ["created", "matched"].into_iter().zip(Api::BOTH) {
        let answer = caller.identify(api, Some(&email), Some(&phone)).await.unwrap();
        assert_eq!((answer.outcome, &answer.emails[0], &answer.phones[0]), (outcome, &email, &phone));
    }
    service.stop().await;
}
