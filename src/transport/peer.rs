//! The peer of a connection: what limits and fairness count by.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::auth::KnownCaller;
use crate::resolver::{Caller, Identify};
use crate::traces::RequestTrace;

/// The address of the peer of a connection, without its port. The listener puts it into the extensions of each request.
///
/// Of an IPv6 address only the network (/64) is kept: one host usually has all addresses of its network. An IPv4
/// address that is mapped into IPv6 counts as the IPv4 address. It is for counting: no log and no answer has it. The
/// log has its [class](PeerAddr::class).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(IpAddr);

impl PeerAddr {
    /// Returns where the address is, for the log: `loopback`, `private` (of a network of one's own, or of a provider
    /// behind one address) or `public`.
    pub fn class(self) -> &'static str {
        let (is_loopback, is_private) = match self.0 {
            IpAddr::V4(address) => {
                let [first, second, ..] = address.octets();
                let is_shared = first == 100 && second & 0b1100_0000 == 64; // RFC 6598
                (address.is_loopback(), address.is_private() || address.is_link_local() || is_shared)
            }
            // `::1`, of which the network is kept.
            IpAddr::V6(network) => {
                (network.is_unspecified(), network.is_unique_local() || network.is_unicast_link_local())
            }
        };
        if is_loopback {
            "loopback"
        } else if is_private {
            "private"
        } else {
            "public"
        }
    }

    /// Returns the peer with this address.
    pub fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IpAddr::V4(address)),
            IpAddr::V6(address) => Self(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
        }
    }
}

/// Returns the caller of a request with these extensions: the one that authentication found or, without it, the
/// address.
pub(crate) fn caller(extensions: &http::Extensions) -> Caller {
    if let Some(known) = extensions.get::<Arc<KnownCaller>>() {
        return Caller::Known(known.id());
    }
    extensions.get().map_or(Caller::Unknown, |peer: &PeerAddr| Caller::Address(peer.0))
}

/// Returns the use case for a request with these extensions: for its caller, and in its trace.
pub(crate) fn resolver_for<R: Identify>(resolver: &R, extensions: &http::Extensions) -> R {
    resolver.for_caller(caller(extensions)).in_trace(RequestTrace::from_extensions(extensions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> PeerAddr {
        PeerAddr::new(address.parse().unwrap())
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one_peer() {
        assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::2"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    }

    #[test]
    fn an_address_has_a_class() {
        for (address, class) in [
            ("127.0.0.1", "loopback"),
            ("127.9.9.9", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("10.1.2.3", "private"),
            ("172.31.0.1", "private"),
            ("192.168.0.1", "private"),
            ("169.254.1.1", "private"),
            ("100.64.0.1", "private"),
            ("100.127.0.1", "private"),
            ("fd00::1", "private"),
            ("fe80::1", "private"),
            ("100.128.0.1", "public"),
            ("172.32.0.1", "public"),
            ("8.8.8.8", "public"),
            ("2001:db8::1", "public"),
        ] {
            assert_eq!(peer(address).class(), class, "{address}");
        }
    }
}
