//! Load: signed callbacks over connections that are kept, with as little work per request as will do, because it
//! shares the processors with what is measured.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use vexora_relay::domain::Secret;
use vexora_relay::signing::vexora::sign;

use super::{APP_SECRET, MERCHANT};

/// No two callbacks of a run are about the same user.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// How long things took.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The value that so many percent are not above.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let index = (self.0.len() * percent / 100).min(last);
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl Extend<Self> for Times {
    fn extend<I: IntoIterator<Item = Self>>(&mut self, others: I) {
        self.0.extend(others.into_iter().flat_map(|other| other.0));
        self.0.sort_unstable();
    }
}

/// The middle one of figures that were measured in turns: of a machine that stalls now and then, what it does otherwise.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A number for a new user.
pub fn serial() -> u64 {
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// The name of a numbered user.
pub fn user(serial: u64) -> String {
    format!("bench-{serial}")
}

/// The whole request of a callback about a user, as the provider writes it.
pub fn callback(serial: u64) -> Vec<u8> {
    callback_to(&format!("/callback/{MERCHANT}"), serial)
}

/// The same to another path.
pub fn callback_to(path: &str, serial: u64) -> Vec<u8> {
    let user = user(serial);
    let fields = [
        ("authenticationStatus", "2"),
        ("timestamp", "1732988442913"),
        ("userId", user.as_str()),
    ];
    let sign = sign(fields, &Secret::new(APP_SECRET));
    let body = format!(
        r#"{{"userId":"{user}","authenticationStatus":"2","timestamp":"1732988442913","sign":"{sign}"}}"#
    );
    post_request(path, &body)
}

/// A whole request with a JSON body.
pub fn post_request(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    /// The connection ends with it.
    pub closes: bool,
    pub body: Vec<u8>,
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::with_capacity(1024),
        })
    }

    /// Posts a request; fails unless it is answered `OK`.
    pub async fn post(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        // The head, and behind it the two letters.
        while !self.answer.ends_with(b"\r\n\r\nOK") {
            let read = self.stream.read_buf(&mut self.answer).await?;
            let text = String::from_utf8_lossy(&self.answer);
            ensure!(read > 0, "closed after {text:?}");
            ensure!(self.answer.len() < 1024, "answered {text:?}");
        }
        ensure!(
            self.answer.starts_with(b"HTTP/1.1 200 "),
            "answered {:?}",
            String::from_utf8_lossy(&self.answer)
        );
        Ok(())
    }

    /// Sends a request and takes whatever is answered.
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if let Some(answer) = whole(&self.answer) {
                return Ok(answer);
            }
            let read = self.stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "closed before the answer was whole");
        }
    }
}

/// An answer, once all of it is there: the relay says of each how long it is.
fn whole(bytes: &[u8]) -> Option<Answer> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(bytes.get(..head)?)
        .ok()?
        .to_ascii_lowercase();
    let field = |name: &str| Some(text.split_once(name)?.1.split_once("\r\n")?.0);
    let length: usize = field("\r\ncontent-length: ").unwrap_or("0").parse().ok()?;
    let body = bytes.get(head..head + length)?.to_vec();
    Some(Answer {
        status: text.split(' ').nth(1)?.parse().ok()?,
        closes: field("\r\nconnection: ") == Some("close"),
        body,
    })
}

/// Posts from so many connections, each as soon as its last was answered, for so long.
pub async fn saturate(
    to: SocketAddr,
    connections: usize,
    length: Duration,
) -> anyhow::Result<(f64, Times)> {
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for _ in 0..connections {
        tasks.spawn(async move {
            let mut connection = Connection::open(to).await?;
            let mut times = Vec::new();
            while began.elapsed() < length {
                let request = callback(serial());
                let sent = Instant::now();
                connection.post(&request).await?;
                times.push(sent.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut all = Vec::new();
    while let Some(times) = tasks.join_next().await {
        all.extend(times?.context("a connection failed")?);
    }
    let elapsed = began.elapsed();
    let times = Times::new(all);
    Ok((times.count() as f64 / elapsed.as_secs_f64(), times))
}

/// Posts at an even rate from a few connections, each callback at its instant whatever became of those before; times
/// are from that instant on.
pub async fn steady(
    to: SocketAddr,
    path: &str,
    rate: u32,
    length: Duration,
) -> anyhow::Result<Times> {
    const CONNECTIONS: u32 = 16;
    let gap = Duration::from_secs(1) / rate;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for index in 0..CONNECTIONS {
        let path = path.to_owned();
        tasks.spawn(async move {
            let mut connection = Connection::open(to).await?;
            let mut times = Vec::new();
            let mut due = gap * index;
            while due < length {
                tokio::time::sleep_until((began + due).into()).await;
                connection.post(&callback_to(&path, serial())).await?;
                times.push(began.elapsed().saturating_sub(due));
                due += gap * CONNECTIONS;
            }
            anyhow::Ok(times)
        });
    }
    let mut all = Vec::new();
    while let Some(times) = tasks.join_next().await {
        all.extend(times?.context("a connection failed")?);
    }
    Ok(Times::new(all))
}
