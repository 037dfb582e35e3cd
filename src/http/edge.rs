//! What every request meets first: the rules of `[server]`, exchangeable while requests are under way.
//!
//! Promise: a request sees one set of rules from its beginning to its end; a reload that fails changes nothing.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use arc_swap::ArcSwap;
use bytes::Bytes;
use ipnet::IpNet;
use tracing::warn;

use crate::clock::{Clock, Entropy};
use crate::config::settings::{Rate, ServerSettings};
use crate::metrics::Metrics;
use crate::receive::Receiver;

use super::client::{self, Client};
use super::limit::Limiter;
use super::problem::Problem;
use super::tls::{Certificate, TlsError};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// One set of rules.
pub(super) struct Rules {
    pub(super) ack: Bytes,
    pub(super) max_body: usize,
    pub(super) request_timeout: Duration,
    allow_from: Vec<IpNet>,
    trusted_proxies: Vec<IpNet>,
    limiter: Option<(Rate, Arc<Limiter>)>,
}

impl Rules {
    fn new(settings: &ServerSettings, former: Option<&Self>) -> Self {
        let former = former.and_then(|rules| rules.limiter.clone());
        Self {
            ack: Bytes::from(settings.ack.clone()),
            max_body: settings.max_body,
            request_timeout: settings.request_timeout,
            allow_from: settings.allow_from.clone(),
            trusted_proxies: settings.trusted_proxies.clone(),
            limiter: settings.rate_limit.map(|rate| match former {
                // What has been used up stays used up, unless the allowance itself is another.
                Some((same, limiter)) if same == rate => (rate, limiter),
                _ => (rate, Arc::new(Limiter::new(rate))),
            }),
        }
    }

    /// Takes one from the client's allowance.
    pub(super) fn admit(&self, client: &Client) -> Result<(), Problem> {
        let Some((_, limiter)) = &self.limiter else {
            return Ok(());
        };
        limiter.admit(client.address).map_err(Problem::rate_limited)
    }

    /// Whether this client may post callbacks.
    pub(super) fn allow(&self, client: &Client) -> Result<(), Problem> {
        let listed = |address: IpAddr| client::within(&self.allow_from, address);
        if self.allow_from.is_empty() || client.address.is_some_and(listed) {
            Ok(())
        } else {
            Err(Problem::address_not_allowed())
        }
    }
}

/// The listener's side of every request.
pub struct Edge {
    pub(super) receiver: Arc<Receiver>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) metrics: Arc<Metrics>,
    rules: ArcSwap<Rules>,
    pub(super) certificate: Option<Arc<Certificate>>,
    warned: AtomicBool,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Edge")
    }
}

impl Edge {
    /// Whether an address is a trusted proxy's: many clients' connections come from it.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        client::within(&self.rules().trusted_proxies, address)
    }

    pub(super) fn new(
        settings: &ServerSettings,
        receiver: Arc<Receiver>,
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
        metrics: Arc<Metrics>,
        certificate: Option<Arc<Certificate>>,
    ) -> Self {
        Self {
            receiver,
            clock,
            entropy,
            metrics,
            rules: ArcSwap::from_pointee(Rules::new(settings, None)),
            certificate,
            warned: AtomicBool::new(false),
        }
    }

    /// Requests that come from now on meet these settings, and new TLS connections the files as they now are. What
    /// a listener is built with cannot change: where it listens, whether with TLS, and the time for the headers.
    ///
    /// # Errors
    /// The TLS files are not usable; nothing has changed.
    pub fn reload(&self, settings: &ServerSettings) -> Result<(), TlsError> {
        if let (Some(certificate), Some(files)) = (&self.certificate, &settings.tls) {
            certificate.reload(files)?;
        }
        self.show_certificate();
        let rules = Rules::new(settings, Some(&self.rules.load()));
        self.rules.store(Arc::new(rules));
        Ok(())
    }

    /// When the certificate expires, to whoever watches the metrics.
    pub(super) fn show_certificate(&self) {
        let certificate = self.certificate.as_ref();
        if let Some(expires) = certificate.and_then(|certificate| certificate.expires()) {
            self.metrics.certificate_is_good_until(expires);
        }
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Whose request it is.
    pub(super) fn client(&self, req: &HttpRequest, rules: &Rules) -> Client {
        let lines: Vec<&[u8]> = req
            .headers()
            .get_all(X_FORWARDED_FOR)
            .map(|line| line.as_bytes())
            .collect();
        let peer = req.peer_addr().map(|peer| peer.ip());
        let client = client::locate(peer, lines.into_iter(), &rules.trusted_proxies);
        // Once per process: whoever may write headers must not be able to fill the log.
        if client.ignored_forwarding && !self.warned.swap(true, Ordering::Relaxed) {
            warn!(
                peer = peer.map(tracing::field::display),
                "an X-Forwarded-For was ignored: its sender is not in server.trusted_proxies; further ones will be ignored silently"
            );
        }
        client
    }
}
