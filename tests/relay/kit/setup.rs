//! The configuration of a test's relay, and starting it beside its sandbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vexora_relay::app::Workers;
use vexora_relay::clock::SimClock;
use vexora_relay::config::{self, Config};
use vexora_relay::domain::{Secret, Timestamp};
use vexora_relay::sandbox::{Sandbox, SandboxConfig};

use super::{
    APP_SECRET, MERCHANT, Relay, SECOND_APP_SECRET, START, TOKEN, WHSEC, merchant, second_merchant,
};

/// What a test wants its relay to be like; what it does not say is one merchant with a token, and defaults.
pub struct Setup {
    provider: Option<String>,
    store: String,
    server: String,
    vexora: String,
    verify: String,
    log: String,
    merchants: String,
    endpoints: String,
    workers: Workers,
}

impl Setup {
    pub fn new() -> Self {
        Self {
            provider: None,
            store: String::new(),
            server: String::new(),
            vexora: String::new(),
            verify: String::new(),
            log: String::new(),
            merchants: format!(
                "[[merchant]]\nmerchant_no = \"{MERCHANT}\"\napp_secret = \"{APP_SECRET}\"\ncallback_token = \"{TOKEN}\"\n"
            ),
            endpoints: String::new(),
            workers: Workers::Manual,
        }
    }

    /// Asks there instead of the sandbox.
    pub fn provider(mut self, base_url: &str) -> Self {
        self.provider = Some(base_url.to_owned());
        self
    }

    /// Lines of `[store]`.
    pub fn store(mut self, lines: &str) -> Self {
        self.store.push_str(lines);
        self
    }

    /// Lines of `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self
    }

    /// Lines of `[vexora]`.
    pub fn vexora(mut self, lines: &str) -> Self {
        self.vexora.push_str(lines);
        self
    }

    /// Lines of `[verify]`.
    pub fn verify(mut self, lines: &str) -> Self {
        self.verify.push_str(lines);
        self
    }

    /// Lines of `[log]`.
    pub fn log(mut self, lines: &str) -> Self {
        self.log.push_str(lines);
        self
    }

    /// All merchants, instead of the usual one.
    pub fn merchants(mut self, text: &str) -> Self {
        text.clone_into(&mut self.merchants);
        self
    }

    /// One more endpoint. Retries do not stray, unless the lines say so.
    pub fn endpoint(mut self, name: &str, url: &str, lines: &str) -> Self {
        let mut text = format!("[[endpoint]]\nname = \"{name}\"\nurl = \"{url}\"\n{lines}\n");
        for (key, line) in [
            ("secret", format!("secret = \"{WHSEC}\"\n")),
            ("jitter", "jitter = 0\n".to_owned()),
        ] {
            if !lines.contains(&format!("{key} =")) {
                text.push_str(&line);
            }
        }
        self.endpoints.push_str(&text);
        self
    }

    /// The workers go by themselves, as in production.
    pub fn with_workers_running(mut self) -> Self {
        self.workers = Workers::Running;
        self
    }

    /// The file's text, for a store in this directory.
    pub fn text(&self, directory: &Path, sandbox: &Sandbox) -> String {
        let Self {
            store,
            server,
            vexora,
            verify,
            log,
            merchants,
            endpoints,
            ..
        } = self;
        let base_url = self.provider.clone().unwrap_or_else(|| sandbox.base_url());
        let data = directory.join("data");
        let min_free = if store.contains("min_free") {
            ""
        } else {
            "min_free = \"0B\"\n"
        };
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nrate_limit = \"off\"\n{server}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [store]\npath = \"{}\"\n{min_free}{store}\n[vexora]\nbase_url = \"{base_url}\"\n{vexora}\n\
             [verify]\n{verify}\n[log]\n{log}\n{merchants}\n{endpoints}",
            data.display()
        )
    }

    pub(super) fn config(&self, directory: &Path, sandbox: &Sandbox) -> Config {
        let text = self.text(directory, sandbox);
        let name = directory.join("config.toml");
        match config::parse(&name.to_string_lossy(), &text, &|_: &str| None) {
            Ok(config) => config,
            Err(problems) => panic!("{problems}\n{text}"),
        }
    }

    /// Writes the file, for the real program; also starts the sandbox that it names.
    pub async fn write(self, directory: &Path) -> (Sandbox, PathBuf) {
        let clock = SimClock::at(Timestamp::from_millis(START));
        let sandbox = start_sandbox(&clock).await;
        let file = directory.join("config.toml");
        std::fs::write(&file, self.text(directory, &sandbox)).unwrap();
        (sandbox, file)
    }

    pub async fn start(self) -> Relay {
        let clock = SimClock::at(Timestamp::from_millis(START));
        let sandbox = start_sandbox(&clock).await;
        let directory = tempfile::tempdir().unwrap();
        let config = self.config(directory.path(), &sandbox);
        let mut relay = Relay::new(sandbox, clock, config, directory, self.workers);
        relay.start().await;
        relay
    }
}

/// Vexora with both merchants; it sends nothing by itself.
async fn start_sandbox(clock: &SimClock) -> Sandbox {
    let mut config = SandboxConfig::new(vec![
        (merchant(), Secret::new(APP_SECRET)),
        (second_merchant(), Secret::new(SECOND_APP_SECRET)),
    ]);
    config.clock = Arc::new(clock.clone());
    config.background = false;
    Sandbox::start(config).await.unwrap()
}
