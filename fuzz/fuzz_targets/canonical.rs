//! Any text as an e-mail address and as a phone number, with and without a region.

#![no_main]

use identity::domain::{Email, PhoneNumber, Region};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(Some(email)) = Email::parse(text) {
        let canonical = email.as_str();
        assert!(canonical.len() <= 254);
        assert!(!canonical.chars().any(|c| c.is_whitespace() || c.is_control()));
        let at = canonical.find('@').expect("an @");
        assert!(at > 0 && at + 1 < canonical.len() && !canonical[at + 1..].contains('@'));
        let again = Email::parse(canonical).ok().flatten().expect("well-formed");
        assert!(again.as_str() == canonical, "idempotent");
    }
    let regions = [None, Some("DE"), Some("US")].map(|code| code.map(|code| code.parse::<Region>().expect("a region")));
    for region in regions {
        if let Ok(Some(phone)) = PhoneNumber::parse(text, region) {
            let digits = phone.as_str().strip_prefix('+').unwrap_or(phone.as_str());
            assert!((1..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
            let again = PhoneNumber::parse(phone.as_str(), region).ok().flatten().expect("well-formed");
            assert!(again.as_str() == phone.as_str(), "idempotent");
        }
    }
    let is_blank = text.chars().all(|c| c.is_whitespace() || c.is_control());
    assert!(is_blank || !matches!(Email::parse(text), Ok(None)), "only what is blank is not given");
});
