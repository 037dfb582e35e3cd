//! A client of bytes: sends exactly what it is given, and reads answers as they stand on the wire.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Longer than anything here takes, even on a busy machine; reached only by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The `code` of a problem, after checking that it is a proper one.
    pub fn code(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem: serde_json::Value = serde_json::from_str(&self.body).expect("json");
        assert_eq!(problem["status"], self.status);
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        problem["code"].as_str().expect("a code").to_owned()
    }
}

/// A connection.
pub struct Wire<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub const fn new(stream: S) -> Self {
        Self(stream)
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("sent");
    }

    /// Fails when the other side has closed.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let sent = timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await;
        sent.expect("the other side takes it")
    }

    /// Whether the other side closes within this time, without a word.
    pub async fn ended_within(&mut self, time: Duration) -> bool {
        let mut byte = [0];
        let read = timeout(time, self.0.read(&mut byte)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }

    pub async fn answer(&mut self) -> Answer {
        self.read_answer(true).await
    }

    /// The answer to a `HEAD`.
    pub async fn head_answer(&mut self) -> Answer {
        self.read_answer(false).await
    }

    /// What comes until the other side closes; a reset counts as closing.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        let _end_or_reset = read.expect("the connection was not closed");
        rest
    }

    async fn read_answer(&mut self, has_body: bool) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.byte().await);
        }
        let head = String::from_utf8(head).expect("ascii");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().expect("a status line");
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status: status[9..12].parse().expect("a status"),
            headers,
            body: String::new(),
        };
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().expect("a length"));
        if has_body {
            let mut body = vec![0; length];
            let read = timeout(PATIENCE, self.0.read_exact(&mut body)).await;
            read.expect("in time").expect("the whole body");
            answer.body = String::from_utf8(body).expect("utf-8");
        }
        answer
    }

    async fn byte(&mut self) -> u8 {
        let byte = timeout(PATIENCE, self.0.read_u8()).await;
        byte.expect("an answer in time")
            .expect("an answer before the end")
    }
}
