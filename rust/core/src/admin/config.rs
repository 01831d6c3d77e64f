//! Where the admin server listens, and who may be let in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdminConfig {
    /// Port 0: any free one.
    pub address: SocketAddr,
}

impl AdminConfig {
    /// Reads `address`, such as `127.0.0.1:9464`, `[::1]:9464` or `localhost:9464`. With `remote` it may be one that
    /// other machines reach.
    ///
    /// # Errors
    /// What is wrong and what to write instead.
    pub fn parse(address: &str, remote: bool) -> Result<Self, String> {
        let local = address.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let local = local.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        let Some(address) = local.or_else(|| address.parse().ok()) else {
            let shown: String = address.chars().take(100).collect();
            return Err(format!("admin takes an IP address and a port, such as \"127.0.0.1:9464\", not {shown:?}"));
        };
        if !(remote || is_loopback(address.ip())) {
            return Err(format!(
                "admin={:?} can be reached from other machines, and what it shows is for whoever asks; take \
                 \"127.0.0.1:{}\", or allow it by admin_remote=True",
                address.to_string(),
                address.port(),
            ));
        }
        Ok(Self { address })
    }

    /// Whether only this machine reaches it: then the `Host` of requests has to be this machine too.
    pub fn is_local(&self) -> bool {
        is_loopback(self.address.ip())
    }
}

/// Whether an address is this machine's alone.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_this_machines_alone_unless_others_are_allowed() {
        for text in ["127.0.0.1:9464", "127.8.8.8:0", "[::1]:9464", "localhost:80", "[::ffff:127.0.0.1]:1"] {
            let config = AdminConfig::parse(text, false).unwrap();
            assert!(config.is_local(), "{text}");
        }
        for text in ["0.0.0.0:9464", "[::]:9464", "192.0.2.7:80", "[2001:db8::1]:80"] {
            let refused = AdminConfig::parse(text, false).unwrap_err();
            assert!(refused.contains("admin_remote=True"), "{refused}");
            assert!(!AdminConfig::parse(text, true).unwrap().is_local(), "{text}");
        }
        for text in ["", "9464", "127.0.0.1", "localhost", "example.com:80", "http://127.0.0.1:80", "127.0.0.1:65536"] {
            let refused = AdminConfig::parse(text, true).unwrap_err();
            assert!(refused.contains("such as \"127.0.0.1:9464\""), "{refused}");
        }
    }
}
