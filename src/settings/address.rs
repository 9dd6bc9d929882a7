use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An address to listen at: `127.0.0.1:50051`, `[::1]:50051`, `0.0.0.0:0`, or a host name and a port.
///
/// A host name is looked up when it is bound (`TcpListener::bind((addr.host(), addr.port()))`). Port 0 picks a free
/// port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddr {
    host: String,
    port: u16,
}

/// The text is not an address to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be HOST:PORT, such as 127.0.0.1:3000, 0.0.0.0:3000, [::1]:3000 or localhost:3000")]
pub struct InvalidListenAddr;

impl ListenAddr {
    /// Returns the host name or IP address. An IPv6 address has no brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the TCP port. 0 stands for any free port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address of every interface, IPv6 and IPv4.
    pub(super) fn at_all_addresses(port: u16) -> Self {
        Self { host: Ipv6Addr::UNSPECIFIED.to_string(), port }
    }

    /// Returns the address of every IPv4 interface in place of every interface: not every machine has IPv6.
    pub fn without_ipv6(&self) -> Option<Self> {
        let is_any = self.host.parse() == Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        is_any.then(|| Self { host: Ipv4Addr::UNSPECIFIED.to_string(), port: self.port })
    }

    /// Returns the same host with another port.
    pub(super) fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Returns whether only this machine can reach it. A name other than `localhost` could stand for any address.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// Returns the address at which a client on the same machine reaches this listener.
    ///
    /// A client cannot connect to "every interface" (`0.0.0.0`, `[::]`), so that becomes the loopback address.
    pub fn reachable_locally(&self) -> Self {
        let host = match self.host.parse() {
            Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.to_string(),
            Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ipv6Addr::LOCALHOST.to_string(),
            _ => self.host.clone(),
        };
        Self { host, port: self.port }
    }
}

impl FromStr for ListenAddr {
    type Err = InvalidListenAddr;

    // `:3000` is an error: some tools read it as every interface, others as loopback.
    fn from_str(text: &str) -> Result<Self, InvalidListenAddr> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self { host: addr.ip().to_string(), port: addr.port() });
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidListenAddr)?;
        let port = port.parse().map_err(|_| InvalidListenAddr)?;
        if is_host_name(host) { Ok(Self { host: host.to_owned(), port }) } else { Err(InvalidListenAddr) }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Returns whether the text can be a host name. A text without a letter would be a mistyped IP address.
pub(super) fn is_host_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) && text.contains(|c: char| c.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        for text in ["127.0.0.1:50051", "0.0.0.0:0", "[::1]:3000", "[::]:65535", "localhost:80", "my-host.local:80"] {
            assert_eq!(text.parse::<ListenAddr>().map(|addr| addr.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn refuses_what_could_mean_two_things() {
        for text in
            ["", "3000", ":3000", "::1:3000", "127.0.0.1", "256.0.0.1:80", "host", "a b:80", "host:65536", "h:-1"]
        {
            assert_eq!(text.parse::<ListenAddr>(), Err(InvalidListenAddr), "{text}");
        }
    }

    #[test]
    fn a_client_reaches_every_interface_at_loopback() {
        for (listens, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1"), ("db:1", "db:1")]
        {
            let reached_at = listens.parse::<ListenAddr>().map(|addr| addr.reachable_locally().to_string());
            assert_eq!(reached_at, Ok(reached.to_owned()));
        }
    }
}
