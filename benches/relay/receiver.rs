//! A receiver that costs next to nothing: reads a webhook, notes when it came, answers 204. One of another kind refuses
//! some of what it gets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

type Awaited = Arc<Mutex<HashMap<u64, oneshot::Sender<Instant>>>>;

/// Decides whether the next webhook is taken.
type Taking = Arc<dyn Fn() -> bool + Send + Sync>;

/// A webhook that was taken.
pub struct Arrival {
    pub at: Instant,
    /// The number of its user.
    pub user: Option<u64>,
    /// Its `webhook-id`.
    pub id: String,
}

/// A receiver on a loopback port.
pub struct Receiver {
    pub address: SocketAddr,
    awaited: Awaited,
    /// Each arrival.
    pub arrivals: mpsc::UnboundedReceiver<Arrival>,
}

impl Receiver {
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_taking(|| true).await
    }

    /// One that answers 500 to what it does not take.
    pub async fn start_taking(
        taking: impl Fn() -> bool + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let taking: Taking = Arc::new(taking);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let awaited = Awaited::default();
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let map = Arc::clone(&awaited);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taking = Arc::clone(&taking);
                tokio::spawn(hear(stream, taking, Arc::clone(&map), arrived.clone()));
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

async fn hear(
    mut stream: TcpStream,
    taking: Taking,
    awaited: Awaited,
    arrived: mpsc::UnboundedSender<Arrival>,
) {
    let mut bytes = Vec::with_capacity(4096);
    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        let Some((head, length)) = request(&bytes) else {
            continue;
        };
        let answer: &[u8] = if taking() {
            let arrival = arrival(&bytes, head, length);
            if let Some(serial) = arrival.user {
                let mut awaited = awaited.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = awaited.remove(&serial) {
                    let _not_awaited = sender.send(arrival.at);
                }
            }
            let _not_counted = arrived.send(arrival);
            b"HTTP/1.1 204 No Content\r\n\r\n"
        } else {
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
        };
        bytes.clear();
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

fn arrival(bytes: &[u8], head: usize, length: usize) -> Arrival {
    let at = Instant::now();
    let text = |range| String::from_utf8_lossy(bytes.get(range).unwrap_or_default());
    let (header, body) = (text(0..head), text(head..head + length));
    let between = |text: &str, before: &str, after: char| {
        let (_, rest) = text.split_once(before)?;
        Some(rest.split_once(after)?.0.to_owned())
    };
    Arrival {
        at,
        user: between(&body, r#""userId":"bench-"#, '"').and_then(|number| number.parse().ok()),
        id: between(&header, "webhook-id: ", '\r').unwrap_or_default(),
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
