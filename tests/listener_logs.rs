//! What the log of the public listener must never hold, at any level. A process of its own: the log is one per
//! process.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "helpers of tests fail as tests do, and this file uses only some of them"
)]

#[path = "support/listening.rs"]
mod listening;
#[path = "support/recording_store.rs"]
mod recording_store;
#[path = "support/wire.rs"]
mod wire;

use std::io::Write;
use std::sync::{Arc, Mutex};

use vexora_relay::receive::ReceiveSettings;
use vexora_relay::store::StoreError;

use listening::{
    MERCHANT, SECRET, TOKEN, callback_path, listening, post, receive_settings, request,
    server_settings, signed_body,
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_secret_is_logged_at_any_level_and_nothing_personal_above_debug() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let relay = listening(server_settings()).await;
    let user = "jp_user_taro";
    let body = signed_body(user).replacen('{', r#"{"failReason":"reason-of-taro","#, 1);
    let forwarded = "X-Forwarded-For: 6.6.6.6\r\n";
    for _ in 0..3 {
        relay.ask(post(&callback_path(), forwarded, &body)).await;
    }
    relay
        .post_callback(&format!("/callback/{MERCHANT}/guessed-token"), &body)
        .await;
    relay.ask(request("DELETE", &callback_path())).await;
    relay.store.fail_with(|| StoreError::Overloaded);
    relay.post_callback(&callback_path(), &body).await;
    relay.receiver.reload(ReceiveSettings {
        refuse_bad_sign: true,
        ..receive_settings()
    });
    relay.post_callback(&callback_path(), &body).await;

    let bytes = log.0.lock().expect("not poisoned").clone();
    let log = String::from_utf8(bytes).expect("utf-8");
    for message in [
        "callback accepted",
        "callback not accepted",
        "callback refused for its sign",
    ] {
        assert!(log.contains(message), "{message}");
    }
    assert_eq!(log.matches("X-Forwarded-For was ignored").count(), 1);
    let sign = body.split("\"sign\":\"").nth(1).expect("a sign")[..32].to_owned();
    for secret in [
        TOKEN,
        "guessed-token",
        SECRET,
        sign.as_str(),
        "reason-of-taro",
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} was logged");
    }
    let shown = |line: &&str| line.contains(user) && !line.contains("DEBUG");
    assert_eq!(log.lines().find(shown), None);
}
