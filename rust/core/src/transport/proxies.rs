//! Which proxy leads to which host: none, the one that the user names, or those of the environment, read as curl reads
//! them. Owns the choice; how a proxy is spoken to is `proxy.rs`'s.

use std::{fmt, net::IpAddr, sync::Arc};

use url::Url;

use super::proxy::Proxy;

/// The way out of a gateway.
#[derive(Clone, Default)]
pub enum Proxies {
    /// Straight.
    #[default]
    None,
    /// This one, to every host.
    Always(Arc<Proxy>),
    /// Those that the environment names.
    Environment(Arc<Environment>),
}

/// What the environment says of proxies.
pub struct Environment {
    /// For `wss` and `https`. A value that is no proxy is an error only where that proxy would be used.
    encrypted: Result<Option<Proxy>, String>,
    /// For `ws` and `http`.
    plain: Result<Option<Proxy>, String>,
    exceptions: Vec<Exception>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Always(proxy) => proxy.fmt(f),
            Self::Environment(read) => {
                f.debug_list().entries([&read.encrypted, &read.plain].into_iter().flatten().flatten()).finish()
            }
        }
    }
}

impl Proxies {
    /// Reads the environment through `variable`, which gives the value of one by its name.
    ///
    /// As curl: in small letters first, what is empty is not there, `ALL_PROXY` for what has none of its own, and no
    /// `HTTP_PROXY` in capitals, which a CGI server takes from the header `Proxy:` of whoever asks it.
    ///
    /// Source: <https://curl.se/docs/manpage.html>, "ENVIRONMENT".
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            let value = |name: &&'static str| Some((*name, variable(name).filter(|value| !value.is_empty())?));
            names.iter().find_map(value)
        };
        let proxy = |names: &[&'static str]| {
            first(names).map(|(name, value)| {
                let scheme = if value.contains("://") { "" } else { "http://" };
                Proxy::written_in(name, &format!("{scheme}{value}"))
            })
        };
        let exceptions = first(&["no_proxy", "NO_PROXY"]).map_or_else(Vec::new, |(_, list)| {
            list.split([',', ' ', '\t', '\n']).filter_map(Exception::parse).collect()
        });
        Self::Environment(Arc::new(Environment {
            encrypted: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]).transpose(),
            plain: proxy(&["http_proxy", "all_proxy", "ALL_PROXY"]).transpose(),
            exceptions,
        }))
    }

    /// The proxy that leads to `url`'s host; `None`: straight.
    ///
    /// # Errors
    /// Where the environment's is none; the text names the variable, and repeats nothing of its value.
    pub fn to(&self, url: &Url) -> Result<Option<&Proxy>, String> {
        let read = match self {
            Self::None => return Ok(None),
            Self::Always(proxy) => return Ok(Some(proxy)),
            Self::Environment(read) => read,
        };
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or_default();
        if read.exceptions.iter().any(|exception| exception.covers(host, port)) {
            return Ok(None);
        }
        let proxy = if matches!(url.scheme(), "wss" | "https") { &read.encrypted } else { &read.plain };
        proxy.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq)]
struct Exception {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq)]
enum Hosts {
    All,
    /// The name and all below it.
    Domain(String),
    /// Addresses that begin with so many bits of this one.
    Network(IpAddr, u32),
}

impl Exception {
    /// `*`, a domain with or without a leading dot, an address, or a network as address/bits; a port may follow a colon,
    /// and then an IPv6 address stands in brackets. What is none of these excepts nothing, as for curl.
    fn parse(entry: &str) -> Option<Self> {
        let (host, port) = match entry.rsplit_once(':') {
            // Several colons: an IPv6 address, unless brackets say where it ends.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (entry, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let hosts = if host == "*" {
            Hosts::All
        } else if let Some((address, bits)) = host.split_once('/') {
            let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse().ok()?);
            (bits <= width(address)).then_some(Hosts::Network(address, bits))?
        } else if let Ok(address) = host.parse::<IpAddr>() {
            Hosts::Network(address, width(address))
        } else {
            let domain = host.trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
            (!domain.is_empty()).then_some(Hosts::Domain(domain))?
        };
        Some(Self { hosts, port })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|only| only != port) {
            return false;
        }
        match (&self.hosts, host.parse::<IpAddr>()) {
            (Hosts::All, _) => true,
            (Hosts::Network(network, bits), Ok(address)) => shared_bits(*network, address) >= Some(*bits),
            (Hosts::Domain(domain), Err(_)) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            _ => false,
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// How many bits two addresses of one family have in common from their beginning.
fn shared_bits(one: IpAddr, other: IpAddr) -> Option<u32> {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => Some((one.to_bits() ^ other.to_bits()).leading_zeros()),
        (IpAddr::V6(one), IpAddr::V6(other)) => Some((one.to_bits() ^ other.to_bits()).leading_zeros()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Proxies {
        let all = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let all: std::collections::HashMap<String, String> = all.collect();
        Proxies::from_environment(|name| all.get(name).cloned())
    }

    fn way(variables: &[(&str, &str)], url: &str) -> String {
        match read(variables).to(&url.parse().unwrap()) {
            Ok(Some(proxy)) => proxy.to_string(),
            Ok(None) => "straight".to_owned(),
            Err(why) => why,
        }
    }

    #[test]
    fn proxy_env_is_read_as_curl_reads_it() {
        let (wss, https, ws, http) = ("wss://g.example", "https://a.example/api", "ws://g.example", "http://a.example");
        for (variables, encrypted, plain) in [
            (&[][..], "straight", "straight"),
            (&[("HTTPS_PROXY", "http://a:1")], "a:1", "straight"),
            (&[("https_proxy", "http://a:1"), ("HTTPS_PROXY", "http://b:2")], "a:1", "straight"),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "http://b:2")], "b:2", "straight"),
            (&[("http_proxy", "http://a:1")], "straight", "a:1"),
            (&[("HTTP_PROXY", "http://a:1")], "straight", "straight"),
            (&[("ALL_PROXY", "socks5h://a:1")], "a:1", "a:1"),
            (&[("all_proxy", "socks5://a:1"), ("ALL_PROXY", "socks5://b:2")], "a:1", "a:1"),
            (&[("ALL_PROXY", "http://a:1"), ("HTTPS_PROXY", "http://b:2")], "b:2", "a:1"),
            // Without a scheme it is an HTTP proxy.
            (&[("HTTPS_PROXY", "ada:hush@proxy.example:3128")], "proxy.example:3128", "straight"),
        ] {
            for (url, wanted) in [(wss, encrypted), (https, encrypted), (ws, plain), (http, plain)] {
                assert_eq!(way(variables, url), wanted, "{variables:?} {url}");
            }
        }
    }

    #[test]
    fn proxy_env_no_proxy_excepts_by_domain_address_network_and_port() {
        let excepted = |list: &str, url: &str| match way(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", list)], url) {
            way if way == "straight" => true,
            way => way != "p:1",
        };
        for (list, url) in [
            ("*", "wss://gateway.discord.gg"),
            ("a.example, *", "wss://gateway.discord.gg"),
            ("discord.gg", "wss://gateway.discord.gg"),
            (".discord.gg", "wss://gateway.discord.gg"),
            (".discord.gg", "wss://discord.gg"),
            ("a.example,DISCORD.GG.", "wss://Gateway.Discord.GG."),
            ("a.example discord.gg", "wss://gateway.discord.gg"),
            ("discord.gg:443", "wss://gateway.discord.gg"),
            ("127.0.0.1", "ws://127.0.0.1:80"),
            ("10.0.0.0/8", "wss://10.255.0.1"),
            ("10.0.0.0/8:443", "wss://10.255.0.1"),
            ("0.0.0.0/0", "wss://10.255.0.1"),
            ("::1", "ws://[::1]:80"),
            ("[::1]", "ws://[::1]:80"),
            ("[::1]:80", "ws://[::1]:80"),
            ("fd00::/8", "wss://[fd12::1]"),
        ] {
            assert!(excepted(list, url), "{list} {url}");
        }
        for (list, url) in [
            ("", "wss://gateway.discord.gg"),
            (",, ,", "wss://gateway.discord.gg"),
            (".", "wss://gateway.discord.gg"),
            ("cord.gg", "wss://gateway.discord.gg"),
            ("gateway.discord.gg", "wss://discord.gg"),
            ("discord.gg:80", "wss://gateway.discord.gg"),
            ("discord.gg:many", "wss://gateway.discord.gg"),
            ("10.0.0.0/8", "wss://11.0.0.1"),
            ("10.0.0.0/33", "wss://10.0.0.1"),
            ("0.0.0.0/0", "wss://[::1]"),
            ("0.0.0.1", "wss://127.0.0.1"),
            // A suffix of an address is no domain.
            ("0.1", "wss://127.0.0.1"),
            ("[::1]:80", "wss://[::1]"),
            ("fd00::/8", "wss://[fe00::1]"),
        ] {
            assert!(!excepted(list, url), "{list} {url}");
        }
        // The small one wins, as for the others.
        let both = [("ALL_PROXY", "http://p:1"), ("no_proxy", "a.example"), ("NO_PROXY", "*")];
        assert_eq!(way(&both, "wss://gateway.discord.gg"), "p:1");
    }

    #[test]
    fn proxy_env_f40_a_value_that_is_no_proxy_is_told_where_it_would_be_used_and_not_repeated() {
        let variables = [("HTTPS_PROXY", "ftp://hush:hush@host"), ("http_proxy", "http://ada:hush@p:1")];
        let why = way(&variables, "wss://gateway.discord.gg");
        assert!(why.starts_with("HTTPS_PROXY: it must start with") && !why.contains("hush"), "{why}");
        assert_eq!(way(&variables, "ws://127.0.0.1"), "p:1");
        assert!(!format!("{:?}", read(&variables)).contains("hush"));
    }
}
