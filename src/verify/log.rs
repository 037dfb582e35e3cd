//! What is said and counted of a verification: one log line for each query, with what came of it. Fields as in
//! `docs/logging.md`.

use std::time::Duration;

use crate::domain::{Answer, Timestamp};
use crate::metrics::{Metrics, VerifyMetrics};
use crate::store::{AnswerRecorded, VerifyClaim};

/// Counts a query. The lag is that of an event, from the callback that led to it.
pub(super) fn count(
    metrics: &Metrics,
    own: &VerifyMetrics,
    (answer, took): (&Answer, Duration),
    led_to: Option<&AnswerRecorded>,
    now: Timestamp,
) {
    let told = led_to.filter(|recorded| recorded.event.is_some());
    let rung = told.and_then(|recorded| recorded.rung);
    let outcome = match answer {
        Answer::Verdict(verdict) => Ok(verdict.status().word()),
        Answer::Failed(failure) => Err(failure.class()),
    };
    let lag = rung.map(|callback| now.since(callback.made_at()));
    metrics.queried(own, outcome, took, lag);
}

/// A query was answered and recorded.
pub(super) fn answered(
    claim: &VerifyClaim,
    answer: &Answer,
    recorded: &AnswerRecorded,
    took: Duration,
) {
    let merchant = &claim.merchant;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let query = claim.verification.queries;
    let callback = recorded.rung.map(tracing::field::display);
    let event = recorded.event.map(tracing::field::display);
    let next_due = recorded.next_due.map(tracing::field::display);
    tracing::debug!(callback, %merchant, user = %claim.user, query, "verification of this user");
    match answer {
        Answer::Verdict(verdict) => tracing::info!(
            callback, %merchant, query, took_ms, event, next_due,
            outcome = verdict.status().word(),
            "verification answered {}", verdict.status().word()
        ),
        Answer::Failed(failure) => tracing::warn!(
            callback, %merchant, query, took_ms, next_due,
            outcome = failure.class(),
            "verification failed: {failure}"
        ),
    }
    if recorded.newly_stuck {
        tracing::error!(callback, %merchant, query, next_due, "verification is stuck: no final status within verify.give_up_after; asking daily from now on");
    }
    if !recorded.counted {
        tracing::warn!(%merchant, query, "an answer came after its lease had ended and was not recorded");
    }
}
