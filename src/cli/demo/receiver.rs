//! The receiver of the demo: checks each webhook's signature as any receiver would, and says what it heard.

use std::net::{SocketAddr, TcpListener};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::signing::webhook::WebhookKey;

/// What one webhook said.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) user: Option<String>,
    pub(super) is_final: bool,
    pub(super) signature_ok: bool,
}

/// A receiver on a loopback port.
pub(super) struct Receiver {
    address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Heard>,
    server: ServerHandle,
}

#[derive(Clone)]
struct Ear {
    key: WebhookKey,
    heard: mpsc::UnboundedSender<Heard>,
}

impl Receiver {
    pub(super) fn start(key: WebhookKey) -> anyhow::Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        let (sender, heard) = mpsc::unbounded_channel();
        let ear = Ear { key, heard: sender };
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(ear.clone()))
                .route("/hooks", web::post().to(hear))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .listen(socket)?
        .run();
        let handle = server.handle();
        TaskTracker::new().spawn(server);
        Ok(Self {
            address,
            heard,
            server: handle,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    pub(super) async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    pub(super) async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn hear(request: HttpRequest, body: web::Bytes, ear: web::Data<Ear>) -> HttpResponse {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let id = header("webhook-id");
    let timestamp = header("webhook-timestamp").parse().unwrap_or(0);
    let expected = ear.key.sign(id, timestamp, &body);
    let signature_ok = header("webhook-signature")
        .split(' ')
        .any(|given| given == expected);
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let at = |path| {
        said.pointer(path)
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    let kind = at("/type").unwrap_or_default();
    let heard = Heard {
        id: id.to_owned(),
        is_final: matches!(kind.as_str(), "kyc.approved" | "kyc.rejected"),
        kind,
        user: at("/data/userId"),
        signature_ok,
    };
    // Nobody listens any more when the demo ends.
    let _ended = ear.heard.send(heard);
    if signature_ok {
        HttpResponse::NoContent().finish()
    } else {
        HttpResponse::Unauthorized().finish()
    }
}
