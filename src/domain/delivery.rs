//! One event on its way to one endpoint.
//!
//! An attempt is counted before it is sent ([`Delivery::begun`]) and recorded after ([`Delivery::settled`]): a crash
//! in between costs an attempt and never grants one.

// long because: a third of it is the tests of one state machine, which are read beside it.

use std::time::Duration;

use super::health::GONE;
use super::{EndpointName, EventId, Jitter, MerchantNo, Schedule, Timestamp, UserId};

/// Why a delivery was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AbandonReason {
    /// Its retry list is used up.
    Exhausted,
    /// `give_up_after` has passed.
    TooOld,
    /// An operator discarded it.
    Discarded,
}

impl AbandonReason {
    /// `exhausted`, `too_old` or `discarded`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::TooOld => "too_old",
            Self::Discarded => "discarded",
        }
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be sent at `due`, or later when an older one of the same user goes first.
    Waiting {
        /// When.
        due: Timestamp,
    },
    /// An attempt is out; whoever sent it answers for it until `until`.
    Delivering {
        /// The end of the lease.
        until: Timestamp,
    },
    /// The endpoint has heard.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// Given up; kept, and revivable by an operator.
    Abandoned {
        /// When.
        at: Timestamp,
        /// Why.
        reason: AbandonReason,
    },
}

impl DeliveryState {
    /// `waiting`, `delivering`, `delivered` or `abandoned`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Delivering { .. } => "delivering",
            Self::Delivered { .. } => "delivered",
            Self::Abandoned { .. } => "abandoned",
        }
    }
}

/// The stable class of a failed attempt (contract §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// No connection.
    Connect,
    /// The name does not resolve.
    Dns,
    /// The TLS handshake or the certificate.
    Tls,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer was whole.
    Reset,
    /// A 2xx without the `expect_body`.
    BodyMismatch,
    /// An answer other than 2xx.
    Status,
    /// The relay ended while the attempt was out; what became of it is not known.
    Interrupted,
}

impl FailureClass {
    /// All there are.
    pub const ALL: &'static [Self] = &[
        Self::Connect,
        Self::Dns,
        Self::Tls,
        Self::Timeout,
        Self::Reset,
        Self::BodyMismatch,
        Self::Status,
        Self::Interrupted,
    ];

    /// The class as shown: `connect`, `dns`, `tls`, `timeout`, `reset`, `body_mismatch`, `status`, `interrupted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::BodyMismatch => "body_mismatch",
            Self::Status => "status",
            Self::Interrupted => "interrupted",
        }
    }
}

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `None`: the endpoint has heard.
    pub failure: Option<FailureClass>,
    /// The HTTP status, when there was one.
    pub status: Option<u16>,
    /// What the receiver asked for by `Retry-After`, on 429 and 503 only.
    pub retry_after: Option<Duration>,
    /// The first 4 KiB of the answer's body.
    pub body: Vec<u8>,
    /// More of a failure, for people; holds no secret and nothing personal.
    pub detail: Option<String>,
}

impl Outcome {
    /// An attempt that nobody lived to see the end of.
    #[must_use]
    pub const fn interrupted() -> Self {
        Self {
            failure: Some(FailureClass::Interrupted),
            status: None,
            retry_after: None,
            body: Vec::new(),
            detail: None,
        }
    }

    /// Before when the receiver does not want this delivery again; it ended at `now`.
    #[must_use]
    pub fn asked_until(&self, now: Timestamp) -> Option<Timestamp> {
        let wait = self.retry_after?.min(DeliveryPolicy::MAX_RETRY_AFTER);
        Some(now.plus(wait))
    }
}

/// One HTTP request of a delivery, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counts the delivery's attempts from 1.
    pub number: u32,
    /// When it was begun.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// The rules of `[delivery]`, for one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryPolicy {
    /// The waits between attempts; used up: abandoned.
    pub retry: Schedule,
    /// How far each wait may stray.
    pub jitter: Jitter,
    /// Abandoned when this has passed since the event.
    pub give_up_after: Duration,
}

impl DeliveryPolicy {
    /// The longest wait a receiver can ask for: it may slow us, never park us (contract §6).
    pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
}

/// One event for one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The endpoint's name.
    pub endpoint: EndpointName,
    /// The event.
    pub event: EventId,
    /// The line it stands in: a user's results go one after the other. `None`: no order.
    pub line: Option<(MerchantNo, UserId)>,
    /// The event's place in that line.
    pub sequence: u64,
    /// Nobody stands behind it in that line, as is known; `false`: somebody may.
    pub is_last: bool,
    /// When it was made.
    pub created: Timestamp,
    /// From when `give_up_after` counts: when it was made, or an operator revived it.
    pub since: Timestamp,
    /// Attempts begun; numbers them.
    pub attempts: u32,
    /// Failed attempts that count against the schedule: those made while the endpoint was down do not.
    pub spent: u32,
    /// It tells again what was told before: an operator replays it.
    pub replay: bool,
    /// The class of the last failure.
    pub last_failure: Option<FailureClass>,
    /// Where it stands.
    pub state: DeliveryState,
}

impl Delivery {
    /// Whether it is still to be delivered.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(
            self.state,
            DeliveryState::Waiting { .. } | DeliveryState::Delivering { .. }
        )
    }

    /// When it next needs a look; `None` once it is settled.
    #[must_use]
    pub const fn due(&self) -> Option<Timestamp> {
        match self.state {
            DeliveryState::Waiting { due } => Some(due),
            DeliveryState::Delivering { until } => Some(until),
            DeliveryState::Delivered { .. } | DeliveryState::Abandoned { .. } => None,
        }
    }

    /// An attempt goes out; the sender answers for it for `lease`.
    #[must_use]
    pub fn begun(self, now: Timestamp, lease: Duration) -> Self {
        // Counted before sending: a crash mid-request must not grant a free attempt.
        Self {
            attempts: self.attempts.saturating_add(1),
            state: DeliveryState::Delivering {
                until: now.plus(lease),
            },
            ..self
        }
    }

    /// The attempt ended. `draw` is the jitter, from -1 to 1; `held` says that the endpoint is down or paused: a failure
    /// then uses up nothing, and the delivery waits for the endpoint in the order of age. An endpoint that says that it
    /// is gone throws nothing away, however old or often tried.
    #[must_use]
    pub fn settled(
        self,
        outcome: &Outcome,
        now: Timestamp,
        draw: f64,
        policy: &DeliveryPolicy,
        held: bool,
    ) -> Self {
        let Some(failure) = outcome.failure else {
            return Self {
                state: DeliveryState::Delivered { at: now },
                last_failure: None,
                ..self
            };
        };
        let deadline = self.since.plus(policy.give_up_after);
        let gone = outcome.status == Some(GONE);
        let spent = self.spent.saturating_add(u32::from(!held && !gone));
        let state = match policy.retry.after(spent.max(1)) {
            _ if gone || held && now < deadline => DeliveryState::Waiting { due: self.created },
            None => DeliveryState::Abandoned {
                at: now,
                reason: AbandonReason::Exhausted,
            },
            Some(_) if now >= deadline => DeliveryState::Abandoned {
                at: now,
                reason: AbandonReason::TooOld,
            },
            Some(step) => {
                // A last attempt at the deadline itself; but never before the receiver's own Retry-After.
                let scheduled = now.plus(policy.jitter.apply(step, draw)).min(deadline);
                DeliveryState::Waiting {
                    due: scheduled.max(outcome.asked_until(now).unwrap_or(now)),
                }
            }
        };
        Self {
            state,
            spent,
            last_failure: Some(failure),
            ..self
        }
    }

    /// The endpoint is down, or was: waits for it in the order of age, whatever its schedule said; but not before what
    /// its receiver asked for.
    #[must_use]
    pub fn held(self, not_before: Option<Timestamp>) -> Self {
        match self.state {
            DeliveryState::Waiting { .. } => Self {
                state: DeliveryState::Waiting {
                    due: not_before.map_or(self.created, |until| until.max(self.created)),
                },
                ..self
            },
            _ => self,
        }
    }

    /// An operator wants it tried again, from the start of its schedule, in this line. `late`: a newer result of its user
    /// was told or is under way, so it arrives marked as a replay.
    #[must_use]
    pub fn revived(self, now: Timestamp, line: Option<(MerchantNo, UserId)>, late: bool) -> Self {
        let state = DeliveryState::Waiting { due: now };
        Self {
            state,
            since: now,
            spent: 0,
            line,
            is_last: false,
            replay: self.replay || late,
            ..self
        }
    }

    /// An operator gives it up.
    #[must_use]
    pub fn discarded(self, now: Timestamp) -> Self {
        let reason = AbandonReason::Discarded;
        Self {
            state: DeliveryState::Abandoned { at: now, reason },
            ..self
        }
    }

    /// An attempt was claimed but never sent: due again at once, and before what came after it if it is the first; nothing
    /// counted.
    #[must_use]
    pub fn released(self, now: Timestamp) -> Self {
        // A retry was due later than that, and when is not known any more.
        let due = if self.spent == 0 {
            self.since.min(now)
        } else {
            now
        };
        Self {
            attempts: self.attempts.saturating_sub(1),
            state: DeliveryState::Waiting { due },
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(steps: &[u64], jitter: f64, give_up: u64) -> DeliveryPolicy {
        DeliveryPolicy {
            retry: Schedule::new(steps.iter().copied().map(Duration::from_secs).collect())
                .expect("valid"),
            jitter: Jitter::new(jitter).expect("valid"),
            give_up_after: Duration::from_secs(give_up),
        }
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn fresh() -> Delivery {
        Delivery {
            endpoint: "ledger".parse().expect("valid"),
            event: EventId::new(at(0), 1),
            line: None,
            sequence: 1,
            is_last: false,
            created: at(0),
            since: at(0),
            attempts: 0,
            spent: 0,
            replay: false,
            last_failure: None,
            state: DeliveryState::Waiting { due: at(0) },
        }
    }

    fn refused(retry_after: Option<u64>) -> Outcome {
        Outcome {
            failure: Some(FailureClass::Status),
            status: Some(503),
            retry_after: retry_after.map(Duration::from_secs),
            body: vec![],
            detail: None,
        }
    }

    fn heard() -> Outcome {
        Outcome {
            failure: None,
            status: Some(204),
            retry_after: None,
            body: vec![],
            detail: None,
        }
    }

    fn try_once(
        delivery: Delivery,
        now: Timestamp,
        outcome: &Outcome,
        draw: f64,
        rules: &DeliveryPolicy,
    ) -> Delivery {
        delivery
            .begun(now, Duration::from_secs(30))
            .settled(outcome, now, draw, rules, false)
    }

    #[test]
    fn a_2xx_settles_it() {
        let done = try_once(fresh(), at(3), &heard(), 0.0, &policy(&[5], 0.2, 100));
        assert_eq!(done.state, DeliveryState::Delivered { at: at(3) });
        assert_eq!(done.attempts, 1);
    }

    #[test]
    fn a_used_up_list_abandons_after_one_attempt_more_than_it_has_waits() {
        let rules = policy(&[5, 60], 0.0, 10_000);
        let mut delivery = fresh();
        let mut times = Vec::new();
        while let Some(due) = delivery.due() {
            times.push(due.as_secs());
            delivery = try_once(delivery, due, &refused(None), 0.0, &rules);
        }
        assert_eq!(times, [0, 5, 65]);
        assert_eq!(
            delivery.state,
            DeliveryState::Abandoned {
                at: at(65),
                reason: AbandonReason::Exhausted
            }
        );
    }

    #[test]
    fn give_up_after_ends_it_with_a_last_attempt_at_the_deadline() {
        let rules = policy(&[40; 100], 0.0, 100);
        let mut delivery = fresh();
        let mut times = Vec::new();
        while let Some(due) = delivery.due() {
            times.push(due.as_secs());
            delivery = try_once(delivery, due, &refused(None), 0.0, &rules);
        }
        assert_eq!(times, [0, 40, 80, 100]);
        assert_eq!(
            delivery.state,
            DeliveryState::Abandoned {
                at: at(100),
                reason: AbandonReason::TooOld
            }
        );
    }

    #[test]
    fn a_retry_after_hint_never_shortens_the_schedule_and_parks_nobody() {
        let rules = policy(&[60], 0.0, 1_000_000);
        let due = |hint| {
            try_once(fresh(), at(0), &refused(Some(hint)), 0.0, &rules)
                .due()
                .map(Timestamp::as_secs)
        };
        assert_eq!(due(1), Some(60));
        assert_eq!(due(600), Some(600));
        assert_eq!(due(10_000_000), Some(24 * 3600));
    }

    #[test]
    fn a_crash_mid_request_costs_an_attempt() {
        let lost = fresh().begun(at(0), Duration::from_secs(30));
        let again = lost.begun(at(30), Duration::from_secs(30));
        assert_eq!(again.attempts, 2);
    }

    #[test]
    fn an_attempt_that_was_never_sent_costs_nothing() {
        let begun = fresh().begun(at(3), Duration::from_secs(30));
        let released = begun.released(at(4));
        let since_it_was_made = Some(at(0));
        assert_eq!(
            (released.attempts, released.due()),
            (0, since_it_was_made),
            "before what came after it"
        );
        let begun = Delivery {
            spent: 1,
            ..fresh().begun(at(3), Duration::from_secs(30))
        };
        assert_eq!(begun.released(at(4)).due(), Some(at(4)), "a retry");
    }

    #[test]
    fn what_fails_while_the_endpoint_is_held_uses_up_nothing_but_time() {
        let rules = policy(&[5], 0.0, 100);
        let mut delivery = fresh();
        for now in [10, 20, 40, 80] {
            let out = delivery.begun(at(now), Duration::from_secs(30));
            delivery = out.settled(&refused(None), at(now), 0.0, &rules, true);
            assert_eq!(
                (delivery.due(), delivery.spent),
                (Some(at(0)), 0),
                "in the order of age"
            );
        }
        assert_eq!(delivery.attempts, 4, "attempts are numbered on");
        let out = delivery.begun(at(160), Duration::from_secs(30));
        let given_up = out.settled(&refused(None), at(160), 0.0, &rules, true);
        let reason = AbandonReason::TooOld;
        assert_eq!(
            given_up.state,
            DeliveryState::Abandoned {
                at: at(160),
                reason
            }
        );
        let revived = given_up.revived(at(200), None, false);
        assert_eq!((revived.due(), revived.attempts), (Some(at(200)), 5));
        let again = try_once(revived, at(200), &refused(None), 0.0, &rules);
        assert_eq!(
            again.due(),
            Some(at(205)),
            "a revived one has its whole schedule before it"
        );
    }

    proptest! {
        #[test]
        fn every_failed_delivery_waits_within_bounds_and_ends(
            steps in proptest::collection::vec(1u64..100_000, 1..12),
            jitter in 0.0f64..=1.0,
            give_up in 1u64..1_000_000,
            draws in proptest::collection::vec((-1.0f64..=1.0, proptest::option::of(0u64..200_000)), 13),
        ) {
            let rules = policy(&steps, jitter, give_up);
            let mut delivery = fresh();
            let mut now = at(0);
            let mut rounds = 0u32;
            for (draw, hint) in draws {
                let Some(due) = delivery.due() else { break };
                now = now.max(due);
                rounds += 1;
                delivery = try_once(delivery, now, &refused(hint), draw, &rules);
                prop_assert_eq!(delivery.attempts, rounds);
                if let Some(next) = delivery.due() {
                    prop_assert!(next > now, "would retry without pause");
                    let step = Duration::from_secs(steps[rounds as usize - 1]).mul_f64(1.0 + jitter);
                    let hint = Duration::from_secs(hint.unwrap_or(0)).min(DeliveryPolicy::MAX_RETRY_AFTER);
                    prop_assert!(next.since(now) <= step.max(hint) + Duration::from_millis(1));
                    prop_assert!(next >= now.plus(hint));
                }
            }
            prop_assert!(!delivery.is_pending(), "never ended");
            prop_assert!(rounds as usize <= steps.len() + 1);
        }
    }
}
