//! The operators' listener from outside: lists, wrong tokens, request ids, and what no answer may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::{
    APP_SECRET, MERCHANT, Relay, Reply, SECOND_APP_SECRET, Setup, Sink, TOKEN, WHSEC, in_time,
    post, secs,
};

/// Somebody who asks the operators' listener.
pub struct Operator {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// An answer.
pub struct Said {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

fn client() -> reqwest::Client {
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

impl Operator {
    pub fn of(relay: &Relay) -> Self {
        Self {
            http: client(),
            base: relay.admin_url(),
            token: relay.admin_token(),
        }
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Said {
        let method: Method = method.parse().unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = in_time(path, request.send()).await.unwrap();
        Said {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: in_time(path, answer.bytes()).await.unwrap().to_vec(),
        }
    }

    /// With the token.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Said {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str())];
        self.send(method, path, &headers, body).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let said = self.ask("GET", &format!("/api/v1{path}"), None).await;
        assert_eq!(said.status, 200, "{path}: {}", said.json());
        said.json()
    }

    /// Everything of a list, in pages of this many.
    pub async fn all(&self, list: &str, query: &str, limit: usize) -> Vec<Value> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        for _page in 0..1000 {
            let page = self
                .get(&format!("/{list}?limit={limit}&{query}{cursor}"))
                .await;
            let rows = page[list].as_array().unwrap();
            assert!(rows.len() <= limit);
            found.extend(rows.iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
        panic!("{list} has no end");
    }
}

/// A relay with something of everything: results heard, waiting and given up, and a callback that nobody understands.
pub async fn lived() -> (Relay, Sink) {
    let (good, bad) = (Sink::start().await, Sink::start().await);
    bad.answers(Reply::Answer(500, vec![], b"receivers-answer".to_vec()));
    let relay = Setup::new()
        .vexora("rate_limit = \"off\"")
        .endpoint(
            "good",
            &good.url(),
            "headers = { X-Key = \"key-of-the-endpoint\" }",
        )
        .endpoint(
            "bad",
            &format!("{}?apikey=key-in-the-address", bad.url()),
            "retry = [\"1s\"]",
        )
        .start()
        .await;
    for (id, status) in [("taro", "2"), ("hanako", "3"), ("ken", "1")] {
        relay.result(id, status).await;
    }
    relay.advance(secs(2));
    relay.settle().await;
    let path = format!("/callback/{MERCHANT}/{TOKEN}");
    assert_eq!(
        post(relay.address(), &path, b"what is this \xff").await.0,
        200
    );
    relay.result("late", "2").await;
    (relay, good)
}

#[tokio::test]
async fn lists_are_paged_and_narrowed() {
    let (relay, _sink) = lived().await;
    let operator = Operator::of(&relay);
    let ids = |rows: &[Value]| rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
    let callbacks = operator.all("callbacks", "", 50).await;
    assert_eq!(callbacks.len(), 5);
    assert_eq!(
        ids(&operator.all("callbacks", "", 2).await),
        ids(&callbacks),
        "in any portions"
    );
    let unrecognized = operator.all("callbacks", "state=unrecognized", 50).await;
    assert_eq!(unrecognized.len(), 1);
    let whole = operator
        .get(&format!(
            "/callbacks/{}",
            unrecognized[0]["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(whole["bodyEncoding"], "base64");
    assert_eq!(whole["body"], "d2hhdCBpcyB0aGlzIP8=");
    let taro = operator.all("callbacks", "user=taro", 50).await;
    let whole = operator
        .get(&format!("/callbacks/{}", taro[0]["id"].as_str().unwrap()))
        .await;
    assert_eq!(whole["bodyEncoding"], "utf-8");
    assert!(whole["body"].as_str().unwrap().contains("\"taro\""));

    let events = operator.all("events", "type=kyc.approved", 50).await;
    let users: Vec<_> = events
        .iter()
        .map(|event| event["userId"].as_str().unwrap())
        .collect();
    assert_eq!(users, ["late", "taro"]);
    let of_both = operator
        .all("events", "type=kyc.approved&type=kyc.rejected", 1)
        .await;
    assert_eq!(of_both.len(), 3);
    let since = events[0]["at"].as_str().unwrap();
    assert_eq!(
        operator
            .all("events", &format!("since={since}"), 50)
            .await
            .len(),
        1
    );
    assert_eq!(
        operator
            .all("events", &format!("until={since}&user=taro"), 50)
            .await
            .len(),
        1
    );
    let event = operator
        .get(&format!("/events/{}", events[1]["id"].as_str().unwrap()))
        .await;
    assert_eq!(event["deliveries"].as_array().unwrap().len(), 2);
    assert_eq!(event["data"]["authenticationStatus"], "2");

    let delivered = operator
        .all("deliveries", "state=delivered&endpoint=good", 2)
        .await;
    assert_eq!(delivered.len(), 3);
    let given_up = operator.all("deliveries", "state=given_up", 50).await;
    assert_eq!(given_up.len(), 2, "{given_up:?}");
    assert!(given_up.iter().all(|row| row["endpoint"] == "bad"));
    let watched = operator.all("watched", "", 50).await;
    assert_eq!(watched.len(), 1, "the one who is under review");
    assert_eq!(watched[0]["userId"], "ken");

    // What needs someone, and then nobody any more.
    let status = operator.get("/status").await;
    assert_eq!(status["counts"]["abandoned"], json!({"bad": 2}));
    assert_eq!(status["counts"]["unrecognized"], 1);
    let needs = |status: &Value| {
        let items = status["attention"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| item["what"].clone())
            .collect::<Vec<_>>()
    };
    assert!(needs(&status).contains(&json!("abandoned")), "{status}");
    for row in &given_up {
        let event = row["event"].as_str().unwrap();
        let path = format!("/api/v1/deliveries/{event}/bad/discard");
        assert_eq!(operator.ask("POST", &path, None).await.status, 200);
    }
    let status = operator.get("/status").await;
    assert!(!needs(&status).contains(&json!("abandoned")), "{status}");
    assert_eq!(
        operator.all("deliveries", "state=discarded", 1).await.len(),
        2
    );
}

#[tokio::test]
async fn a_callback_is_processed_again() {
    let (relay, _sink) = lived().await;
    let operator = Operator::of(&relay);
    let before = relay.queries("taro");
    let taro = operator.all("callbacks", "user=taro", 50).await;
    let path = |id: &Value| format!("/api/v1/callbacks/{}/reprocess", id.as_str().unwrap());
    let said = operator.ask("POST", &path(&taro[0]["id"]), None).await;
    assert_eq!((said.status, &said.json()["userId"]), (202, &json!("taro")));
    relay.settle().await;
    assert_eq!(relay.queries("taro"), before + 1);
    let unknown = operator.all("callbacks", "state=unrecognized", 50).await;
    let said = operator.ask("POST", &path(&unknown[0]["id"]), None).await;
    assert_eq!(
        (said.status, &said.json()["code"]),
        (409, &json!("still_unrecognized"))
    );
    let nowhere = json!("cb_00000000000000000000000000");
    let said = operator.ask("POST", &path(&nowhere), None).await;
    assert_eq!(
        (said.status, &said.json()["code"]),
        (404, &json!("no_such_callback"))
    );
}

#[tokio::test]
async fn what_a_list_does_not_take_is_refused_by_name() {
    let (relay, _sink) = lived().await;
    let operator = Operator::of(&relay);
    for (path, named) in [
        ("/callbacks?stat=unrecognized", "`stat`"),
        (
            "/callbacks?state=lost",
            "state: there is no `lost` here; expected one of accepted, unrecognized, valid, invalid, missing",
        ),
        (
            "/callbacks?state=%E3%83%A4%3C%22lo+st",
            "state: there is no `lost` here; expected",
        ),
        (
            "/deliveries?state=lost",
            "state: there is no `lost` here; expected one of waiting, ",
        ),
        ("/callbacks?limit=0", "limit"),
        ("/callbacks?limit=501", "limit"),
        ("/callbacks?limit=1&limit=2", "limit: given twice"),
        ("/callbacks?merchant=12", "merchant"),
        ("/callbacks?user=", "user"),
        ("/callbacks?since=yesterday", "since"),
        ("/callbacks?until=1950-01-01T00:00:00Z", "until"),
        ("/callbacks?cursor=%21", "cursor"),
        ("/callbacks?cursor=ZXNvbWV0aGluZw", "cursor"),
        (
            "/events?type=kyc.approved&type=kyc.lost",
            "type: there is no `kyc.lost` here; expected one of kyc.pending, kyc.under_review, kyc.approved, ",
        ),
        ("/deliveries?endpoint=BAD", "endpoint"),
        ("/deliveries?type=kyc.approved", "`type`"),
        (
            "/watched?state=waiting",
            "state: there is no `waiting` here; expected one of stuck",
        ),
        ("/status?verbose=1", "takes none"),
        ("/jobs/x", "path"),
        ("/callbacks/x", "id"),
    ] {
        let said = operator.ask("GET", &format!("/api/v1{path}"), None).await;
        let problem = said.json();
        assert_eq!(
            (said.status, &problem["code"]),
            (400, &json!("invalid_request")),
            "{path}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains(named),
            "{path}: {problem}"
        );
    }
    for (job, body, named) in [
        (
            "replay",
            json!({"since": "2020-01-01T00:00:00Z", "types": ["kyc.approved", "kyc.lost"]}),
            "types: there is no `kyc.lost` here; expected one of kyc.pending, ",
        ),
        (
            "replay",
            json!({"since": "2020-01-01T00:00:00Z", "states": ["waiting"]}),
            "states: there is no `waiting` here; expected one of delivered, abandoned, missing",
        ),
        (
            "retry",
            json!({"states": ["delivered"]}),
            "states: there is no `delivered` here; expected one of abandoned, waiting",
        ),
    ] {
        let path = format!("/api/v1/endpoints/good/{job}");
        let said = operator.ask("POST", &path, Some(&body)).await;
        assert_eq!(said.status, 400, "{job} {body}");
        let detail = said.json()["detail"].clone();
        assert_eq!(detail.as_str().unwrap().find(named), Some(0), "{detail}");
    }
    // An offset whose plus sign nobody escaped.
    operator
        .get("/events?since=2020-01-01T00:00:00+09:00")
        .await;
}

#[tokio::test]
async fn whoever_guesses_at_the_token_is_slowed_down() {
    let (relay, _sink) = lived().await;
    let operator = Operator::of(&relay);
    let guess = async || {
        let wrong = [("authorization", "Bearer not-the-token")];
        operator.send("GET", "/api/v1/status", &wrong, None).await
    };
    for _ in 0..12 {
        let none = operator.send("GET", "/api/v1/status", &[], None).await;
        assert_eq!(none.status, 401, "no token is no guess");
    }
    for _ in 0..10 {
        assert_eq!(guess().await.status, 401);
    }
    let slowed = guess().await;
    assert_eq!((slowed.status, slowed.header("retry-after")), (429, "1"));
    assert_eq!(slowed.json()["code"], "too_many_wrong_tokens");
    let right = operator.ask("GET", "/api/v1/status", None).await;
    assert_eq!(right.status, 429, "or guessing would not be slowed at all");
    // What is open stays open.
    assert_eq!(
        operator.send("GET", "/healthz", &[], None).await.status,
        200
    );
    relay.advance(secs(1));
    assert_eq!(guess().await.status, 401);
    assert_eq!(guess().await.header("retry-after"), "2", "longer each time");
    relay.advance(secs(2));
    assert_eq!(
        operator.ask("GET", "/api/v1/status", None).await.status,
        200
    );
    for _ in 0..2 {
        assert_eq!(guess().await.status, 401, "begins anew, and does not wait");
    }
}

#[tokio::test]
async fn every_answer_carries_a_request_id() {
    let (relay, _sink) = lived().await;
    let operator = Operator::of(&relay);
    let long = "x".repeat(129);
    for path in [
        "/healthz",
        "/readyz",
        "/nothing",
        "/api/v1/status",
        "/api/v1/nothing",
        "/api",
    ] {
        let said = operator
            .send("GET", path, &[("x-request-id", "mine-1")], None)
            .await;
        assert_eq!(said.header("x-request-id"), "mine-1", "{path}");
        for bad in ["", long.as_str(), "a\tb"] {
            let said = operator
                .send("GET", path, &[("x-request-id", bad)], None)
                .await;
            assert!(said.header("x-request-id").len() == 32, "{path} {bad:?}");
        }
        let other = operator.send("GET", path, &[], None).await;
        let again = operator.send("GET", path, &[], None).await;
        assert_ne!(other.header("x-request-id"), again.header("x-request-id"));
    }
}

#[tokio::test]
async fn no_answer_holds_a_secret() {
    let (relay, _sink) = lived().await;
    let operator = Operator::of(&relay);
    let token = relay.admin_token();
    let secrets = [
        token.as_str(),
        APP_SECRET,
        SECOND_APP_SECRET,
        TOKEN,
        WHSEC,
        &WHSEC[6..],
        "key-of-the-endpoint",
        "key-in-the-address",
    ];
    let event = operator.all("events", "", 1).await[0]["id"].clone();
    let callback = operator.all("callbacks", "", 1).await[0]["id"].clone();
    let document = operator.get("/openapi.json").await;
    let mut looked_at = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let filled = path
                .replace("{merchant}", MERCHANT)
                .replace("{user}", "taro")
                .replace("{event}", event.as_str().unwrap())
                .replace("{endpoint}", "bad")
                .replace("{name}", "bad");
            let id = match path.split('/').nth(3) {
                Some("callbacks") => callback.as_str().unwrap(),
                Some("events") => event.as_str().unwrap(),
                _ => "1",
            };
            let filled = filled.replace("{id}", id);
            let method = method.to_uppercase();
            for body in [
                None,
                Some(json!({})),
                Some(json!({"since": "2020-01-01T00:00:00Z"})),
            ] {
                let said = operator.ask(&method, &filled, body.as_ref()).await;
                let heads: Vec<u8> = said
                    .headers
                    .values()
                    .flat_map(|value| value.as_bytes().to_vec())
                    .collect();
                let whole = [heads, said.body].concat();
                for secret in secrets {
                    let found = whole
                        .windows(secret.len())
                        .any(|part| part == secret.as_bytes());
                    assert!(!found, "{secret:?} is in the answer to {method} {filled}");
                }
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 80, "{looked_at}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_are_taken_while_all_lists_are_paged() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .vexora("rate_limit = \"off\"")
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    for number in 0..300 {
        relay.says(&format!("u{number}"), "2", None);
        relay.post_callback(&format!("u{number}"), "2").await;
    }
    relay.settle().await;
    let operator = Arc::new(Operator::of(&relay));
    let (stop, pages) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let tracker = tokio_util::task::TaskTracker::new();
    let pagers: Vec<_> = ["callbacks", "events", "deliveries", "watched"]
        .into_iter()
        .cycle()
        .take(8)
        .map(|list| {
            let (operator, stop) = (Arc::clone(&operator), Arc::clone(&stop));
            let pages: Arc<std::sync::atomic::AtomicUsize> = Arc::clone(&pages);
            tracker.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    operator.all(list, "", 7).await;
                    pages.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // Each is answered in time, or this fails.
    for number in 0..200 {
        relay.post_callback(&format!("new{number}"), "1").await;
    }
    let read = pages.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    for pager in pagers {
        in_time("the last page", pager).await.unwrap();
    }
    assert!(
        read > 0 || pages.load(Ordering::Relaxed) > 0,
        "they were paged meanwhile"
    );
    assert_eq!(operator.all("callbacks", "", 500).await.len(), 500);
}
