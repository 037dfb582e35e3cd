//! The operators' listener: health, readiness and the API. Apart from the public one, with a thread and limits of its
//! own, so that neither can hurt the other.
//!
//! Promise: everything but `/healthz`, `/readyz` and `/metrics` needs the token; nothing that is answered holds a secret.

mod api;
mod attention;
mod auth;
mod copies;
mod dashboard;
mod endpoints;
mod guard;
mod jobs;
mod lists;
mod metrics;
mod openapi;
mod query;
mod readiness;
mod request_id;
mod routes;
mod rows;
mod schemas;
mod views;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, web};
use arc_swap::ArcSwap;
use bytes::Bytes;

pub use readiness::Readiness;

use self::guard::Guard;
use super::problem::Problem;
use super::sockets::{self, BindError, Opened};
use crate::clock::{Clock, Entropy};
use crate::config::settings::Listen;
use crate::deliver::Jobs;
use crate::domain::{MerchantNo, Routing, Secret};
use crate::metrics::Metrics;
use crate::retention::Retention;
use crate::store::Store;
use crate::verify::Applications;
use crate::worker::Beats;

/// Operators and their monitoring are few.
const MAX_CONNECTIONS: usize = 256;

/// A list of some 50,000 user ids to watch fits; nothing else comes near.
const MAX_BODY: usize = 4 << 20;

/// What the operators' side works with.
pub struct AdminParts {
    /// The bearer token.
    pub token: Secret,
    /// Whether callbacks should be sent here.
    pub readiness: Arc<Readiness>,
    /// Whether the workers turn and keep up.
    pub beats: Arc<Beats>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// The data directory.
    pub directory: PathBuf,
    /// Less free disk than this, in bytes, and callbacks are refused.
    pub min_free: u64,
    /// Applications and watches.
    pub applications: Arc<Applications>,
    /// Jobs.
    pub jobs: Arc<Jobs>,
    /// What is settled and old.
    pub retention: Arc<Retention>,
    /// Who hears of what: which endpoints there are.
    pub routing: Arc<ArcSwap<Routing>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Held while an answer of `/metrics` is made.
    pub scraping: tokio::sync::Mutex<()>,
}

impl AdminParts {
    /// Whether a merchant is configured.
    fn knows(&self, merchant: &MerchantNo) -> bool {
        self.applications
            .merchants
            .load()
            .iter()
            .any(|known| known.merchant == *merchant)
    }
}

/// The operators' listener, with its socket but not serving yet.
pub struct AdminListener {
    socket: Opened,
    address: Listen,
    parts: Arc<AdminParts>,
}

impl fmt::Debug for AdminListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdminListener({:?})", self.address)
    }
}

impl AdminListener {
    /// Opens the socket, unless one was `passed` in.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn bind(
        listen: &Listen,
        parts: AdminParts,
        passed: Option<Opened>,
    ) -> Result<Self, BindError> {
        let socket = match passed {
            Some(socket) => socket,
            None => sockets::open(listen).await?,
        };
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            parts: Arc::new(parts),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> Listen {
        self.address.clone()
    }

    /// Begins to serve.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn run(self) -> Result<Server, BindError> {
        let parts = web::Data::from(self.parts);
        let guard = web::Data::new(Guard::default());
        let sessions = web::Data::new(dashboard::Sessions::default());
        let server = HttpServer::new(move || {
            let bad_path = |_, _: &_| routes::bad_path().into();
            App::new()
                .app_data(parts.clone())
                .app_data(guard.clone())
                .app_data(sessions.clone())
                .app_data(web::PayloadConfig::new(MAX_BODY))
                .app_data(web::PathConfig::default().error_handler(bad_path))
                .wrap(from_fn(request_id::around))
                .configure(routes::configure)
                .configure(dashboard::routes)
                .default_service(web::to(not_found))
        })
        .workers(1)
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(Duration::from_secs(10))
        .shutdown_timeout(1)
        .disable_signals();
        let listening: io::Result<_> = match self.socket {
            Opened::Tcp(socket) => server.listen(socket),
            Opened::Unix(socket) => server.listen_uds(socket),
        };
        Ok(listening.map_err(BindError::Passed)?.run())
    }
}

async fn healthy() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("ok")
}

async fn not_found() -> HttpResponse<Bytes> {
    Problem::no_such_route().response()
}
