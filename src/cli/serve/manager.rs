//! What the service manager is told: ready, reloading, stopping, how things are, and that the workers turn.
//!
//! Promise: the watchdog is fed by turns of the workers, and only while all of them turn; no timer does it. Without a
//! service manager nothing is said and nothing is lost.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::worker::{Beats, Behind, STUCK_AFTER};

/// How often the status line is looked at; it is sent when it has changed.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// What is not late by more is in time: a line that changes with every query says nothing.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// The service manager, as far as we talk to it.
pub(super) struct Manager {
    watchdog: Option<Duration>,
    serving: String,
    endpoints: AtomicUsize,
    /// Problems of the configuration that was last asked for and not taken over.
    refused: Mutex<Option<String>>,
    said: Mutex<String>,
}

impl Manager {
    /// Whoever started us, from the environment.
    pub(super) fn from_env(serving: String, endpoints: usize) -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled().filter(|every| !every.is_zero()),
            serving,
            endpoints: AtomicUsize::new(endpoints),
            refused: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// How often each worker must turn for the watchdog's sake: twice within its time even if one turn is slow.
    pub(super) fn turn_every(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 3)
    }

    pub(super) async fn ready(&self, beats: &Beats) {
        let status = self.status(beats).await;
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        self.remember(status);
    }

    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[
                NotifyState::Reloading,
                now,
                NotifyState::Status("reading the configuration again"),
            ]),
            Err(error) => tracing::warn!(%error, "no monotonic clock to tell the service manager"),
        }
    }

    /// The configuration was taken over.
    pub(super) async fn reloaded(&self, endpoints: usize, beats: &Beats) {
        self.endpoints.store(endpoints, Ordering::Relaxed);
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.ready(beats).await;
    }

    /// The configuration was not taken over; `why` in a few words.
    pub(super) async fn not_reloaded(&self, why: String, beats: &Beats) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.ready(beats).await;
    }

    pub(super) fn stopping(&self) {
        let status = NotifyState::Status("stopping: no new callbacks, attempts under way end");
        tell(&[NotifyState::Stopping, status]);
    }

    /// Keeps the service manager informed. Never ends.
    pub(super) async fn inform(&self, beats: &Beats, clock: &dyn Clock) {
        tokio::join!(self.feed(beats, clock), self.describe(beats, clock));
    }

    async fn feed(&self, beats: &Beats, clock: &dyn Clock) {
        let Some(limit) = self.watchdog else {
            return;
        };
        let mut fed: Option<Timestamp> = None;
        loop {
            beats.turned().await;
            let now = clock.now();
            // Workers turn far more often than that; a clock that is set back must not starve it.
            let recently = fed.is_some_and(|fed| now >= fed && now.since(fed) < limit / 4);
            if !recently && beats.silent(limit.min(STUCK_AFTER)).is_empty() {
                tell(&[NotifyState::Watchdog]);
                fed = Some(now);
            }
        }
    }

    async fn describe(&self, beats: &Beats, clock: &dyn Clock) {
        let every = self
            .turn_every()
            .map_or(STATUS_EVERY, |every| every.min(STATUS_EVERY));
        loop {
            clock.sleep_until(clock.now().plus(every)).await;
            let status = self.status(beats).await;
            let known = *self.said.lock().unwrap_or_else(PoisonError::into_inner) == status;
            if !known {
                tell(&[NotifyState::Status(&status)]);
                self.remember(status);
            }
        }
    }

    fn remember(&self, status: String) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    async fn status(&self, beats: &Beats) -> String {
        let limit = self.watchdog.unwrap_or(STUCK_AFTER).min(STUCK_AFTER);
        let refused = self
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let late = beats.latest().await.ok().flatten();
        let state = State {
            serving: &self.serving,
            endpoints: self.endpoints.load(Ordering::Relaxed),
            held: beats.held().await.unwrap_or_default(),
            late: late.filter(|late| late.by >= WORTH_TELLING),
            stuck: beats.silent(limit),
            refused,
        };
        state.line()
    }
}

/// How things are, for one line.
struct State<'a> {
    serving: &'a str,
    endpoints: usize,
    held: Vec<String>,
    late: Option<Behind>,
    stuck: Vec<Behind>,
    refused: Option<String>,
}

impl State<'_> {
    /// What is wrong first; a person reads it in `systemctl status`.
    fn line(&self) -> String {
        let mut line = String::new();
        for stuck in &self.stuck {
            let secs = stuck.by.as_secs();
            let _infallible = write!(line, "{} has not turned for {secs} s; ", stuck.worker);
        }
        if let Some(why) = &self.refused {
            let _infallible = write!(line, "configuration not reloaded: {why}; ");
        }
        if !self.held.is_empty() {
            let _infallible = write!(line, "held: {}; ", self.held.join(", "));
        }
        let endpoints = super::counted(self.endpoints, "endpoint");
        let _infallible = write!(line, "callbacks on {}, {endpoints}", self.serving);
        match &self.late {
            Some(late) => {
                let secs = late.by.as_secs();
                let _infallible = write!(line, ", oldest due {secs} s ({})", late.worker);
            }
            None => line.push_str(", nothing late"),
        }
        line
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_comes_first() {
        let mut state = State {
            serving: "http://127.0.0.1:8080",
            endpoints: 3,
            held: vec![],
            late: None,
            stuck: vec![],
            refused: None,
        };
        assert_eq!(
            state.line(),
            "callbacks on http://127.0.0.1:8080, 3 endpoints, nothing late"
        );
        let behind = |worker: &str, secs| Behind {
            worker: worker.to_owned(),
            by: Duration::from_secs(secs),
        };
        state.held.push("deliver ledger".to_owned());
        state.late = Some(behind("deliver crm", 7));
        state.stuck.push(behind("heartbeat", 75));
        state.refused = Some("2 problems, see the log".to_owned());
        assert_eq!(
            state.line(),
            "heartbeat has not turned for 75 s; configuration not reloaded: 2 problems, see the log; \
             held: deliver ledger; callbacks on http://127.0.0.1:8080, 3 endpoints, oldest due 7 s (deliver crm)"
        );
    }
}
