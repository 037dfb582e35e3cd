//! The relay under measurement: the real binary, in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use vexora_relay::signing::webhook::WebhookKey;

use super::{APP_SECRET, MERCHANT, machine};

/// What differs between the parts.
pub struct Setup {
    pub provider: String,
    /// Of status queries: `"20/s"` is the default.
    pub query_rate: &'static str,
    /// Name, address and concurrency.
    pub endpoints: Vec<(&'static str, String, usize)>,
}

/// A data directory beside its configuration.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new(setup: &Setup) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut text = format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            rate_limit = "off"
            [admin]
            listen = "127.0.0.1:0"
            [store]
            path = {path:?}
            [vexora]
            base_url = "{provider}"
            rate_limit = "{rate}"
            max_in_flight = 32
            [[merchant]]
            merchant_no = "{MERCHANT}"
            app_secret = "{APP_SECRET}"
            "#,
            path = directory.path().join("data").display().to_string(),
            provider = setup.provider,
            rate = setup.query_rate,
        );
        let secret = WebhookKey::symmetric_text(&[7; 32]);
        for (name, url, concurrency) in &setup.endpoints {
            text.push_str(&format!(
                "[[endpoint]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = \"{secret}\"\nconcurrency = {concurrency}\n"
            ));
        }
        std::fs::write(directory.path().join("config.toml"), text)?;
        Ok(Self(directory))
    }

    pub fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub fn start(&self) -> anyhow::Result<Relay> {
        let config = self.0.path().join("config.toml");
        // Waiting for it must not stop the receivers and the provider.
        tokio::task::block_in_place(|| Relay::start(&config))
    }
}

/// A process that ends with SIGKILL when this is dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // One that has ended already is no matter.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The running process; killed when dropped.
pub struct Relay {
    child: Killed,
    pub callbacks: SocketAddr,
    /// From the start of the process to its saying that it is ready.
    pub started_in: Duration,
}

impl Relay {
    fn start(config: &Path) -> anyhow::Result<Self> {
        let began = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_vexora-relay"))
            .arg("serve")
            .arg("--config")
            .arg(config)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()?;
        let mut child = Killed(child);
        let stderr = child.0.stderr.take().context("piped")?;
        let mut log = BufReader::with_capacity(1 << 16, stderr);
        let mut said = String::new();
        let callbacks = loop {
            let mut line = String::new();
            anyhow::ensure!(log.read_line(&mut line)? > 0, "it ended: {said}");
            said.push_str(&line);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let address = line.get("callbacks").and_then(|value| value.as_str());
            if let Some(address) = address.and_then(|url| url.strip_prefix("http://")) {
                break address.parse()?;
            }
        };
        let started_in = began.elapsed();
        // Its log is written as in production, a line per callback and delivery, and read away in big pieces.
        std::thread::spawn(move || {
            let mut away = vec![0; 1 << 16];
            while log.read(&mut away).is_ok_and(|read| read > 0) {}
        });
        Ok(Self {
            child,
            callbacks,
            started_in,
        })
    }

    fn id(&self) -> u32 {
        self.child.0.id()
    }

    pub fn memory(&self) -> f64 {
        machine::memory(self.id(), "VmRSS")
    }

    pub fn most_memory(&self) -> f64 {
        machine::memory(self.id(), "VmHWM")
    }

    pub fn cpu(&self) -> Duration {
        machine::cpu(self.id())
    }

    /// SIGKILL.
    pub fn kill(self) {
        drop(self);
    }
}
