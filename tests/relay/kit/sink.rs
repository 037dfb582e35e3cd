//! A server that records every request whole and answers as a test says: a receiver, or a provider that misbehaves
//! in ways the sandbox does not know. Raw TCP, so that it can break HTTP too.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Notify, Semaphore};
use tokio_util::task::TaskTracker;

use super::in_time;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A whole answer.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, then silence.
    Stalls(Vec<u8>),
    /// These bytes, then more and more until the other side has enough.
    Endless(Vec<u8>),
    /// These bytes, then one a second for as long as the other side listens.
    Trickles(Vec<u8>),
    /// 200 once somebody gives leave.
    Held(Arc<Semaphore>, Vec<u8>),
    /// 200 once so many requests are here at the same time.
    Together(Arc<Barrier>),
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::Answer(status, vec![], vec![])
    }

    pub fn body(body: &str) -> Self {
        Self::Answer(200, vec![], body.as_bytes().to_vec())
    }

    pub fn with_header(status: u16, name: &'static str, value: &str) -> Self {
        Self::Answer(status, vec![(name, value.to_owned())], vec![])
    }

    /// What Vexora answers about a user with this status.
    pub fn verdict(status: &str) -> Self {
        Self::body(&format!(
            r#"{{"msg":"success","code":"0000","timestamp":"1732988442913","success":true,"data":{{"authenticationStatus":"{status}"}}}}"#
        ))
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header that must be there exactly once.
    pub fn header(&self, name: &str) -> &str {
        let found: Vec<&str> = self
            .headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(found.len(), 1, "header {name} in {:?}", self.headers);
        found[0]
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub fn user(&self) -> String {
        let json = self.json();
        let user = json["data"]["userId"].as_str().or(json["userId"].as_str());
        user.unwrap().to_owned()
    }
}

#[derive(Debug)]
struct State {
    requests: Vec<Request>,
    script: VecDeque<Reply>,
    standing: Reply,
    refused: Option<String>,
    open: usize,
    most_open: usize,
}

/// The server, on a free port of 127.0.0.1.
#[derive(Clone)]
pub struct Sink {
    pub address: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
    arrived: Arc<Notify>,
}

impl Sink {
    pub async fn start() -> Self {
        Self::serve(None).await
    }

    pub async fn with_tls(config: rustls::ServerConfig) -> Self {
        Self::serve(Some(tokio_rustls::TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn serve(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Self {
            address: listener.local_addr().unwrap(),
            scheme: if tls.is_some() { "https" } else { "http" },
            state: Arc::new(Mutex::new(State {
                requests: vec![],
                script: VecDeque::new(),
                standing: Reply::status(204),
                refused: None,
                open: 0,
                most_open: 0,
            })),
            arrived: Arc::new(Notify::new()),
        };
        let served = sink.clone();
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sink, tls) = (served.clone(), tls.clone());
                tasks.spawn(async move {
                    match tls {
                        None => sink.connection(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => sink.connection(stream).await,
                            Err(_refused) => None,
                        },
                    }
                });
            }
        });
        sink
    }

    pub fn url(&self) -> String {
        format!("{}://{}/hooks/kyc", self.scheme, self.address)
    }

    /// For a sink that stands in for the provider.
    pub fn base_url(&self) -> String {
        format!("{}://{}/japan", self.scheme, self.address)
    }

    /// How it answers from now on.
    pub fn answers(&self, reply: Reply) {
        self.state.lock().unwrap().standing = reply;
    }

    /// This user's results are answered with 500 from now on, whatever else is said.
    pub fn refuses(&self, id: &str) {
        self.state.lock().unwrap().refused = Some(id.to_owned());
    }

    /// How it answers the next request that nothing was said about yet.
    pub fn answers_next(&self, reply: Reply) {
        self.state.lock().unwrap().script.push_back(reply);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn count(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    /// The only request so far.
    pub fn only(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }

    pub fn kinds(&self) -> Vec<String> {
        self.requests().iter().map(Request::kind).collect()
    }

    /// The most requests that were here at the same time.
    pub fn most_open(&self) -> usize {
        self.state.lock().unwrap().most_open
    }

    /// Counts [`Self::most_open`] anew.
    pub fn forget_most_open(&self) {
        let mut state = self.state.lock().unwrap();
        state.most_open = state.open;
    }

    /// Waits until so many requests have come.
    pub async fn has_received(&self, count: usize) {
        in_time("a request to a sink", async {
            loop {
                let arrived = self.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                if self.count() >= count {
                    return;
                }
                arrived.await;
            }
        })
        .await;
    }

    async fn connection<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> Option<()> {
        let request = read_request(&mut stream).await?;
        let reply = {
            let mut state = self.state.lock().unwrap();
            let refused = state.refused.as_ref();
            let is_refused = refused.is_some_and(|id| request.user() == *id);
            state.requests.push(request);
            state.open += 1;
            state.most_open = state.most_open.max(state.open);
            let standing = state.standing.clone();
            if is_refused {
                Reply::status(500)
            } else {
                state.script.pop_front().unwrap_or(standing)
            }
        };
        self.arrived.notify_waiters();
        let sent = send_reply(&mut stream, reply).await;
        self.state.lock().unwrap().open -= 1;
        sent?;
        stream.shutdown().await.ok()
    }
}

pub(super) async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let path = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request {
        path,
        headers,
        body: bytes[head_end + 4..].to_vec(),
    })
}

async fn send_reply<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, reply: Reply) -> Option<()> {
    match reply {
        Reply::Answer(status, headers, body) => answer(stream, status, &headers, &body).await,
        Reply::Raw(bytes) => stream.write_all(&bytes).await.ok(),
        Reply::Stalls(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            let mut nothing_more = Vec::new();
            stream.read_to_end(&mut nothing_more).await.ok()?;
            None
        }
        Reply::Endless(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            loop {
                stream.write_all(&[b'x'; 8192]).await.ok()?;
            }
        }
        Reply::Trickles(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            let mut second = tokio::time::interval(super::secs(1));
            loop {
                second.tick().await;
                stream.write_all(b"x").await.ok()?;
            }
        }
        Reply::Held(leave, body) => {
            leave.acquire().await.ok()?.forget();
            answer(stream, 200, &[], &body).await
        }
        Reply::Together(barrier) => {
            barrier.wait().await;
            answer(stream, 200, &[], b"").await
        }
    }
}

async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    status: u16,
    headers: &[(&'static str, String)],
    body: &[u8],
) -> Option<()> {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if status != 204 {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream
        .write_all(&[head.as_bytes(), body].concat())
        .await
        .ok()
}
