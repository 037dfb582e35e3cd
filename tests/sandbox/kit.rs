//! What the tests of the sandbox do to it: query, apply, and receive callbacks, as a merchant's own software would.

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use md5::{Digest, Md5};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use vexora_relay::clock::{Clock, SimClock};
use vexora_relay::domain::{MerchantNo, Secret, Timestamp, UserId};
use vexora_relay::sandbox::{Sandbox, SandboxConfig};

pub const SECRET: &str = "s3cr3t";
pub const STAMP: u64 = 1_732_988_442_913;

pub fn merchant() -> MerchantNo {
    "1027749636".parse().unwrap()
}

pub fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The published rule, by itself: sorted names, `name=value` with nothing between, then the secret.
pub fn own_sign(params: &[(&str, &str)], secret: &str) -> String {
    let sorted: BTreeMap<&str, &str> = params.iter().copied().collect();
    let mut text: String = sorted
        .iter()
        .filter(|(name, value)| **name != "sign" && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    text.push_str(secret);
    hex::encode(Md5::digest(text.as_bytes()))
}

#[test]
fn our_own_sign_is_what_md5sum_prints() {
    let params = [("userId", "jp_user_100008"), ("timestamp", "1732988442913")];
    assert_eq!(
        own_sign(&params, SECRET),
        "123f689e77814f21fe621c1c2f5f6c99"
    );
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
        .build()
        .unwrap()
}

/// A sandbox whose time stands still until it is moved, and which sends nothing by itself.
pub struct Rig {
    pub sandbox: Sandbox,
    pub clock: SimClock,
    pub client: reqwest::Client,
}

pub async fn rig() -> Rig {
    rig_with(|_config| {}).await
}

pub async fn rig_with(change: impl FnOnce(&mut SandboxConfig)) -> Rig {
    let clock = SimClock::at(Timestamp::from_millis(STAMP));
    let mut config = SandboxConfig::new(vec![
        (merchant(), Secret::new(SECRET)),
        ("2000000002".parse().unwrap(), Secret::new("other")),
    ]);
    config.clock = Arc::new(clock.clone());
    config.background = false;
    change(&mut config);
    Rig {
        sandbox: Sandbox::start(config).await.unwrap(),
        clock,
        client: client(),
    }
}

impl Rig {
    pub fn at(&self) -> u64 {
        self.clock.now().as_millis() - STAMP
    }

    fn url(&self, api: &str) -> String {
        format!("{}/v1/vexora/{api}", self.sandbox.base_url())
    }

    pub fn query_request(&self, body: &str) -> reqwest::RequestBuilder {
        self.client
            .post(self.url("kycStatusQuery"))
            .header("merchantNo", "1027749636")
            .header("content-type", "application/json")
            .body(body.to_owned())
    }

    /// A well-signed status query.
    pub async fn query(&self, user: &str) -> Value {
        json(self.query_request(&query_body(user))).await
    }

    /// The status that the query shows.
    pub async fn status(&self, user: &str) -> String {
        let answer = self.query(user).await;
        let status = &answer["data"]["authenticationStatus"];
        status
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    pub fn apply_request(&self, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let mut form = reqwest::multipart::Form::new();
        for (name, value) in fields {
            form = form.text((*name).to_owned(), (*value).to_owned());
        }
        self.client
            .post(self.url("kycApplyFor"))
            .header("merchantNo", "1027749636")
            .multipart(form)
    }

    /// A well-signed application.
    pub async fn apply(&self, user: &str, callback_url: &str) -> Value {
        let fields = apply_fields(user, callback_url);
        json(self.apply_request(&pairs(&fields))).await
    }

    pub async fn control(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.sandbox.control_url());
        let request = self
            .client
            .request(method.parse().unwrap(), url)
            .body(body.to_owned());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null),
        )
    }
}

pub fn query_body(user: &str) -> String {
    let sign = own_sign(&[("userId", user), ("timestamp", "1732988442913")], SECRET);
    serde_json::json!({"userId": user, "timestamp": "1732988442913", "sign": sign}).to_string()
}

pub fn apply_fields(user: &str, callback_url: &str) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("userId", user.to_owned()),
        ("timestamp", "1732988442913".to_owned()),
        ("callBackUrl", callback_url.to_owned()),
        ("usernameFurigana", "ヤマダ タロウ1".to_owned()),
    ];
    let sign = own_sign(&pairs(&fields), SECRET);
    fields.push(("sign", sign));
    fields
}

pub fn pairs<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

pub async fn json(request: reqwest::RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// One callback as it came.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub body: Vec<u8>,
    pub content_type: String,
}

impl Arrived {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Answers = Arc<Mutex<VecDeque<(u16, String)>>>;

/// Takes callbacks, and answers as told; `OK` when told nothing.
pub struct Sink {
    pub url: String,
    answers: Answers,
    arrived: mpsc::UnboundedReceiver<Arrived>,
    server: actix_web::dev::ServerHandle,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/callback", listener.local_addr().unwrap());
        let (tell, arrived) = mpsc::unbounded_channel();
        let answers = Answers::default();
        let state = web::Data::new((tell, Arc::clone(&answers)));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .default_service(web::to(receive))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        TaskTracker::new().spawn(server);
        Self {
            url,
            answers,
            arrived,
            server: handle,
        }
    }

    pub fn answer(&self, status: u16, body: &str) {
        self.answers
            .lock()
            .unwrap()
            .push_back((status, body.to_owned()));
    }

    /// The next callback, which must be here by now or come soon.
    pub async fn next(&mut self) -> Arrived {
        tokio::time::timeout(secs(20), self.arrived.recv())
            .await
            .expect("a callback in time")
            .expect("the sink runs")
    }

    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn receive(
    request: HttpRequest,
    body: web::Bytes,
    state: web::Data<(mpsc::UnboundedSender<Arrived>, Answers)>,
) -> HttpResponse {
    let content_type = request.headers().get("content-type");
    let arrived = Arrived {
        body: body.to_vec(),
        content_type: content_type.unwrap().to_str().unwrap().to_owned(),
    };
    // Before answering: whoever waits for the answer finds the callback here.
    state.0.send(arrived).unwrap();
    let told = state.1.lock().unwrap().pop_front();
    let (status, body) = told.unwrap_or((200, "OK".to_owned()));
    HttpResponse::build(status.try_into().unwrap())
        .insert_header(("location", "/elsewhere"))
        .body(body)
}
