//! A receiver that keeps its connections open, over plain TCP or TLS, in HTTP/1.1 or HTTP/2 as was agreed: for what is
//! about connections rather than answers. Everything is answered with 204.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::sink::read_request;

/// One request, and how it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Counts the connections from 1.
    pub connection: usize,
    /// What was spoken on it.
    pub version: &'static str,
    /// Whether the client showed a certificate.
    pub certified: bool,
    pub body: Vec<u8>,
}

/// The receiver, on a free port.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    /// On a free port of this address.
    pub async fn start(on: &str, tls: Option<rustls::ServerConfig>) -> Self {
        let listener = TcpListener::bind((on, 0)).await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
        };
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let (served, tasks) = (receiver.clone(), TaskTracker::new());
        tasks.clone().spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                connection += 1;
                let (receiver, tls) = (served.clone(), tls.clone());
                tasks.spawn(async move {
                    let Some(tls) = tls else {
                        return receiver.http_1(stream, connection, false).await;
                    };
                    match tls.accept(stream).into_fallible().await {
                        Ok(stream) => {
                            let (_, session) = stream.get_ref();
                            let certified = session.peer_certificates().is_some();
                            if session.alpn_protocol() == Some(b"h2") {
                                receiver.http_2(stream, connection, certified).await
                            } else {
                                receiver.http_1(stream, connection, certified).await
                            }
                        }
                        Err((_, mut stream)) => {
                            // Closed at once, the refusal could be lost by a reset.
                            let _goodbye = stream.shutdown().await;
                            stream.read_to_end(&mut vec![]).await.ok().map(|_| ())
                        }
                    }
                });
            }
        });
        receiver
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    fn hear(&self, connection: usize, version: &'static str, certified: bool, body: Vec<u8>) {
        self.heard.lock().unwrap().push(Heard {
            connection,
            version,
            certified,
            body,
        });
    }

    async fn http_1<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        connection: usize,
        certified: bool,
    ) -> Option<()> {
        loop {
            let request = read_request(&mut stream).await?;
            self.hear(connection, "HTTP/1.1", certified, request.body);
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            stream.write_all(answer).await.ok()?;
        }
    }

    async fn http_2<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        connection: usize,
        certified: bool,
    ) -> Option<()> {
        let mut session = h2::server::handshake(stream).await.ok()?;
        let tasks = TaskTracker::new();
        while let Some(next) = session.accept().await {
            let (request, mut answer) = next.ok()?;
            let receiver = self.clone();
            tasks.spawn(async move {
                let (mut from, mut body) = (request.into_body(), vec![]);
                while let Some(part) = from.data().await {
                    let part = part.ok()?;
                    from.flow_control().release_capacity(part.len()).ok()?;
                    body.extend_from_slice(&part);
                }
                receiver.hear(connection, "HTTP/2", certified, body);
                let head = http::Response::builder().status(204).body(()).ok()?;
                answer.send_response(head, true).ok()
            });
        }
        Some(())
    }
}
