use std::net::IpAddr;

/// The caller of a request. When the service is busy, each caller gets its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The host or network with this address.
    Address(IpAddr),
    /// Every caller that is not known.
    #[default]
    Unknown,
}
