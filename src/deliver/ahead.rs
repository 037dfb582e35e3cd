//! A backlog that an endpoint takes fast is worked off in batches: deliveries are claimed before a hand is free for them, and
//! what was heard is recorded together with what was heard meanwhile, beside the next attempts.
//!
//! Promises: never are more attempts out than `concurrency` says. What is claimed ahead goes out only while the endpoint is
//! well and the loop goes on; else it is given back, and was never counted. What was heard is recorded once there is a
//! batch of it, once little is left in hand, or [`TOGETHER`] later. A failure is recorded at once.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::Deliverer;
use crate::domain::{Outcome, Timestamp};
use crate::store::{DeliveryClaim, Onward};
use crate::worker::Hands;

/// The most that make a batch. The turn of the store that they share costs as much as several of them
/// (`docs/performance.md`).
const BATCH: usize = 24;

/// A batch is so many for each hand of the endpoint's.
const OF_A_HAND: usize = 2;

/// So many batches are claimed ahead: some go out while the next are on their way.
const BATCHES: usize = 4;

/// How long what was heard waits for others at most. Until then a receiver may hear the same webhook again if we die, as it
/// may between its answer and any record.
const TOGETHER: Duration = Duration::from_millis(1);

/// For an endpoint that takes longer to answer nothing is claimed ahead: it is not the store that it waits for. What comes in
/// fresh waits behind what is in hand: for eight such answers at most.
const FAST: Duration = Duration::from_millis(20);

/// Where an answer takes longer, what is in hand is given back. Between this and [`FAST`] it goes out, so that an endpoint that takes
/// about so long is not claimed for in vain again and again.
const SLOW: Duration = Duration::from_millis(200);

/// What is claimed and waits for a hand, and what was heard and is not recorded yet.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    state: Mutex<State>,
    /// Rings when nothing is gained by waiting for more to record.
    enough: Notify,
}

#[derive(Debug, Default)]
struct State {
    claims: VecDeque<DeliveryClaim>,
    /// Whoever heard the first records all.
    heard: Vec<(DeliveryClaim, Sent)>,
    /// Asked for, and not here yet.
    coming: usize,
}

impl State {
    fn stock(&self) -> usize {
        self.claims.len() + self.coming
    }
}

impl Ahead {
    // Each change leaves it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.state().claims.is_empty()
    }

    /// Nothing is here, nor on its way.
    fn has_none_coming(&self) -> bool {
        self.state().stock() == 0
    }

    /// Until when the next is ours; `None`: there is none.
    fn first_lease(&self) -> Option<Timestamp> {
        self.state().claims.front()?.delivery.due()
    }

    fn take(&self) -> Option<DeliveryClaim> {
        self.state().claims.pop_front()
    }

    fn take_all(&self) -> VecDeque<DeliveryClaim> {
        std::mem::take(&mut self.state().claims)
    }

    fn put(&self, claims: impl Iterator<Item = DeliveryClaim>) {
        self.state().claims.extend(claims);
    }

    /// Puts by what was heard. Returns whether it is the first, so that the caller is to record all that come until then.
    fn put_by(&self, claim: DeliveryClaim, sent: Sent, batch: usize) -> bool {
        let mut state = self.state();
        state.heard.push((claim, sent));
        if state.heard.len() >= batch || state.stock() <= batch {
            self.enough.notify_one();
        }
        state.heard.len() == 1
    }

    fn take_heard(&self) -> Vec<(DeliveryClaim, Sent)> {
        std::mem::take(&mut self.state().heard)
    }

    /// Says how many are to be asked for, so that there are `most`, or as `needed`.
    fn ask(&self, needed: usize, most: usize) -> Asked<'_> {
        let mut state = self.state();
        let number = needed.max(most.saturating_sub(state.stock()));
        state.coming += number;
        Asked { of: self, number }
    }
}

/// What a record was asked to bring along; counted as on its way for as long as this lives.
struct Asked<'a> {
    of: &'a Ahead,
    number: usize,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.of.state().coming -= self.number;
    }
}

/// An attempt that ended.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) outcome: Outcome,
    pub(super) began: Timestamp,
    pub(super) took: Duration,
}

impl Deliverer {
    /// Makes an attempt and records it, or puts it by for that; returns what goes out next in its place: what is in hand, or what
    /// came along with the record.
    pub(super) async fn go_on(
        self: Arc<Self>,
        claim: DeliveryClaim,
        permit: OwnedSemaphorePermit,
        hands: &Hands,
    ) -> Option<(DeliveryClaim, OwnedSemaphorePermit)> {
        let sent = self.attempt(&claim).await;
        let is_heard = sent.outcome.failure.is_none() && !claim.alone;
        if !is_heard || hands.are_ending() || !self.goes_freely() {
            self.record_and_end(claim, sent, permit, hands).await;
            return None;
        }
        let next = if let Some(next) = self.in_hand(sent.took <= SLOW).await {
            if self.ahead.put_by(claim, sent, self.batch()) {
                let (own, with) = (Arc::clone(&self), hands.clone());
                hands.beside(async move { own.record_heard(&with).await });
            }
            Some(next)
        } else {
            self.record_and_claim(claim, sent, hands).await
        };
        if let Some(next) = next {
            return Some((next, permit));
        }
        self.frees(permit);
        self.is_left(hands).await;
        None
    }

    /// Records an attempt in whose place nothing goes on.
    async fn record_and_end(
        &self,
        claim: DeliveryClaim,
        sent: Sent,
        permit: OwnedSemaphorePermit,
        hands: &Hands,
    ) {
        // What was heard and waits comes before it: failures are counted in a row.
        let mut ended = self.ahead.take_heard();
        ended.push((claim, sent));
        let record = self.record(ended, None);
        if self.ahead.has_none_coming() {
            // Before it is recorded: what that rings for finds this place free, and is claimed behind the record.
            self.frees(permit);
            record.await;
        } else {
            // What is in hand, or will be, is claimed already: it waits for how this went.
            record.await;
            self.frees(permit);
        }
        self.is_left(hands).await;
    }

    /// An attempt ended, and its place is free.
    fn frees(&self, permit: OwnedSemaphorePermit) {
        self.out.fetch_sub(1, Ordering::Relaxed);
        drop(permit);
    }

    /// Deliveries in a batch.
    fn batch(&self) -> usize {
        (self.parts.concurrency * OF_A_HAND).min(BATCH)
    }

    async fn attempt(&self, claim: &DeliveryClaim) -> Sent {
        let began = self.parts.clock.now();
        let settings = self.parts.settings.load_full();
        let replay = claim.delivery.replay;
        let (outcome, took) = settings.sender.send(&claim.event, began, replay).await;
        Sent {
            outcome,
            began,
            took,
        }
    }

    /// Claims so many along with a record, for as long as another attempt may take that goes before them, and as their own.
    fn onward(&self, number: usize) -> Option<Onward> {
        let onward = Onward {
            lease: self.parts.settings.load().sender.timeout() + self.lease(),
            limit: number,
        };
        (number > 0).then_some(onward)
    }

    /// How many may be claimed ahead after an attempt that took so long.
    fn most_ahead(&self, took: Duration) -> usize {
        // Who has a hand free needs nothing ahead.
        let is_wanted = took <= FAST && self.permits.available_permits() == 0;
        if is_wanted { self.batch() * BATCHES } else { 0 }
    }

    /// Records an attempt that was heard, and claims the next. What comes along beyond that is in hand.
    async fn record_and_claim(
        &self,
        claim: DeliveryClaim,
        sent: Sent,
        hands: &Hands,
    ) -> Option<DeliveryClaim> {
        let asked = self.ahead.ask(1, self.most_ahead(sent.took));
        let onward = self.onward(asked.number);
        let mut claims = self.record(vec![(claim, sent)], onward).await.into_iter();
        let next = claims.next();
        self.keep(claims, hands).await;
        // Only now: what is in hand is no longer to come.
        drop(asked);
        next
    }

    /// Records what was heard, once that is enough.
    #[allow(
        clippy::disallowed_methods,
        reason = "how long records wait for each other, not a schedule that a test runs through"
    )]
    async fn record_heard(&self, hands: &Hands) {
        let _or_time_is_up = tokio::time::timeout(TOGETHER, self.ahead.enough.notified()).await;
        let heard = self.ahead.take_heard();
        let Some((_, last)) = heard.last() else {
            return;
        };
        let is_over = hands.are_ending() || !self.goes_freely();
        let most = if is_over {
            0
        } else {
            self.most_ahead(last.took)
        };
        let asked = self.ahead.ask(0, most);
        let claims = self.record(heard, self.onward(asked.number));
        self.keep(claims.await.into_iter(), hands).await;
        drop(asked);
    }

    /// Takes in hand what is claimed.
    async fn keep(&self, claims: impl ExactSizeIterator<Item = DeliveryClaim>, hands: &Hands) {
        if claims.len() == 0 {
            return;
        }
        self.ahead.put(claims);
        // There may be nobody left to take it: the last ones may have ended meanwhile.
        self.is_left(hands).await;
    }

    /// What is in hand is for the loop to take where a hand is free, if it goes on.
    async fn is_left(&self, hands: &Hands) {
        if self.ahead.is_empty() {
            return;
        }
        if hands.are_ending() {
            self.give_back().await;
        } else {
            self.bell.notify_one();
        }
    }

    /// The next that is in hand, if the endpoint is as well as it was when that was claimed, and not slow; otherwise all of it
    /// is given back.
    pub(super) async fn in_hand(&self, is_not_slow: bool) -> Option<DeliveryClaim> {
        let until = self.ahead.first_lease()?;
        // Others have waited longer for it than was thought.
        let is_long_enough = self.parts.clock.now().plus(self.lease()) <= until;
        if is_not_slow && is_long_enough && self.goes_freely() && self.is_well().await {
            return self.ahead.take();
        }
        self.give_back().await;
        None
    }

    async fn is_well(&self) -> bool {
        let health = self.parts.store.health(&self.parts.endpoint).await;
        health.is_ok_and(|health| !health.holds() && health.resumed.is_none())
    }

    /// Gives back what is in hand, as if it had not been claimed.
    pub(super) async fn give_back(&self) {
        let now = self.parts.clock.now();
        let back = self.ahead.take_all();
        let release = |claim| self.parts.store.release_delivery(claim, now);
        let released = join_all(back.iter().map(release)).await;
        let mut failed = released.iter().filter_map(|one| one.as_ref().err());
        if let Some(error) = failed.next() {
            tracing::error!(
                endpoint = %self.parts.endpoint, number = 1 + failed.count(),
                error = error as &dyn std::error::Error,
                "deliveries that were not sent could not be given back; they are made when their leases end"
            );
            // The loop may not know of these leases.
            self.bell.notify_one();
        }
    }
}
