//! The relay as a whole: built from a configuration, then started, then stopped in order.
//!
//! [`App::build`] opens and binds everything and starts nothing, so that the tests and `serve` go through the same
//! door. Stopping: unready, stop accepting, stop claiming, let attempts end, flush, done.

mod build;
mod changes;
mod heartbeat;
mod reload;
mod sampling;
mod stages;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use build::{BuildError, Deps, Sockets, callback_path, callback_url};

use crate::clock::Clock;
use crate::config::settings::{Config, Listen};
use crate::deliver::Jobs;
use crate::http::admin::{AdminListener, Readiness};
use crate::http::{BindError, PublicListener};
use crate::metrics::Metrics;
use crate::retention::Retention;
use crate::store::embedded::OpenReport;
use crate::store::{Store, StoreError};
use crate::verify::Applications;
use crate::worker::{self, Beats};
pub use changes::Changes;
pub use reload::Reloaded;
use reload::Reloading;
use stages::Stages;
pub use stages::client_settings;

/// How long requests under way may take to end once the listener stops: a durable accept takes milliseconds.
const LISTENER_GRACE: Duration = Duration::from_secs(5);

/// How long it takes at most until a listener's threads have picked up the connections that were accepted.
const PICKED_UP: Duration = Duration::from_millis(250);

/// How long attempts and queries under way may take to end: most of the default timeouts, and with the rest of
/// stopping under the 30 s that an operator is promised. What is cut off is picked up again at the next start.
const WORK_GRACE: Duration = Duration::from_secs(20);

/// Threads that serve callbacks. Each is good for thousands a second; two keep one busy with a TLS handshake from
/// holding up the rest.
const LISTENER_WORKERS: usize = 2;

/// The relay, built but not running.
pub struct App {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    beats: Arc<Beats>,
    stages: Stages,
    public: PublicListener,
    admin: AdminListener,
    readiness: Arc<Readiness>,
    applications: Arc<Applications>,
    jobs: Arc<Jobs>,
    retention: Arc<Retention>,
    reloading: Reloading,
    metrics: Arc<Metrics>,
    opened: OpenReport,
}

/// Who does the work of the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// Their loops, by the clock.
    Running,
    /// Nobody, until [`Running::settle`] is called: for tests that decide when.
    Manual,
}

/// The relay, running.
pub struct Running {
    store: Arc<dyn Store>,
    beats: Arc<Beats>,
    stages: Stages,
    readiness: Arc<Readiness>,
    applications: Arc<Applications>,
    jobs: Arc<Jobs>,
    retention: Arc<Retention>,
    reloading: Reloading,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    addresses: (Listen, Listen),
    listeners: Vec<ServerHandle>,
    cancel: CancellationToken,
    tracker: TaskTracker,
    listener_failed: Arc<AtomicBool>,
}

impl App {
    /// Where callbacks are taken.
    #[must_use]
    pub fn public_address(&self) -> Listen {
        self.public.local_addr().clone()
    }

    /// Where the operators' side listens.
    #[must_use]
    pub fn admin_address(&self) -> Listen {
        self.admin.local_addr()
    }

    /// What was found on opening the store.
    #[must_use]
    pub const fn opened(&self) -> OpenReport {
        self.opened
    }

    /// The store, for start-up lines and tests.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Whether the workers turn; they do once they are started.
    #[must_use]
    pub fn beats(&self) -> Arc<Beats> {
        Arc::clone(&self.beats)
    }

    /// Starts the listeners and, unless they are left to the caller, the workers.
    ///
    /// # Errors
    /// A listener did not start.
    pub fn start(mut self, workers: Workers) -> Result<Running, BindError> {
        let cancel = CancellationToken::new();
        let tracker = TaskTracker::new();
        let addresses = (self.public.local_addr().clone(), self.admin.local_addr());
        let listener_failed = Arc::new(AtomicBool::new(false));
        let mut listeners = Vec::new();
        let servers = [
            self.admin.run()?,
            self.public.run(LISTENER_WORKERS, LISTENER_GRACE)?,
        ];
        for server in servers {
            listeners.push(server.handle());
            let (cancel, failed) = (cancel.clone(), Arc::clone(&listener_failed));
            // Not among the work that a stop waits for: each is stopped by its handle, in its turn.
            TaskTracker::new().spawn(async move {
                if let Err(error) = server.await {
                    tracing::error!(%error, "a listener ended; stopping");
                    failed.store(true, Ordering::Relaxed);
                    cancel.cancel();
                }
            });
        }
        if workers == Workers::Running {
            let beats = &self.beats;
            self.stages.spawn(&self.clock, beats, &cancel, &tracker);
            let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
            let beat = beats.join("heartbeat".to_owned(), None);
            tracker.spawn(heartbeat::run(store, clock, beat, cancel.clone()));
            let (jobs, ending) = (Arc::clone(&self.jobs), cancel.clone());
            let beat = beats.join("jobs".to_owned(), None);
            tracker.spawn(async move { jobs.run(beat, ending).await });
            tracker.spawn(sampling::run(
                Arc::clone(&self.metrics),
                Arc::clone(&self.store),
                Arc::clone(&self.clock),
                cancel.clone(),
            ));
            let (retention, ending) = (Arc::clone(&self.retention), cancel.clone());
            let beat = beats.join("retention".to_owned(), None);
            tracker.spawn(async move { retention.run(beat, ending).await });
        }
        self.readiness.serving();
        Ok(Running {
            store: self.store,
            beats: self.beats,
            stages: self.stages,
            readiness: self.readiness,
            applications: self.applications,
            jobs: self.jobs,
            retention: self.retention,
            reloading: self.reloading,
            metrics: self.metrics,
            clock: self.clock,
            addresses,
            listeners,
            cancel,
            tracker,
            listener_failed,
        })
    }
}

impl Running {
    /// Where callbacks are taken.
    #[must_use]
    pub const fn public_address(&self) -> &Listen {
        &self.addresses.0
    }

    /// Where the operators' side listens.
    #[must_use]
    pub const fn admin_address(&self) -> &Listen {
        &self.addresses.1
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Whether the workers turn.
    #[must_use]
    pub fn beats(&self) -> Arc<Beats> {
        Arc::clone(&self.beats)
    }

    /// Applications and watches.
    #[must_use]
    pub fn applications(&self) -> Arc<Applications> {
        Arc::clone(&self.applications)
    }

    /// Jobs.
    #[must_use]
    pub fn jobs(&self) -> Arc<Jobs> {
        Arc::clone(&self.jobs)
    }

    /// What is settled and old.
    #[must_use]
    pub fn retention(&self) -> Arc<Retention> {
        Arc::clone(&self.retention)
    }

    /// Does all work that is due by the clock, and what that makes due, until nothing is. Returns how much it was.
    /// For [`Workers::Manual`].
    ///
    /// # Errors
    /// The store failed.
    pub async fn settle(&self) -> Result<usize, StoreError> {
        let mut done = 0;
        loop {
            let dealt_with = self.jobs.advance().await?.unwrap_or(0);
            let mut now = usize::try_from(dealt_with).unwrap_or(usize::MAX);
            while let Some(gone) = self.retention.advance().await? {
                now += usize::try_from(gone).unwrap_or(usize::MAX);
            }
            for verifier in self.stages.verifiers() {
                now += worker::run_due(verifier).await?;
            }
            for deliverer in self.stages.deliverers() {
                now += worker::run_due(deliverer).await?;
            }
            if now == 0 {
                return Ok(done);
            }
            done += now;
        }
    }

    /// Goes over to another configuration; what is under way ends under the old one.
    ///
    /// # Errors
    /// A client could not be made, or the TLS files cannot serve; nothing has changed.
    pub fn reload(&mut self, config: &Config) -> Result<Reloaded, BuildError> {
        let reloaded = self.reloading.reload(&mut self.stages, config);
        self.metrics.reloaded(self.clock.now(), reloaded.is_ok());
        reloaded
    }

    /// Another configuration was asked for, and could not even be read.
    pub fn not_reloaded(&self) {
        self.metrics.reloaded(self.clock.now(), false);
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Ends the running minute of [`crate::metrics::History`], as the clock does with [`Workers::Running`]. For
    /// [`Workers::Manual`].
    pub async fn end_minute(&self) {
        sampling::end_minute(&self.metrics, &*self.store, &*self.clock).await;
    }

    /// Ends when something inside went so wrong that the process should stop.
    pub async fn failed(&self) {
        self.cancel.cancelled().await;
    }

    /// Stops in order, within 30 s. What is cut off is leased in the store and picked up at the next start.
    ///
    /// # Errors
    /// The last sync failed; what was acknowledged is durable all the same.
    #[allow(clippy::disallowed_methods, reason = "grace is real time")]
    pub async fn stop(self) -> Result<(), StoreError> {
        self.readiness.stopping();
        let (operators, callbacks) = (self.listeners.first(), self.listeners.get(1));
        if let Some(public) = callbacks {
            // First nobody new is taken: with a socket of systemd's they wait for the next process. Those that were
            // taken and wait for a thread would be dropped by the stop.
            public.pause().await;
            tokio::time::sleep(PICKED_UP).await;
            public.stop(true).await;
        }
        self.cancel.cancel();
        self.tracker.close();
        if tokio::time::timeout(WORK_GRACE, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                cut_off = self.tracker.len(),
                "attempts still under way are cut off; they are made again at the next start"
            );
        }
        // Last, so that whoever asks is told why no callbacks are taken.
        if let Some(admin) = operators {
            admin.stop(true).await;
        }
        self.store.close().await
    }

    /// Whether it stopped because a listener ended by itself.
    #[must_use]
    pub fn listener_failed(&self) -> bool {
        self.listener_failed.load(Ordering::Relaxed)
    }
}
