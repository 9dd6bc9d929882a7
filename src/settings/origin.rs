use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// The origin of a web page, as browsers send it in the header `Origin`: `https://shop.example`,
/// `http://localhost:8080`. Letters are lower case, and the port is absent if it is the default of the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// The text is not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be SCHEME://HOST or SCHEME://HOST:PORT, such as https://shop.example, or several with commas between them"
)]
pub struct InvalidOrigin;

/// The text is not a list of host names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a host name such as identity.example, without a port, or several with commas between them")]
pub struct InvalidHostName;

impl Origin {
    /// Returns the host name or IP address. An IPv6 address has brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns whether a page of this origin was loaded from this `HOST` or `HOST:PORT` over HTTP.
    pub fn is_at(&self, authority: &str) -> bool {
        self.default_port().is_some()
            && host_and_port(authority).is_some_and(|(host, port)| {
                host == self.host && port.filter(|port| Some(*port) != self.default_port()) == self.port
            })
    }

    /// Returns whether the host is an IP address. No name server can give such an origin to somebody else.
    pub fn has_ip_address(&self) -> bool {
        let host = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host);
        host.parse::<IpAddr>().is_ok()
    }

    fn default_port(&self) -> Option<u16> {
        match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        }
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let (host, port) = host_and_port(authority).filter(|_| is_scheme).ok_or(InvalidOrigin)?;
        let origin = Self { scheme: scheme.to_ascii_lowercase(), host, port };
        let port = origin.port.filter(|port| Some(*port) != origin.default_port());
        Ok(Self { port, ..origin })
    }
}

/// Splits `HOST` or `HOST:PORT`. The host comes out in lower case; an IPv6 address has brackets.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        // `parse` alone would take a sign.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
        None => None,
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().ok()?),
        None if is_host(host) => host.to_ascii_lowercase(),
        None => return None,
    };
    Some((host, port))
}

/// Whether a text has the characters of a host name or of an IPv4 address.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

/// Origins whose pages may call the JSON API.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins(Arc<[Origin]>);

impl AllowedOrigins {
    /// Returns whether the list has this origin.
    pub fn contains(&self, origin: &Origin) -> bool {
        self.0.contains(origin)
    }
}

impl FromStr for AllowedOrigins {
    type Err = InvalidOrigin;

    // `*` is refused: every page that anybody opens in the network of the service could then write.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        text.split(',').map(|origin| origin.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

/// Host names of the service.
#[derive(Clone, Debug, Default)]
pub struct HostNames(Arc<[String]>);

impl HostNames {
    /// Returns whether the list has this name, which is in lower case.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|own| own == name)
    }
}

impl FromStr for HostNames {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        let name = |name: &str| {
            let name = name.trim();
            if is_host(name) { Ok(name.to_ascii_lowercase()) } else { Err(InvalidHostName) }
        };
        text.split(',').map(name).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn one_origin_has_one_form() {
        for (text, same) in [
            ("https://Shop.Example", "https://shop.example:443"),
            ("HTTP://localhost", "http://localhost:80"),
            ("http://[0:0::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://LOCALHOST"),
        ] {
            assert_eq!(origin(text), origin(same), "{text}");
        }
        for (one, other) in [("http://a", "https://a"), ("http://a", "http://a:81"), ("http://a", "http://b")] {
            assert_ne!(origin(one), origin(other));
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "*",
            "null",
            "shop.example",
            "https://",
            "://a",
            "https://a/",
            "https://a/b",
            "https://u@a",
            "https://a:b",
            "https://a:+1",
            "https://a:65536",
            "https://[::1",
            "https://[a]",
            "https://*.shop.example",
            "https://a b",
            "1x://a",
            "file://",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin), "{text}");
        }
    }

    #[test]
    fn a_page_comes_from_the_host_of_its_request() {
        for (page, authority) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://[::1]:3000", "[::1]:3000"),
            ("https://identity.example", "Identity.Example"),
            ("https://identity.example", "identity.example:443"),
            ("http://localhost", "localhost:80"),
        ] {
            assert!(origin(page).is_at(authority), "{page} {authority}");
        }
        for (page, authority) in [
            ("http://127.0.0.1:8080", "127.0.0.1:3000"),
            ("http://127.0.0.1", "127.0.0.1:3000"),
            ("https://identity.example", "identity.example:80"),
            ("https://evil.example", "identity.example"),
            ("capacitor://localhost", "localhost"),
            ("http://localhost", ""),
            ("http://a", "u@a"),
        ] {
            assert!(!origin(page).is_at(authority), "{page} {authority}");
        }
    }

    #[test]
    fn addresses_are_no_names() {
        for (text, is_address) in
            [("http://127.0.0.1", true), ("http://[::1]:1", true), ("http://127.0.0.1.evil.example", false)]
        {
            assert_eq!(origin(text).has_ip_address(), is_address, "{text}");
        }
    }

    #[test]
    fn lists_have_commas() {
        let allowed: AllowedOrigins = "https://shop.example, http://localhost:8080".parse().unwrap();
        assert!(allowed.contains(&origin("http://localhost:8080")) && !allowed.contains(&origin("http://localhost")));
        assert!("https://shop.example,".parse::<AllowedOrigins>().is_err());
        let names: HostNames = "Identity.Example,id".parse().unwrap();
        assert!(names.contains("identity.example") && names.contains("id") && !names.contains("example"));
        assert_eq!("identity.example:80".parse::<HostNames>().err(), Some(InvalidHostName));
    }
}
