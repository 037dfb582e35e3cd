//! How many requests each client address may make.
//!
//! Promise: memory is bounded whatever comes. Addresses that are quiet again are forgotten; when [`MOST_ADDRESSES`]
//! are busy at once, every address shares one of [`SHARED`] allowances with those that a random hash puts beside
//! it, until there is room again: a flood from very many addresses then costs a few others some of their share,
//! and all of them no more than that.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::settings::Rate;

/// Addresses with an allowance of their own. At some 100 bytes each this is a few megabytes.
const MOST_ADDRESSES: usize = 65_536;

/// Allowances beyond that. Many, so that few innocents share one with an attacker.
const SHARED: u64 = 16_384;

/// Requests between two looks at who is quiet: a look costs about a millisecond when the table is full.
const TIDY_EVERY: u32 = 1024;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Everybody on a Unix socket whose proxy says nothing.
    Local,
    /// One IPv4 address, or one /64 of IPv6: that is what one customer of a provider gets.
    Address(IpAddr),
    Shared(u64),
}

/// An allowance per client address.
pub(super) struct Limiter {
    allowances: DefaultKeyedRateLimiter<Key>,
    clock: DefaultClock,
    hash: RandomState,
    seen: AtomicU32,
    full: AtomicBool,
    most: usize,
}

impl Limiter {
    pub(super) fn new(rate: Rate) -> Self {
        Self::with_room_for(MOST_ADDRESSES, rate)
    }

    fn with_room_for(most: usize, rate: Rate) -> Self {
        // Refused is only a wait of no nanoseconds at all: more than 10^9 a second, which is as good as a second.
        let quota = Quota::with_period(rate.per / rate.count.get())
            .unwrap_or_else(|| Quota::per_second(rate.count))
            .allow_burst(rate.count);
        Self {
            allowances: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            hash: RandomState::new(),
            seen: AtomicU32::new(0),
            full: AtomicBool::new(false),
            most,
        }
    }

    /// Takes one from the client's allowance.
    ///
    /// # Errors
    /// It is used up; in so many whole seconds (at least 1) there is one again.
    pub(super) fn admit(&self, client: Option<IpAddr>) -> Result<(), u64> {
        self.tidy();
        self.allowances
            .check_key(&self.key(client))
            .map_err(|refused| {
                let wait = refused.wait_time_from(self.clock.now());
                wait.as_secs()
                    .saturating_add(u64::from(wait.subsec_nanos() > 0))
                    .max(1)
            })
    }

    fn key(&self, client: Option<IpAddr>) -> Key {
        let Some(client) = client else {
            return Key::Local;
        };
        let address = network_of(client);
        if self.full.load(Ordering::Relaxed) {
            Key::Shared(self.hash.hash_one(address) % SHARED)
        } else {
            Key::Address(address)
        }
    }

    fn tidy(&self) {
        if self.seen.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            self.allowances.retain_recent();
            let full = self.allowances.len() >= self.most;
            self.full.store(full, Ordering::Relaxed);
        }
    }
}

/// What counts as one client: an IPv4 address, or the /64 of an IPv6 address.
pub(super) fn network_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    fn rate(count: u32) -> Rate {
        Rate {
            count: NonZeroU32::new(count).expect("not zero"),
            per: Duration::from_secs(3600),
        }
    }

    #[test]
    fn the_burst_is_the_rate_and_then_it_says_how_long_to_wait() {
        let limiter = Limiter::new(rate(3));
        let client = Some(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..3 {
            assert_eq!(limiter.admit(client), Ok(()));
        }
        let wait = limiter.admit(client).expect_err("the burst is over");
        assert!((1..=1200).contains(&wait), "{wait}");
        assert_eq!(limiter.admit(Some(IpAddr::from([192, 0, 2, 2]))), Ok(()));
        assert_eq!(limiter.admit(None), Ok(()));
    }

    #[test]
    fn a_whole_64_of_ipv6_is_one_client() {
        let limiter = Limiter::new(rate(1));
        let client = |text: &str| limiter.admit(Some(text.parse().expect("address")));
        assert_eq!(client("2001:db8:0:1::1"), Ok(()));
        assert!(client("2001:db8:0:1:ffff::2").is_err());
        assert_eq!(client("2001:db8:0:2::1"), Ok(()));
    }

    #[test]
    fn a_flood_from_very_many_addresses_takes_no_more_memory_than_the_bound() {
        let limiter = Limiter::with_room_for(2000, rate(100));
        for host in 0..200_000u32 {
            let _ = limiter.admit(Some(IpAddr::from(host.to_be_bytes())));
        }
        let bound = 2000 + usize::try_from(TIDY_EVERY).expect("small") + 16_384;
        assert!(
            limiter.allowances.len() <= bound,
            "{}",
            limiter.allowances.len()
        );
    }
}
