//! TLS, Unix sockets, and sockets that somebody else opened.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vexora_relay::clock::{SeededEntropy, SimClock};
use vexora_relay::config::settings::{Listen, ServerSettings, TlsFiles};
use vexora_relay::http::{BindError, Opened, PublicListener, TlsError};
use vexora_relay::metrics::Metrics;

use crate::listening::{
    NOW, callback_path, listening, listening_on, post, receiver, request, server_settings,
};
use crate::recording_store::RecordingStore;
use crate::wire::Wire;

async fn refused(settings: &ServerSettings) -> BindError {
    let receiver = receiver(&Arc::new(RecordingStore::new()));
    let clock = (
        Arc::new(SimClock::at(NOW)) as _,
        Arc::new(SeededEntropy::new(2)) as _,
    );
    PublicListener::bind(settings, receiver, clock, Arc::new(Metrics::new(NOW)), None)
        .await
        .expect_err("it was bound")
}

/// Writes a fresh certificate over the files and returns it.
fn issue(directory: &Path) -> (TlsFiles, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let files = TlsFiles {
        cert: directory.join("cert.pem"),
        key: directory.join("key.pem"),
    };
    std::fs::write(&files.cert, cert.pem()).expect("written");
    std::fs::write(&files.key, signing_key.serialize_pem()).expect("written");
    let der = CertificateDer::from_pem_slice(cert.pem().as_bytes()).expect("a certificate");
    (files, der)
}

fn trusting(certificate: &CertificateDer<'static>) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn connect_tls(
    address: std::net::SocketAddr,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<Wire<TlsStream<TcpStream>>> {
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(trusting(trusted)));
    Ok(Wire::new(connector.connect(name, stream).await?))
}

#[tokio::test]
async fn tls_is_served_and_its_files_can_be_exchanged_while_it_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let (files, old) = issue(directory.path());
    let mut settings = server_settings();
    settings.tls = Some(files.clone());
    let relay = listening(settings.clone()).await;
    let mut wire = connect_tls(relay.address(), &old).await.expect("TLS");
    wire.send(post(&callback_path(), "", "{}")).await;
    assert_eq!(wire.answer().await.body, "OK");

    let (_, new) = issue(directory.path());
    relay.edge.reload(&settings).expect("reloaded");
    connect_tls(relay.address(), &new)
        .await
        .expect("the new certificate");
    assert!(connect_tls(relay.address(), &old).await.is_err());

    std::fs::write(&files.cert, "nonsense").expect("written");
    assert!(matches!(
        relay.edge.reload(&settings),
        Err(TlsError::Missing { .. })
    ));
    connect_tls(relay.address(), &new)
        .await
        .expect("a bad file changes nothing");
    wire.send(post(&callback_path(), "", "{}")).await;
    assert_eq!(wire.answer().await.body, "OK", "an open connection goes on");
}

#[tokio::test]
async fn http_2_is_answered_by_the_same_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let (files, certificate) = issue(directory.path());
    let mut settings = server_settings();
    settings.tls = Some(files);
    let relay = listening(settings).await;
    let mut tls = trusting(&certificate);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .resolve("localhost", relay.address())
        .build()
        .expect("a client");
    let at = |path: &str| format!("https://localhost:{}{path}", relay.address().port());
    let long = "x".repeat(64 * 1024 + 1);
    for (path, body, status) in [
        (callback_path(), "{}", 200),
        (callback_path(), "", 400),
        (callback_path(), long.as_str(), 413),
        ("/nowhere".to_owned(), long.as_str(), 404),
        (callback_path(), "{}", 200),
    ] {
        let request = client.post(at(&path)).body(body.to_owned());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        assert_eq!(answer.status(), status);
        if status == 200 {
            assert_eq!(answer.text().await.expect("a body"), "OK");
        }
    }
    assert_eq!(relay.store.accepted().len(), 2);
}

#[tokio::test]
async fn silent_tls_connections_keep_nobody_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let (files, certificate) = issue(directory.path());
    let mut settings = server_settings();
    settings.tls = Some(files);
    // No handshake times out while this test runs.
    settings.request_timeout = std::time::Duration::from_secs(300);
    let relay = listening(settings).await;
    let mut crowd = Vec::new();
    for _ in 0..600 {
        crowd.push(relay.connect().await);
    }
    let mut wire = connect_tls(relay.address(), &certificate)
        .await
        .expect("TLS");
    wire.send(post(&callback_path(), "", "{}")).await;
    assert_eq!(wire.answer().await.status, 200);
}

#[tokio::test]
async fn tls_files_that_cannot_serve_are_refused_with_the_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let (files, _) = issue(directory.path());
    let mut settings = server_settings();
    settings.tls = Some(files.clone());

    let other = KeyPair::generate().expect("a key").serialize_pem();
    std::fs::write(&files.key, other).expect("written");
    let message = refused(&settings).await.to_string();
    assert!(
        message.contains("key.pem: the private key does not belong"),
        "{message}"
    );

    std::fs::write(&files.key, "").expect("written");
    assert!(
        refused(&settings)
            .await
            .to_string()
            .ends_with("key.pem: holds no private key")
    );

    std::fs::write(
        &files.key,
        "-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n",
    )
    .expect("written");
    assert!(
        refused(&settings)
            .await
            .to_string()
            .ends_with("key.pem: not valid PEM")
    );

    std::fs::remove_file(&files.cert).expect("removed");
    assert!(
        refused(&settings)
            .await
            .to_string()
            .ends_with("cert.pem: the file cannot be read")
    );
}

#[tokio::test]
async fn a_unix_socket_is_served_to_owner_and_group_and_its_proxy_believed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("callback.sock");
    // A process before us was killed: its socket is still there, and nobody answers.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let mut settings = server_settings();
    settings.listen = Listen::Unix(path.clone());
    settings.allow_from = vec!["192.0.2.0/24".parse().expect("net")];
    let relay = listening(settings.clone()).await;
    let mode = std::fs::metadata(&path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);

    let mut wire = Wire::new(UnixStream::connect(&path).await.expect("a connection"));
    wire.send(post(
        &callback_path(),
        "X-Forwarded-For: 192.0.2.1\r\n",
        "{}",
    ))
    .await;
    assert_eq!(wire.answer().await.status, 200);
    assert_eq!(
        relay.store.accepted()[0].arrival.peer,
        Some([192, 0, 2, 1].into())
    );
    wire.send(post(&callback_path(), "", "{}")).await;
    assert_eq!(wire.answer().await.code(), "address_not_allowed");

    assert!(matches!(refused(&settings).await, BindError::InUse(_)));
    assert!(path.exists(), "a socket in use was removed");
}

#[tokio::test]
async fn nothing_but_a_dead_socket_is_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("precious");
    std::fs::write(&path, "data").expect("written");
    let mut settings = server_settings();
    settings.listen = Listen::Unix(path.clone());
    assert!(matches!(refused(&settings).await, BindError::NotASocket(_)));
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "data");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let relay = listening(server_settings()).await;
    let mut settings = server_settings();
    settings.listen = Listen::Tcp(relay.address());
    let message = refused(&settings).await.to_string();
    assert_eq!(message, format!("cannot listen on {}", relay.address()));
}

#[tokio::test]
async fn a_socket_that_was_passed_in_is_served() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = socket.local_addr().expect("an address");
    let relay = listening_on(server_settings(), Some(Opened::Tcp(socket))).await;
    assert_eq!(relay.address(), address);
    assert_eq!(relay.ask(request("GET", "/healthz")).await.status, 200);
}
