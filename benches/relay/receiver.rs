//! A receiver that costs next to nothing: reads a webhook, notes when it came, answers 204.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

type Awaited = Arc<Mutex<HashMap<u64, oneshot::Sender<Instant>>>>;

/// A receiver on a loopback port.
pub struct Receiver {
    pub address: SocketAddr,
    awaited: Awaited,
    /// Each arrival.
    pub arrivals: mpsc::UnboundedReceiver<Instant>,
}

impl Receiver {
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let awaited = Awaited::default();
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let map = Arc::clone(&awaited);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(hear(stream, Arc::clone(&map), arrived.clone()));
            }
        });
        Ok(Self {
            address,
            awaited,
            arrivals,
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// Will say when the webhook about this user has come.
    pub fn expect(&self, serial: u64) -> oneshot::Receiver<Instant> {
        let (sender, receiver) = oneshot::channel();
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.insert(serial, sender);
        receiver
    }
}

async fn hear(mut stream: TcpStream, awaited: Awaited, arrived: mpsc::UnboundedSender<Instant>) {
    let mut bytes = Vec::with_capacity(4096);
    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        let Some((head, length)) = request(&bytes) else {
            continue;
        };
        let now = Instant::now();
        let text = String::from_utf8_lossy(bytes.get(head..head + length).unwrap_or_default());
        let serial = text
            .split_once(r#""userId":"bench-"#)
            .and_then(|(_, rest)| rest.split_once('"')?.0.parse().ok());
        if let Some(serial) = serial {
            let mut awaited = awaited.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(sender) = awaited.remove(&serial) {
                let _not_awaited = sender.send(now);
            }
        }
        let _not_counted = arrived.send(now);
        bytes.clear();
        if stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Where the body of a whole request begins, and its length.
fn request(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(bytes.get(..head)?)
        .ok()?
        .to_ascii_lowercase();
    let (_, rest) = text.split_once("content-length: ")?;
    let length: usize = rest.split_once("\r\n")?.0.parse().ok()?;
    (bytes.len() >= head + length).then_some((head, length))
}
