use std::net::IpAddr;

/// The caller of a request. When the service is busy, each caller gets its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The host or network with this address.
    Address(IpAddr),
    /// The caller that authentication knows under this number, wherever it calls from.
    Known(u64),
    /// Every caller that is not known.
    #[default]
    Unknown,
}
