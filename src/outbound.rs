//! Requests that leave the relay: to the provider and to the endpoints.
//!
//! Promise: every request ends within its timeout; no redirect is followed; no proxy is taken from the environment; of
//! an answer no more is read than was asked for; a failure has a stable class and a text without secrets or addresses'
//! query strings.

mod failure;
mod headers;
mod public;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Method, Request};
use url::Url;

pub use failure::{DnsFailure, SendError};
pub use headers::Headers;
pub use public::{PrivateAddress, is_public};
pub use tls::{PublicRoots, TlsError, certificates, private_key, provider};

/// How long a connection may take to be made, TLS included: longer is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: shorter than the minute after which most servers and firewalls forget it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// What makes one client differ from another.
#[derive(Clone, Debug, Default)]
pub struct ClientSettings {
    /// Own CA certificates, PEM; `None`: the system's, else Mozilla's.
    pub ca: Option<PathBuf>,
    /// Client certificate and key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A proxy: `http://`, `https://`, `socks5://`, `socks5h://`.
    pub proxy: Option<String>,
    /// Whether nothing but public addresses are connected to.
    pub public_only: bool,
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A certificate or key file.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy's address, or the client as a whole.
    #[error("the HTTP client could not be made")]
    Client(#[source] reqwest::Error),
}

/// Why a download is not whole.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No answer came.
    #[error(transparent)]
    Send(SendError),
    /// The answer broke off.
    #[error(transparent)]
    Broken(SendError),
    /// It could not be written.
    #[error("it could not be written")]
    Write(#[source] std::io::Error),
}

/// A download that brings nothing for this long is over.
const STALLED: Duration = Duration::from_secs(60);

/// An HTTP client with its own connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    public_only: bool,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header, if it is text.
    pub retry_after: Option<String>,
    /// The beginning of the body, at most as much as was asked for.
    pub body: Vec<u8>,
    /// How the reading of the body ended.
    pub body_end: BodyEnd,
}

/// How the reading of a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// All of it is here.
    Whole,
    /// There is more than was asked for.
    Longer,
    /// It broke off or took too long.
    Broken(crate::domain::FailureClass),
}

/// A request to send: always a POST.
#[derive(Debug)]
pub struct Post<'a> {
    /// Where to.
    pub url: &'a Url,
    /// What goes along, the kind of the body among it.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// For the whole exchange.
    pub timeout: Duration,
    /// How much of the answer's body to read, in bytes.
    pub read_at_most: usize,
}

impl Client {
    /// Makes a client. `roots` are what it trusts unless it has a CA of its own.
    ///
    /// # Errors
    /// A file that cannot be read or holds nothing usable, or a proxy that is no address.
    pub fn new(settings: &ClientSettings, roots: &PublicRoots) -> Result<Self, ClientError> {
        Self::asking(SystemResolver, settings, roots)
    }

    /// Makes a client that asks `names` for addresses.
    fn asking(
        names: impl Resolve + 'static,
        settings: &ClientSettings,
        roots: &PublicRoots,
    ) -> Result<Self, ClientError> {
        let mut builder = Self::builder(names, settings, roots)?;
        if let Some(proxy) = &settings.proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(ClientError::Client)?);
        }
        Ok(Self {
            http: builder.build().map_err(ClientError::Client)?,
            public_only: settings.public_only,
        })
    }

    /// Makes a client whose every request goes to a Unix socket, whatever its address says.
    ///
    /// # Errors
    /// The client could not be made.
    pub fn on_socket(path: &Path, roots: &PublicRoots) -> Result<Self, ClientError> {
        let builder = Self::builder(SystemResolver, &ClientSettings::default(), roots)?;
        let builder = builder.unix_socket(path);
        Ok(Self {
            http: builder.build().map_err(ClientError::Client)?,
            public_only: false,
        })
    }

    fn builder(
        names: impl Resolve + 'static,
        settings: &ClientSettings,
        roots: &PublicRoots,
    ) -> Result<reqwest::ClientBuilder, ClientError> {
        Ok(reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(settings, roots)?)
            .dns_resolver(Judged {
                names: Arc::new(names),
                public_only: settings.public_only,
            })
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .no_proxy())
    }

    /// Addresses in a URL itself meet no resolver.
    fn look_at(&self, url: &Url) -> Result<(), SendError> {
        let host = url.host().filter(|_| self.public_only);
        let literal = host.and_then(|host| match host {
            url::Host::Ipv4(address) => Some(IpAddr::V4(address)),
            url::Host::Ipv6(address) => Some(IpAddr::V6(address)),
            url::Host::Domain(_) => None,
        });
        match literal {
            Some(address) if !is_public(address) => Err(SendError::private()),
            _ => Ok(()),
        }
    }

    /// Asks for the head of what is at `url`: whether anybody is there. Returns the HTTP status.
    ///
    /// # Errors
    /// Nobody answered.
    pub async fn head(&self, url: &str, timeout: Duration) -> Result<u16, SendError> {
        if let Ok(url) = Url::parse(url) {
            self.look_at(&url)?;
        }
        let sent = self.http.head(url).timeout(timeout).send().await;
        Ok(sent
            .map_err(|error| SendError::of(&error))?
            .status()
            .as_u16())
    }

    /// Fetches what is at `url` and writes its body to `to`, however large and however long it takes, as long as
    /// something comes. Returns the HTTP status; the body is written only if that is 200.
    ///
    /// # Errors
    /// No answer, one that broke off, or `to` failed.
    pub async fn download(
        &self,
        url: &str,
        headers: Headers,
        to: &mut (dyn std::io::Write + Send),
    ) -> Result<u16, DownloadError> {
        let headers = headers.valid().ok_or_else(SendError::header);
        let request = self.http.get(url);
        let request = request.headers(headers.map_err(DownloadError::Send)?);
        let sent = request.send().await;
        let mut response = sent.map_err(|error| DownloadError::Send(SendError::of(&error)))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Ok(status);
        }
        loop {
            let chunk = tokio::time::timeout(STALLED, response.chunk()).await;
            let stalled = |_| {
                let detail = "nothing came for a minute".to_owned();
                DownloadError::Broken(SendError {
                    class: crate::domain::FailureClass::Timeout,
                    detail,
                })
            };
            let chunk = chunk.map_err(stalled)?;
            match chunk.map_err(|error| DownloadError::Broken(SendError::of(&error)))? {
                Some(chunk) => to.write_all(&chunk).map_err(DownloadError::Write)?,
                None => break,
            }
        }
        Ok(status)
    }

    /// Sends a request and reads the answer's head and the beginning of its body.
    ///
    /// # Errors
    /// No head of an answer came. Trouble with the body alone is in [`Response::body_end`].
    pub async fn post(&self, post: Post<'_>) -> Result<Response, SendError> {
        self.look_at(post.url)?;
        let mut request = Request::new(Method::POST, post.url.clone());
        *request.headers_mut() = post.headers.valid().ok_or_else(SendError::header)?;
        *request.timeout_mut() = Some(post.timeout);
        *request.body_mut() = Some(post.body.into());
        answer(self.http.execute(request).await, post.read_at_most).await
    }

    /// Like [`Client::post`], without a body.
    ///
    /// # Errors
    /// Likewise.
    pub async fn get(
        &self,
        url: &str,
        headers: Headers,
        timeout: Duration,
        read_at_most: usize,
    ) -> Result<Response, SendError> {
        let headers = headers.valid().ok_or_else(SendError::header)?;
        let request = self.http.get(url).headers(headers).timeout(timeout);
        answer(request.send().await, read_at_most).await
    }
}

async fn answer(
    sent: Result<reqwest::Response, reqwest::Error>,
    read_at_most: usize,
) -> Result<Response, SendError> {
    let mut response = sent.map_err(|error| SendError::of(&error))?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(reqwest::header::RETRY_AFTER);
    let retry_after = retry_after
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut body = Vec::new();
    let body_end = loop {
        match response.chunk().await {
            Ok(None) => break BodyEnd::Whole,
            Ok(Some(chunk)) => {
                let room = read_at_most.saturating_sub(body.len());
                body.extend(chunk.iter().take(room));
                if chunk.len() > room {
                    break BodyEnd::Longer;
                }
            }
            Err(error) => break BodyEnd::Broken(SendError::of(&error).class),
        }
    };
    Ok(Response {
        status,
        retry_after,
        body,
        body_end,
    })
}

/// The system's resolver, with an error that can be told from others.
#[derive(Clone, Copy, Debug)]
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Vec<SocketAddr> = found.map_err(DnsFailure)?.collect();
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Asked anew for every connection.
#[derive(Debug)]
struct Judged<R> {
    names: Arc<R>,
    public_only: bool,
}

impl<R: Resolve + 'static> Resolve for Judged<R> {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, public_only) = (Arc::clone(&self.names), self.public_only);
        Box::pin(async move {
            let found = names.resolve(name).await?;
            // Judged here, of what is connected to next: a name that was public a moment ago may be private now.
            let found: Vec<SocketAddr> = found
                .filter(|address| !public_only || is_public(address.ip()))
                .collect();
            if public_only && found.is_empty() {
                return Err(PrivateAddress.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests;
