//! A proxy that takes every request to one place, whatever it was to be connected to, and records what that was: what
//! arrives there went through it, as nothing else leads there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Http,
    Socks5,
}

/// The proxy, on a free port of 127.0.0.1.
#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    leads_to: SocketAddr,
}

impl Proxy {
    pub async fn start(
        speaks: Speaks,
        tls: Option<rustls::ServerConfig>,
        leads_to: SocketAddr,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            leads_to,
        };
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let (served, tasks) = (proxy.clone(), TaskTracker::new());
        tasks.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (proxy, tls) = (served.clone(), tls.clone());
                tasks.spawn(async move {
                    match tls {
                        Some(tls) => proxy.serve(speaks, tls.accept(stream).await.ok()?).await,
                        None => proxy.serve(speaks, stream).await,
                    }
                });
            }
        });
        proxy
    }

    /// What it was asked for: `CONNECT host:port`, `POST url`, or `SOCKS5 host:port`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn ask(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        speaks: Speaks,
        stream: S,
    ) -> Option<()> {
        match speaks {
            Speaks::Http => self.http(stream).await,
            Speaks::Socks5 => self.socks5(stream).await,
        }
    }

    async fn http<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let line = String::from_utf8_lossy(&head);
        let line = line.split(" HTTP/1.1\r\n").next()?;
        self.ask(line.to_owned());
        let mut onward = TcpStream::connect(self.leads_to).await.ok()?;
        if line.starts_with("CONNECT ") {
            let yes = b"HTTP/1.1 200 Connection established\r\n\r\n";
            stream.write_all(yes).await.ok()?;
        } else {
            onward.write_all(&head).await.ok()?;
        }
        copy_bidirectional(&mut stream, &mut onward).await.ok()?;
        Some(())
    }

    /// RFC 1928, without authentication.
    async fn socks5<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> Option<()> {
        let [version, methods] = bytes(&mut stream).await?;
        assert_eq!(version, 5);
        let mut offered = vec![0; usize::from(methods)];
        stream.read_exact(&mut offered).await.ok()?;
        stream.write_all(&[5, 0]).await.ok()?;
        let [_version, _connect, _reserved, kind] = bytes(&mut stream).await?;
        let host = match kind {
            1 => std::net::Ipv4Addr::from(bytes::<4, _>(&mut stream).await?).to_string(),
            3 => {
                let [length] = bytes(&mut stream).await?;
                let mut name = vec![0; usize::from(length)];
                stream.read_exact(&mut name).await.ok()?;
                String::from_utf8(name).ok()?
            }
            _ => return None,
        };
        let port = stream.read_u16().await.ok()?;
        self.ask(format!("SOCKS5 {host}:{port}"));
        let mut onward = TcpStream::connect(self.leads_to).await.ok()?;
        let yes = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        stream.write_all(&yes).await.ok()?;
        copy_bidirectional(&mut stream, &mut onward).await.ok()?;
        Some(())
    }
}

async fn bytes<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> Option<[u8; N]> {
    let mut found = [0; N];
    stream.read_exact(&mut found).await.ok()?;
    Some(found)
}
