use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Returns the names in a certificate that can be those of a caller: URIs as they are, and host names in lower case.
/// Names with a wildcard are left out: they name many.
pub fn certificate_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let hosts = certificate.valid_dns_names().filter(|name| !name.contains('*')).map(str::to_ascii_lowercase);
    certificate.valid_uri_names().map(str::to_owned).chain(hosts).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn uris_and_host_names_are_names_of_callers() {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![
            SanType::DnsName("Checkout.Example".try_into().unwrap()),
            SanType::DnsName("*.example".try_into().unwrap()),
            SanType::URI("spiffe://shop.example/Checkout".try_into().unwrap()),
            SanType::Rfc822Name("a@b.example".try_into().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
        ];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(certificate_names(certificate.der()), ["spiffe://shop.example/Checkout", "checkout.example"]);
        assert_eq!(certificate_names(&CertificateDer::from(vec![1, 2, 3])), [""; 0]);
    }
}
