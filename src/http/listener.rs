//! The public listener: built first, knowing its own address, and run later.
//!
//! Promise: over HTTP/1, no connection of a stranger lives longer than `request_timeout`, the store's answer and a
//! few seconds; none can hold up another, as they share nothing but their number, which is bounded. HTTP/2 (offered
//! with TLS) has no such end for a client that answers pings; there the number alone is the bound. No signals are
//! handled here; whoever runs it stops it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};

use crate::clock::{Clock, Entropy};
use crate::config::settings::{Listen, ServerSettings};
use crate::metrics::Metrics;
use crate::receive::Receiver;

use super::callback::{self, Connected};
use super::crowd::{Crowd, Patience};
use super::edge::Edge;
use super::sockets::{self, BindError, Opened};
use super::tls::{self, Certificate};

/// Connections per worker. Each may hold a body of `max_body` while it comes in: with two workers and the default of
/// 64 KiB that is 256 MiB at the worst. Over it the kernel keeps newcomers waiting, for `request_timeout` at most.
const MAX_CONNECTIONS: usize = 2048;

/// Proxies close connections that were idle for a minute; the side that closes first never sends into the void, so
/// we close later. Only proxies and clients that know a secret get to keep a connection at all.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// After an answer to a request whose body was not read: so long is what still comes thrown away, so that the
/// client sees the answer and not a reset (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);

/// A listener that has its socket but does not serve yet.
pub struct PublicListener {
    socket: Opened,
    address: Listen,
    request_timeout: Duration,
    edge: Arc<Edge>,
}

impl fmt::Debug for PublicListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicListener({:?})", self.address)
    }
}

impl PublicListener {
    /// Opens the socket, unless one was `passed` in (by systemd), and reads the TLS files.
    ///
    /// # Errors
    /// The socket cannot be opened, or the TLS files cannot serve.
    pub async fn bind(
        settings: &ServerSettings,
        receiver: Arc<Receiver>,
        time_and_chance: (Arc<dyn Clock>, Arc<dyn Entropy>),
        metrics: Arc<Metrics>,
        passed: Option<Opened>,
    ) -> Result<Self, BindError> {
        // Before the socket: a listener that cannot serve should not have been seen.
        let certificate = settings.tls.as_ref().map(Certificate::load).transpose()?;
        let socket = match passed {
            Some(socket) => socket,
            None => sockets::open(&settings.listen).await?,
        };
        let address = socket.local_addr()?;
        if certificate.is_some() && matches!(address, Listen::Unix(_)) {
            return Err(BindError::TlsOverUnix);
        }
        let edge = Edge::new(
            settings,
            receiver,
            time_and_chance,
            metrics,
            certificate.map(Arc::new),
        );
        edge.show_certificate();
        Ok(Self {
            socket,
            address,
            request_timeout: settings.request_timeout,
            edge: Arc::new(edge),
        })
    }

    /// Where it listens, with the port that it was given if none was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> &Listen {
        &self.address
    }

    /// For reloading its rules while it runs.
    #[must_use]
    pub fn edge(&self) -> Arc<Edge> {
        Arc::clone(&self.edge)
    }

    /// Begins to serve with so many workers. The server runs as long as it is awaited; its handle stops it, and then
    /// requests under way have `grace`, in whole seconds, to end.
    ///
    /// # Errors
    /// The socket or the workers' threads cannot be used.
    pub fn run(self, workers: usize, grace: Duration) -> Result<Server, BindError> {
        let edge = web::Data::from(Arc::clone(&self.edge));
        let edge_of_connections = Arc::clone(&self.edge);
        let crowd = Arc::new(Crowd::default());
        let patience = Patience {
            first: self.request_timeout + LINGER,
            next: KEEP_ALIVE + self.request_timeout,
        };
        let server = HttpServer::new(move || {
            App::new()
                .app_data(edge.clone())
                .default_service(web::to(callback::answer))
        })
        .on_connect(move |io, connection| {
            connection.insert(Connected::now());
            connection.insert(edge_of_connections.metrics.connected());
            let trusted = |address| edge_of_connections.trusts(address);
            if let Some(place) = crowd.take_in(io, patience, trusted) {
                connection.insert(place);
            }
        })
        .workers(workers.max(1))
        .max_connections(MAX_CONNECTIONS)
        // As many handshakes at a time as connections: with fewer, silent ones would keep all others out.
        .max_connection_rate(MAX_CONNECTIONS)
        .tls_handshake_timeout(self.request_timeout)
        .client_request_timeout(self.request_timeout)
        .client_disconnect_timeout(LINGER)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(grace.as_secs().max(1))
        .disable_signals();
        let tls = self.edge.certificate.clone().map(tls::server_config);
        let listening: io::Result<_> = match (self.socket, tls.transpose()?) {
            (Opened::Tcp(socket), Some(tls)) => server.listen_rustls_0_23(socket, tls),
            (Opened::Tcp(socket), None) => server.listen(socket),
            (Opened::Unix(socket), _) => server.listen_uds(socket),
        };
        Ok(listening.map_err(BindError::Passed)?.run())
    }
}
