//! How long a certificate is valid.

use chrono::NaiveDateTime;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns when a certificate expires, in seconds since 1970. `None` if it is no certificate.
///
/// The path to that field is short, so no X.509 parser is needed: rustls checks the certificate.
pub(super) fn expires_at(certificate: &[u8]) -> Option<i64> {
    let certificate = inside(element(certificate)?, SEQUENCE)?;
    let mut fields = inside(element(certificate)?, SEQUENCE)?;
    if *fields.first()? == VERSION {
        fields = element(fields)?.rest;
    }
    // Serial number, algorithm of the signature, issuer.
    for _ in 0..3 {
        fields = element(fields)?.rest;
    }
    let validity = inside(element(fields)?, SEQUENCE)?;
    let end = element(element(validity)?.rest)?;
    let text = std::str::from_utf8(end.content).ok()?;
    let time = match end.tag {
        // RFC 5280: two digits of the year, from 1950 to 2049.
        UTC_TIME => {
            let century = if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    Some(NaiveDateTime::parse_from_str(&time, "%Y%m%d%H%M%SZ").ok()?.and_utc().timestamp())
}

/// An element of DER, and what stands after it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first & 0x7f);
    if first & 0x80 != 0 {
        let (digits, after) = rest.split_at_checked(length.min(4))?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, content, rest })
}

fn inside(element: Element<'_>, tag: u8) -> Option<&[u8]> {
    (element.tag == tag).then_some(element.content)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_is_read_before_and_after_2050() {
        let key = KeyPair::generate().unwrap();
        for (year, seconds) in [(2031, 1_927_756_800), (2049, 2_495_836_800), (2051, 2_558_908_800)] {
            let mut params = CertificateParams::new(vec!["identity.example".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 2, 2);
            let certificate = params.self_signed(&key).unwrap();
            assert_eq!(expires_at(certificate.der()), Some(seconds), "{year}");
            for end in 0..100 {
                assert_eq!(expires_at(&certificate.der()[..end]), None);
            }
        }
        assert_eq!(expires_at(&[SEQUENCE, 0xff, 0xff]), None);
    }
}
