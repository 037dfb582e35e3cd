//! The provider at one address: its client and its breaker, shared by every merchant that is asked about there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::query::{Queried, QueryClient};
use crate::domain::{Breaker, BreakerChange, BreakerRule, MerchantNo, Secret, Timestamp, UserId};

#[derive(Debug, Default)]
struct Gate {
    breaker: Breaker,
    /// A probe is out: nothing else goes until it is answered or dropped.
    probing: bool,
}

/// The provider at one address.
#[derive(Debug)]
pub struct Provider {
    client: QueryClient,
    merchants: Vec<MerchantNo>,
    gate: Arc<Mutex<Gate>>,
    /// Since when it is as it is: what was due before could not be asked.
    back: AtomicU64,
}

/// The leave to send one query. Dropped unanswered, a probe's turn passes to the next.
#[derive(Debug)]
pub struct QueryPermit {
    gate: Arc<Mutex<Gate>>,
    is_probe: bool,
}

fn lock(gate: &Mutex<Gate>) -> MutexGuard<'_, Gate> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Provider {
    /// A provider that has not failed yet, and the merchants that are asked about there.
    #[must_use]
    pub fn new(client: QueryClient, merchants: Vec<MerchantNo>) -> Self {
        Self {
            client,
            merchants,
            gate: Arc::default(),
            back: AtomicU64::new(0),
        }
    }

    /// From here on it can be asked: it is back, or we are.
    pub fn note_back(&self, now: Timestamp) {
        self.back.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Since when it can be asked. Nothing is late by what was before.
    #[must_use]
    pub fn back(&self) -> Timestamp {
        Timestamp::from_millis(self.back.load(Ordering::Relaxed))
    }

    /// Its address, for logs.
    #[must_use]
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// The merchants that are asked about here.
    #[must_use]
    pub fn merchants(&self) -> Vec<MerchantNo> {
        self.merchants.clone()
    }

    /// For one whole query.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.client.timeout()
    }

    /// The breaker as it stands.
    #[must_use]
    pub fn breaker(&self) -> Breaker {
        lock(&self.gate).breaker
    }

    /// Leave for up to `wanted` queries: all while the provider answers, one probe at a time while it does not.
    #[must_use]
    pub fn permits(&self, now: Timestamp, wanted: usize) -> Vec<QueryPermit> {
        let mut gate = lock(&self.gate);
        let permit = |is_probe| QueryPermit {
            gate: Arc::clone(&self.gate),
            is_probe,
        };
        match gate.breaker.closed_until() {
            None => (0..wanted).map(|_| permit(false)).collect(),
            Some(probe_at) if wanted > 0 && !gate.probing && now >= probe_at => {
                gate.probing = true;
                vec![permit(true)]
            }
            Some(_) => Vec::new(),
        }
    }

    /// The earliest instant at which a query may go out.
    #[must_use]
    pub fn open_at(&self, now: Timestamp) -> Timestamp {
        let gate = lock(&self.gate);
        match gate.breaker.closed_until() {
            None => now,
            // Its end rings or moves the next probe; until then there is nothing to wait for.
            Some(_) if gate.probing => now.plus(self.timeout()),
            Some(probe_at) => probe_at,
        }
    }

    /// Asks about one user.
    pub async fn query(
        &self,
        merchant: &MerchantNo,
        secret: &Secret,
        user: &UserId,
        now: Timestamp,
    ) -> Queried {
        self.client.query(merchant, secret, user, now).await
    }
}

impl QueryPermit {
    /// Whether it is the one query by which a provider that does not answer is tried.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// The query was answered; `down` when the answer speaks of the provider as a whole.
    #[must_use]
    pub fn answered(self, down: bool, now: Timestamp) -> BreakerChange {
        let mut gate = lock(&self.gate);
        let (breaker, change) = gate.breaker.observe(down, now, &BreakerRule::PROVIDER);
        gate.breaker = breaker;
        change
    }
}

impl Drop for QueryPermit {
    fn drop(&mut self) {
        if self.is_probe {
            lock(&self.gate).probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::{Client, ClientSettings, PublicRoots};

    fn provider() -> Provider {
        let client = Client::new(&ClientSettings::default(), &PublicRoots::load()).expect("makes");
        let address = "http://127.0.0.1:1".to_owned();
        Provider::new(
            QueryClient::new(client, address, Duration::from_secs(1)),
            vec![],
        )
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn while_it_is_down_one_probe_at_a_time_goes_out() {
        let provider = provider();
        for permit in provider.permits(at(0), 5) {
            let _opened_by_the_fifth = permit.answered(true, at(0));
        }
        assert!(
            provider.permits(at(1), 5).is_empty(),
            "before the first probe is due"
        );
        assert_eq!(provider.open_at(at(1)), at(2));
        let mut probes = provider.permits(at(2), 5);
        assert_eq!(probes.len(), 1);
        assert!(
            provider.permits(at(2), 5).is_empty(),
            "a second probe beside the first"
        );
        let probe = probes.remove(0);
        assert_eq!(
            probe.answered(false, at(3)),
            BreakerChange::Closed { since: at(0) }
        );
        assert_eq!(provider.permits(at(3), 5).len(), 5);
    }

    #[test]
    fn a_probe_that_found_nothing_to_ask_does_not_block_the_next() {
        let provider = provider();
        for permit in provider.permits(at(0), 5) {
            let _opened_by_the_fifth = permit.answered(true, at(0));
        }
        drop(provider.permits(at(2), 1));
        assert_eq!(provider.permits(at(2), 1).len(), 1);
    }
}
