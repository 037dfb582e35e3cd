//! A relay, a simulated Vexora and a receiver on one simulated clock, and what a test does to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App as Web, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;
use tokio_util::task::TaskTracker;
use vexora_relay::app::{App, Deps, Running, Sockets, Workers, callback_path};
use vexora_relay::clock::{Clock, SeededEntropy, SimClock};
use vexora_relay::config;
use vexora_relay::config::settings::Listen;
use vexora_relay::domain::{MerchantNo, Secret, Status, Timestamp, UserId, VerifyLane};
use vexora_relay::http::Opened;
use vexora_relay::sandbox::{CallbackSpec, Faults, Sandbox, SandboxConfig};
use vexora_relay::store::{Lane, Store, Story};

use super::copying::copy;

pub const MERCHANT: &str = "1027749636";
pub const TOKEN: &str = "callback-token-of-the-tests";
pub const ADMIN: &str = "admin-token-of-the-tests";
pub const NAME: &str = "ヤマダ タロウ";

pub fn merchant() -> MerchantNo {
    MERCHANT.parse().unwrap()
}

pub fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// One webhook as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub id: String,
    pub kind: String,
    pub user: String,
    pub status: String,
    pub sequence: u64,
}

#[derive(Default)]
struct Ear {
    heard: Vec<Told>,
    refuses: bool,
}

/// A receiver that keeps what it took, and takes nothing while it is told so.
pub struct Receiver {
    ear: Arc<Mutex<Ear>>,
    address: SocketAddr,
    handle: ServerHandle,
}

impl Receiver {
    fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let ear: Arc<Mutex<Ear>> = Arc::default();
        let data = web::Data::from(Arc::clone(&ear));
        let server = HttpServer::new(move || {
            Web::new()
                .app_data(data.clone())
                .route("/hooks", web::post().to(hear))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .listen(socket)
        .unwrap()
        .run();
        let handle = server.handle();
        TaskTracker::new().spawn(server);
        Self {
            ear,
            address,
            handle,
        }
    }

    pub fn refuse(&self, refuses: bool) {
        self.ear.lock().unwrap().refuses = refuses;
    }

    pub fn heard(&self) -> Vec<Told> {
        self.ear.lock().unwrap().heard.clone()
    }

    /// What was told of one user, as `status` words, in the order of arrival.
    pub fn results(&self, name: &str) -> Vec<String> {
        let heard = self.heard();
        let mine = heard.iter().filter(|told| told.user == name);
        mine.map(|told| told.status.clone()).collect()
    }

    pub fn kinds(&self) -> Vec<String> {
        self.heard().into_iter().map(|told| told.kind).collect()
    }
}

async fn hear(request: HttpRequest, body: web::Bytes, ear: web::Data<Mutex<Ear>>) -> HttpResponse {
    let said: Value = serde_json::from_slice(&body).unwrap();
    let text = |path: &str| {
        let found = said.pointer(path).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let mut ear = ear.lock().unwrap();
    if ear.refuses {
        return HttpResponse::ServiceUnavailable().finish();
    }
    let id = request.headers().get("webhook-id").unwrap();
    ear.heard.push(Told {
        id: id.to_str().unwrap().to_owned(),
        kind: text("/type"),
        user: text("/data/userId"),
        status: text("/data/status"),
        sequence: said
            .pointer("/data/sequence")
            .and_then(Value::as_u64)
            .unwrap_or(0),
    });
    HttpResponse::NoContent().finish()
}

/// All of it.
pub struct World {
    pub clock: SimClock,
    pub sandbox: Sandbox,
    pub receiver: Receiver,
    pub http: reqwest::Client,
    relay: Option<Running>,
    public: SocketAddr,
    admin: String,
    directory: tempfile::TempDir,
    data: PathBuf,
    entropy: Arc<SeededEntropy>,
    events: &'static str,
    verify: &'static str,
    rate: &'static str,
    token: bool,
    /// Where the relay looks for the provider.
    provider: String,
}

/// How a world differs from the usual.
pub struct Shape {
    pub events: &'static str,
    pub verify: &'static str,
    pub rate: &'static str,
    /// Whether the merchant has a callback token.
    pub token: bool,
    /// Whether anybody listens where the relay looks for the provider.
    pub provider: bool,
    pub review: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            events: r#"["kyc.approved", "kyc.rejected"]"#,
            verify: "",
            rate: "10000/s",
            token: true,
            provider: true,
            review: secs(60),
        }
    }
}

impl World {
    pub async fn new() -> Self {
        Self::shaped(Shape::default()).await
    }

    pub async fn shaped(shape: Shape) -> Self {
        let clock = SimClock::at(Timestamp::from_millis(1_760_000_000_000));
        let mut config = SandboxConfig::new(vec![(merchant(), Secret::new("app-secret"))]);
        config.clock = Arc::new(clock.clone());
        config.background = false;
        config.review_time = shape.review;
        let directory = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(config).await.unwrap();
        let provider = if shape.provider {
            sandbox.base_url()
        } else {
            "http://127.0.0.1:1/japan".to_owned()
        };
        let mut world = Self {
            clock,
            sandbox,
            receiver: Receiver::start(),
            http: client(),
            relay: None,
            public: TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap(),
            admin: String::new(),
            data: directory.path().join("data-0"),
            directory,
            entropy: Arc::new(SeededEntropy::new(7)),
            events: shape.events,
            verify: shape.verify,
            rate: shape.rate,
            token: shape.token,
            provider,
        };
        world.start().await;
        world
    }

    /// Starts the relay on the data directory as it stands, at the address it always has.
    pub async fn start(&mut self) {
        let text = format!(
            r#"
            [server]
            public_url = "http://{public}"
            rate_limit = "100000/s"
            [admin]
            listen = "127.0.0.1:0"
            token = "{ADMIN}"
            [store]
            path = {path:?}
            min_free = "1MiB"
            [vexora]
            base_url = "{provider}"
            timeout = "2s"
            rate_limit = "{rate}"
            [verify]
            {verify}
            [[merchant]]
            merchant_no = "{MERCHANT}"
            app_secret = "app-secret"
            {token}
            [[endpoint]]
            name = "ledger"
            url = "http://{hooks}/hooks"
            secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
            events = {events}
            "#,
            public = self.public,
            path = self.data.display().to_string(),
            provider = self.provider,
            hooks = self.receiver.address,
            rate = self.rate,
            events = self.events,
            verify = self.verify,
            token = if self.token {
                format!("callback_token = \"{TOKEN}\"")
            } else {
                String::new()
            },
        );
        let config = config::parse("tests", &text, &|_: &str| None)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let deps = Deps {
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::clone(&self.entropy) as _,
        };
        let sockets = Sockets {
            public: Some(Opened::Tcp(TcpListener::bind(self.public).unwrap())),
            admin: None,
        };
        let app = App::build(&config, deps, sockets).await.unwrap();
        let relay = app.start(Workers::Manual).unwrap();
        let Listen::Tcp(admin) = relay.admin_address() else {
            panic!("a TCP address");
        };
        self.admin = format!("http://{admin}");
        self.relay = Some(relay);
    }

    pub async fn stop(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.stop().await.unwrap();
        }
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// As after a `kill -9` now: the relay that comes back finds the files as they stand at this moment.
    pub async fn crash(&mut self) {
        let next = self
            .directory
            .path()
            .join(format!("data-{}", self.entropy_name()));
        copy(&self.data, &next);
        self.stop().await;
        self.data = next;
        self.start().await;
    }

    fn entropy_name(&self) -> String {
        use vexora_relay::clock::Entropy;
        format!("{:032x}", self.entropy.bits())
    }

    pub fn relay(&self) -> &Running {
        self.relay.as_ref().unwrap()
    }

    pub fn store(&self) -> Arc<dyn Store> {
        self.relay().store()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Does what is due now: the provider's callbacks, the relay's queries and deliveries.
    pub async fn settle(&self) {
        loop {
            let sent = self.sandbox.run_due().await;
            let done = match &self.relay {
                Some(relay) => relay.settle().await.unwrap(),
                None => 0,
            };
            if sent + done == 0 {
                return;
            }
        }
    }

    /// Lets time pass, doing what is due when it is due, and looking at least every `step`.
    pub async fn pass(&self, time: Duration, step: Duration) {
        let end = self.clock.now().plus(time);
        while self.clock.now() < end {
            let now = self.clock.now();
            let next = self.next_due().await.filter(|due| *due > now);
            let step = now.plus(step);
            self.clock
                .advance_to(next.map_or(step, |due| due.min(step)).min(end));
            self.settle().await;
        }
    }

    /// Lets what was decided just now be done: a query takes some milliseconds, and what follows is due after it.
    pub async fn soon(&self) {
        self.settle().await;
        self.pass(secs(1), secs(1)).await;
    }

    async fn next_due(&self) -> Option<Timestamp> {
        let mut due: Vec<Timestamp> = self.sandbox.next_due().into_iter().collect();
        if let Some(relay) = &self.relay {
            let store = relay.store();
            for lane in [
                Lane::Verify(merchant(), VerifyLane::Main),
                Lane::Verify(merchant(), VerifyLane::Open),
                Lane::Deliver("ledger".parse().unwrap()),
            ] {
                due.extend(store.next_due(&lane).await.unwrap());
            }
        }
        let now = self.clock.now();
        due.into_iter().filter(|due| *due > now).min()
    }

    pub async fn api(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/api/v1/{path}", self.admin);
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(ADMIN);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub fn admin(&self) -> &str {
        &self.admin
    }

    pub async fn apply(&self, name: &str) -> (u16, String) {
        let body = serde_json::json!({"userId": name, "usernameFurigana": NAME});
        let (status, body) = self.api("POST", "applications", Some(body)).await;
        // What failed is a problem, and named by its code.
        let word = body["result"].as_str().or(body["code"].as_str());
        (status, word.unwrap_or_default().to_owned())
    }

    pub async fn watch(&self, names: &[&str]) -> Value {
        let body = serde_json::json!({ "users": names });
        let (status, body) = self.api("POST", "watch", Some(body)).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Posts a callback to the merchant's address. Returns the status; 0 where nobody answers.
    pub async fn post(&self, body: &str) -> u16 {
        let path = callback_path(&merchant(), self.token.then_some(TOKEN));
        let url = format!("http://{}{path}", self.public);
        let sent = self.http.post(url).body(body.to_owned()).send().await;
        sent.map_or(0, |response| response.status().as_u16())
    }

    /// Posts what anybody could: a claim without a sign.
    pub async fn forge(&self, name: &str, claim: &str) -> u16 {
        let body = format!(r#"{{"userId":"{name}","authenticationStatus":"{claim}"}}"#);
        self.post(&body).await
    }

    /// Posts what the provider would, signed, whatever it claims.
    pub async fn ring(&self, name: &str, claim: &str) -> u16 {
        let spec = CallbackSpec {
            status: Some(claim.to_owned()),
            ..CallbackSpec::default()
        };
        let body = self
            .sandbox
            .callback_body(&merchant(), &user(name), &spec)
            .unwrap();
        self.post(std::str::from_utf8(&body.bytes).unwrap()).await
    }

    pub fn set(&self, name: &str, status: &str) {
        let reason = (status == "3").then_some("expired");
        let status = Status::parse(status).unwrap();
        self.sandbox
            .set_status(&merchant(), &user(name), status, reason);
    }

    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        let mut faults = Faults::default();
        change(&mut faults);
        self.sandbox.set_faults(faults);
    }

    pub fn queries(&self, name: &str) -> u64 {
        self.sandbox.queries(&merchant(), &user(name))
    }

    pub async fn story(&self, name: &str) -> Story {
        self.store().story(&merchant(), &user(name)).await.unwrap()
    }

    pub async fn end(mut self) {
        self.stop().await;
        self.receiver.handle.stop(false).await;
        self.sandbox.stop().await;
    }

    /// Promises 4 and 5 of everything that was heard: one id for each result, in order, none missing.
    pub fn check_heard(&self) -> Result<(), String> {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        let mut results = BTreeMap::new();
        for told in self.receiver.heard() {
            if told.user.is_empty() {
                continue;
            }
            let result = (told.user.clone(), told.sequence);
            if results
                .insert(result, told.id.clone())
                .is_some_and(|id| id != told.id)
            {
                return Err(format!("two ids for one result: {told:?}"));
            }
            let before = last.entry(told.user.clone()).or_default();
            let is_new = ids.insert(told.id.clone());
            if is_new && told.sequence != *before + 1 {
                return Err(format!("after {before} came {told:?}"));
            }
            if !is_new && told.sequence != *before {
                return Err(format!("an old one again after {before}: {told:?}"));
            }
            *before = told.sequence;
        }
        Ok(())
    }
}

pub fn client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}
