//! A public listener on a real socket, in front of a recording store.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use vexora_relay::clock::{SeededEntropy, SimClock};
use vexora_relay::config::settings::{Listen, ServerSettings};
use vexora_relay::domain::{Routing, Secret, Secrets, Timestamp};
use vexora_relay::http::{Edge, Opened, PublicListener};
use vexora_relay::metrics::Metrics;
use vexora_relay::receive::{ReceiveMerchant, ReceiveSettings, Receiver};

use super::recording_store::RecordingStore;
use super::wire::{Answer, Wire};

/// Has a token.
pub const MERCHANT: &str = "1027749636";
pub const TOKEN: &str = "a-token-of-sixteen-or-more";
/// Has none.
pub const OPEN_MERCHANT: &str = "2000000001";
pub const SECRET: &str = "s3cr3t";
pub const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

pub struct Listening {
    pub store: Arc<RecordingStore>,
    pub receiver: Arc<Receiver>,
    pub edge: Arc<Edge>,
    pub at: Listen,
    pub handle: ServerHandle,
    tasks: TaskTracker,
}

/// As shipped, on a port of its own, without the rate limit.
pub fn server_settings() -> ServerSettings {
    ServerSettings {
        listen: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
        public_url: None,
        tls: None,
        max_body: 64 * 1024,
        request_timeout: Duration::from_secs(10),
        ack: "OK".to_owned(),
        allow_from: vec![],
        trusted_proxies: vec![],
        rate_limit: None,
    }
}

pub fn merchant(number: &str, token: Option<&str>) -> ReceiveMerchant {
    ReceiveMerchant {
        merchant: number.parse().expect("a merchant number"),
        app_secret: Secrets::new(Secret::new(SECRET), vec![]),
        token: token.map(|token| Secrets::new(Secret::new(token), vec![])),
    }
}

pub fn receive_settings() -> ReceiveSettings {
    ReceiveSettings {
        merchants: vec![
            merchant(MERCHANT, Some(TOKEN)),
            merchant(OPEN_MERCHANT, None),
        ],
        refuse_bad_sign: false,
    }
}

pub fn receiver(store: &Arc<RecordingStore>) -> Arc<Receiver> {
    Arc::new(Receiver::new(
        receive_settings(),
        Arc::clone(store) as _,
        Arc::new(SimClock::at(NOW)),
        Arc::new(SeededEntropy::new(1)),
        Arc::new(ArcSwap::from_pointee(Routing::default())),
    ))
}

pub async fn listening(settings: ServerSettings) -> Listening {
    listening_on(settings, None).await
}

pub async fn listening_on(settings: ServerSettings, passed: Option<Opened>) -> Listening {
    let store = Arc::new(RecordingStore::new());
    let receiver = receiver(&store);
    let clock = Arc::new(SimClock::at(NOW));
    let listener = PublicListener::bind(
        &settings,
        Arc::clone(&receiver),
        (clock, Arc::new(SeededEntropy::new(2))),
        Arc::new(Metrics::new(NOW)),
        passed,
    )
    .await
    .expect("bound");
    let (at, edge) = (listener.local_addr().clone(), listener.edge());
    let server = listener.run(2, Duration::from_secs(20)).expect("running");
    let handle = server.handle();
    let tasks = TaskTracker::new();
    tasks.spawn(server);
    tasks.close();
    Listening {
        store,
        receiver,
        edge,
        at,
        handle,
        tasks,
    }
}

impl Listening {
    pub fn address(&self) -> SocketAddr {
        match self.at {
            Listen::Tcp(address) => address,
            Listen::Unix(_) => panic!("it listens on a Unix socket"),
        }
    }

    pub async fn connect(&self) -> Wire<TcpStream> {
        Wire::new(
            TcpStream::connect(self.address())
                .await
                .expect("a connection"),
        )
    }

    /// A connection that comes from another of this machine's own addresses.
    pub async fn connect_from(&self, source: &str) -> Wire<TcpStream> {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        let source = format!("{source}:0").parse().expect("an address");
        socket.bind(source).expect("one of our own addresses");
        Wire::new(socket.connect(self.address()).await.expect("a connection"))
    }

    /// Sends one request on a connection of its own.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut wire = self.connect().await;
        wire.send(request).await;
        wire.answer().await
    }

    pub async fn post_callback(&self, path: &str, body: &str) -> Answer {
        self.ask(post(path, "", body)).await
    }

    /// Ends when the server has ended.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

pub fn callback_path() -> String {
    format!("/callback/{MERCHANT}/{TOKEN}")
}

/// A whole request; `headers` are lines that each end with CR LF.
pub fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: relay\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

pub fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: relay\r\n\r\n")
}

/// A body whose sign is good.
pub fn signed_body(user: &str) -> String {
    let pairs = [
        ("authenticationStatus", "2"),
        ("timestamp", "1732988442913"),
        ("userId", user),
    ];
    let sign = vexora_relay::signing::vexora::sign(pairs, &Secret::new(SECRET));
    format!(
        r#"{{"userId":"{user}","authenticationStatus":"2","timestamp":1732988442913,"sign":"{sign}"}}"#
    )
}
