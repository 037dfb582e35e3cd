//! Whose request it is, when proxies stand in between.
//!
//! Promise: an `X-Forwarded-For` counts only as far as an unbroken chain of trusted proxies vouches for it, read
//! from the right, where our own proxy wrote. Addresses come out canonical: an IPv4 address mapped into IPv6 is the
//! IPv4 address, so that one rule matches both.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address; `None` over a Unix socket without a proxy's word.
    pub address: Option<IpAddr>,
    /// Whoever holds the connection is a trusted proxy, or came over a Unix socket, whose file mode decides who may.
    pub trusted_peer: bool,
    /// There was an `X-Forwarded-For`, and it was not believed.
    pub ignored_forwarding: bool,
}

/// Finds the client from the connection's peer and the `X-Forwarded-For` header lines, in their order.
///
/// Walks from the right: trusted proxies are passed over, the first address that is none of them is the client. An
/// entry that is no address ends the walk at the last good hop. If all are trusted, it is the leftmost.
#[must_use]
pub fn locate<'a>(
    peer: Option<IpAddr>,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[IpNet],
) -> Client {
    let peer = peer.map(|address| address.to_canonical());
    let trusted_peer = peer.is_none_or(|address| within(trusted, address));
    let mut hops = forwarded
        .rev()
        .flat_map(|line| line.rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|hop| !hop.is_empty())
        .peekable();
    if !trusted_peer {
        return Client {
            address: peer,
            trusted_peer,
            ignored_forwarding: hops.peek().is_some(),
        };
    }
    let mut address = peer;
    for hop in hops {
        let Some(hop) = parse(hop) else { break };
        address = Some(hop);
        if !within(trusted, hop) {
            break;
        }
    }
    Client {
        address,
        trusted_peer,
        ignored_forwarding: false,
    }
}

/// Whether any of the networks holds the address.
#[must_use]
pub fn within(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:443`.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(hop);
    let address = bare
        .parse::<IpAddr>()
        .or_else(|_has_a_port| hop.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(peer: Option<&str>, lines: &[&str], trusted: &[&str]) -> Client {
        let trusted: Vec<IpNet> = trusted
            .iter()
            .map(|net| net.parse().expect("net"))
            .collect();
        let peer = peer.map(|peer| peer.parse().expect("address"));
        locate(peer, lines.iter().map(|line| line.as_bytes()), &trusted)
    }

    fn address(peer: &str, lines: &[&str]) -> String {
        let client = find(Some(peer), lines, &["10.0.0.0/8", "fd00::/8"]);
        client.address.expect("a peer has one").to_string()
    }

    #[test]
    fn the_rightmost_hop_that_is_not_trusted_is_the_client() {
        assert_eq!(
            address("10.0.0.1", &["6.6.6.6, 192.0.2.7, 10.0.0.2"]),
            "192.0.2.7"
        );
        assert_eq!(
            address("10.0.0.1", &["6.6.6.6", "192.0.2.7", "10.0.0.2"]),
            "192.0.2.7"
        );
        assert_eq!(address("fd00::1", &["192.0.2.7:5678"]), "192.0.2.7");
        assert_eq!(address("10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(address("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(address("10.0.0.1", &["::ffff:192.0.2.7"]), "192.0.2.7");
        assert_eq!(address("::ffff:10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn with_nobody_else_it_is_the_leftmost_proxy_or_the_last_good_hop() {
        assert_eq!(address("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(
            address("10.0.0.1", &["192.0.2.7, unknown, 10.0.0.2"]),
            "10.0.0.2"
        );
        assert_eq!(address("10.0.0.1", &["192.0.2.7, _hidden"]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &[" , ,"]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_stranger_s_word_is_ignored_and_that_is_said() {
        let client = find(Some("192.0.2.9"), &["127.0.0.1"], &["10.0.0.0/8"]);
        assert_eq!(client.address, Some("192.0.2.9".parse().expect("address")));
        assert!(client.ignored_forwarding && !client.trusted_peer);
        assert!(!find(Some("192.0.2.9"), &[], &[]).ignored_forwarding);
    }

    #[test]
    fn over_a_unix_socket_the_proxy_is_believed() {
        assert_eq!(find(None, &[], &[]).address, None);
        let client = find(None, &["6.6.6.6, 192.0.2.7"], &[]);
        assert_eq!(client.address, Some("192.0.2.7".parse().expect("address")));
    }

    proptest! {
        #[test]
        fn what_a_client_writes_itself_never_counts(forged in "[0-9a-f.:, \\[\\]]{0,60}", real in any::<[u8; 4]>()) {
            let real = IpAddr::from(real);
            prop_assume!(!within(&["10.0.0.0/8".parse().expect("net")], real));
            let line = format!("{forged},{real}");
            prop_assert_eq!(find(Some("10.0.0.1"), &[&line], &["10.0.0.0/8"]).address, Some(real));
            let lines = [forged.as_str(), &real.to_string()];
            prop_assert_eq!(find(Some("10.0.0.1"), &lines, &["10.0.0.0/8"]).address, Some(real));
        }

        #[test]
        fn no_header_is_the_end_of_us(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = locate(None, [line.as_slice()].into_iter(), &[]);
        }
    }
}
