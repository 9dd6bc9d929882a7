//! Any e-mail address, against the grammar of another parser: both take the same addresses, but for comments, which
//! this service refuses, and for dots, which it accepts anywhere in a local part.

#![no_main]

use email_address_parser::{EmailAddress, ParsingOptions};
use identity::domain::Email;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // The other grammar takes longer than linear time.
    if text.len() > 64 || text.contains(['(', ')']) || text.to_lowercase() != text {
        return;
    }
    let Some((local, domain)) = text.split_once('@') else { return };
    let has_odd_dots = local.starts_with('.') || local.ends_with('.') || local.contains("..");
    let is_plain = |c: char| c.is_ascii_graphic();
    if has_odd_dots || domain.contains('@') || !text.chars().all(is_plain) {
        return;
    }
    let ours = matches!(Email::parse(text), Ok(Some(_)));
    let theirs = EmailAddress::is_valid(text, Some(ParsingOptions::new(true)));
    assert_eq!(ours, theirs, "{local:?} {domain:?}");
});
