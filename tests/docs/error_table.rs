//! The table of error reasons in `docs/api.md` has the codes and the HTTP statuses of the source.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;

use super::names::reasons;
use super::read;

/// Reasons whose HTTP status is not that of their code, because HTTP has a more exact one.
const EXACT_STATUSES: [(&str, u16); 6] = [
    ("REQUEST_TOO_LARGE", 413),
    ("REQUEST_TOO_SLOW", 408),
    ("CONTENT_TYPE_UNKNOWN", 415),
    ("ENCODING_UNKNOWN", 415),
    ("HTTP_METHOD_NOT_ALLOWED", 405),
    ("CONNECTIONS_FULL", 503),
];

/// Reasons that no caller of the JSON API gets.
const GRPC_ONLY: [&str; 3] = ["STREAMS_FULL", "CONNECTION_TOO_OLD", "METHOD_UNKNOWN"];

/// Returns the name of a code as proto has it: `NOT_FOUND` for `NotFound`.
fn upper_snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

/// Returns the code of each reason that stands beside it in the source: `(Code::NotFound, "IDENTITY_UNKNOWN"`.
fn codes_of_reasons(source: &str) -> BTreeMap<String, String> {
    let pairs = source.split("(Code::").skip(1).filter_map(|rest| rest.split_once(", \""));
    let pairs = pairs.filter(|(code, _)| code.chars().all(char::is_alphabetic));
    pairs.map(|(code, rest)| (rest.split('"').next().unwrap().to_owned(), upper_snake(code))).collect()
}

/// Returns the HTTP status of each code: `Code::A | Code::B => StatusCode::NAME,` in the source.
fn statuses_of_codes(source: &str) -> BTreeMap<String, u16> {
    let number = |name: &str| {
        let is_it = |status: &StatusCode| {
            status.canonical_reason().is_some_and(|reason| reason.to_uppercase().replace([' ', '-'], "_") == name)
        };
        (100..600).filter_map(|number| StatusCode::from_u16(number).ok()).find(is_it).map(|status| status.as_u16())
    };
    let arms = source.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" => StatusCode::"));
    let arms = arms.filter(|(codes, _)| codes.starts_with("Code::"));
    let pairs = arms.flat_map(|(codes, status)| codes.split(" | ").map(move |code| (code, status)));
    pairs.filter_map(|(code, status)| Some((upper_snake(code.strip_prefix("Code::")?), number(status)?))).collect()
}

/// Returns the rows of the table: reason, code and status. A row can have several reasons.
fn rows(text: &str) -> Vec<(String, String, String)> {
    let lines = text.lines().skip_while(|line| !line.starts_with("| reason | code |")).skip(2);
    let mut found = Vec::new();
    for line in lines.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        for reason in cells[1].split(", ") {
            found.push((reason.trim_matches('`').to_owned(), cells[2].to_owned(), cells[3].to_owned()));
        }
    }
    found
}

#[test]
fn the_table_of_reasons_has_the_codes_and_statuses_of_the_source() {
    let mut codes = codes_of_reasons(&read("src/transport/errors.rs"));
    let of_fields = reasons(&read("src/transport/invalid_field.rs"));
    codes.extend(of_fields.into_iter().map(|reason| (reason, "INVALID_ARGUMENT".to_owned())));
    let statuses = statuses_of_codes(&read("src/transport/http/errors.rs"));
    assert!(codes.len() > 30 && statuses.len() > 12, "{codes:?} {statuses:?}");
    let rows = rows(&read("docs/api.md"));
    for (reason, code, status) in &rows {
        assert_eq!(codes.get(reason), Some(code), "the code of {reason}");
        let exact = EXACT_STATUSES.iter().find(|(exact, _)| exact == reason).map(|(_, status)| *status);
        let expected = if GRPC_ONLY.contains(&&**reason) { None } else { exact.or(Some(statuses[code])) };
        assert_eq!(*status, expected.map_or("–".to_owned(), |status| status.to_string()), "the status of {reason}");
    }
    let documented: BTreeSet<_> = rows.iter().map(|(reason, ..)| reason).collect();
    assert_eq!((documented.len(), documented), (rows.len(), codes.keys().collect()), "a row for each reason");
}
