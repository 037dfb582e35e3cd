//! A relay under test: its provider, its clock, its directory, and what a user does with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vexora_relay::app::{App, Deps, Running, Sockets, Workers};
use vexora_relay::clock::{Clock, SeededEntropy, SimClock};
use vexora_relay::config::Config;
use vexora_relay::config::settings::Listen;
use vexora_relay::domain::{Answer, Attempt, Delivery, Event, EventContent, Status, Timestamp};
use vexora_relay::metrics::Minute;
use vexora_relay::sandbox::Sandbox;
use vexora_relay::store::embedded::{EmbeddedSettings, verify_store};
use vexora_relay::store::{Store, Story};
use vexora_relay::worker::Beats;

use super::{APP_SECRET, MERCHANT, Scrape, Setup, TOKEN, in_time, merchant, own_sign, user};

pub struct Relay {
    pub sandbox: Sandbox,
    pub clock: SimClock,
    config: Config,
    workers: Workers,
    running: Option<Running>,
    starts: u64,
    directory: TempDir,
}

impl Relay {
    pub(super) fn new(
        sandbox: Sandbox,
        clock: SimClock,
        config: Config,
        directory: TempDir,
        workers: Workers,
    ) -> Self {
        Self {
            sandbox,
            clock,
            config,
            workers,
            running: None,
            starts: 0,
            directory,
        }
    }

    pub(super) async fn start(&mut self) {
        self.starts += 1;
        let deps = Deps {
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(self.starts)),
        };
        let app = App::build(&self.config, deps, Sockets::default());
        let app = app.await.unwrap();
        self.running = Some(app.start(self.workers).unwrap());
    }

    /// Stops it, and starts it again on the same directory.
    pub async fn restart(&mut self) {
        let running = self.running.take().unwrap();
        in_time("stopping", running.stop()).await.unwrap();
        self.start().await;
    }

    /// The configuration says this from now on, and the relay has read it.
    pub fn reload(&mut self, setup: Setup) {
        self.config = setup.config(self.directory.path(), &self.sandbox);
        let running = self.running.as_mut().unwrap();
        running.reload(&self.config).unwrap();
    }

    /// Does one step of letting go of what is settled and old. Returns how much is gone; `None`: it is not time.
    pub async fn let_go(&self) -> Option<u64> {
        let retention = self.running.as_ref().unwrap().retention();
        retention.advance().await.unwrap()
    }

    /// Stops it, looks the whole store through, and starts it again.
    pub async fn verify_store(&mut self) {
        let running = self.running.take().unwrap();
        in_time("stopping", running.stop()).await.unwrap();
        let settings = EmbeddedSettings::at(self.directory.path().join("data"), 0);
        let report = tokio::task::spawn_blocking(move || verify_store(&settings));
        assert_eq!(report.await.unwrap().unwrap().findings, []);
        self.start().await;
    }

    /// Asks the admin API. Returns status and answer.
    pub async fn admin(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let Listen::Tcp(address) = self.running.as_ref().unwrap().admin_address() else {
            panic!("no TCP");
        };
        let token = self.directory.path().join("data/admin-token");
        let token = std::fs::read_to_string(token).unwrap();
        let head = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nauthorization: Bearer {}\r\n",
            token.trim()
        );
        let (status, answer) = exchange(*address, &head, body.to_string().as_bytes()).await;
        (status, serde_json::from_str(&answer).unwrap())
    }

    /// What `/readyz` says: its status, and the reasons against.
    pub async fn readiness(&self) -> (u16, Vec<String>) {
        let Listen::Tcp(address) = self.running.as_ref().unwrap().admin_address() else {
            panic!("no TCP");
        };
        let (status, answer) = exchange(*address, "GET /readyz HTTP/1.1\r\n", b"").await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["ready"], status == 200, "{answer}");
        (
            status,
            serde_json::from_value(answer["reasons"].clone()).unwrap(),
        )
    }

    pub fn beats(&self) -> Arc<Beats> {
        self.running.as_ref().unwrap().beats()
    }

    /// Asks for the metrics, as Prometheus does: without a token.
    pub async fn metrics(&self) -> Scrape {
        let running = self.running.as_ref().unwrap();
        let Listen::Tcp(address) = running.admin_address() else {
            panic!("no TCP");
        };
        Scrape::of(*address).await
    }

    /// The minutes that have ended, after one more has.
    pub async fn end_minute(&self) -> Vec<Minute> {
        let running = self.running.as_ref().unwrap();
        running.end_minute().await;
        self.minutes()
    }

    /// The minutes that have ended.
    pub fn minutes(&self) -> Vec<Minute> {
        self.running.as_ref().unwrap().metrics().history().minutes()
    }

    /// Where the operators' listener is.
    pub fn admin_url(&self) -> String {
        match self.running.as_ref().unwrap().admin_address() {
            Listen::Tcp(address) => format!("http://{address}"),
            Listen::Unix(path) => panic!("listens on {}", path.display()),
        }
    }

    pub fn admin_token(&self) -> String {
        let token = self.directory.path().join("data/admin-token");
        std::fs::read_to_string(token).unwrap().trim().to_owned()
    }

    pub fn store(&self) -> Arc<dyn Store> {
        self.running.as_ref().unwrap().store()
    }

    pub fn address(&self) -> SocketAddr {
        match self.running.as_ref().unwrap().public_address() {
            Listen::Tcp(address) => *address,
            Listen::Unix(path) => panic!("listens on {}", path.display()),
        }
    }

    /// Sets what the query shows of a user.
    pub fn says(&self, id: &str, status: &str, reason: Option<&str>) {
        let status = Status::parse(status).unwrap();
        self.sandbox
            .set_status(&merchant(), &user(id), status, reason);
    }

    /// How often a user was asked about.
    pub fn queries(&self, id: &str) -> u64 {
        self.sandbox.queries(&merchant(), &user(id))
    }

    /// Vexora calls back: well signed, to the merchant's secret address.
    pub async fn post_callback(&self, id: &str, status: &str) {
        self.post_signed(
            &format!("/callback/{MERCHANT}/{TOKEN}"),
            id,
            status,
            APP_SECRET,
        )
        .await;
    }

    /// A callback to any address, signed with any secret; it must be taken.
    pub async fn post_signed(&self, path: &str, id: &str, status: &str, secret: &str) {
        let stamp = self.clock.now().as_millis().to_string();
        let params = [
            ("userId", id),
            ("authenticationStatus", status),
            ("timestamp", stamp.as_str()),
        ];
        let sign = own_sign(&params, secret);
        let body = serde_json::json!({
            "userId": id, "authenticationStatus": status, "timestamp": stamp, "sign": sign,
        });
        let answer = post(self.address(), path, body.to_string().as_bytes()).await;
        assert_eq!(answer, (200, "OK".to_owned()), "a callback for {id:?}");
    }

    /// Does all that is due by the clock.
    pub async fn settle(&self) -> usize {
        let running = self.running.as_ref().unwrap();
        in_time("settling", running.settle()).await.unwrap()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub async fn story(&self, id: &str) -> Story {
        self.store().story(&merchant(), &user(id)).await.unwrap()
    }

    /// A result comes in and is told: the usual way.
    pub async fn result(&self, id: &str, status: &str) {
        self.says(id, status, None);
        self.post_callback(id, status).await;
        self.settle().await;
    }

    /// When a user is asked about next.
    pub async fn next_query(&self, id: &str) -> Timestamp {
        let story = self.story(id).await;
        story.verification.expect("a verification under way").due()
    }

    /// What the latest query about a user came to, and when.
    pub async fn last_query(&self, id: &str) -> (Timestamp, Answer) {
        let story = self.story(id).await;
        let last = story.queries.last().expect("a query");
        (last.at, last.answer.clone())
    }

    /// Moves to the user's next query and does it.
    pub async fn ask_next(&self, id: &str) {
        self.clock.advance_to(self.next_query(id).await);
        self.settle().await;
    }

    /// The events of a user, by sequence.
    pub async fn events(&self, id: &str) -> Vec<Event> {
        let story = self.story(id).await;
        story.events.into_iter().map(|(event, _)| event).collect()
    }

    /// Sequence and status of each of a user's events.
    pub async fn told(&self, id: &str) -> Vec<(u64, String)> {
        let results = self.events(id).await.into_iter();
        results
            .map(|event| match event.content {
                EventContent::Result(result) => {
                    (result.sequence, result.verdict.status().code().to_owned())
                }
                EventContent::Operational(news) => panic!("{news:?} in a user's story"),
            })
            .collect()
    }

    /// A user's latest event on its way to an endpoint.
    pub async fn delivery(&self, id: &str, endpoint: &str) -> (Delivery, Vec<Attempt>) {
        let story = self.story(id).await;
        let (_, deliveries) = story.events.last().expect("an event");
        let found = deliveries
            .iter()
            .find(|(delivery, _)| delivery.endpoint.as_str() == endpoint);
        found.expect("a delivery").clone()
    }

    /// The class of each attempt of it; `ok` for the one that was heard.
    pub async fn outcomes(&self, id: &str, endpoint: &str) -> Vec<&'static str> {
        let (_, attempts) = self.delivery(id, endpoint).await;
        let classes = attempts.iter().map(|attempt| attempt.outcome.failure);
        classes
            .map(|class| class.map_or("ok", |class| class.as_str()))
            .collect()
    }

    /// How many deliveries an endpoint has before it.
    pub async fn pending(&self, endpoint: &str) -> u64 {
        let pending = self.store().pending().await.unwrap();
        let found = pending.deliveries.iter();
        found
            .filter(|(name, _)| name.as_str() == endpoint)
            .map(|(_, number)| number)
            .sum()
    }

    /// Looks until something is so: for what the workers do by themselves and tell nobody.
    pub async fn is(&self, what: &str, so: impl AsyncFn() -> bool) {
        in_time(what, async {
            while !so().await {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Moves to the delivery's next attempt and makes it.
    pub async fn try_next(&self, id: &str, endpoint: &str) {
        let (delivery, _) = self.delivery(id, endpoint).await;
        self.clock.advance_to(delivery.due().expect("pending"));
        self.settle().await;
    }
}

/// Posts a body, says how it was answered.
pub async fn post(to: SocketAddr, path: &str, body: &[u8]) -> (u16, String) {
    let head = format!("POST {path} HTTP/1.1\r\ncontent-type: application/json\r\n");
    exchange(to, &head, body).await
}

/// Sends a request, whose head lacks what every request has; returns status and body of the answer.
async fn exchange(to: SocketAddr, head: &str, body: &[u8]) -> (u16, String) {
    let (head, body) = request(to, head, body).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body)
}

/// Sends a request; returns head and body of the answer.
pub async fn request(to: SocketAddr, head: &str, body: &[u8]) -> (String, String) {
    let head = format!(
        "{head}host: relay\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    // A refusal may come, and the connection end, before all is sent.
    let _refused_early = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let _reset_after_the_answer = in_time("an answer", stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}
