//! The whole state of the simulated provider: merchants, users, reviews, callbacks on their way, and what was asked.
//!
//! Promise: every method is a function of this state and the instant it is given; reviews and callbacks fall due by
//! that instant alone. Lives in memory and only grows: a simulation ends. It must not do I/O, wait or read a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::account::{Account, Application, is_silent};
use super::callback::{self, CallbackBody, CallbackSpec, Claim};
use super::faults::Faults;
use super::notice::{CallbackAttempt, CallbackState, Notice, scaled};
use super::report::{CallbackReport, Requests};
use crate::domain::{InvalidId, MerchantNo, Secret, Status, Timestamp, UserId, Verdict};

pub(super) type Key = (MerchantNo, UserId);

/// How many callbacks one user's report shows, the newest ones.
const SHOWN_CALLBACKS: usize = 100;

/// How fast things happen here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub scale: f64,
    pub review: Duration,
}

/// A try that somebody has to make now.
#[derive(Debug)]
pub(super) struct Errand {
    pub id: u64,
    pub merchant: MerchantNo,
    pub url: String,
    pub body: CallbackBody,
}

/// What became of an application.
#[derive(Debug)]
pub(super) struct Applied {
    pub status: Status,
    /// Callbacks that must go out before the apply call is answered.
    pub first: Vec<Errand>,
}

#[derive(Debug)]
pub(super) struct World {
    pub merchants: BTreeMap<MerchantNo, Secret>,
    pub accounts: BTreeMap<Key, Account>,
    pub faults: Faults,
    pub requests: Requests,
    reviews: BTreeSet<(Timestamp, Key)>,
    notices: BTreeMap<u64, Notice>,
    /// The waiting notices, and no others.
    due: BTreeSet<(Timestamp, u64)>,
    pace: Pace,
}

impl World {
    pub(super) fn new(merchants: Vec<(MerchantNo, Secret)>, faults: Faults, pace: Pace) -> Self {
        Self {
            merchants: merchants.into_iter().collect(),
            accounts: BTreeMap::new(),
            faults,
            requests: Requests::default(),
            reviews: BTreeSet::new(),
            notices: BTreeMap::new(),
            due: BTreeSet::new(),
            pace,
        }
    }

    pub(super) fn faults_of(&self, key: &Key) -> &Faults {
        self.accounts
            .get(key)
            .and_then(|account| account.faults.as_ref())
            .unwrap_or(&self.faults)
    }

    /// What the query says of a user; `None`: nobody knows this user. Counts the query.
    pub(super) fn query(&mut self, now: Timestamp, key: &Key) -> Option<Verdict> {
        self.settle(now);
        let lag = scaled(self.faults_of(key).query_lag, self.pace.scale);
        let account = self.accounts.entry(key.clone()).or_default();
        account.queries += 1;
        account.visible(now, lag).cloned()
    }

    /// Takes an application. While one is under review a further one joins it, and its address counts from then on.
    pub(super) fn apply(&mut self, now: Timestamp, key: &Key, application: Application) -> Applied {
        self.settle(now);
        let early = self.faults_of(key).callback_early;
        let time = scaled(self.pace.review, self.pace.scale);
        let account = self.accounts.entry(key.clone()).or_default();
        account.callback_url = Some(application.callback_url.clone());
        account.applications.push(application);
        if account.review.is_none() {
            let ends = account.begin_review(now, if early { Duration::ZERO } else { time });
            self.reviews.insert((ends, key.clone()));
        }
        if early {
            let first = self.decide_now(now, key);
            return Applied {
                status: Status::Pending,
                first,
            };
        }
        let truth = self
            .accounts
            .get(key)
            .and_then(|account| account.truth(now));
        Applied {
            status: truth.map_or(Status::Pending, |verdict| verdict.status().clone()),
            first: Vec::new(),
        }
    }

    /// Sets a status as an operator of the provider would; a running review is over.
    pub(super) fn set(&mut self, now: Timestamp, key: &Key, verdict: Verdict) {
        self.settle(now);
        let account = self.accounts.entry(key.clone()).or_default();
        if let Some(ends) = account.review {
            self.reviews.remove(&(ends, key.clone()));
        }
        account.set(now, verdict);
    }

    /// Decides every review that has ended by `now`, each at the instant it ended.
    pub(super) fn settle(&mut self, now: Timestamp) {
        while let Some((ends, key)) = self.reviews.first().cloned()
            && ends <= now
        {
            self.reviews.pop_first();
            self.decide(ends, &key);
            let late = scaled(self.faults_of(&key).callback_late, self.pace.scale);
            self.announce(ends, ends.plus(late), &key);
        }
    }

    fn decide(&mut self, at: Timestamp, key: &Key) {
        let account = self.accounts.entry(key.clone()).or_default();
        let verdict = account.decision(key.1.as_str());
        account.set(at, verdict);
    }

    fn decide_now(&mut self, now: Timestamp, key: &Key) -> Vec<Errand> {
        self.reviews.retain(|(_, other)| other != key);
        self.decide(now, key);
        let made = self.announce(now, now, key);
        made.into_iter()
            .filter_map(|id| {
                self.due.remove(&(now, id));
                self.errand(now, id)
            })
            .collect()
    }

    /// Puts the user's present result on its way, as often as it is ordered.
    pub(super) fn announce(&mut self, made: Timestamp, due: Timestamp, key: &Key) -> Vec<u64> {
        let faults = self.faults_of(key).clone();
        let Some(account) = self.accounts.get(key) else {
            return Vec::new();
        };
        let Some(verdict) = account.truth(made).cloned() else {
            return Vec::new();
        };
        let url = account.callback_url.clone();
        let withheld = faults.callback_never || is_silent(key.1.as_str()) || url.is_none();
        let copies = if faults.callback_twice && !withheld {
            2
        } else {
            1
        };
        (0..copies)
            .map(|_| {
                let state = if withheld {
                    CallbackState::Withheld
                } else {
                    CallbackState::Waiting { due }
                };
                self.add(Notice {
                    key: key.clone(),
                    url: url.clone().unwrap_or_default(),
                    verdict: verdict.clone(),
                    made,
                    state,
                    retried: true,
                    attempts: Vec::new(),
                })
            })
            .collect()
    }

    fn add(&mut self, notice: Notice) -> u64 {
        let id = self
            .notices
            .last_key_value()
            .map_or(1, |(last, _)| last.saturating_add(1));
        if let CallbackState::Waiting { due } = notice.state {
            self.due.insert((due, id));
        }
        self.notices.insert(id, notice);
        id
    }

    /// A callback sent by hand: recorded like any other, tried once. `Err`: there is nowhere to send it.
    pub(super) fn by_hand(
        &mut self,
        now: Timestamp,
        key: &Key,
        spec: &CallbackSpec,
    ) -> Result<Errand, ByHandError> {
        let body = self.body(now, key, spec)?;
        let account = self.accounts.get(key);
        let url = spec
            .url
            .clone()
            .or_else(|| account.and_then(|account| account.callback_url.clone()))
            .ok_or(ByHandError::Nowhere)?;
        let id = self.add(Notice {
            key: key.clone(),
            url: url.clone(),
            verdict: Verdict::new(Status::Pending, None),
            made: now,
            state: CallbackState::Sending,
            retried: false,
            attempts: Vec::new(),
        });
        Ok(Errand {
            id,
            merchant: key.0.clone(),
            url,
            body,
        })
    }

    /// The callback that would be sent of a user now, with what `spec` orders otherwise.
    pub(super) fn body(
        &mut self,
        now: Timestamp,
        key: &Key,
        spec: &CallbackSpec,
    ) -> Result<CallbackBody, ByHandError> {
        self.settle(now);
        let secret = self
            .merchants
            .get(&key.0)
            .ok_or(ByHandError::UnknownMerchant)?;
        let faults = self.faults_of(key);
        let truth = self
            .accounts
            .get(key)
            .and_then(|account| account.truth(now));
        let status = match (&spec.status, truth) {
            (Some(text), _) => Status::parse(text)?,
            (None, Some(verdict)) => faults.claimed(verdict.status()),
            (None, None) => faults.claimed(&Status::Pending),
        };
        let own_reason = truth.and_then(|verdict| verdict.reason().map(str::to_owned));
        let claim = Claim {
            user: key.1.as_str().to_owned(),
            status,
            reason: spec.fail_reason.clone().or(own_reason),
            timestamp: spec
                .timestamp
                .clone()
                .unwrap_or_else(|| now.as_millis().to_string()),
        };
        Ok(callback::write(&claim, spec.shape(faults.shape()), secret))
    }

    /// Hands out every callback that is due by `now`; each is the caller's to try and to report.
    pub(super) fn claim_due(&mut self, now: Timestamp) -> Vec<Errand> {
        self.settle(now);
        let mut errands = Vec::new();
        while let Some((due, id)) = self.due.first().copied()
            && due <= now
        {
            self.due.pop_first();
            errands.extend(self.errand(now, id));
        }
        errands
    }

    /// Written when it is sent: faults ordered between two tries show in the second.
    fn errand(&mut self, now: Timestamp, id: u64) -> Option<Errand> {
        let key = self.notices.get(&id)?.key.clone();
        let faults = self.faults_of(&key).clone();
        let secret = self.merchants.get(&key.0)?;
        let notice = self.notices.get_mut(&id)?;
        if !matches!(notice.state, CallbackState::Waiting { .. }) {
            return None;
        }
        notice.state = CallbackState::Sending;
        let stamp = if faults.callback_restamped {
            now
        } else {
            notice.made
        };
        let claim = Claim {
            user: key.1.as_str().to_owned(),
            status: faults.claimed(notice.verdict.status()),
            reason: notice.verdict.reason().map(str::to_owned),
            timestamp: stamp.as_millis().to_string(),
        };
        Some(Errand {
            id,
            merchant: key.0,
            url: notice.url.clone(),
            body: callback::write(&claim, faults.shape(), secret),
        })
    }

    /// Takes in what a try came to. Returns its number, and when the next one is due.
    pub(super) fn tried(
        &mut self,
        now: Timestamp,
        id: u64,
        attempt: CallbackAttempt,
    ) -> (usize, Option<Timestamp>) {
        self.requests.count_attempt(attempt.confirmed);
        let Some(notice) = self.notices.get_mut(&id) else {
            return (0, None);
        };
        let due = notice.tried(attempt, now, self.pace.scale);
        self.due.extend(due.map(|due| (due, id)));
        (notice.attempts.len(), due)
    }

    /// When something falls due next.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let review = self.reviews.first().map(|(at, _)| *at);
        let notice = self.due.first().map(|(at, _)| *at);
        review.into_iter().chain(notice).min()
    }

    /// A user's callbacks, oldest first.
    pub(super) fn callbacks(&self, key: &Key) -> Vec<CallbackReport> {
        let mut newest: Vec<_> = self
            .notices
            .values()
            .rev()
            .filter(|notice| notice.key == *key)
            .take(SHOWN_CALLBACKS)
            .map(CallbackReport::of)
            .collect();
        newest.reverse();
        newest
    }
}

/// Why a callback cannot be sent by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByHandError {
    /// Nobody gave an address.
    #[error("no callBackUrl is known for this user: apply first, or say url")]
    Nowhere,
    /// The address is not one that this sandbox sends to.
    #[error("url: {0}")]
    Url(&'static str),
    /// No such merchant.
    #[error("no such merchant in this sandbox")]
    UnknownMerchant,
    /// The ordered status is none.
    #[error("status: {0}")]
    Status(#[from] InvalidId),
}
