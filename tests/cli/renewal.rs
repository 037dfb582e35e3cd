//! What a reload exchanges beneath what runs: certificates, the log level, the time that Vexora may take; and what it
//! leaves for the next start.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::{Pid, Signal, kill_process};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;
use vexora_relay::sandbox::Faults;

use super::kit::{MERCHANT, Place, Provider, Service, config, free};

/// Who knows it may keep a connection open.
const TOKEN: &str = "a-token-of-sixteen";

fn message(line: &str, beginning: &str) -> Option<Value> {
    let said: Value = serde_json::from_str(line).ok()?;
    said["message"]
        .as_str()?
        .starts_with(beginning)
        .then_some(said)
}

/// The file says this from now on, and the service has read it.
fn reload(place: &Place, service: &mut Service, text: &str) -> Value {
    std::fs::write(place.path().join("config.toml"), text).unwrap();
    let pid = Pid::from_raw(i32::try_from(service.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    service.wait_for(|line| message(line, "reloaded: "))
}

/// Writes a fresh certificate over the files and returns it.
fn issue(directory: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), signing_key.serialize_pem()).unwrap();
    CertificateDer::from_pem_slice(cert.pem().as_bytes()).unwrap()
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection to whoever shows this certificate.
fn connect(address: &str, trusted: &CertificateDer<'static>) -> Tls {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::new(tls), name).unwrap();
    StreamOwned::new(tls, TcpStream::connect(address).unwrap())
}

/// Asks on an open connection, which stays open.
fn asks(tls: &mut Tls) -> std::io::Result<()> {
    let request = format!("GET /callback/{MERCHANT}/{TOKEN} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    tls.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nOK") {
        let mut byte = [0];
        tls.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    Ok(())
}

#[test]
fn renewed_certificates_are_served_and_connections_from_before_go_on() {
    let provider = Provider::start();
    let token = format!("callback_token = \"{TOKEN}\"\n");
    let text = config(&provider.sandbox.base_url(), &token).replace(
        "[server]\n",
        "[server]\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n",
    );
    let place = Place::with(&text);
    let old = issue(place.path());
    let mut service = Service::start(place.command(&["serve"]));
    let ready = service.ready();
    let address = ready["callbacks"].as_str().unwrap();
    let address = address.strip_prefix("https://").unwrap();
    let mut before = connect(address, &old);
    asks(&mut before).unwrap();

    let new = issue(place.path());
    asks(&mut connect(address, &old)).unwrap();
    reload(&place, &mut service, &text);
    asks(&mut connect(address, &new)).unwrap();
    asks(&mut connect(address, &old)).unwrap_err();
    asks(&mut before).unwrap();
    assert_eq!(service.stop(Signal::TERM), Some(0));
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let provider = Provider::start();
    let quiet = config(&provider.sandbox.base_url(), "[log]\nlevel = \"info\"\n");
    let loud = quiet.replace("\"info\"", "\"debug\"");
    let place = Place::with(&quiet);
    let mut service = Service::start(place.command(&["serve"]));
    let callbacks = service.ready()["callbacks"].as_str().unwrap().to_owned();
    let hears_of = |service: &mut Service, id: &str| {
        provider.post_callback(id, format!("{callbacks}/callback/{MERCHANT}"));
        service.wait_for(|line| message(line, "verification "));
        // Users are named at debug level only.
        service.said.iter().any(|line| line.contains(id))
    };
    assert!(!hears_of(&mut service, "taro"));
    reload(&place, &mut service, &loud);
    assert!(hears_of(&mut service, "hana"));
    reload(&place, &mut service, &quiet);
    assert!(!hears_of(&mut service, "jiro"));
}

#[test]
fn how_long_vexora_may_take_over_an_application_follows_a_reload() {
    let provider = Provider::start();
    let public = free();
    let slow = config(&provider.sandbox.base_url(), "")
        .replace(
            "[server]\nlisten = \"127.0.0.1:0\"",
            &format!("[server]\nlisten = \"{public}\"\npublic_url = \"http://{public}\""),
        )
        .replace("[vexora]\n", "[vexora]\ntimeout = \"5m\"\n");
    let quick = slow.replace("\"5m\"", "\"200ms\"");
    provider.sandbox.set_faults(Faults {
        apply_hang: true,
        callback_never: true,
        ..Faults::default()
    });
    let place = Place::with(&slow);
    let mut service = Service::start(place.command(&["serve"]));
    let admin = service.ready()["admin"].as_str().unwrap().to_owned();
    reload(&place, &mut service, &quick);
    let body = "{\"userId\": \"taro\", \"usernameFurigana\": \"ヤマダ\"}";
    let (status, said) = place.admin(&admin, "POST", "/api/v1/applications", body);
    assert_eq!((status, &said["result"]), (202, &"unknown".into()));
}

#[test]
fn what_counts_from_the_next_start_on_is_named_and_nothing_else() {
    let provider = Provider::start();
    let text = config(&provider.sandbox.base_url(), "[log]\nformat = \"json\"\n")
        .replace("[admin]\n", "[admin]\ntoken = \"first-token\"\n");
    let place = Place::with(&text);
    let mut service = Service::start(place.command(&["serve"]));
    service.ready();
    let said = reload(&place, &mut service, &text);
    assert_eq!(said["at_next_start"], "");

    let changed = text
        .replace(
            "[server]\nlisten = \"127.0.0.1:0\"",
            "[server]\nmax_body = \"32KiB\"\nlisten = \"127.0.0.1:1\"",
        )
        .replace(
            "[admin]\ntoken = \"first-token\"\nlisten = \"127.0.0.1:0\"",
            "[admin]\ntoken = \"second-token\"\nlisten = \"127.0.0.1:2\"",
        )
        .replace(
            "min_free = \"1MiB\"",
            "min_free = \"2MiB\"\npath = \"elsewhere\"\nretention = \"1d\"",
        )
        .replace("format = \"json\"", "format = \"text\"\nlevel = \"debug\"");
    let said = reload(&place, &mut service, &changed);
    let keys = [
        "server.listen",
        "admin.listen",
        "admin.token",
        "store.path",
        "store.min_free",
        "log.format",
    ];
    assert_eq!(said["at_next_start"], keys.join(","));
    for key in keys {
        let warned = |line: &String| message(line, &format!("{key} has changed")).is_some();
        assert!(service.said.iter().any(warned), "{key}");
    }
    let log = service.said.join("\n");
    assert!(!log.contains("first-token") && !log.contains("second-token"));
    // They are compared with what it was started with, not with what was read last.
    let said = reload(&place, &mut service, &changed);
    assert_eq!(said["at_next_start"], keys.join(","));
}
