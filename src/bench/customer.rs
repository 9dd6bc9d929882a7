//! The customers of the load generator. Their number decides their identifiers, so `seed` and `run` agree on them.

/// Returns the e-mail address of a customer that [`seed`](super::seed) created.
pub(super) fn known_email(number: u64) -> String {
    format!("customer{number}@example.com")
}

/// Returns the phone number of such a customer.
pub(super) fn known_phone(number: u64) -> String {
    format!("+49{number:010}")
}

/// Returns the e-mail address of a customer that a run creates.
pub(super) fn new_email(number: u64) -> String {
    format!("{:016x}@new.example.com", scattered(number))
}

/// Returns the phone number of such a customer. It is longer than a known number, so it is never the same.
pub(super) fn new_phone(number: u64) -> String {
    format!("+49{:020}", scattered(number))
}

/// Returns a different number for every number, far from that of its neighbours (the end of SplitMix64).
///
/// Real customers do not come in the order of their addresses. Ordered keys would all go into one page of an index.
fn scattered(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Email, Identifier, PhoneNumber};

    #[test]
    fn all_are_canonical_already() {
        for number in [0, 1, 99_999, 9_999_999_999, u64::MAX] {
            for email in [known_email(number), new_email(number)] {
                let parsed = Identifier::from(Email::parse(&email).unwrap().unwrap());
                assert_eq!(parsed.value(), email);
            }
            for phone in [known_phone(number), new_phone(number)] {
                let parsed = Identifier::from(PhoneNumber::parse(&phone, None).unwrap().unwrap());
                assert_eq!(parsed.value(), phone);
            }
        }
    }

    #[test]
    fn no_two_numbers_share_an_identifier() {
        let all: std::collections::HashSet<_> =
            (0..10_000).flat_map(|n| [known_email(n), known_phone(n), new_email(n), new_phone(n)]).collect();
        assert_eq!(all.len(), 40_000);
    }
}
