//! Receivers that nobody should have to wait for.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// What is answered a byte a second: a header that goes on for ever.
const SLOW: &[u8] = b"HTTP/1.1 200 OK\r\nX-Slow: ";

/// What it does to whoever connects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes everything and never answers.
    Silent,
    /// Answers a byte a second.
    Drips,
    /// Begins an answer that has no end.
    Endless,
    /// Reads something, then resets the connection.
    Resets,
    /// Has a certificate that nobody signed.
    BadCertificate,
}

/// A hostile receiver; it ends when this is dropped.
pub struct Hostile {
    url: String,
    task: AbortHandle,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    pub async fn start(manner: Manner) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (scheme, tls) = match manner {
            Manner::BadCertificate => ("https", Some(acceptor()?)),
            _ => ("http", None),
        };
        let task = tokio::spawn(async move {
            // Dropped with it, and so is everybody who is connected.
            let mut connected = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                connected.spawn(async move {
                    // However it ends: nothing depends on it.
                    let _ended = match tls {
                        Some(tls) => tls.accept(stream).await.map(drop),
                        None => mistreat(stream, manner).await,
                    };
                });
                while connected.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            url: format!("{scheme}://{address}/hooks"),
            task: task.abort_handle(),
        })
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }
}

async fn mistreat(mut stream: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut away = [0; 4096];
    while stream.read(&mut away).await? > 0 {
        match manner {
            Manner::Silent | Manner::BadCertificate => {}
            Manner::Drips => {
                for byte in SLOW.chunks(1).chain(std::iter::repeat(&b"x"[..])) {
                    stream.write_all(byte).await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            Manner::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b'x'; 4096]).await?;
                }
            }
            Manner::Resets => return stream.set_zero_linger(),
        }
    }
    Ok(())
}

fn acceptor() -> anyhow::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(vexora_relay::outbound::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
