//! What a valid configuration says, in real types. Contract §3 names the keys; `config.toml` shows the defaults.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::addresses::is_loopback;
use crate::domain::{
    DeliveryPolicy, EndpointName, EventFilter, MerchantNo, Route, Routing, Secret, Secrets,
    VerifyPolicy,
};
use crate::signing::webhook::WebhookKey;

/// Everything the file says.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: ServerSettings,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[store]`
    pub store: StoreSettings,
    /// `[vexora]`
    pub vexora: VexoraSettings,
    /// `[verify]`
    pub verify: VerifySettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[[merchant]]`, at least one.
    pub merchants: Vec<MerchantSettings>,
    /// `[[endpoint]]`, may be empty.
    pub endpoints: Vec<EndpointSettings>,
    /// What is accepted but unwise, for a warning at start: lower-case sentences that name key and line.
    pub warnings: Vec<String>,
}

impl Config {
    /// Who hears of what, in the order of the file.
    #[must_use]
    pub fn routing(&self) -> Routing {
        let routes = self.endpoints.iter().map(|endpoint| Route {
            endpoint: endpoint.name.clone(),
            events: endpoint.events,
            merchants: endpoint.merchants.clone(),
            ordered: endpoint.ordered,
        });
        Routing::new(routes.collect())
    }

    /// The provider's address for this merchant.
    #[must_use]
    pub fn base_url_of<'a>(&'a self, merchant: &'a MerchantSettings) -> &'a str {
        merchant.base_url.as_ref().unwrap_or(&self.vexora.base_url)
    }

    /// Whether nothing of it reaches beyond this machine: both listeners, the provider of every merchant, and every
    /// endpoint are on loopback. Then secrets in the file are a convenience and not a risk.
    #[must_use]
    pub fn is_loopback_only(&self) -> bool {
        let loopback = |url: &str| Url::parse(url).is_ok_and(|url| is_loopback(&url));
        self.server.listen.is_loopback()
            && self.server.public_url.as_deref().is_none_or(loopback)
            && self.admin.listen.is_loopback()
            && self.merchants.iter().all(|m| loopback(self.base_url_of(m)))
            && self.endpoints.iter().all(|e| is_loopback(&e.url))
    }
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8080`, `[::]:8080`
    Tcp(SocketAddr),
    /// `unix:/run/vexora-relay/callback.sock`
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine can connect.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether it names one place: port 0 lets the system choose.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        !matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

/// So many per second, with a burst of the same size. `"50/s"`, `"3000/m"`, `"10000/h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// Within how long: a second, a minute or an hour.
    pub per: Duration,
}

/// Certificate and key files of the public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, leaf first.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// `[server]`: the public listener.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where to listen; a systemd socket wins over it.
    pub listen: Listen,
    /// The address that Vexora reaches us at: an https origin with an optional path, no trailing slash.
    pub public_url: Option<String>,
    /// TLS on the listener itself.
    pub tls: Option<TlsFiles>,
    /// The largest body taken, in bytes (1 KiB to 1 MiB).
    pub max_body: usize,
    /// Headers and body must be in by then.
    pub request_timeout: Duration,
    /// The exact body of a 200.
    pub ack: String,
    /// Who may post callbacks; empty: anyone.
    pub allow_from: Vec<IpNet>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Per client address; `None`: off.
    pub rate_limit: Option<Rate>,
}

/// `[admin]`: API, dashboard, metrics.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Where to listen.
    pub listen: Listen,
    /// The bearer token; `None`: made at first start in `<store.path>/admin-token`.
    pub token: Option<Secret>,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The data directory.
    pub path: PathBuf,
    /// Settled work older than this goes.
    pub retention: Duration,
    /// Less free disk than this, in bytes: callbacks get 503.
    pub min_free: u64,
}

/// `[vexora]`: how the provider is spoken to.
#[derive(Clone, Debug)]
pub struct VexoraSettings {
    /// https, or http to loopback; no trailing slash.
    pub base_url: String,
    /// For one whole query.
    pub timeout: Duration,
    /// Queries out at a time, over all merchants.
    pub max_in_flight: usize,
    /// Queries per merchant; `None`: off.
    pub rate_limit: Option<Rate>,
}

/// What to do with a callback whose sign is missing or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadSign {
    /// Keep it, trust it less.
    Flag,
    /// 403.
    Refuse,
}

/// `[verify]`.
#[derive(Clone, Debug)]
pub struct VerifySettings {
    /// `retry`, `give_up_after`, `duplicate_window` and `reconcile`.
    pub policy: VerifyPolicy,
    /// What to do with a bad sign.
    pub on_bad_sign: OnBadSign,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// JSON lines.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a `tracing` filter such as `info,vexora_relay::deliver=debug`.
    pub level: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// `[[merchant]]`.
#[derive(Clone, Debug)]
pub struct MerchantSettings {
    /// The number.
    pub merchant_no: MerchantNo,
    /// The first signs, all are accepted.
    pub app_secret: Secrets,
    /// In the callback's path, when there is one: 16 to 128 characters of `A-Z a-z 0-9 - . _ ~`.
    pub callback_token: Option<Secrets>,
    /// This merchant's own provider address, over `[vexora]`; no trailing slash.
    pub base_url: Option<String>,
}

/// `endpoint.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadFormat {
    /// Our envelope, Standard Webhooks headers.
    Standard,
    /// What Vexora would have posted, re-signed with the merchant's secret.
    Vexora,
}

/// Certificates and ways out of one endpoint's HTTP client.
#[derive(Clone, Debug, Default)]
pub struct TransportSettings {
    /// Own CA file, PEM.
    pub ca: Option<PathBuf>,
    /// Client certificate and key, PEM.
    pub client_identity: Option<TlsFiles>,
    /// `http://`, `https://` or `socks5://` (`socks5h://`).
    pub proxy: Option<String>,
    /// `allow_private = false`: nothing but public addresses are connected to.
    pub public_only: bool,
}

/// `[[endpoint]]`, with the defaults of `[delivery]` filled in.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// Its name.
    pub name: EndpointName,
    /// Where to post: https, or http to loopback or with `allow_http`.
    pub url: Url,
    /// All sign. Empty only for `format = "vexora"`.
    pub keys: Vec<WebhookKey>,
    /// What it wants to hear.
    pub events: EventFilter,
    /// Whose events; empty: all merchants'.
    pub merchants: Vec<MerchantNo>,
    /// Extra headers; names (in small letters) and values are valid HTTP, none of them one that we set ourselves.
    pub headers: Vec<(String, Secret)>,
    /// Certificates and ways out.
    pub transport: TransportSettings,
    /// A 2xx counts only with this exact body.
    pub expect_body: Option<String>,
    /// For one whole attempt.
    pub timeout: Duration,
    /// `retry`, `jitter` and `give_up_after`.
    pub policy: DeliveryPolicy,
    /// Attempts out at a time, at least 1.
    pub concurrency: usize,
    /// Attempts per second; `None`: off.
    pub rate_limit: Option<Rate>,
    /// Whether a user's results go one after the other.
    pub ordered: bool,
    /// What is sent.
    pub format: PayloadFormat,
}
