//! The peer of a connection: what limits and fairness count by.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::auth::KnownCaller;
use crate::resolver::Caller;

/// The address of the peer of a connection, without its port. The listener puts it into the extensions of each request.
///
/// Of an IPv6 address only the network (/64) is kept: one host usually has all addresses of its network. An IPv4
/// address that is mapped into IPv6 counts as the IPv4 address. It is for counting, never for a log or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(IpAddr);

impl PeerAddr {
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
}
