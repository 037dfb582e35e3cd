//! Slows down whoever guesses at the token.
//!
//! Promise: after [`FREE`] wrong tokens an address waits, longer after each further one, whatever it sends meanwhile;
//! no other address does. Memory is bounded: of very many addresses that guess, those that were quiet the longest are
//! forgotten.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::Timestamp;
use crate::http::limit::network_of;

/// Wrong tokens that cost nothing: a person who pastes the wrong one.
const FREE: u32 = 10;

/// The first wait; each further wrong token doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait: somebody who has mended their token does not wait for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Without a wrong token for so long an address begins anew.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Addresses that are remembered, some 100 bytes each.
const MOST_ADDRESSES: usize = 4096;

#[derive(Clone, Copy)]
struct Guesses {
    wrong: u32,
    last: Timestamp,
    until: Timestamp,
}

/// Who guessed how often. Peers on a Unix socket have no address and count as one.
#[derive(Default)]
pub(super) struct Guard(Mutex<HashMap<Option<IpAddr>, Guesses>>);

impl Guard {
    /// # Errors
    /// The address has to wait for so many seconds.
    pub(super) fn admit(&self, client: Option<IpAddr>, now: Timestamp) -> Result<(), u64> {
        let guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = guesses.get(&client.map(network_of)).map(|one| one.until);
        let wait = until.map_or(Duration::ZERO, |until| until.since(now));
        if wait.is_zero() {
            return Ok(());
        }
        Err(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }

    /// A wrong token came from there.
    pub(super) fn wrong(&self, client: Option<IpAddr>, now: Timestamp) {
        let mut guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = client.map(network_of);
        if guesses.len() >= MOST_ADDRESSES && !guesses.contains_key(&client) {
            let quietest = guesses.iter().min_by_key(|(_, one)| one.last);
            if let Some(quietest) = quietest.map(|(client, _)| *client) {
                guesses.remove(&quietest);
            }
        }
        let before = guesses.get(&client).copied();
        let before = before.filter(|one| now.since(one.last) < FORGOTTEN);
        let wrong = before.map_or(0, |one| one.wrong).saturating_add(1);
        let wait = match wrong.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(beyond) => FIRST_WAIT
                .saturating_mul(2u32.saturating_pow(beyond))
                .min(LONGEST_WAIT),
        };
        let until = now.plus(wait);
        guesses.insert(
            client,
            Guesses {
                wrong,
                last: now,
                until,
            },
        );
    }

    /// The right token came from there.
    pub(super) fn right(&self, client: Option<IpAddr>) {
        let mut guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guesses.remove(&client.map(network_of));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(1_760_000_000_000 + secs * 1000)
    }

    #[test]
    fn ten_wrong_tokens_slow_an_address_down_ever_more_and_nobody_else() {
        let guard = Guard::default();
        let (guesser, other) = (Some(IpAddr::from([192, 0, 2, 1])), None);
        for _ in 0..9 {
            guard.wrong(guesser, at(0));
            assert_eq!(guard.admit(guesser, at(0)), Ok(()));
        }
        let mut now = 0;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            guard.wrong(guesser, at(now));
            assert_eq!(guard.admit(guesser, at(now)), Err(wait));
            assert_eq!(guard.admit(other, at(now)), Ok(()));
            now += wait;
            assert_eq!(guard.admit(guesser, at(now)), Ok(()));
        }
        guard.right(guesser);
        guard.wrong(guesser, at(now));
        assert_eq!(guard.admit(guesser, at(now)), Ok(()), "begins anew");
    }

    #[test]
    fn very_many_guessers_take_no_more_memory_than_the_bound() {
        let guard = Guard::default();
        for host in 0..20_000u32 {
            guard.wrong(Some(IpAddr::from(host.to_be_bytes())), at(u64::from(host)));
        }
        assert_eq!(guard.0.lock().expect("whole").len(), MOST_ADDRESSES);
    }
}
