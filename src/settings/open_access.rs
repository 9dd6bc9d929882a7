//! Whether callers from elsewhere would be served without being asked who they are.

use super::error::InvalidSetting;
use super::sections::Settings;
use super::tls::ClientAuth;

impl Settings {
    /// Refuses to serve callers from elsewhere without asking them who they are.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the address, and says what to do.
    pub fn check_access(&self) -> Result<(), InvalidSetting> {
        let has_certificates = self.tls.tls_client_ca.is_some() && self.tls.tls_client_auth == ClientAuth::Required;
        if self.access.tokens_file.is_some() || has_certificates || self.access.insecure {
            return Ok(());
        }
        let addresses = [("GRPC_ADDR", &self.listen.grpc_addr), ("HTTP_ADDR", &self.listen.http_addr)];
        match addresses.into_iter().find(|(_, address)| !address.is_loopback()) {
            None => Ok(()),
            Some((setting, address)) => {
                let reason = format!(
                    "{address} is not a loopback address, and nothing says who may call: set TOKENS_FILE (see \
                     `identity token new --help`) or TLS_CLIENT_CA, or INSECURE=true if the network keeps strangers out"
                );
                Err(InvalidSetting::new(setting, reason))
            }
        }
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
}
