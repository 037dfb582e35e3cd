//! Contract §6: what we sign, the official `standardwebhooks` libraries of two other languages take, and Node's own
//! cryptography takes our ed25519, which neither library knows.
//!
//! `.ci/run` installs them into target/; where they are not installed, these tests say that they were skipped.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vexora_relay::clock::{Clock, SystemClock};
use vexora_relay::domain::Status;

use crate::kit::{Request, Setup, Sink, WHSEC, merchant, user};

/// 32 times the byte 43.
const OTHER_WHSEC: &str = "whsec_KysrKysrKysrKysrKysrKysrKysrKysrKysrKysrKys=";
/// 32 times the byte 44.
const WHSK: &str = "whsk_LCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCw=";

fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/standard-webhooks")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/relay/official")
        .join(name)
}

fn python() -> Option<Command> {
    let python = installed().join("python/bin/python");
    python.exists().then(|| {
        let mut command = Command::new(python);
        command.arg(script("verify.py"));
        command
    })
}

fn node() -> Option<Command> {
    let modules = installed().join("node/node_modules");
    modules.join("standardwebhooks").exists().then(|| {
        let mut command = Command::new("node");
        command.env("NODE_PATH", modules).arg(script("verify.cjs"));
        command
    })
}

/// Whether it says that the webhook is good.
fn takes(mut verifier: Command, secret: &str, webhook: &Request) -> bool {
    let headers: BTreeMap<_, _> = webhook.headers.iter().cloned().collect();
    let body = std::str::from_utf8(&webhook.body).unwrap();
    let given = serde_json::json!({ "secret": secret, "headers": headers, "body": body });
    let mut child = verifier
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(given.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("{other:?}: {said}"),
    }
}

/// A webhook with letters beyond ASCII, signed a moment ago: the libraries refuse what is older than five minutes.
async fn webhook() -> Request {
    let sink = Sink::start().await;
    let secrets = format!("secret = [\"{OTHER_WHSEC}\", \"{WHSK}\", \"{WHSEC}\"]");
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), &secrets)
        .start()
        .await;
    relay.clock.advance_to(SystemClock.now());
    let reason = Some("書類が不鮮明です \u{1f4c4}");
    relay
        .sandbox
        .set_status(&merchant(), &user("ユーザー"), Status::Rejected, reason);
    relay.post_callback("ユーザー", "3").await;
    relay.settle().await;
    sink.only()
}

/// Past the capture of output: whoever runs the tests is to know what was not looked at.
fn skipped(what: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{what} is not installed: .ci/run does that"
    );
    let text = format!(
        "skipped: the signatures are not checked with {what}; `CI=true bash .ci/run` installs it\n"
    );
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

async fn is_taken_and_a_forgery_is_not(verifier: fn() -> Option<Command>, what: &str) {
    let Some(_) = verifier() else {
        return skipped(what);
    };
    let webhook = webhook().await;
    let check = |secret: &str, webhook: &Request| takes(verifier().unwrap(), secret, webhook);
    for secret in [WHSEC, OTHER_WHSEC] {
        assert!(check(secret, &webhook), "{what}: {secret}");
    }
    let stranger = WHSEC.replace("AAEC", "AAED");
    assert!(!check(&stranger, &webhook), "{what}: a stranger's secret");
    let mut forged = webhook.clone();
    forged.body = String::from_utf8(forged.body)
        .unwrap()
        .replace("rejected", "approved")
        .into_bytes();
    assert!(!check(WHSEC, &forged), "{what}: a forged body");
}

#[tokio::test]
async fn the_python_library_takes_our_webhooks() {
    is_taken_and_a_forgery_is_not(python, "standardwebhooks of PyPI").await;
}

#[tokio::test]
async fn the_javascript_library_takes_our_webhooks() {
    is_taken_and_a_forgery_is_not(node, "standardwebhooks of npm").await;
}

#[tokio::test]
async fn ed25519_signatures_hold_for_another_implementation() {
    if node().is_none() {
        return skipped("standardwebhooks of npm");
    }
    let mut webhook = webhook().await;
    assert!(takes(node().unwrap(), WHSK, &webhook));
    webhook.body.push(b' ');
    assert!(!takes(node().unwrap(), WHSK, &webhook));
}
