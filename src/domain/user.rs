//! What is remembered of one user: enough to tell a new result from one already told.

// long because: half of it is the tests of one state machine, which are read beside it.

use std::time::Duration;

use super::application::OLD_SHOWS_FOR;
use super::{Application, ApplicationState, Heard, Timestamp, Verdict};

/// The verdict of the user's latest event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastVerdict {
    /// What it said.
    pub verdict: Verdict,
    /// When the event was made.
    pub at: Timestamp,
}

/// What a verdict is to a user of whom something is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// An event is to be made; its sequence is the new state's.
    News,
    /// Nothing that was not known, or nothing that anybody wants to hear of.
    Known,
    /// Final, but maybe the verdict of the round before, still showing after a new application: it settles nothing.
    Older,
}

/// A user's results so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserState {
    /// The sequence of the latest event; 0 before the first.
    pub sequence: u64,
    /// The verdict of the latest event.
    pub last: Option<LastVerdict>,
    /// Whether the user was seen waiting (0, 1, or a new application) after the latest event: the next verdict
    /// then belongs to a new round and is news even if it reads the same.
    pub waited: bool,
    /// The application of ours whose result is not known yet.
    pub application: Option<Application>,
}

impl UserState {
    /// Takes in one verdict: the user's new state, and what the verdict is to it.
    ///
    /// `tell` says whether somebody wants to hear of this kind: a verdict that is not final makes an event only
    /// then; a final one always does (contract §6). The same verdict as the latest event's within `window` is the
    /// same event, unless the user waited in between (contract §5). Shortly after an application it is not even
    /// that, but for a while nothing at all: the query may lag behind the application (decision 0010).
    #[must_use]
    pub fn observe(
        self,
        verdict: &Verdict,
        now: Timestamp,
        window: Duration,
        tell: bool,
    ) -> (Self, Observed) {
        let status = verdict.status();
        let last = self.last.as_ref();
        let repeats = last.is_some_and(|last| last.verdict == *verdict);
        let within = last.is_some_and(|last| now.since(last.at) < window);
        if let Some(sent) = self.application.filter(|_| repeats && status.is_final()) {
            let is_own = sent.is_borne_out(status);
            if !is_own && now.since(sent.at) < OLD_SHOWS_FOR {
                return (self, Observed::Older);
            }
            let after = Self {
                application: None,
                ..self
            };
            // Nobody knows that it ever arrived, and nothing came of it: the old verdict stands.
            return if is_own || sent.state == ApplicationState::Accepted {
                (after.told(verdict, now), Observed::News)
            } else {
                (after, Observed::Known)
            };
        }
        let waited = self.waited;
        let after = Self {
            application: self.application.and_then(|sent| sent.queried(verdict)),
            ..self
        };
        // A user who goes on waiting is no news, however long; a final verdict asked for again may be.
        if repeats && !waited && (within || !status.is_final()) {
            return (after, Observed::Known);
        }
        if status.is_final() || tell {
            return (after.told(verdict, now), Observed::News);
        }
        let waited = waited || (status.is_waiting() && !repeats);
        (Self { waited, ..after }, Observed::Known)
    }

    fn told(self, verdict: &Verdict, now: Timestamp) -> Self {
        Self {
            sequence: self.sequence.saturating_add(1),
            last: Some(LastVerdict {
                verdict: verdict.clone(),
                at: now,
            }),
            waited: false,
            ..self
        }
    }

    /// A trusted callback claimed this. A claim changes nothing by itself; it bears out a verdict that the query
    /// agrees to.
    #[must_use]
    pub fn claimed(self, claim: &str) -> Self {
        let application = self.application.map(|sent| Application {
            heard: Heard {
                approved: sent.heard.approved || claim == "2",
                rejected: sent.heard.rejected || claim == "3",
                ..sent.heard
            },
            ..sent
        });
        Self {
            application,
            ..self
        }
    }

    /// The provider answered that it will not say anything of this user. An application of unknown fate has then not
    /// arrived, if it had the time to: it may be sent again.
    #[must_use]
    pub fn unheard_of(self, now: Timestamp) -> Self {
        let arrived = |sent: &Application| {
            sent.state == ApplicationState::Accepted || now.since(sent.at) < OLD_SHOWS_FOR
        };
        Self {
            application: self.application.filter(arrived),
            ..self
        }
    }

    /// An application goes out: until its fate is known it is not sent again.
    #[must_use]
    pub fn applying(self, now: Timestamp) -> Self {
        let application = Some(Application {
            at: now,
            state: ApplicationState::Unknown,
            heard: Heard::default(),
        });
        Self {
            application,
            ..self
        }
    }

    /// The provider has the application: a new round begins, and its verdict is news even if it reads the same. If
    /// that verdict was here before the answer, there is nothing more to it.
    #[must_use]
    pub fn applied(self) -> Self {
        let Some(sent) = self.application else {
            return self;
        };
        Self {
            // Where a query was faster and saw the user waiting, it has taken note of that itself.
            waited: self.waited || !sent.heard.waiting,
            application: Some(Application {
                state: ApplicationState::Accepted,
                ..sent
            }),
            ..self
        }
    }

    /// The provider declined the application: nothing is out.
    #[must_use]
    pub fn declined(self) -> Self {
        Self {
            application: None,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Status;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(12 * 3600);

    fn verdict(code: &str) -> Verdict {
        Verdict::new(Status::parse(code).expect("valid"), None)
    }

    fn told(codes: &[(u64, &str)], tell: bool) -> Vec<u64> {
        let mut state = UserState::default();
        let mut made = Vec::new();
        for (secs, code) in codes {
            let now = Timestamp::from_millis(secs * 1000);
            let (next, event) = state.observe(&verdict(code), now, WINDOW, tell);
            state = next;
            made.extend((event == Observed::News).then_some(state.sequence));
        }
        made
    }

    #[test]
    fn the_same_verdict_within_the_window_is_the_same_event() {
        assert_eq!(told(&[(0, "2"), (60, "2"), (43_199, "2")], false), [1]);
    }

    #[test]
    fn the_same_verdict_after_the_window_is_a_new_event() {
        assert_eq!(told(&[(0, "2"), (43_200, "2")], false), [1, 2]);
    }

    #[test]
    fn the_same_verdict_after_waiting_is_a_new_event() {
        assert_eq!(told(&[(0, "3"), (60, "1"), (120, "3")], false), [1, 2]);
        assert_eq!(told(&[(0, "3"), (60, "1"), (120, "3")], true), [1, 2, 3]);
    }

    #[test]
    fn an_unknown_status_in_between_does_not_make_the_same_verdict_news() {
        assert_eq!(told(&[(0, "2"), (60, "4"), (120, "2")], false), [1]);
    }

    #[test]
    fn asking_again_while_the_user_waits_is_told_once() {
        assert_eq!(told(&[(0, "1"), (60, "1"), (90_000, "1")], true), [1]);
        assert_eq!(told(&[(0, "0"), (60, "0"), (120, "0")], true), [1]);
        assert_eq!(
            told(&[(0, "0"), (60, "0"), (120, "0")], false),
            Vec::<u64>::new()
        );
    }

    #[test]
    fn another_reason_is_another_verdict() {
        let first = Verdict::new(Status::Rejected, Some("blurred".into()));
        let second = Verdict::new(Status::Rejected, Some("expired".into()));
        let now = Timestamp::from_millis(0);
        let (state, _) = UserState::default().observe(&first, now, WINDOW, true);
        assert_eq!(
            state.clone().observe(&second, now, WINDOW, true).1,
            Observed::News
        );
        assert_eq!(state.observe(&first, now, WINDOW, true).1, Observed::Known);
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    /// Rejected at 0, and told so.
    fn rejected() -> UserState {
        UserState::default()
            .observe(&verdict("3"), at(0), WINDOW, false)
            .0
    }

    #[test]
    fn after_an_application_the_old_verdict_showing_through_settles_nothing() {
        let applied = rejected().applying(at(100)).applied();
        let (after, observed) = applied
            .clone()
            .observe(&verdict("3"), at(101), WINDOW, false);
        assert_eq!((&after, observed), (&applied, Observed::Older));
        let last = at(100 + 3599);
        assert_eq!(
            after.observe(&verdict("3"), last, WINDOW, false).1,
            Observed::Older
        );
    }

    #[test]
    fn a_claim_that_the_query_agrees_to_is_the_new_verdict() {
        let applied = rejected().applying(at(100)).applied();
        let other = applied.clone().claimed("2");
        assert_eq!(
            other.observe(&verdict("3"), at(101), WINDOW, false).1,
            Observed::Older
        );
        let (after, observed) = applied
            .claimed("3")
            .observe(&verdict("3"), at(101), WINDOW, false);
        assert_eq!(
            (after.sequence, after.application, observed),
            (2, None, Observed::News)
        );
    }

    #[test]
    fn an_hour_after_the_application_the_same_verdict_is_a_new_one() {
        let applied = rejected().applying(at(100)).applied();
        let (after, observed) = applied.observe(&verdict("3"), at(3700), WINDOW, false);
        assert_eq!(
            (after.sequence, after.application, observed),
            (2, None, Observed::News)
        );
    }

    #[test]
    fn having_been_seen_waiting_the_same_verdict_is_a_new_one_at_once() {
        let applied = rejected().applying(at(100)).applied();
        let (waiting, _) = applied.observe(&verdict("1"), at(101), WINDOW, false);
        let (after, observed) = waiting.observe(&verdict("3"), at(102), WINDOW, false);
        assert_eq!(
            (after.sequence, after.application, observed),
            (2, None, Observed::News)
        );
    }

    #[test]
    fn another_verdict_than_the_last_is_news_at_once() {
        let applied = rejected().applying(at(100)).applied();
        let (after, observed) = applied.observe(&verdict("2"), at(101), WINDOW, false);
        assert_eq!((after.application, observed), (None, Observed::News));
    }

    #[test]
    fn an_application_of_unknown_fate_of_which_nothing_is_heard_makes_no_event() {
        let unknown = rejected().applying(at(100));
        let (after, observed) = unknown
            .clone()
            .observe(&verdict("3"), at(3700), WINDOW, false);
        assert_eq!(
            (after.sequence, after.application, observed),
            (1, None, Observed::Known)
        );
        assert!(unknown.clone().unheard_of(at(101)).application.is_some());
        assert!(unknown.clone().unheard_of(at(3700)).application.is_none());
        // Seen waiting, it did arrive.
        let (seen, _) = unknown.observe(&verdict("0"), at(101), WINDOW, false);
        assert_eq!(
            seen.application.map(|sent| sent.state),
            Some(ApplicationState::Accepted)
        );
        assert_eq!(
            seen.observe(&verdict("3"), at(102), WINDOW, false).1,
            Observed::News
        );
    }

    #[test]
    fn a_result_that_is_here_before_the_answer_to_the_application_is_told_once() {
        let sent = UserState::default().applying(at(0));
        let (early, observed) = sent.observe(&verdict("2"), at(1), WINDOW, false);
        assert_eq!(observed, Observed::News);
        let (after, observed) = early.applied().observe(&verdict("2"), at(2), WINDOW, false);
        assert_eq!((after.sequence, observed), (1, Observed::Known));
    }

    proptest! {
        #[test]
        fn whatever_is_heard_a_round_ends_in_one_event_and_the_old_verdict_is_never_its(
            lagging in proptest::collection::vec(1u64..300, 0..10),
            claims in proptest::collection::vec("[0-2]", 0..4),
            waiting in proptest::collection::vec("[01]", 0..4),
            own in "[23]",
        ) {
            let mut state = rejected().applying(at(100)).applied();
            let mut clock = 100;
            for claim in &claims {
                state = state.claimed(claim);
            }
            for wait in &lagging {
                clock += wait;
                let (next, observed) = state.observe(&verdict("3"), at(clock), WINDOW, false);
                prop_assert_eq!(observed, Observed::Older);
                state = next;
            }
            for code in &waiting {
                state = state.observe(&verdict(code), at(clock), WINDOW, false).0;
            }
            let state = state.claimed(&own);
            let (told, observed) = state.observe(&verdict(&own), at(clock), WINDOW, false);
            prop_assert_eq!((told.sequence, observed), (2, Observed::News));
            let (again, observed) = told.clone().observe(&verdict(&own), at(clock + 1), WINDOW, false);
            prop_assert_eq!((again, observed), (told, Observed::Known));
        }

        #[test]
        fn sequences_count_up_by_one_and_final_changes_are_never_missed(
            steps in proptest::collection::vec((0u64..50_000, "[0-4]"), 1..40),
            tell: bool,
        ) {
            let mut state = UserState::default();
            let mut clock = 0;
            for (wait, code) in steps {
                clock += wait;
                let before = state.clone();
                let now = Timestamp::from_millis(clock * 1000);
                let (after, observed) = before.clone().observe(&verdict(&code), now, WINDOW, tell);
                let event = observed == Observed::News;
                prop_assert_eq!(after.sequence, before.sequence + u64::from(event));
                let differs = before.last.as_ref().is_none_or(|last| last.verdict != verdict(&code));
                if verdict(&code).status().is_final() && (differs || before.waited) {
                    prop_assert!(event, "a changed final verdict made no event");
                }
                if event {
                    prop_assert_eq!(&after.last.as_ref().expect("an event leaves a verdict").verdict, &verdict(&code));
                }
                state = after;
            }
        }
    }
}
