//! Gateway URLs (protocol.md §1): the query that every connection needs, and which resume URLs may be
//! trusted with the token.

use url::{Host, Url};

use crate::inflate::Compression;

/// The Gateway version that this client speaks.
pub(super) const VERSION: &str = "10";

/// `base` with `v`, `encoding` and `compress`; its path and any query it has are kept.
///
/// # Errors
/// A text for the user where `base` is no `ws`/`wss` URL, or plaintext to a host other than this machine.
pub fn gateway_url(base: &str, compression: Compression, allow_plaintext: bool) -> Result<Url, String> {
    let mut url = Url::parse(base).map_err(|error| format!("{base:?} is no URL: {error}"))?;
    match url.scheme() {
        "wss" => {}
        "ws" if allow_plaintext || is_loopback(&url) => {}
        "ws" => {
            return Err(format!(
                "{base:?} would send the token unencrypted; use wss://, or allow_plaintext=True if that is what you want"
            ));
        }
        other => return Err(format!("the gateway URL must start with wss:// or ws://, not {other}://")),
    }
    let ours = ["v", "encoding", "compress"];
    let kept: Vec<(String, String)> =
        url.query_pairs().filter(|(key, _)| !ours.contains(&&**key)).map(|(k, v)| (k.into(), v.into())).collect();
    {
        let mut query = url.query_pairs_mut();
        query.clear().extend_pairs(kept).append_pair("v", VERSION).append_pair("encoding", "json");
        if let Some(compress) = compression.query() {
            query.append_pair("compress", compress);
        }
    }
    Ok(url)
}

/// The base of the REST API, checked: its calls carry the token.
///
/// # Errors
/// A text for the user where `base` is no `https`/`http` URL, or plaintext to a host other than this machine.
pub fn api_url(base: &str, allow_plaintext: bool) -> Result<Url, String> {
    let url = Url::parse(base.trim_end_matches('/')).map_err(|error| format!("api_url {base:?} is no URL: {error}"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_plaintext || is_loopback(&url) => Ok(url),
        "http" => Err(format!(
            "api_url {base:?} would send the token unencrypted; use https://, \
             or allow_plaintext=True if that is what you want"
        )),
        other => Err(format!("api_url must start with https:// or http://, not {other}://")),
    }
}

/// Whether the URL's host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Why `resume` may not be used after `base`, or `None` where it may: RESUME carries the token, so it
/// goes neither to a foreign host nor from wss to ws. Hosts compare as strings, case-insensitively; the names and
/// addresses of this machine are one host.
pub fn refuse_resume_url(base: &str, resume: &str, allow_plaintext: bool) -> Option<&'static str> {
    let Ok(resume) = Url::parse(resume) else { return Some("not a URL") };
    let base = Url::parse(base).ok();
    match resume.scheme() {
        "wss" => {}
        "ws" if base.as_ref().is_some_and(|base| base.scheme() == "wss") => return Some("from wss to ws"),
        "ws" if allow_plaintext || is_loopback(&resume) => {}
        "ws" => return Some("unencrypted"),
        _ => return Some("neither wss nor ws"),
    }
    let Some(host) = resume.host_str() else { return Some("no host") };
    let host = host.to_ascii_lowercase();
    let same = |base: &Url| {
        base.host_str().is_some_and(|base| base.eq_ignore_ascii_case(&host))
            || (is_loopback(base) && is_loopback(&resume))
    };
    let in_use = base.as_ref().is_some_and(same);
    if in_use || host.ends_with(".discord.gg") { None } else { Some("a foreign host") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_query_is_appended_and_path_and_foreign_query_are_kept() {
        let url = gateway_url("wss://gateway.discord.gg/x?region=eu&v=9", Compression::ZstdStream, false).unwrap();
        assert_eq!(url.as_str(), "wss://gateway.discord.gg/x?region=eu&v=10&encoding=json&compress=zstd-stream");
        let bare = gateway_url("wss://gateway.discord.gg", Compression::None, false).unwrap();
        assert_eq!(bare.as_str(), "wss://gateway.discord.gg/?v=10&encoding=json");
    }

    #[test]
    fn s1_plaintext_only_to_this_machine_or_when_allowed() {
        assert!(gateway_url("ws://127.0.0.1:1", Compression::None, false).is_ok());
        assert!(gateway_url("ws://[::1]:1", Compression::None, false).is_ok());
        assert!(gateway_url("ws://example.org", Compression::None, false).is_err());
        assert!(gateway_url("ws://example.org", Compression::None, true).is_ok());
        assert!(gateway_url("https://example.org", Compression::None, true).is_err());
    }

    #[test]
    fn s1_the_api_gets_the_token_encrypted_too() {
        let url = api_url("https://discord.com/api/v10/", false).unwrap();
        assert_eq!(url.as_str(), "https://discord.com/api/v10");
        assert!(api_url("http://127.0.0.1:1/api", false).is_ok());
        assert!(api_url("http://example.org/api", false).is_err());
        assert!(api_url("http://example.org/api", true).is_ok());
        assert!(api_url("discord.com/api/v10", true).is_err());
        assert!(api_url("wss://discord.com", true).is_err());
    }

    #[test]
    fn f11_resume_urls_that_would_leak_the_token_are_refused() {
        let discord = "wss://gateway.discord.gg";
        assert_eq!(refuse_resume_url(discord, "wss://gateway-us-east1-b.discord.gg", false), None);
        assert_eq!(refuse_resume_url(discord, "wss://GATEWAY.discord.gg:8443/x", false), None);
        assert!(refuse_resume_url(discord, "ws://gateway.discord.gg", true).is_some());
        assert!(refuse_resume_url(discord, "wss://evil.example", false).is_some());
        assert!(refuse_resume_url(discord, "wss://evildiscord.gg", false).is_some());
        assert!(refuse_resume_url(discord, "https://gateway.discord.gg", false).is_some());
        assert!(refuse_resume_url(discord, "nonsense", false).is_some());
        assert_eq!(refuse_resume_url("ws://127.0.0.1:1", "ws://127.0.0.1:2", false), None);
    }

    #[test]
    fn f11_the_names_of_this_machine_are_one_host() {
        let names = ["127.0.0.1:1", "localhost:2", "LOCALHOST", "[::1]:3"];
        for (base, resume) in names.iter().flat_map(|base| names.map(|resume| (*base, resume))) {
            let verdict = refuse_resume_url(&format!("ws://{base}"), &format!("ws://{resume}"), false);
            assert_eq!(verdict, None, "{base} {resume}");
        }
        // But what is no name of this machine is not, whatever it begins with, and TLS is not given up for it.
        assert!(refuse_resume_url("wss://localhost", "ws://127.0.0.1", false).is_some());
        assert!(refuse_resume_url("wss://localhost", "wss://localhost.evil.example", false).is_some());
        assert!(refuse_resume_url("wss://gateway.discord.gg", "wss://localhost", false).is_some());
        assert!(refuse_resume_url("wss://localhost", "wss://192.168.0.1", false).is_some());
    }
}
