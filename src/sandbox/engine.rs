//! What moves the simulated provider: sends callbacks when they are due, and tells the world what came of them.
//!
//! Promise: a callback counts as delivered only by HTTP 200 with exactly `OK` within 10 s; redirects are not followed;
//! stopping ends whatever is out. The background loop and a test's [`Engine::run_due`] are the same code.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::SandboxError;
use super::notice::CallbackAttempt;
use super::world::{Errand, World};
use crate::clock::Clock;
use crate::domain::Timestamp;

/// How long the provider waits for the whole answer, by its callback page.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// As much of an answer as is kept to look at.
const KEPT_ANSWER: usize = 4096;
/// Callbacks out at a time: ten thousand reviews may end at once, and sockets are finite.
const IN_FLIGHT: usize = 64;

pub(super) struct Engine {
    world: Mutex<World>,
    pub clock: Arc<dyn Clock>,
    client: reqwest::Client,
    wake: Notify,
    slots: Semaphore,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    /// Whether a query for an unknown user is answered with status 0.
    pub unknown_pending: bool,
    pub allow_remote: bool,
}

impl Engine {
    pub(super) fn new(
        world: World,
        clock: Arc<dyn Clock>,
        unknown_pending: bool,
        allow_remote: bool,
    ) -> Result<Self, SandboxError> {
        Ok(Self {
            world: Mutex::new(world),
            clock,
            client: client()?,
            wake: Notify::new(),
            slots: Semaphore::new(IN_FLIGHT),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            unknown_pending,
            allow_remote,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The world, for as long as it takes to look or to change something; never across an await.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may be due earlier than the loop thinks.
    pub(super) fn kick(&self) {
        self.wake.notify_one();
    }

    /// Sends every callback that is due now, and waits until each has been answered. Returns how many.
    pub(super) async fn run_due(&self) -> usize {
        let errands = self.world().claim_due(self.now());
        join_all(errands.into_iter().map(|errand| self.deliver(errand)))
            .await
            .len()
    }

    /// Sends callbacks as they fall due until stopped.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let (errands, next) = {
                let mut world = self.world();
                let errands = world.claim_due(self.now());
                (errands, world.next_due())
            };
            for errand in errands {
                let engine = Arc::clone(&self);
                self.tasks.spawn(async move {
                    engine.deliver(errand).await;
                });
            }
            // A kick between claiming and here is kept by `Notify`, so none is lost.
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = sleep_until(&*self.clock, next) => {}
            }
        }
    }

    /// Makes one try and records it.
    pub(super) async fn deliver(&self, errand: Errand) -> CallbackAttempt {
        let at = self.now();
        let answer = tokio::select! {
            answer = self.post(&errand) => answer,
            () = self.stop.cancelled() => Err("broken"),
        };
        let attempt = match answer {
            Ok((status, body)) => CallbackAttempt {
                at,
                status: Some(status),
                confirmed: status == 200 && body == b"OK",
                body: String::from_utf8_lossy(&body).into_owned(),
                error: None,
            },
            Err(error) => CallbackAttempt {
                at,
                status: None,
                confirmed: false,
                body: String::new(),
                error: Some(error),
            },
        };
        let (number, next_due) = self.world().tried(self.now(), errand.id, attempt.clone());
        self.kick();
        tracing::info!(
            merchant = %errand.merchant,
            callback = errand.id,
            attempt = number,
            status = attempt.status,
            error = attempt.error,
            confirmed = attempt.confirmed,
            next_due = next_due.map(tracing::field::display),
            "callback sent"
        );
        attempt
    }

    async fn post(&self, errand: &Errand) -> Result<(u16, Vec<u8>), &'static str> {
        let Ok(_slot) = self.slots.acquire().await else {
            return Err("broken");
        };
        let request = self
            .client
            .post(&errand.url)
            .header("content-type", errand.body.content_type)
            .body(errand.body.bytes.clone());
        let mut response = request.send().await.map_err(class)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(class)? {
            body.extend_from_slice(&chunk);
            if body.len() > KEPT_ANSWER {
                body.truncate(KEPT_ANSWER);
                break;
            }
        }
        Ok((status, body))
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn class(error: reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "broken"
    }
}

async fn sleep_until(clock: &dyn Clock, until: Option<Timestamp>) {
    match until {
        Some(until) => clock.sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn client() -> Result<reqwest::Client, SandboxError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .timeout(ANSWER_TIME)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // A pooled connection belongs to the runtime that opened it, and callbacks leave from several.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("vexora-sandbox/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|source| SandboxError::Client(Box::new(source)))
}

/// Whom we trust over https: the usual roots, and those of this machine.
fn tls() -> Result<rustls::ClientConfig, SandboxError> {
    // Reading the machine's certificates takes longer than starting everything else.
    static ROOTS: OnceLock<rustls::RootCertStore> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = rustls::RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    });
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| SandboxError::Client(Box::new(source)))?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    Ok(config)
}
