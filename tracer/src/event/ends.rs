//! The two ends of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tracer_common::conn::{Address, Tuple};

/// Both ends; they are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// This side; port 0 while the kernel has not chosen one.
    pub local: SocketAddr,
    /// The other side; port 0 for a listener, `None` where the kernel has not yet filled it in.
    pub remote: Option<SocketAddr>,
}

impl Ends {
    /// `None` where a record has no connection. A socket speaks IPv4 when one of its addresses is
    /// mapped; the unspecified address is then that of IPv4 too.
    #[must_use]
    pub fn of(tuple: &Tuple) -> Option<Self> {
        let address = |words: Address| Ipv6Addr::from(bytemuck::cast::<_, [u8; 16]>(words));
        let (local, remote) = (address(tuple.laddr), address(tuple.raddr));
        if local.is_unspecified() && remote.is_unspecified() && tuple.lport == 0 && tuple.rport == 0
        {
            return None;
        }
        let is_v4 = local.to_ipv4_mapped().is_some() || remote.to_ipv4_mapped().is_some();
        let shown = |address: Ipv6Addr| match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None if is_v4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            None => IpAddr::V6(address),
        };
        Some(Self {
            local: SocketAddr::new(shown(local), tuple.lport),
            remote: Some(SocketAddr::new(shown(remote), tuple.rport)),
        })
    }

    /// `ipv4` or `ipv6`.
    #[must_use]
    pub const fn family(&self) -> &'static str {
        if self.local.is_ipv4() { "ipv4" } else { "ipv6" }
    }
}
