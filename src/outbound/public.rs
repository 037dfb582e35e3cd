//! Addresses that anybody may have, and those that only neighbours have: for `allow_private = false`.
//!
//! Promise: an address that carries another one inside (mapped, translated, tunnelled) is judged by that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a connection was not made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address is private, and allow_private is false")]
pub struct PrivateAddress;

/// Whether an address is out in the public network: not this machine, not its neighbours, nor a cloud's metadata.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match inner(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // IANA's registry of special addresses; the metadata of clouds is link-local (169.254.169.254) or in the range of
    // carriers (100.100.100.200).
    let special = a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || (a == 100 && b & 0b1100_0000 == 64)
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && b & 0b1111_1110 == 18)
        || a >= 240;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // 2000::/3 is all that was ever given out; within it are documentation (2001:db8::/32, 3fff::/20) and what the
    // protocols use among themselves (2001::/23), Teredo among it.
    let special = a & 0xe000 != 0x2000
        || (a == 0x2001 && (b == 0x0db8 || b < 0x0200))
        || (a == 0x3fff && b < 0x1000);
    !special
}

/// The IPv4 address that packets to this one end up at.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| {
        let ([one, two], [three, four]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(one, two, three, four)
    };
    match (a, b, c, d, e, f) {
        // Mapped (::ffff:0:0/96), compatible (::/96, but for `::` and `::1`), translated (64:ff9b::/96).
        (0, 0, 0, 0, 0, 0xffff) | (0x0064, 0xff9b, 0, 0, 0, 0) => Some(of(g, h)),
        (0, 0, 0, 0, 0, 0) if g != 0 => Some(of(g, h)),
        // 6to4
        (0x2002, ..) => Some(of(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_told_from_the_public_however_they_are_written() {
        for private in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().expect("valid")), "{private}");
        }
        for public in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(is_public(public.parse().expect("valid")), "{public}");
        }
    }
}
