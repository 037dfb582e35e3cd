//! Asking about one user until the answer is final, or we give up.
//!
//! One verification per (merchant, user). Doorbells that come meanwhile join it. A verification is a value: each
//! function takes one and gives the next, and the store keeps whatever comes out.

// long because: a third of it is the tests of one state machine, which are read beside it.

use std::time::Duration;

use super::{Answer, QueryFailure, Schedule, Source, Timestamp, Trust};

/// Which queue a verification waits in. Each merchant has one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerifyLane {
    /// Rung for by somebody who knows a secret, or asked about on our own account.
    Main,
    /// Rung for by anybody: small, so that a flood of forgeries stops nobody else.
    Open,
}

impl VerifyLane {
    /// The lane for this trust.
    #[must_use]
    pub const fn of(trust: Trust) -> Self {
        match trust {
            Trust::Open => Self::Open,
            Trust::Signed | Trust::Token | Trust::Watch => Self::Main,
        }
    }
}

/// Where a verification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerificationState {
    /// To be asked about at `due`.
    Waiting {
        /// When.
        due: Timestamp,
    },
    /// A query is out. Whoever sent it answers for it until `until`; then somebody else may ask.
    Querying {
        /// The end of the lease.
        until: Timestamp,
        /// The doorbell rang after the query was sent, so its answer may be older than the news: the best trust of
        /// those that rang.
        again: Option<Trust>,
    },
}

/// How long we have been at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyPhase {
    /// Asking by the schedule; this many queries in a row gave no final verdict.
    Seeking {
        /// Queries without a final verdict since the latest doorbell.
        tries: u32,
    },
    /// Given up on, shown and alerted; still asked about once a day.
    Stuck {
        /// Since when.
        at: Timestamp,
    },
}

/// One verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// What made us ask.
    pub source: Source,
    /// The best trust of all doorbells that joined.
    pub trust: Trust,
    /// The first doorbell, or the one that revived it: `give_up_after` counts from here.
    pub since: Timestamp,
    /// Queries ever sent for it; names the lease, so that a late answer of an old query settles nothing.
    pub queries: u32,
    /// When the latest query was sent.
    pub asked: Option<Timestamp>,
    /// How long we have been at it.
    pub phase: VerifyPhase,
    /// Where it stands.
    pub state: VerificationState,
}

/// The rules of `[verify]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyPolicy {
    /// The waits between queries; the last repeats.
    pub retry: Schedule,
    /// After this without a final verdict the verification is stuck.
    pub give_up_after: Duration,
    /// The same verdict within this is the same event.
    pub duplicate_window: Duration,
    /// How often a user known to be waiting is asked about unprompted; `None`: not at all.
    pub reconcile: Option<Duration>,
}

impl VerifyPolicy {
    /// The wait between unprompted questions about a user who has waited for `age`: `reconcile`, doubled for each
    /// whole day, at the most a day. `None`: users are not asked about unprompted.
    #[must_use]
    pub fn reconcile_wait(&self, age: Duration) -> Option<Duration> {
        let days = u32::try_from(age.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX);
        let doubled = |wait: Duration| wait.saturating_mul(2u32.saturating_pow(days));
        self.reconcile.map(|wait| doubled(wait).min(DAY))
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How often a stuck user is still asked about.
const STUCK_POLL: Duration = DAY;

/// A doorbell that anybody could have rung has a user asked about at most this often: a genuine result is this much
/// late at the worst, and a flood for one user costs a query in ten seconds.
const OPEN_PACE: Duration = Duration::from_secs(10);

/// What becomes of a verification when its query is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The answer is final and nobody rang since: it is over.
    Done,
    /// It goes on.
    Goes {
        /// The verification from now on.
        next: Verification,
        /// It became stuck just now: somebody should hear of it.
        newly_stuck: bool,
    },
}

impl Verification {
    /// A first doorbell.
    #[must_use]
    pub const fn new(source: Source, trust: Trust, now: Timestamp) -> Self {
        Self {
            source,
            trust,
            since: now,
            queries: 0,
            asked: None,
            phase: VerifyPhase::Seeking { tries: 0 },
            state: VerificationState::Waiting { due: now },
        }
    }

    /// Nobody rang, but the user is known to be waiting: asked about from `due` on.
    #[must_use]
    pub const fn watching(now: Timestamp, due: Timestamp) -> Self {
        Self {
            state: VerificationState::Waiting { due },
            ..Self::new(Source::Reconcile, Trust::Watch, now)
        }
    }

    /// When it next needs a look: its query is due, or its lease has run out.
    #[must_use]
    pub const fn due(&self) -> Timestamp {
        match self.state {
            VerificationState::Waiting { due } => due,
            VerificationState::Querying { until, .. } => until,
        }
    }

    /// Another doorbell for the same user.
    ///
    /// One that anybody could have rung does not hurry what a trusted one started: forgeries for a known user could
    /// otherwise spend the merchant's query rate in the main lane. Anything else it hurries only as often as every
    /// ten seconds, and it starts no schedule anew.
    #[must_use]
    pub fn joined(self, source: Source, trust: Trust, now: Timestamp) -> Self {
        let is_open = trust == Trust::Open;
        let soon = if is_open { self.paced(now) } else { now };
        let state = match self.state {
            VerificationState::Querying { until, again } => VerificationState::Querying {
                until,
                again: Some(again.map_or(trust, |before| before.min(trust))),
            },
            waiting if is_open && self.trust < Trust::Watch => waiting,
            VerificationState::Waiting { due } => VerificationState::Waiting { due: due.min(soon) },
        };
        let revived = matches!(self.phase, VerifyPhase::Stuck { .. });
        Self {
            source: if self.source == Source::Callback {
                self.source
            } else {
                source
            },
            trust: self.trust.min(trust),
            since: if revived && !is_open { now } else { self.since },
            phase: if is_open {
                self.phase
            } else {
                VerifyPhase::Seeking { tries: 0 }
            },
            state,
            ..self
        }
    }

    /// The earliest instant at which a doorbell that anybody could have rung may have the user asked about.
    fn paced(&self, now: Timestamp) -> Timestamp {
        self.asked
            .map_or(now, |asked| asked.plus(OPEN_PACE).max(now))
    }

    /// A query goes out; the sender answers for it for `lease`.
    #[must_use]
    pub fn claimed(self, now: Timestamp, lease: Duration) -> Self {
        // A lease that ran out means that a query was interrupted; a bell during it is answered by this one.
        Self {
            queries: self.queries.saturating_add(1),
            asked: Some(now),
            state: VerificationState::Querying {
                until: now.plus(lease),
                again: None,
            },
            ..self
        }
    }

    /// The query is answered; a final verdict ends it.
    #[must_use]
    pub fn answered(self, answer: &Answer, now: Timestamp, policy: &VerifyPolicy) -> Settled {
        let is_final = matches!(answer, Answer::Verdict(verdict) if verdict.status().is_final());
        self.answered_as(answer, is_final, now, policy)
    }

    /// The query is answered; `over` says whether that settles what was asked. A final verdict that may be the one
    /// of the round before does not (see [`super::Observed::Older`]).
    #[must_use]
    pub fn answered_as(
        self,
        answer: &Answer,
        over: bool,
        now: Timestamp,
        policy: &VerifyPolicy,
    ) -> Settled {
        let rang = match self.state {
            VerificationState::Querying { again, .. } => again,
            VerificationState::Waiting { .. } => None,
        };
        let anonymous = rang == Some(Trust::Open);
        match rang {
            None if over => Settled::Done,
            Some(_) if over || !anonymous => {
                let due = if anonymous { self.paced(now) } else { now };
                let next = Self {
                    since: if over { now } else { self.since },
                    phase: VerifyPhase::Seeking { tries: 0 },
                    state: VerificationState::Waiting { due },
                    ..self
                };
                Settled::Goes {
                    next,
                    newly_stuck: false,
                }
            }
            _ => {
                let source = self.source;
                let (next, newly_stuck) = self.asked_in_vain(answer, now, policy);
                let next = if anonymous {
                    next.joined(source, Trust::Open, now)
                } else {
                    next
                };
                Settled::Goes { next, newly_stuck }
            }
        }
    }

    /// Nobody rang since, and the answer settles nothing: on by the schedule, or stuck. Returns whether it became
    /// stuck just now.
    fn asked_in_vain(self, answer: &Answer, now: Timestamp, policy: &VerifyPolicy) -> (Self, bool) {
        let deadline = self.since.plus(policy.give_up_after);
        let (phase, due, newly_stuck) = match self.phase {
            phase @ VerifyPhase::Stuck { .. } => (phase, now.plus(STUCK_POLL), false),
            VerifyPhase::Seeking { .. } if now >= deadline => {
                (VerifyPhase::Stuck { at: now }, now.plus(STUCK_POLL), true)
            }
            VerifyPhase::Seeking { tries } => {
                let (tries, wait) = self.next_wait(answer, tries.saturating_add(1), now, policy);
                // A last question at the deadline itself, then it is given up.
                let due = now.plus(wait).min(deadline);
                (VerifyPhase::Seeking { tries }, due, false)
            }
        };
        let state = VerificationState::Waiting { due };
        let next = Self {
            phase,
            state,
            ..self
        };
        (next, newly_stuck)
    }

    /// The queries that count against the schedule from now on, and the wait before the next.
    ///
    /// A doorbell's verification follows `retry`, and a user who is seen waiting is asked about at least as often as
    /// `reconcile` says. Where nobody rang there is no hurry: only failures follow `retry`.
    fn next_wait(
        &self,
        answer: &Answer,
        tries: u32,
        now: Timestamp,
        policy: &VerifyPolicy,
    ) -> (u32, Duration) {
        let step = policy.retry.after_repeating(tries);
        let unprompted = policy.reconcile_wait(now.since(self.since));
        match (answer, unprompted) {
            (Answer::Verdict(_), Some(wait)) if self.trust == Trust::Watch => (0, wait),
            (Answer::Verdict(verdict), Some(wait)) if verdict.status().is_waiting() => {
                (tries, step.min(wait))
            }
            _ => (tries, step),
        }
    }

    /// A query was claimed but never sent (the process is stopping, the breaker opened): due again at once, and
    /// nothing counted against it.
    #[must_use]
    pub fn released(self, now: Timestamp) -> Self {
        Self {
            state: VerificationState::Waiting { due: now },
            ..self
        }
    }

    /// The provider is back since `back`: asked about at once, whatever its schedule says, in order of how long it
    /// has waited. `None`: nothing changes, because it stands there already, is being asked about, or was since.
    #[must_use]
    pub fn hastened(self, back: Timestamp) -> Option<Self> {
        let is_answered = self.asked.is_some_and(|asked| asked >= back);
        match self.state {
            VerificationState::Waiting { due } if due > self.since && !is_answered => Some(Self {
                state: VerificationState::Waiting { due: self.since },
                ..self
            }),
            _ => None,
        }
    }

    /// Whether a failed answer speaks of the provider as a whole.
    #[must_use]
    pub const fn blames_provider(answer: &Answer) -> bool {
        matches!(answer, Answer::Failed(failure) if failure.is_provider_down())
            && !matches!(answer, Answer::Failed(QueryFailure::Interrupted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Status, Verdict};
    use proptest::prelude::*;

    fn policy() -> VerifyPolicy {
        VerifyPolicy {
            retry: Schedule::new(vec![Duration::from_secs(1), Duration::from_secs(60)])
                .expect("valid"),
            give_up_after: Duration::from_secs(600),
            duplicate_window: Duration::from_secs(3600),
            reconcile: None,
        }
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn says(code: &str) -> Answer {
        Answer::Verdict(Verdict::new(Status::parse(code).expect("valid"), None))
    }

    fn asked(verification: Verification, now: Timestamp) -> Verification {
        verification.claimed(now, Duration::from_secs(30))
    }

    #[test]
    fn a_final_answer_ends_it() {
        let asked = asked(
            Verification::new(Source::Callback, Trust::Signed, at(0)),
            at(0),
        );
        assert_eq!(asked.answered(&says("2"), at(1), &policy()), Settled::Done);
    }

    #[test]
    fn a_doorbell_after_the_query_was_sent_causes_exactly_one_more_query() {
        let asked = asked(
            Verification::new(Source::Callback, Trust::Signed, at(0)),
            at(0),
        );
        let rang = asked.joined(Source::Callback, Trust::Signed, at(1)).joined(
            Source::Callback,
            Trust::Signed,
            at(1),
        );
        let Settled::Goes { next, .. } = rang.answered(&says("2"), at(2), &policy()) else {
            panic!("the second doorbell was forgotten");
        };
        assert_eq!(next.due(), at(2));
        let again = super::tests::asked(next, at(2));
        assert_eq!(again.answered(&says("2"), at(3), &policy()), Settled::Done);
    }

    #[test]
    fn answers_that_are_not_final_follow_the_schedule_and_its_last_step_repeats() {
        let mut verification = Verification::new(Source::Callback, Trust::Signed, at(0));
        let mut waits = Vec::new();
        let mut now = at(0);
        for answer in ["0", "1", "4"] {
            let Settled::Goes { next, newly_stuck } =
                asked(verification, now).answered(&says(answer), now, &policy())
            else {
                panic!("{answer} was taken for final");
            };
            assert!(!newly_stuck);
            waits.push(next.due().since(now).as_secs());
            now = next.due();
            verification = next;
        }
        assert_eq!(waits, [1, 60, 60]);
    }

    #[test]
    fn an_open_doorbell_does_not_hurry_what_a_trusted_one_started() {
        let asked = asked(
            Verification::new(Source::Callback, Trust::Token, at(0)),
            at(0),
        );
        let Settled::Goes { next, .. } = asked.answered(&says("1"), at(0), &policy()) else {
            panic!("not final")
        };
        let due = next.due();
        let forged = next.clone().joined(Source::Callback, Trust::Open, at(0));
        assert_eq!((forged.due(), forged.trust), (due, Trust::Token));
        let genuine = next.joined(Source::Callback, Trust::Signed, at(0));
        assert_eq!((genuine.due(), genuine.trust), (at(0), Trust::Signed));
    }

    /// How often in ten minutes a user is asked about while anybody rings ten times a second.
    fn asked_in_a_flood(mut verification: Verification, answer: &str) -> u32 {
        let policy = VerifyPolicy {
            reconcile: Some(Duration::from_secs(900)),
            give_up_after: DAY,
            ..policy()
        };
        let mut queries = 0;
        for tick in 0..6000 {
            let now = Timestamp::from_millis(tick * 100);
            verification = verification.joined(Source::Callback, Trust::Open, now);
            match verification.state {
                VerificationState::Waiting { due } if due <= now => {
                    verification = asked(verification, now);
                    queries += 1;
                }
                VerificationState::Querying { .. } => {
                    let settled = verification.answered(&says(answer), now, &policy);
                    let Settled::Goes { next, .. } = settled else {
                        panic!("a doorbell during the query was forgotten");
                    };
                    verification = next;
                }
                VerificationState::Waiting { .. } => {}
            }
        }
        queries
    }

    #[test]
    fn a_flood_that_anybody_could_send_has_a_user_asked_about_every_ten_seconds_at_most() {
        let watched = || Verification::watching(at(0), at(900));
        for answer in ["1", "2"] {
            let queries = asked_in_a_flood(watched(), answer);
            assert!((50..=60).contains(&queries), "{answer}: {queries} queries");
        }
        let unknown = Verification::new(Source::Callback, Trust::Open, at(0));
        let queries = asked_in_a_flood(unknown, "2");
        assert!(queries <= 60, "{queries} queries");
        // A trusted doorbell's own schedule stays as it is.
        let trusted = Verification::new(Source::Callback, Trust::Token, at(0));
        assert!(asked_in_a_flood(trusted, "1") <= 2 + 600 / 60);
    }

    #[test]
    fn a_doorbell_that_anybody_could_ring_neither_revives_nor_renews() {
        let stuck = Verification {
            phase: VerifyPhase::Stuck { at: at(600) },
            state: VerificationState::Waiting { due: at(90_000) },
            ..Verification::watching(at(0), at(0))
        };
        let rung = stuck.joined(Source::Callback, Trust::Open, at(700));
        assert_eq!(rung.due(), at(700), "it is asked about");
        assert_eq!(
            (rung.since, rung.phase),
            (at(0), VerifyPhase::Stuck { at: at(600) })
        );
    }

    #[test]
    fn a_final_verdict_that_settles_nothing_keeps_asking_by_the_schedule() {
        let policy = policy();
        let claimed = asked(
            Verification::new(Source::Callback, Trust::Token, at(0)),
            at(0),
        );
        let Settled::Goes { next, .. } = claimed.answered_as(&says("3"), false, at(0), &policy)
        else {
            panic!("ended by a verdict that is not its own");
        };
        assert_eq!(next.due(), at(1));
    }

    #[test]
    fn a_stuck_one_is_asked_about_daily_and_a_doorbell_revives_it() {
        let mut verification = Verification::new(Source::Callback, Trust::Signed, at(0));
        let mut now = at(0);
        let mut alarms = 0;
        for _ in 0..100 {
            let failed = Answer::Failed(QueryFailure::Timeout);
            let Settled::Goes { next, newly_stuck } =
                asked(verification, now).answered(&failed, now, &policy())
            else {
                panic!("a failure was taken for final");
            };
            alarms += u32::from(newly_stuck);
            verification = next;
            if newly_stuck {
                assert_eq!(now, at(600), "stuck neither before nor after give_up_after");
            }
            now = verification.due();
        }
        assert_eq!(alarms, 1);
        let revived = verification.joined(Source::Callback, Trust::Signed, now);
        assert_eq!(revived.phase, VerifyPhase::Seeking { tries: 0 });
        assert_eq!(revived.since, now);
    }

    #[test]
    fn the_watched_are_asked_about_every_reconcile_and_ever_slower_as_they_age() {
        let policy = VerifyPolicy {
            reconcile: Some(Duration::from_secs(900)),
            give_up_after: Duration::from_secs(10 * 24 * 3600),
            ..policy()
        };
        let mut now = at(900);
        let mut verification = Verification::watching(at(0), now);
        let mut waits = Vec::new();
        while now < at(8 * 24 * 3600) {
            let answered = asked(verification, now).answered(&says("1"), now, &policy);
            let Settled::Goes { next, .. } = answered else {
                panic!("not final")
            };
            let wait = next.due().since(now).as_secs();
            if waits.last() != Some(&wait) {
                waits.push(wait);
            }
            (now, verification) = (next.due(), next);
        }
        assert_eq!(
            waits,
            [900, 1800, 3600, 7200, 14_400, 28_800, 57_600, 86_400]
        );
    }

    #[test]
    fn a_user_seen_waiting_is_asked_about_at_least_every_reconcile() {
        let policy = VerifyPolicy {
            reconcile: Some(Duration::from_secs(10)),
            ..policy()
        };
        let mut verification = Verification::new(Source::Callback, Trust::Signed, at(0));
        let mut waits = Vec::new();
        let mut now = at(0);
        for answer in [says("0"), says("0"), Answer::Failed(QueryFailure::Timeout)] {
            let Settled::Goes { next, .. } =
                asked(verification, now).answered(&answer, now, &policy)
            else {
                panic!("not final");
            };
            waits.push(next.due().since(now).as_secs());
            (now, verification) = (next.due(), next);
        }
        assert_eq!(
            waits,
            [1, 10, 60],
            "a failure is not an answer: it follows its own schedule"
        );
    }

    proptest! {
        #[test]
        fn whatever_happens_it_is_never_forgotten_nor_busy(
            steps in proptest::collection::vec((0u8..5, 0u64..2000), 1..60)
        ) {
            let policy = policy();
            let mut now = at(0);
            let mut verification = Verification::new(Source::Callback, Trust::Open, now);
            for (step, wait) in steps {
                now = now.plus(Duration::from_secs(wait));
                let before = verification.clone();
                verification = match (step, verification.state) {
                    (0, _) => verification.joined(Source::Callback, Trust::Signed, now),
                    (1, _) => verification.joined(Source::Reconcile, Trust::Watch, now),
                    (2, VerificationState::Waiting { .. }) => asked(verification, now),
                    (_, VerificationState::Querying { again, .. }) => {
                        let answer = if step == 3 { says("2") } else { says("0") };
                        match verification.answered(&answer, now, &policy) {
                            Settled::Done => {
                                prop_assert!(step == 3 && again.is_none(), "ended without a final answer to the last doorbell");
                                Verification::new(Source::Callback, Trust::Open, now)
                            }
                            Settled::Goes { next, .. } => {
                                prop_assert!(again.is_some() || next.due() > now, "would ask again without pause");
                                next
                            }
                        }
                    }
                    _ => verification,
                };
                prop_assert!(verification.trust <= before.trust || verification.queries == 0);
            }
        }
    }
}
