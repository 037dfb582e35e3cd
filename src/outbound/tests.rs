//! Names whose addresses change, through real sockets: every connection is made to where the name leads at that moment.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::*;
use crate::domain::FailureClass;

/// Says of every name what it is told to say.
#[derive(Clone, Debug, Default)]
struct Names(Arc<Mutex<Vec<IpAddr>>>);

impl Names {
    fn lead_to(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        *self.0.lock().unwrap() = addresses.collect();
    }
}

impl Resolve for Names {
    fn resolve(&self, _: Name) -> Resolving {
        let found = self.0.lock().unwrap().clone();
        Box::pin(async move {
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            let addresses: Addrs = Box::new(found);
            Ok(addresses)
        })
    }
}

/// Answers one request with this status, and ends the connection.
async fn answers_once(on: SocketAddr, status: u16) -> (SocketAddr, TaskTracker) {
    let listener = TcpListener::bind(on).await.unwrap();
    let (address, tasks) = (listener.local_addr().unwrap(), TaskTracker::new());
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer =
            format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    tasks.close();
    (address, tasks)
}

fn at(port: u16) -> url::Url {
    format!("http://receiver.example:{port}/").parse().unwrap()
}

fn post(url: &url::Url) -> Post<'_> {
    Post {
        url,
        headers: Headers::default(),
        body: vec![],
        timeout: Duration::from_secs(20),
        read_at_most: 0,
    }
}

fn client(names: &Names, public_only: bool) -> Client {
    let settings = ClientSettings {
        public_only,
        ..ClientSettings::default()
    };
    Client::asking(names.clone(), &settings, &PublicRoots::load()).unwrap()
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_followed_with_the_next_connection() {
    let names = Names::default();
    let client = client(&names, false);
    let (old, closed) = answers_once((Ipv4Addr::LOCALHOST, 0).into(), 200).await;
    let (_, _new) = answers_once((Ipv4Addr::new(127, 0, 0, 2), old.port()).into(), 201).await;
    let url = at(old.port());
    names.lead_to(&["127.0.0.1"]);
    assert_eq!(client.post(post(&url)).await.unwrap().status, 200);
    // The old one is gone, its connection and its port with it.
    closed.wait().await;
    names.lead_to(&["127.0.0.2"]);
    assert_eq!(client.post(post(&url)).await.unwrap().status, 201);
}

#[tokio::test]
async fn of_the_addresses_of_a_name_the_next_is_tried_when_one_does_not_answer() {
    let names = Names::default();
    let client = client(&names, false);
    let (there, _task) = answers_once((Ipv4Addr::new(127, 0, 0, 2), 0).into(), 200).await;
    names.lead_to(&["127.0.0.1", "127.0.0.2"]);
    let url = at(there.port());
    assert_eq!(client.post(post(&url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn without_allow_private_a_name_is_judged_at_every_resolution() {
    let names = Names::default();
    let judged = Judged {
        names: Arc::new(names.clone()),
        public_only: true,
    };
    let resolve = async || judged.resolve("receiver.example".parse().unwrap()).await;
    names.lead_to(&["8.8.8.8", "10.0.0.1", "::ffff:127.0.0.1", "2001:4860::1"]);
    let found: Vec<String> = resolve()
        .await
        .unwrap()
        .map(|one| one.ip().to_string())
        .collect();
    assert_eq!(found, ["8.8.8.8", "2001:4860::1"], "only the public ones");

    // And what is connected to is what was judged: the name is private by now.
    let client = client(&names, true);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = at(listener.local_addr().unwrap().port());
    for private in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "169.254.169.254"] {
        names.lead_to(&[private]);
        assert!(resolve().await.is_err(), "{private}");
        let error = client.post(post(&url)).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Connect, "{private}");
        assert!(error.detail.contains("allow_private is false"), "{error}");
    }
    let nobody = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(nobody.is_err(), "was connected to");
}
