//! The operators' listener: health and readiness. Apart from the public one, so that neither can hurt the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::json;

use super::sockets::{self, BindError, Opened};
use crate::config::settings::{AdminSettings, Listen};

/// Operators and their monitoring are few.
const MAX_CONNECTIONS: usize = 256;

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const STOPPING: u8 = 2;

/// Whether callbacks should be sent here.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// Everything runs.
    pub fn serving(&self) {
        self.0.store(SERVING, Ordering::Release);
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.0.store(STOPPING, Ordering::Release);
    }

    /// What stands against sending callbacks here; empty: nothing.
    #[must_use]
    pub fn reasons(&self) -> Vec<&'static str> {
        match self.0.load(Ordering::Acquire) {
            STARTING => vec!["starting"],
            SERVING => vec![],
            _ => vec!["stopping"],
        }
    }
}

/// The operators' listener, with its socket but not serving yet.
#[derive(Debug)]
pub struct AdminListener {
    socket: Opened,
    address: Listen,
    readiness: Arc<Readiness>,
}

impl AdminListener {
    /// Opens the socket, unless one was `passed` in.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn bind(
        settings: &AdminSettings,
        readiness: Arc<Readiness>,
        passed: Option<Opened>,
    ) -> Result<Self, BindError> {
        let socket = match passed {
            Some(socket) => socket,
            None => sockets::open(&settings.listen).await?,
        };
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            readiness,
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
        let readiness = web::Data::from(self.readiness);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(readiness.clone())
                .route("/healthz", web::get().to(healthy))
                .route("/readyz", web::get().to(ready))
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

async fn ready(readiness: web::Data<Readiness>) -> HttpResponse {
    let reasons = readiness.reasons();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    HttpResponse::build(status).json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))
}

async fn not_found() -> HttpResponse {
    let body = json!({
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "there is nothing here",
    });
    HttpResponse::NotFound()
        .content_type("application/problem+json")
        .body(body.to_string())
}
