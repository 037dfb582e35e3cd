//! What became of attempts: recorded, counted, logged, and taken in by the endpoint's deliverer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Deliverer;
use super::ahead::Sent;
use crate::domain::{Delivery, DeliveryState, Ease, HealthChange, Outcome, Timestamp};
use crate::store::{AttemptRecorded, AttemptReport, DeliveryClaim, Onward, StoreError};

impl Deliverer {
    /// Records attempts in this order, in one turn of the store; claims what is asked for along with the last, and returns it.
    pub(super) async fn record(
        &self,
        attempts: Vec<(DeliveryClaim, Sent)>,
        onward: Option<Onward>,
    ) -> Vec<DeliveryClaim> {
        let now = self.parts.clock.now();
        let last = attempts.len().saturating_sub(1);
        let reports = attempts.iter().enumerate().map(|(number, (claim, sent))| {
            let onward = onward.filter(|_| number == last);
            (claim, self.report(sent, now, onward))
        });
        let recorded = match self.parts.store.record_attempts(reports.collect()).await {
            Ok(recorded) => recorded,
            Err(error) => {
                let claims = attempts.iter().map(|(claim, _)| claim);
                claims.for_each(|claim| log_unrecorded(claim, &error));
                self.could_not_record().await;
                return Vec::new();
            }
        };
        let (mut next, mut are_all) = (Vec::new(), true);
        for ((claim, sent), recorded) in attempts.iter().zip(recorded) {
            match recorded {
                Ok(Some(recorded)) => {
                    log(&claim.delivery, &sent.outcome, &recorded, sent.took);
                    self.count(claim, &recorded.delivery.state, now);
                    self.take_in(&recorded, &sent.outcome, now);
                    next.extend(recorded.next);
                }
                Ok(None) => tracing::warn!(
                    event = %claim.delivery.event, endpoint = %claim.delivery.endpoint,
                    attempt = claim.delivery.attempts,
                    "an attempt ended after its lease and was not recorded; it was or will be made again"
                ),
                Err(error) => {
                    log_unrecorded(claim, &error);
                    are_all = false;
                }
            }
        }
        if !are_all {
            self.could_not_record().await;
        }
        next
    }

    fn report(&self, sent: &Sent, now: Timestamp, onward: Option<Onward>) -> AttemptReport {
        let now = now.max(sent.began);
        let failure = sent.outcome.failure;
        self.parts
            .metrics
            .attempted(&self.metrics, failure, sent.took);
        let entropy = &self.parts.entropy;
        AttemptReport {
            began: sent.began,
            took: sent.took,
            outcome: sent.outcome.clone(),
            now,
            draw: entropy.draw(),
            fresh: entropy.event_id(now),
            fresh_too: entropy.event_id(now),
            policy: self.parts.settings.load().policy.clone(),
            routing: self.parts.routing.load_full(),
            onward,
        }
    }

    async fn could_not_record(&self) {
        // The loop may not know of these leases.
        self.bell.notify_one();
        // Nor could what comes after them be recorded.
        self.give_back().await;
    }

    fn count(&self, claim: &DeliveryClaim, state: &DeliveryState, now: Timestamp) {
        match state {
            DeliveryState::Delivered { .. } => {
                let fresh = !claim.delivery.replay;
                let after = fresh.then(|| now.since(claim.event.at));
                self.parts.metrics.delivered(&self.metrics, after);
            }
            DeliveryState::Abandoned { .. } => self.metrics.abandoned(),
            DeliveryState::Waiting { .. } | DeliveryState::Delivering { .. } => {}
        }
    }

    /// What an attempt says of the endpoint.
    fn take_in(&self, recorded: &AttemptRecorded, outcome: &Outcome, now: Timestamp) {
        let endpoint = &self.parts.endpoint;
        match recorded.change {
            HealthChange::None => {}
            HealthChange::Down { .. } if recorded.paused.is_some() => tracing::error!(
                %endpoint,
                "endpoint {endpoint} answered 410 Gone and is paused; its deliveries are held until it is resumed"
            ),
            HealthChange::Down { .. } => tracing::error!(
                %endpoint,
                "endpoint {endpoint} is down: its deliveries are held, one probe at a time goes out"
            ),
            HealthChange::Up { since } => {
                self.up_since.store(now.as_millis(), Ordering::Relaxed);
                tracing::info!(%endpoint, %since, "endpoint {endpoint} is up again: what was held goes out");
            }
            HealthChange::Resumed => {
                self.up_since.store(now.as_millis(), Ordering::Relaxed);
                tracing::info!(%endpoint, "endpoint {endpoint} hears again after it was resumed: what was held goes out");
            }
        }
        let mut ease = self.ease();
        let before = *ease;
        let eased = if outcome.status.is_some_and(Ease::is_overload) {
            ease.overloaded()
        } else {
            *ease
        };
        *ease = match (recorded.change, outcome.failure) {
            (HealthChange::None, None) => ease.heard(self.parts.concurrency),
            (HealthChange::None, Some(_)) => eased,
            // When it is down too: what is still out may be heard, and let out whatever is held.
            _ => ease.recovered(),
        };
        if *ease != before || recorded.change != HealthChange::None {
            // What is held, or was kept back, rings for nobody by itself.
            self.bell.notify_one();
        }
    }
}

fn log_unrecorded(claim: &DeliveryClaim, error: &StoreError) {
    tracing::error!(
        event = %claim.delivery.event, endpoint = %claim.delivery.endpoint,
        error = error as &dyn std::error::Error,
        "an attempt could not be recorded; it is made again when its lease ends"
    );
}

fn log(delivery: &Delivery, outcome: &Outcome, recorded: &AttemptRecorded, took: Duration) {
    let after = &recorded.delivery;
    let (event, endpoint, attempt) = (delivery.event, &delivery.endpoint, delivery.attempts);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let status = outcome.status;
    let class = outcome.failure.map(crate::domain::FailureClass::as_str);
    match after.state {
        DeliveryState::Delivered { .. } => tracing::info!(
            %event, %endpoint, attempt, status, took_ms, outcome = "delivered",
            "delivered to {endpoint}"
        ),
        DeliveryState::Abandoned { reason, .. } => tracing::error!(
            %event, %endpoint, attempt, status, took_ms, outcome = class, reason = reason.as_str(),
            "delivery to {endpoint} abandoned after {attempt} attempts; it is kept and can be retried"
        ),
        DeliveryState::Waiting { .. } if recorded.held => tracing::warn!(
            %event, %endpoint, attempt, status, took_ms, outcome = class, detail = outcome.detail,
            "delivery to {endpoint} failed and is held until the endpoint is up"
        ),
        DeliveryState::Waiting { due } | DeliveryState::Delivering { until: due } => {
            tracing::warn!(
                %event, %endpoint, attempt, status, took_ms, outcome = class, next_due = %due,
                detail = outcome.detail, "delivery to {endpoint} failed, next attempt at {due}"
            )
        }
    }
}
