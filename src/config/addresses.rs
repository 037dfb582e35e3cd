//! Where to listen, whom to speak to, whom to believe: socket addresses, URLs, networks.
//!
//! Promise: what leaves this machine is encrypted unless the file says otherwise, and no URL carries a password.
//! Problems name the part of a URL that is wrong, never the whole: the path of a webhook is often a secret.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use url::{Host, Url};

use super::problems::{Fault, shown};
use super::reader::Node;
use super::settings::Listen;

/// The longest path a Unix socket can have on Linux: 108 bytes with the closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// Whether a URL leads to this machine: 127.0.0.0/8, `::1` or `localhost`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// An address to listen at.
pub(super) fn listen(node: &Node<'_>) -> Option<Listen> {
    let expected = "an address and port such as \"127.0.0.1:8080\", or \"unix:/path\"";
    node.text(expected, |text| {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(path).map(Listen::Unix);
        }
        text.parse::<SocketAddr>()
            .map(Listen::Tcp)
            .map_err(|_not_an_address| {
                let fault = Fault::text(text, expected);
                match text.rsplit_once(':') {
                    Some(("", port)) => {
                        fault.hint(format!("\"[::]:{port}\" listens on every address"))
                    }
                    Some((_, port)) if port.parse::<u16>().is_ok() => fault.hint(
                        "names are not looked up; IPv6 goes in brackets, as in \"[::1]:8080\"",
                    ),
                    _ => fault,
                }
            })
    })
}

fn socket_path(path: &str) -> Result<PathBuf, Fault> {
    let expected = format!("an absolute path of at most {LONGEST_SOCKET_PATH} bytes after unix:");
    let refused = |found: String| Err(Fault::new(found, expected.as_str()));
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return refused(format!("has the path {}", shown(path)));
    }
    if path.len() > LONGEST_SOCKET_PATH {
        return refused(format!("has a path of {} bytes", path.len()));
    }
    Ok(PathBuf::from(path))
}

/// A network; a bare address is a network of one.
pub(super) fn network(node: &Node<'_>) -> Option<IpNet> {
    let expected = "a network such as \"10.0.0.0/8\" or an address";
    node.text(expected, |text| {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(IpNet::from(address));
        }
        let network: IpNet = text
            .parse()
            .map_err(|_not_a_network| Fault::text(text, expected))?;
        // "203.0.113.7/2" lets in a quarter of the world; whoever wrote it meant something else.
        if network.addr() != network.network() {
            let whole = network.trunc();
            let alone = network.addr();
            return Err(
                Fault::text(text, "a network without host bits").hint(format!(
                    "\"{whole}\" is the network, \"{alone}\" the address alone"
                )),
            );
        }
        Ok(network)
    })
}

/// What a URL may be.
#[derive(Clone, Copy)]
pub(super) struct UrlRules {
    /// Plain http to anywhere, not only to loopback.
    pub(super) plain_http: bool,
    /// A query string.
    pub(super) query: bool,
    /// What to say of plain http.
    pub(super) hint: &'static str,
}

/// Https, or http to loopback, and nothing but scheme, host, port and path.
pub(super) const BASE_URL: UrlRules = UrlRules {
    plain_http: false,
    query: false,
    hint: "plain http is allowed to loopback only",
};

/// An http(s) URL that keeps the rules.
pub(super) fn http_url(node: &Node<'_>, rules: UrlRules) -> Option<Url> {
    node.text("a URL", |text| check_url(text, rules))
}

fn check_url(text: &str, rules: UrlRules) -> Result<Url, Fault> {
    let url = parse_url(text, "an absolute https URL")?;
    match url.scheme() {
        "https" => {}
        "http" if rules.plain_http || is_loopback(&url) => {}
        "http" => return Err(Fault::new("scheme is \"http\"", "\"https\"").hint(rules.hint)),
        other => {
            return Err(Fault::new(
                format!("scheme is {}", shown(other)),
                "\"https\"",
            ));
        }
    }
    if has_userinfo(&url) {
        return Err(
            Fault::new("has a user name or password in it", "a URL without").hint(
                "an endpoint takes them as headers = { Authorization = { credential = \"…\" } }",
            ),
        );
    }
    if url.fragment().is_some() {
        return Err(Fault::new("has a #fragment", "a URL without")
            .hint("a fragment is never sent to a server"));
    }
    if !rules.query && url.query().is_some() {
        return Err(Fault::new("has a ?query", "a URL without"));
    }
    Ok(url)
}

fn parse_url(text: &str, expected: &str) -> Result<Url, Fault> {
    // The parser forgives spaces around and line breaks within; a file that has them is not what was meant.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Fault::new("holds white space", expected));
    }
    Url::parse(text).map_err(|error| {
        let fault = Fault::new(format!("is not a URL ({error})"), expected);
        if text.contains("://") {
            fault
        } else {
            fault.hint("begin with https://")
        }
    })
}

fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// A URL that paths are appended to: no slash at its end.
pub(super) fn base_url(node: &Node<'_>) -> Option<String> {
    let url = http_url(node, BASE_URL)?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}

/// A proxy.
pub(super) fn proxy(node: &Node<'_>) -> Option<String> {
    let expected = "an http, https, socks5 or socks5h URL";
    node.text(expected, |text| {
        let url = parse_url(text, expected)?;
        if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") {
            return Err(Fault::new(
                format!("scheme is {}", shown(url.scheme())),
                expected,
            ));
        }
        if has_userinfo(&url) {
            return Err(Fault::new("has a user name or password in it", "a URL without")
                .hint("a proxy that asks for a password is not supported; let it allow this machine by address"));
        }
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if url.host().is_none() || !bare {
            return Err(Fault::new("is more or less than scheme, host and port", expected)
                .hint("as in \"http://proxy.example.com:3128\""));
        }
        Ok(text.trim_end_matches('/').to_owned())
    })
}
