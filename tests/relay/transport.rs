//! Contract §3, what an endpoint says of its transport: proxies, client certificates; and what it need not say: HTTP/2,
//! IPv6, connections that are used again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;

use crate::failures::{certificate, detail};
use crate::kit::{Proxy, Receiver, Setup, Sink, Speaks};

/// A file of this name; the configuration's words for it.
fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_proxy_of_each_kind_is_asked_for_the_receiver_and_nothing_goes_past_it() {
    let directory = tempfile::tempdir().unwrap();
    let (receiver_pem, receiver_tls) = certificate("receiver.invalid", 2200);
    let (proxy_pem, proxy_tls) = certificate("127.0.0.1", 2200);
    let trusted = file(
        directory.path(),
        "trusted.pem",
        &format!("{receiver_pem}{proxy_pem}"),
    );
    let plain = Sink::start().await;
    let secure = Sink::with_tls(receiver_tls).await;
    let mut setup = Setup::new();
    let mut cases = Vec::new();
    for (scheme, speaks) in [
        ("http", Speaks::Http),
        ("https", Speaks::Http),
        ("socks5", Speaks::Socks5),
        ("socks5h", Speaks::Socks5),
    ] {
        for (sink, over) in [(&plain, "http"), (&secure, "https")] {
            let tls = (scheme == "https").then(|| proxy_tls.clone());
            let proxy = Proxy::start(speaks, tls, sink.address).await;
            // No name, and nobody's address: without the proxy there is no way. `socks5` resolves names by itself.
            let (host, url) = match (scheme, over) {
                ("socks5", "http") => ("127.0.0.1:9", "http://127.0.0.1:9/hooks".to_owned()),
                ("socks5", _) => continue,
                (_, "http") => (
                    "receiver.invalid:80",
                    "http://receiver.invalid/hooks".into(),
                ),
                _ => (
                    "receiver.invalid:443",
                    "https://receiver.invalid/hooks".into(),
                ),
            };
            let asked = match (speaks, over) {
                (Speaks::Socks5, _) => format!("SOCKS5 {host}"),
                (Speaks::Http, "https") => format!("CONNECT {host}"),
                (Speaks::Http, _) => format!("POST {url}"),
            };
            let name = format!("{over}-by-{scheme}");
            let lines = format!(
                "allow_http = true\nca = \"{}\"\nproxy = \"{scheme}://{}\"",
                trusted.display(),
                proxy.address
            );
            setup = setup.endpoint(&name, &url, &lines);
            cases.push((name, proxy, asked));
        }
    }
    let relay = setup.start().await;
    relay.result("u1", "2").await;
    for (name, proxy, asked) in &cases {
        let why = detail(&relay, name).await;
        assert_eq!(relay.outcomes("u1", name).await, ["ok"], "{name}: {why}");
        assert_eq!(proxy.asked(), std::slice::from_ref(asked), "{name}");
    }
    assert_eq!((plain.count(), secure.count()), (4, 3));
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_not_trusted_is_not_gone_around() {
    let sink = Sink::start().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = nobody.local_addr().unwrap();
    drop(nobody);
    let (_, tls) = certificate("127.0.0.1", 2200);
    let stranger = Proxy::start(Speaks::Http, Some(tls), sink.address).await;
    let mut setup = Setup::new().endpoint(
        "stranger",
        &sink.url(),
        &format!("proxy = \"https://{}\"", stranger.address),
    );
    for scheme in ["http", "https", "socks5", "socks5h"] {
        let lines = format!("proxy = \"{scheme}://{closed}\"");
        setup = setup.endpoint(scheme, &sink.url(), &lines);
    }
    let relay = setup.start().await;
    relay.result("u1", "2").await;
    for scheme in ["http", "https", "socks5", "socks5h"] {
        assert_eq!(relay.outcomes("u1", scheme).await, ["connect"], "{scheme}");
    }
    assert_eq!(relay.outcomes("u1", "stranger").await, ["tls"]);
    assert_eq!(sink.count(), 0, "sent without the proxy");
    assert_eq!(stranger.asked(), Vec::<String>::new());
}

/// A CA, a certificate that it signed, and the key of that; PEM.
fn client(signer: &str) -> (rcgen::Certificate, String, String) {
    let mut ca = rcgen::CertificateParams::new(vec![]).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, signer);
    let key = rcgen::KeyPair::generate().unwrap();
    let root = ca.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(ca, key);
    let own = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["relay.example".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&own, &issuer).unwrap();
    (root, leaf.pem(), own.serialize_pem())
}

#[tokio::test]
async fn a_receiver_that_wants_a_client_certificate_gets_it_and_its_refusal_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let own = own.self_signed(&key).unwrap();
    let (ours, ours_pem, ours_key) = client("ours");
    let (_, theirs_pem, theirs_key) = client("theirs");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut known = rustls::RootCertStore::empty();
    known.add(ours.der().clone()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(known), Arc::clone(&provider));
    let verifier = verifier.build().unwrap();
    let ca = file(directory.path(), "ca.pem", &own.pem());
    let ours_pem = file(directory.path(), "ours.pem", &ours_pem);
    let ours_key = file(directory.path(), "ours.key", &ours_key);
    let theirs_pem = file(directory.path(), "theirs.pem", &theirs_pem);
    let theirs_key = file(directory.path(), "theirs.key", &theirs_key);
    let mut receivers = Vec::new();
    let mut setup = Setup::new();
    for (tls, version) in [
        ("12", &rustls::version::TLS12),
        ("13", &rustls::version::TLS13),
    ] {
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(vec![own.der().clone()], key)
            .unwrap();
        let receiver = Receiver::start("127.0.0.1", Some(server)).await;
        let url = format!("https://{}/hooks", receiver.address);
        let ca = format!("ca = \"{}\"", ca.display());
        let with = |pem: &Path, key: &Path| {
            let (pem, key) = (pem.display(), key.display());
            format!("{ca}\nclient_cert = \"{pem}\"\nclient_key = \"{key}\"")
        };
        setup = setup
            .endpoint(&format!("right{tls}"), &url, &with(&ours_pem, &ours_key))
            .endpoint(
                &format!("wrong{tls}"),
                &url,
                &with(&theirs_pem, &theirs_key),
            )
            .endpoint(&format!("none{tls}"), &url, &ca);
        receivers.push((tls, receiver));
    }
    let relay = setup.start().await;
    relay.result("u1", "2").await;
    for (tls, receiver) in receivers {
        let right = format!("right{tls}");
        assert_eq!(relay.outcomes("u1", &right).await, ["ok"]);
        for (kind, why) in [
            ("wrong", "refused the client certificate"),
            ("none", "wants a client certificate"),
        ] {
            let name = format!("{kind}{tls}");
            let detail = detail(&relay, &name).await;
            assert_eq!(relay.outcomes("u1", &name).await, ["tls"], "{detail}");
            assert!(detail.contains(why), "{name}: {detail}");
        }
        let heard = receiver.heard();
        assert_eq!(heard.len(), 1, "{tls}");
        assert!(heard[0].certified);
    }
}

#[tokio::test]
async fn a_receiver_that_offers_http_2_is_spoken_to_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut setup = Setup::new();
    let mut receivers = Vec::new();
    for (name, offered, spoken) in [
        ("both", vec!["h2", "http/1.1"], "HTTP/2"),
        ("only-h2", vec!["h2"], "HTTP/2"),
        ("only-http1", vec!["http/1.1"], "HTTP/1.1"),
        ("none", vec![], "HTTP/1.1"),
    ] {
        let (pem, mut tls) = certificate("127.0.0.1", 2200);
        let offered = offered.iter().map(|protocol| protocol.as_bytes().to_vec());
        tls.alpn_protocols = offered.collect();
        let receiver = Receiver::start("127.0.0.1", Some(tls)).await;
        let ca = file(directory.path(), &format!("{name}.pem"), &pem);
        let url = format!("https://{}/hooks", receiver.address);
        setup = setup.endpoint(name, &url, &format!("ca = \"{}\"", ca.display()));
        receivers.push((name, receiver, spoken));
    }
    let relay = setup.start().await;
    for id in ["u1", "u2"] {
        relay.result(id, "2").await;
    }
    for (name, receiver, spoken) in receivers {
        assert_eq!(relay.outcomes("u2", name).await, ["ok"], "{name}");
        let heard = receiver.heard();
        assert_eq!(heard.len(), 2, "{name}");
        for one in &heard {
            assert_eq!((one.version, one.connection), (spoken, 1), "{name}");
            let body: serde_json::Value = serde_json::from_slice(&one.body).unwrap();
            assert_eq!(body["type"], "kyc.approved", "{name}");
        }
    }
}

#[tokio::test]
async fn a_connection_is_used_again_over_ipv6_as_well() {
    let (four, six) = (
        Receiver::start("127.0.0.1", None).await,
        Receiver::start("::1", None).await,
    );
    assert!(six.address.is_ipv6());
    let relay = Setup::new()
        .endpoint("four", &format!("http://{}/hooks", four.address), "")
        .endpoint("six", &format!("http://{}/hooks", six.address), "")
        .start()
        .await;
    for id in ["u1", "u2", "u3"] {
        relay.result(id, "2").await;
    }
    for receiver in [four, six] {
        let on: Vec<usize> = receiver.heard().iter().map(|one| one.connection).collect();
        assert_eq!(on, [1, 1, 1], "{}", receiver.address);
    }
}
