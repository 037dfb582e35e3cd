//! A simulated Vexora for the demo, the tests, and whoever integrates: both provider APIs with their signatures
//! checked, reviews that take time, callbacks on the published retry schedule, and faults to order.
//!
//! Promise: it behaves as the provider's pages say; where they are silent, it does what is documented here as our
//! choice, or what is ordered. It listens on loopback unless told otherwise. It must not be reachable from the
//! production path, and knows nothing of the relay: only the clock, the domain and the provider's signature.
//!
//! Our choices: a further application during a review joins it; reviews are `0` for the first half of their time and
//! then `1`; a user whose id contains `reject` is rejected (`reject-once`: the first time only), one whose id
//! contains `silent` is never called back, all others are approved; a retried callback is the same bytes again.

mod account;
mod api;
mod callback;
pub mod cli;
mod control;
mod engine;
mod faults;
mod intake;
mod notice;
mod report;
mod server;
mod world;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

pub use account::Application;
pub use callback::{CallbackBody, CallbackSpec, Form, SignMode};
pub use faults::Faults;
pub use notice::{CallbackAttempt, CallbackState, SCHEDULE};
pub use report::{CallbackReport, Requests, UserReport};
pub use world::ByHandError;

use crate::clock::{Clock, SystemClock};
use crate::domain::{MerchantNo, Secret, Status, Timestamp, UserId, Verdict};
use engine::Engine;
use world::{Key, Pace, World};

/// What a query for a user that never applied comes to. The provider does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum UnknownUser {
    /// Declined with code `2001`.
    #[default]
    Refuse,
    /// Answered with status `0`.
    Pending,
}

/// How to simulate.
#[derive(Clone)]
pub struct SandboxConfig {
    /// Who may call, and with which app secret each signs.
    pub merchants: Vec<(MerchantNo, Secret)>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether `listen` may be reachable from elsewhere, and callbacks may go elsewhere over plain http.
    pub allow_remote: bool,
    /// Faults for every user.
    pub faults: Faults,
    /// Multiplies every simulated time: 0.01 makes an hour 36 seconds. Socket timeouts stay as they are.
    pub time_scale: f64,
    /// From an application to its result.
    pub review_time: Duration,
    /// What a query for an unknown user comes to.
    pub unknown_user: UnknownUser,
    /// What time it is for reviews and schedules.
    pub clock: Arc<dyn Clock>,
    /// Whether callbacks go out by themselves; otherwise [`Sandbox::run_due`] sends them.
    pub background: bool,
}

impl SandboxConfig {
    /// No faults, real time, reviews of two seconds, a free port on 127.0.0.1.
    #[must_use]
    pub fn new(merchants: Vec<(MerchantNo, Secret)>) -> Self {
        Self {
            merchants,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            faults: Faults::default(),
            time_scale: 1.0,
            review_time: Duration::from_secs(2),
            unknown_user: UnknownUser::default(),
            clock: Arc::new(SystemClock),
            background: true,
        }
    }
}

/// Why the sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address is not this machine's own.
    #[error("{0} can be reached from other machines, expected a loopback address")]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A factor that time cannot be multiplied by.
    #[error("time scale {0} is not a number from 0 up")]
    TimeScale(f64),
    /// The client that sends callbacks cannot be built.
    #[error("cannot prepare the HTTP client for callbacks")]
    Client(#[source] Box<dyn Error + Send + Sync>),
}

/// A running simulated provider. Dropping it stops it without waiting.
pub struct Sandbox {
    engine: Arc<Engine>,
    address: SocketAddr,
}

impl Sandbox {
    /// Starts on the present tokio runtime; the listener has a thread of its own.
    ///
    /// # Errors
    /// An address that cannot or may not be listened on, a nonsensical time scale, no HTTP client.
    pub async fn start(config: SandboxConfig) -> Result<Self, SandboxError> {
        let address = config.listen;
        if !config.allow_remote && !address.ip().to_canonical().is_loopback() {
            return Err(SandboxError::NotLoopback(address));
        }
        if !config.time_scale.is_finite() || config.time_scale < 0.0 {
            return Err(SandboxError::TimeScale(config.time_scale));
        }
        let pace = Pace {
            scale: config.time_scale,
            review: config.review_time,
        };
        let engine = Arc::new(Engine::new(
            World::new(config.merchants, config.faults, pace),
            config.clock,
            config.unknown_user == UnknownUser::Pending,
            config.allow_remote,
        )?);
        let failed = |source| SandboxError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = server::server(listener, &engine).map_err(failed)?;
        engine.tasks.spawn(server::run(server, Arc::clone(&engine)));
        if config.background {
            engine.tasks.spawn(Arc::clone(&engine).run());
        }
        Ok(Self { engine, address })
    }

    /// Ends the listener, the loop and every callback that is out, and waits for them.
    pub async fn stop(self) {
        self.engine.stop.cancel();
        self.engine.tasks.close();
        self.engine.tasks.wait().await;
    }

    /// The address listened on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What takes the place of the provider's base URL: `http://127.0.0.1:PORT/japan`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}{}", self.address, server::PREFIX)
    }

    /// Where the control API is: `http://127.0.0.1:PORT/control`.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}/control", self.address)
    }

    /// Sends every callback due by the clock now, waits for the answers, returns how many were sent.
    pub async fn run_due(&self) -> usize {
        self.engine.run_due().await
    }

    /// When the next review ends or the next callback is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.engine.world().next_due()
    }

    /// Sets a user's status from now on, without any callback; a running review is over.
    pub fn set_status(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        status: Status,
        reason: Option<&str>,
    ) {
        let verdict = Verdict::new(status, reason.map(str::to_owned));
        let now = self.engine.now();
        self.engine.world().set(now, &key(merchant, user), verdict);
    }

    /// Sets what a user's reviews come to from now on.
    pub fn set_decision(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        status: Status,
        reason: Option<&str>,
    ) {
        let verdict = Verdict::new(status, reason.map(str::to_owned));
        let mut world = self.engine.world();
        let account = world.accounts.entry(key(merchant, user)).or_default();
        account.ordered = Some(verdict);
    }

    /// Sets where a user's results go, as an application would.
    pub fn set_callback_url(&self, merchant: &MerchantNo, user: &UserId, url: &str) {
        let mut world = self.engine.world();
        let account = world.accounts.entry(key(merchant, user)).or_default();
        account.callback_url = Some(url.to_owned());
    }

    /// Puts the user's present status on its way to its `callBackUrl`, with retries, due now.
    pub fn announce(&self, merchant: &MerchantNo, user: &UserId) {
        let now = self.engine.now();
        let mut world = self.engine.world();
        world.settle(now);
        world.announce(now, now, &key(merchant, user));
        drop(world);
        self.engine.kick();
    }

    /// Orders faults for every user without its own.
    pub fn set_faults(&self, faults: Faults) {
        self.engine.world().faults = faults;
    }

    /// Orders faults for one user; `None`: those for all.
    pub fn set_user_faults(&self, merchant: &MerchantNo, user: &UserId, faults: Option<Faults>) {
        let mut world = self.engine.world();
        world
            .accounts
            .entry(key(merchant, user))
            .or_default()
            .faults = faults;
    }

    /// How many well-signed status queries came for a user.
    #[must_use]
    pub fn queries(&self, merchant: &MerchantNo, user: &UserId) -> u64 {
        let world = self.engine.world();
        world
            .accounts
            .get(&key(merchant, user))
            .map_or(0, |account| account.queries)
    }

    /// What a user applied for, oldest first.
    #[must_use]
    pub fn applications(&self, merchant: &MerchantNo, user: &UserId) -> Vec<Application> {
        let world = self.engine.world();
        let account = world.accounts.get(&key(merchant, user));
        account.map_or_else(Vec::new, |account| account.applications.clone())
    }

    /// A user's callbacks with all their tries, oldest first.
    #[must_use]
    pub fn callbacks(&self, merchant: &MerchantNo, user: &UserId) -> Vec<CallbackReport> {
        self.engine.world().callbacks(&key(merchant, user))
    }

    /// Everything about one user.
    #[must_use]
    pub fn user(&self, merchant: &MerchantNo, user: &UserId) -> Option<UserReport> {
        report(&self.engine, &key(merchant, user))
    }

    /// How many requests came and went.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.engine.world().requests.clone()
    }

    /// The callback that would be sent of a user now, to post it by other means.
    ///
    /// # Errors
    /// Not a merchant of this sandbox, or no status that can be sent.
    pub fn callback_body(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        spec: &CallbackSpec,
    ) -> Result<CallbackBody, ByHandError> {
        let now = self.engine.now();
        self.engine.world().body(now, &key(merchant, user), spec)
    }

    /// Sends one callback now and waits for its answer; recorded, but never retried.
    ///
    /// # Errors
    /// As [`Sandbox::callback_body`], and no address known or given. A failed request is no error but an attempt.
    pub async fn send_callback(
        &self,
        merchant: &MerchantNo,
        user: &UserId,
        spec: &CallbackSpec,
    ) -> Result<CallbackAttempt, ByHandError> {
        send_by_hand(&self.engine, &key(merchant, user), spec).await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.engine.stop.cancel();
    }
}

fn key(merchant: &MerchantNo, user: &UserId) -> Key {
    (merchant.clone(), user.clone())
}

async fn send_by_hand(
    engine: &Engine,
    key: &Key,
    spec: &CallbackSpec,
) -> Result<CallbackAttempt, ByHandError> {
    if let Some(url) = &spec.url {
        intake::callback_url(url, engine.allow_remote).map_err(ByHandError::Url)?;
    }
    let errand = engine.world().by_hand(engine.now(), key, spec)?;
    Ok(engine.deliver(errand).await)
}

fn report(engine: &Engine, key: &Key) -> Option<UserReport> {
    let now = engine.now();
    let mut world = engine.world();
    world.settle(now);
    let account = world.accounts.get(key)?;
    Some(UserReport::of(key, account, world.callbacks(key), now))
}

fn reports(engine: &Engine) -> Vec<UserReport> {
    let keys: Vec<Key> = engine.world().accounts.keys().cloned().collect();
    keys.iter().filter_map(|key| report(engine, key)).collect()
}
