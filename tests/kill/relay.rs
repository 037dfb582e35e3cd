//! The real binary in its directory: started, heard saying that it is ready, killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use vexora_relay::signing::webhook::WebhookKey;

use super::{APP_SECRET, MERCHANT, PATIENCE};

/// Where it serves, this time.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub callbacks: SocketAddr,
    pub admin: SocketAddr,
}

/// How an orderly stop ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    Well,
    Badly(Option<i32>),
}

/// The data directory and the configuration that every start uses.
pub struct Directory(tempfile::TempDir);

impl Directory {
    pub fn new(provider: &str, hooks: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let secret = WebhookKey::symmetric_text(&[7; 32]);
        let config = format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            rate_limit = "off"
            [admin]
            listen = "127.0.0.1:0"
            [store]
            path = {path:?}
            min_free = "1MiB"
            [vexora]
            base_url = "{provider}"
            rate_limit = "off"
            [verify]
            retry = ["100ms", "200ms", "500ms"]
            reconcile = "off"
            [delivery]
            retry = [{retry}]
            [[merchant]]
            merchant_no = "{MERCHANT}"
            app_secret = "{APP_SECRET}"
            [[endpoint]]
            name = "recorder"
            url = "{hooks}"
            secret = "{secret}"
            events = ["kyc.*"]
            "#,
            path = directory.path().join("data").display().to_string(),
            // More than the kills and the receiver's refusals can use up.
            retry = vec![r#""100ms""#; 40].join(", "),
        );
        std::fs::write(directory.path().join("config.toml"), config).expect("written");
        Self(directory)
    }

    pub fn admin_token(&self) -> String {
        let path = self.0.path().join("data/admin-token");
        let token = std::fs::read_to_string(path).expect("made by the first start");
        token.trim().to_owned()
    }

    pub fn start(&self) -> Relay {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vexora-relay"))
            .arg("serve")
            .arg("--config")
            .arg(self.0.path().join("config.toml"))
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("spawns");
        let stderr = child.stderr.take().expect("piped");
        let (said, events) = mpsc::channel();
        let words = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&words);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(ready) = ready(&line) {
                    let _ended = said.send(ready);
                }
                if line.contains(r#""level":"ERROR""#) || !line.starts_with('{') {
                    heard.lock().expect("unpoisoned").push(line);
                }
            }
        });
        Relay {
            child,
            events,
            words,
        }
    }
}

/// The line by which it says that it serves.
fn ready(line: &str) -> Option<Ready> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let at = |name: &str| line[name].as_str()?.strip_prefix("http://")?.parse().ok();
    line["message"]
        .as_str()?
        .contains(" ready: ")
        .then_some(())?;
    Some(Ready {
        callbacks: at("callbacks")?,
        admin: at("admin")?,
    })
}

/// One life of it.
pub struct Relay {
    child: Child,
    events: mpsc::Receiver<Ready>,
    words: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// When it says that it is ready, at most so long.
    pub fn ready_within(&mut self, most: Duration) -> Option<Ready> {
        match self.events.recv_timeout(most) {
            Ok(ready) => Some(ready),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("it ended: {}", self.last_words()),
        }
    }

    /// Waits so long, less if it ends by itself.
    pub fn ended_within(&mut self, most: Duration) -> bool {
        matches!(
            self.events.recv_timeout(most),
            Err(RecvTimeoutError::Disconnected)
        )
    }

    pub fn kill(mut self) {
        let before = self.child.try_wait().expect("is a child");
        assert!(
            before.is_none(),
            "it ended by itself: {}",
            self.last_words()
        );
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
        let panicked = self.last_words().contains("panicked");
        assert!(!panicked, "{}", self.last_words());
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> Ended {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("signalled");
        // The stderr of a process that ended closes: an event to wait for.
        while self.events.recv_timeout(PATIENCE).is_ok() {}
        match self.child.wait().expect("waited for").code() {
            Some(0) => Ended::Well,
            other => Ended::Badly(other),
        }
    }

    /// Errors that it logged, and what was no log line.
    pub fn last_words(&self) -> String {
        self.words.lock().expect("unpoisoned").join("\n")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A failed check must not leave it behind; one that is gone already is no matter.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
