//! Whether callers from elsewhere would be served without being asked who they are.

use super::error::InvalidSetting;
use super::sections::Settings;
use super::tls::ClientAuth;

/// The ways to know the callers of an API.
const API_WAYS: &str = "TOKENS_FILE (see `identity token new --help`) or TLS_CLIENT_CA";

/// The ways to know those who scrape metrics.
const METRICS_WAYS: &str = "TOKENS_FILE (see `identity token new --help`)";

impl Settings {
    /// Refuses to serve callers from elsewhere without asking them who they are.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the address, and says what to do.
    pub fn check_access(&self) -> Result<(), InvalidSetting> {
        if self.access.tokens_file.is_some() || self.access.insecure {
            return Ok(());
        }
        let has_certificates = self.tls.tls_client_ca.is_some() && self.tls.tls_client_auth == ClientAuth::Required;
        let apis = [("GRPC_ADDR", &self.listen.grpc_addr), ("HTTP_ADDR", &self.listen.http_addr)];
        let apis =
            apis.into_iter().filter(|_| !has_certificates).map(|(setting, address)| (setting, address, API_WAYS));
        // This port speaks without TLS, so it asks for no certificates.
        let metrics = self.listen.metrics_addr.iter().map(|address| ("METRICS_ADDR", address, METRICS_WAYS));
        match apis.chain(metrics).find(|(_, address, _)| !address.is_loopback()) {
            None => Ok(()),
            Some((setting, address, ways)) => {
                let reason = format!(
                    "{address} is not a loopback address, and nothing says who may call: set {ways}, or INSECURE=true \
                     if the network keeps strangers out"
                );
                Err(InvalidSetting::new(setting, reason))
            }
        }
    }

    /// Returns whether tokens of scrapes cross a network without TLS.
    pub fn sends_scrapes_in_plain_text(&self) -> bool {
        let is_elsewhere = self.listen.metrics_addr.as_ref().is_some_and(|address| !address.is_loopback());
        self.access.tokens_file.is_some() && is_elsewhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(flags: &[&str]) -> Option<String> {
        Settings::from_flags(flags).unwrap().check_access().err().map(|error| error.to_string())
    }

    #[test]
    fn without_callers_the_service_listens_on_loopback_alone() {
        for flags in
            [&[][..], &["--grpc-addr", "localhost:1"], &["--http-addr", "[::1]:1"], &["--grpc-addr", "127.9.9.9:0"]]
        {
            assert_eq!(refusal(flags), None, "{flags:?}");
        }
        for (flags, setting) in [
            (&["--grpc-addr", "0.0.0.0:1"][..], "GRPC_ADDR: 0.0.0.0:1 is not"),
            (&["--http-addr", "identity.example:1"], "HTTP_ADDR: identity.example:1 is not"),
            (&["--port", "8080"], "HTTP_ADDR: [::]:8080 is not"),
        ] {
            let line = refusal(flags).unwrap();
            assert!(
                line.starts_with(setting) && line.contains("TOKENS_FILE") && line.contains("INSECURE=true"),
                "{line}"
            );
            let optional = ["--tls-client-ca", "ca.pem", "--tls-client-auth", "optional"];
            assert!(refusal(&[flags, &optional].concat()).is_some());
            for way in [&["--tokens-file", "x"][..], &optional[..2], &["--insecure"], &["--insecure=true"]] {
                assert_eq!(refusal(&[flags, way].concat()), None, "{way:?}");
            }
        }
    }

    #[test]
    fn metrics_are_guarded_by_tokens_alone() {
        let flags = ["--metrics-addr", "0.0.0.0:9464"];
        for ways in [&[][..], &["--tls-client-ca", "ca.pem", "--tls-cert", "c", "--tls-key", "k"]] {
            let line = refusal(&[&flags, ways].concat()).unwrap();
            assert!(
                line.starts_with("METRICS_ADDR: 0.0.0.0:9464 is not a loopback") && !line.contains("TLS_"),
                "{line}"
            );
        }
        for way in [&["--tokens-file", "x"][..], &["--insecure"]] {
            assert_eq!(refusal(&[&flags[..], way].concat()), None, "{way:?}");
        }
        assert_eq!(refusal(&["--metrics-addr", "127.0.0.1:9464"]), None);
        for (flags, is_plain) in [
            (&["--metrics-addr", "0.0.0.0:1", "--tokens-file", "x"][..], true),
            (&["--metrics-addr", "[::1]:1", "--tokens-file", "x"], false),
            (&["--metrics-addr", "0.0.0.0:1", "--insecure"], false),
            (&["--tokens-file", "x"], false),
        ] {
            assert_eq!(Settings::from_flags(flags).unwrap().sends_scrapes_in_plain_text(), is_plain, "{flags:?}");
        }
    }
}
