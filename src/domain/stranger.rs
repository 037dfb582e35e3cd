//! Callbacks that anybody could have sent, for users nobody has heard of: how much of them is kept, and for how long.
//!
//! Promise: what a flood of inventions leaves behind is bounded, and nothing in it is dropped silently that may be
//! true: it is asked about for a day first, or refused so that the provider sends it again.

use std::time::Duration;

use super::{Answer, Callback, Timestamp, Trust, Verification};

/// What is done with a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// Kept whole.
    Whole,
    /// Kept compactly.
    Compact,
    /// Too many of its kind wait already: not accepted.
    Refused,
}

/// A user of whom nothing is known but callbacks that anybody could have sent.
#[derive(Clone, Copy, Debug)]
pub struct Stranger;

impl Stranger {
    /// The newest callbacks of one such user that are kept: they differ in nothing but what they claim, and none is
    /// believed.
    pub const CALLBACKS_KEPT: usize = 3;

    /// The newest callbacks of a user we have heard of that are kept of those that anybody could have sent: twice as
    /// many as the provider sends of one result. At the most a mebibyte each user.
    pub const UNTRUSTED_KEPT: usize = 18;

    /// The most of such a callback's body that is kept, in bytes. A published one has 250.
    pub const BODY_KEPT: usize = 2048;

    /// Verifications that anybody could have started and that may be under way at a time, per merchant. All of them
    /// are asked about once within three hours at the open lane's default rate (a tenth of 20/s), so a genuine one
    /// among them is found before the provider stops notifying; with all that is kept of each, they fill less than
    /// 150 MB of disk.
    pub const KEPT: u64 = 20_000;

    /// How long the provider is asked about a user that it knows nothing of: longer than it notifies itself.
    pub const ASKED_FOR: Duration = Duration::from_secs(24 * 3600);

    /// Whether a user is one: never heard of by a verdict or an application, nor by anybody who knows a secret.
    #[must_use]
    pub fn is_one(heard_of: bool, running: Option<&Verification>) -> bool {
        !heard_of && running.is_none_or(|running| running.trust == Trust::Open)
    }

    /// What is done with a callback for a user, while `open` verifications that anybody could have started wait.
    #[must_use]
    pub fn receive(
        callback: &Callback,
        heard_of: bool,
        running: Option<&Verification>,
        open: u64,
    ) -> Reception {
        if callback.trust() != Trust::Open || !Self::is_one(heard_of, running) {
            return Reception::Whole;
        }
        if running.is_none() && open >= Self::KEPT {
            return Reception::Refused;
        }
        Reception::Compact
    }

    /// Whether nothing is to be kept of a user any longer: a day has passed without any verdict, and it is the provider
    /// itself that knows nothing, not that it cannot be asked.
    #[must_use]
    pub fn is_forgotten(
        heard_of: bool,
        running: &Verification,
        answer: &Answer,
        now: Timestamp,
    ) -> bool {
        Self::is_one(heard_of, Some(running))
            && now.since(running.since) >= Self::ASKED_FOR
            && matches!(answer, Answer::Failed(_))
            && !Verification::blames_provider(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Arrival, CallbackId, QueryFailure, SignCheck, Source};
    use proptest::prelude::*;

    fn callback(sign: SignCheck, token: bool) -> Callback {
        Callback {
            id: CallbackId::from_bytes([0; 16]),
            merchant: "1027749636".parse().expect("valid"),
            user: "u".parse().ok(),
            claim: None,
            sign,
            token,
            arrival: Arrival {
                body: vec![],
                content_type: None,
                query: None,
                peer: None,
                at: Timestamp::from_millis(0),
            },
        }
    }

    fn running(trust: Trust) -> Verification {
        Verification::new(Source::Callback, trust, Timestamp::from_millis(0))
    }

    #[test]
    fn beyond_the_bound_a_new_stranger_is_refused_and_nobody_else() {
        let full = Stranger::KEPT;
        let open = callback(SignCheck::Missing, false);
        let receive = |callback: &Callback, heard_of, running: Option<&Verification>| {
            Stranger::receive(callback, heard_of, running, full)
        };
        assert_eq!(receive(&open, false, None), Reception::Refused);
        assert_eq!(
            Stranger::receive(&open, false, None, full - 1),
            Reception::Compact
        );
        assert_eq!(
            receive(&open, false, Some(&running(Trust::Open))),
            Reception::Compact
        );
        assert_eq!(receive(&open, true, None), Reception::Whole);
        assert_eq!(
            receive(&open, false, Some(&running(Trust::Watch))),
            Reception::Whole
        );
        for trusted in [
            callback(SignCheck::Valid, false),
            callback(SignCheck::Invalid, true),
        ] {
            assert_eq!(receive(&trusted, false, None), Reception::Whole);
        }
    }

    #[test]
    fn a_stranger_is_forgotten_after_a_day_and_only_on_the_providers_word() {
        let unknown = Answer::Failed(QueryFailure::Refused("2001".into()));
        let down = Answer::Failed(QueryFailure::Timeout);
        let day = Timestamp::from_millis(24 * 3600 * 1000);
        let (open, watched) = (running(Trust::Open), running(Trust::Watch));
        assert!(Stranger::is_forgotten(false, &open, &unknown, day));
        let before = day.minus(Duration::from_millis(1));
        assert!(!Stranger::is_forgotten(false, &open, &unknown, before));
        assert!(!Stranger::is_forgotten(false, &open, &down, day));
        assert!(!Stranger::is_forgotten(true, &open, &unknown, day));
        assert!(!Stranger::is_forgotten(false, &watched, &unknown, day));
    }

    proptest! {
        #[test]
        fn who_knows_a_secret_is_never_refused(open: u64, heard_of: bool, valid: bool) {
            let trusted = callback(if valid { SignCheck::Valid } else { SignCheck::Missing }, !valid);
            prop_assert_eq!(Stranger::receive(&trusted, heard_of, None, open), Reception::Whole);
        }
    }
}
