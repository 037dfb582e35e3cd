//! What is remembered of one user: enough to tell a new result from one already told.

use std::time::Duration;

use super::{Timestamp, Verdict};

/// The verdict of the user's latest event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastVerdict {
    /// What it said.
    pub verdict: Verdict,
    /// When the event was made.
    pub at: Timestamp,
}

/// How an application of ours stands while its result is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplicationState {
    /// It was sent, and what became of it is not known: a query will tell. Never sent again meanwhile.
    Unknown,
    /// The provider has it.
    Accepted,
}

/// An application of ours whose result is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application {
    /// When it was sent.
    pub at: Timestamp,
    /// How it stands.
    pub state: ApplicationState,
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
    /// The application of ours whose result is out.
    pub application: Option<Application>,
}

impl UserState {
    /// Takes in one verdict. Returns the user's new state, and whether there is an event to make (its sequence is
    /// then the new state's).
    ///
    /// `tell` says whether somebody wants to hear of this kind: a verdict that is not final makes an event only
    /// then; a final one always does (contract §6). The same verdict as the latest event's within `window` is the
    /// same event, unless the user waited in between (contract §5).
    #[must_use]
    pub fn observe(
        self,
        verdict: &Verdict,
        now: Timestamp,
        window: Duration,
        tell: bool,
    ) -> (Self, bool) {
        let state = self.settled_application(verdict);
        state.told_of(verdict, now, window, tell)
    }

    /// A verdict says that the provider knows the user: an application of unknown fate has arrived; a final one ends it.
    fn settled_application(self, verdict: &Verdict) -> Self {
        let accepted = |sent| Application {
            state: ApplicationState::Accepted,
            ..sent
        };
        let out = self.application.filter(|_| !verdict.status().is_final());
        Self {
            application: out.map(accepted),
            ..self
        }
    }

    fn told_of(
        self,
        verdict: &Verdict,
        now: Timestamp,
        window: Duration,
        tell: bool,
    ) -> (Self, bool) {
        let repeats = self
            .last
            .as_ref()
            .is_some_and(|last| last.verdict == *verdict);
        if repeats
            && !self.waited
            && self
                .last
                .as_ref()
                .is_some_and(|last| now.since(last.at) < window)
        {
            return (self, false);
        }
        if verdict.status().is_final() || tell {
            let last = Some(LastVerdict {
                verdict: verdict.clone(),
                at: now,
            });
            return (
                Self {
                    sequence: self.sequence.saturating_add(1),
                    last,
                    waited: false,
                    ..self
                },
                true,
            );
        }
        let waited = self.waited || (verdict.status().is_waiting() && !repeats);
        (Self { waited, ..self }, false)
    }

    /// An application goes out: until its fate is known it is not sent again.
    #[must_use]
    pub fn applying(self, now: Timestamp) -> Self {
        let application = Some(Application {
            at: now,
            state: ApplicationState::Unknown,
        });
        Self {
            application,
            ..self
        }
    }

    /// The provider has the application: a new round begins, and its verdict is news even if it reads the same.
    #[must_use]
    pub fn applied(self) -> Self {
        let accepted = |sent| Application {
            state: ApplicationState::Accepted,
            ..sent
        };
        Self {
            waited: true,
            application: self.application.map(accepted),
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
            made.extend(event.then_some(state.sequence));
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
        assert!(state.clone().observe(&second, now, WINDOW, true).1);
        assert!(!state.observe(&first, now, WINDOW, true).1);
    }

    proptest! {
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
                let (after, event) = before.clone().observe(&verdict(&code), now, WINDOW, tell);
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
