//! The relay under measurement: the real binary, in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use vexora_relay::signing::webhook::WebhookKey;

use super::{APP_SECRET, MERCHANT, machine};

/// Of the admin API.
pub const ADMIN_TOKEN: &str = "bench-admin-token-0123456789abcdef";

/// Of the path of callbacks, where there is one.
pub const CALLBACK_TOKEN: &str = "bench-callback-token-0123456789abcdef";

/// What differs between the parts.
pub struct Setup {
    pub provider: String,
    /// Of status queries: `"20/s"` is the default.
    pub query_rate: &'static str,
    /// Name, address and concurrency.
    pub endpoints: Vec<(&'static str, String, usize)>,
    /// So many endpoints more at which nobody listens.
    pub dead: usize,
    /// Callbacks need the token in their path.
    pub token: bool,
    /// More lines for `[delivery]`.
    pub delivery: &'static str,
    /// More lines for `[store]`.
    pub store: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            provider: String::new(),
            query_rate: "off",
            endpoints: vec![],
            dead: 0,
            token: false,
            delivery: "",
            store: "",
        }
    }
}

/// Nobody listens on this port: a connection is refused at once, which is the dead endpoint that costs most.
pub const DEAD: &str = "http://127.0.0.1:1/hooks";

/// A data directory beside its configuration.
pub struct Place {
    directory: tempfile::TempDir,
    /// Where callbacks go.
    path: String,
}

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
            token = "{ADMIN_TOKEN}"
            [store]
            path = {path:?}
            {store}
            [vexora]
            base_url = "{provider}"
            rate_limit = "{rate}"
            max_in_flight = 32
            [delivery]
            {delivery}
            [[merchant]]
            merchant_no = "{MERCHANT}"
            app_secret = "{APP_SECRET}"
            "#,
            path = directory.path().join("data").display().to_string(),
            provider = setup.provider,
            rate = setup.query_rate,
            delivery = setup.delivery,
            store = setup.store,
        );
        let mut callbacks = format!("/callback/{MERCHANT}");
        if setup.token {
            text.push_str(&format!("callback_token = \"{CALLBACK_TOKEN}\"\n"));
            callbacks.push_str(&format!("/{CALLBACK_TOKEN}"));
        }
        let secret = WebhookKey::symmetric_text(&[7; 32]);
        let dead = (0..setup.dead).map(|index| (format!("dead-{index}"), DEAD.to_owned(), 8));
        let named = setup.endpoints.iter().cloned();
        let named = named.map(|(name, url, concurrency)| (name.to_owned(), url, concurrency));
        for (name, url, concurrency) in named.chain(dead) {
            text.push_str(&format!(
                "[[endpoint]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = \"{secret}\"\nconcurrency = {concurrency}\n"
            ));
        }
        std::fs::write(directory.path().join("config.toml"), text)?;
        Ok(Self {
            directory,
            path: callbacks,
        })
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn start(&self) -> anyhow::Result<Relay> {
        let config = self.directory.path().join("config.toml");
        // Waiting for it must not stop the receivers and the provider.
        tokio::task::block_in_place(|| Relay::start(&config, &self.path))
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
    /// The path of callbacks.
    pub path: String,
    pub admin: SocketAddr,
    /// From the start of the process to its saying that it is ready.
    pub started_in: Duration,
}

impl Relay {
    fn start(config: &Path, path: &str) -> anyhow::Result<Self> {
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
        let (callbacks, admin) = loop {
            let mut line = String::new();
            anyhow::ensure!(log.read_line(&mut line)? > 0, "it ended: {said}");
            said.push_str(&line);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let address = |of: &str| line.get(of)?.as_str()?.strip_prefix("http://");
            if let Some(both) = address("callbacks").zip(address("admin")) {
                break (both.0.parse()?, both.1.parse()?);
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
            path: path.to_owned(),
            admin,
            started_in,
        })
    }

    pub fn id(&self) -> u32 {
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
