//! The way to the running service: its admin API, found through the configuration.
//!
//! Promise: the token is read where the service keeps it and goes to no other place; what the service answers is data,
//! and that it does not answer is exit code 3 with what to do about it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Failure;
use crate::config::settings::{Config, Listen};
use crate::domain::{FailureClass, Secret};
use crate::outbound::{
    BodyEnd, Client, ClientSettings, DownloadError, Headers, Post, PublicRoots, Response, SendError,
};

/// Longer than the provider may take over an application (`vexora.timeout`, 10 s unless changed), with room for the
/// store.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A user's story may be long; more than this is for the lists.
const MAX_ANSWER: usize = 64 << 20;

/// Where the running service answers operators.
pub(super) struct Service {
    client: Client,
    base: String,
    shown: String,
    token: Secret,
    timeout: Duration,
}

/// What the service answered.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Answered {
    /// Whether it did what was asked.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The text under a name.
    pub(super) fn text(&self, name: &str) -> &str {
        self.body
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Why it did not, in the service's own words.
    pub(super) fn problem(&self) -> String {
        match self.text("detail") {
            "" => format!("HTTP status {}", self.status),
            detail => detail.to_owned(),
        }
    }
}

impl Service {
    /// Finds the service that this configuration describes. It need not run.
    pub(super) fn of(config: &Config) -> Result<Self, Failure> {
        let roots = PublicRoots::load();
        let (client, base, shown) = match &config.admin.listen {
            Listen::Tcp(address) => {
                let mut address = *address;
                if address.ip().is_unspecified() {
                    address.set_ip(if address.is_ipv6() {
                        std::net::Ipv6Addr::LOCALHOST.into()
                    } else {
                        std::net::Ipv4Addr::LOCALHOST.into()
                    });
                }
                let base = format!("http://{address}");
                let client = Client::new(&ClientSettings::default(), &roots)?;
                (client, base.clone(), base)
            }
            Listen::Unix(path) => {
                let client = Client::on_socket(path, &roots)?;
                let shown = format!("unix:{}", path.display());
                (client, "http://localhost".to_owned(), shown)
            }
        };
        let token = match &config.admin.token {
            Some(token) => token.clone(),
            None => kept_token(&config.store.path)?,
        };
        Ok(Self {
            client,
            base,
            shown,
            token,
            timeout: TIMEOUT,
        })
    }

    /// Waits this long for an answer.
    pub(super) fn patient(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Asks for what is at a path of `/api/v1`, given as its segments.
    pub(super) async fn get(&self, segments: &[&str]) -> Result<Answered, Failure> {
        let url = self.url(segments)?;
        let headers = self.with_token(Headers::default());
        let sent = self
            .client
            .get(&url, headers, self.timeout, MAX_ANSWER)
            .await;
        self.answered(sent)
    }

    /// Asks for what is at a path, narrowed by these parameters.
    pub(super) async fn get_with(
        &self,
        segments: &[&str],
        parameters: &[(String, String)],
    ) -> Result<Answered, Failure> {
        let mut url = url::Url::parse(&self.url(segments)?)?;
        url.query_pairs_mut().extend_pairs(parameters);
        let headers = self.with_token(Headers::default());
        let sent = self
            .client
            .get(url.as_str(), headers, self.timeout, MAX_ANSWER);
        self.answered(sent.await)
    }

    /// Writes what is at a path of `/api/v1` to `to`, however large.
    pub(super) async fn download(
        &self,
        segments: &[&str],
        to: &mut (dyn std::io::Write + Send),
    ) -> Result<(), Failure> {
        let url = self.url(segments)?;
        let headers = self.with_token(Headers::default());
        let got = self.client.download(&url, headers, to).await;
        match got {
            Ok(200) => Ok(()),
            Ok(401) => Err(self.wrong_token()),
            Ok(status) => Err(Failure::Failed(anyhow::anyhow!(
                "the service at {} answered with HTTP status {status}; see its log",
                self.shown
            ))),
            Err(DownloadError::Send(error)) => Err(self.unreachable(&error)),
            Err(DownloadError::Broken(error)) => Err(Failure::Failed(anyhow::anyhow!(
                "the answer of the service at {} broke off: {error}",
                self.shown
            ))),
            Err(DownloadError::Write(error)) => Err(error.into()),
        }
    }

    fn wrong_token(&self) -> Failure {
        Failure::Failed(anyhow::anyhow!(
            "the service at {} does not take this token\n  hint: admin.token, or <store.path>/admin-token, must be the one that the service was started with",
            self.shown
        ))
    }

    /// Posts JSON to a path of `/api/v1`.
    pub(super) async fn post(&self, segments: &[&str], body: &Value) -> Result<Answered, Failure> {
        let url = self.url(segments)?;
        let post = Post {
            url: &url::Url::parse(&url)?,
            headers: self.with_token(Headers::json()),
            body: body.to_string().into_bytes(),
            timeout: self.timeout,
            read_at_most: MAX_ANSWER,
        };
        let sent = self.client.post(post).await;
        self.answered(sent)
    }

    fn url(&self, segments: &[&str]) -> Result<String, Failure> {
        let mut url = url::Url::parse(&self.base)?;
        // Ids may hold anything but control characters; each segment is escaped by itself.
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(["api", "v1"]).extend(segments);
        }
        Ok(url.into())
    }

    fn with_token(&self, headers: Headers) -> Headers {
        headers.accepting_json().bearing(self.token.expose())
    }

    fn answered(&self, sent: Result<Response, SendError>) -> Result<Answered, Failure> {
        let response = sent.map_err(|error| self.unreachable(&error))?;
        if response.status == 401 {
            return Err(self.wrong_token());
        }
        if response.body_end != BodyEnd::Whole {
            return Err(Failure::Failed(anyhow::anyhow!(
                "the answer of the service at {} broke off",
                self.shown
            )));
        }
        let body = serde_json::from_slice(&response.body).map_err(|_not_json| {
            Failure::Failed(anyhow::anyhow!(
                "what answers at {} is not vexora-relay (HTTP status {}, not JSON)\n  hint: see admin.listen",
                self.shown,
                response.status
            ))
        })?;
        Ok(Answered {
            status: response.status,
            body,
        })
    }

    fn unreachable(&self, error: &SendError) -> Failure {
        if error.class == FailureClass::Timeout {
            return Failure::Failed(anyhow::anyhow!(
                "the service at {} did not answer within {} s",
                self.shown,
                self.timeout.as_secs()
            ));
        }
        Failure::Unreachable(format!(
            "the service does not answer at {}: {}\n  hint: is it running? `systemctl status vexora-relay`, or `vexora-relay serve`; its address is admin.listen of this configuration",
            self.shown, error.detail
        ))
    }
}

/// The token that the service made for itself.
fn kept_token(store: &Path) -> Result<Secret, Failure> {
    let path = store.join("admin-token");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::Unreachable(format!(
                "the service has not been started yet: there is no {}\n  hint: start it, or set store.path or admin.token to what it runs with",
                path.display()
            )))
        }
        Err(error) => Err(Failure::Failed(anyhow::Error::new(error).context(format!(
            "the admin token in {} cannot be read; run this as the user that the service runs as, or with sudo",
            path.display()
        )))),
    }
}
