//! The configuration from outside: what a person who installs the relay writes, and what is said to them about it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing; clippy spares only functions that are marked as tests"
)]

mod bounds;
mod endpoints;
mod files;
mod report;
mod secrets;
mod shipped;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use vexora_relay::config::settings::{Listen, PayloadFormat, Rate};
use vexora_relay::config::{self, Config, Problem, Problems, Vars};
use vexora_relay::domain::{EventKind, MerchantNo};

const SHIPPED: &str = include_str!("../../config.toml");
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A directory with the configuration's surroundings: credentials under `credentials`, PEM files beside it.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        };
        fs::create_dir(place.path("credentials")).expect("created");
        for (name, secret) in [
            ("app-secret", "s3cr3t-of-the-app\n"),
            ("callback-token", "0123456789abcdef01234567\r\n"),
            ("ledger-secret", WHSEC),
            ("ledger-auth", "Bearer of-the-ledger\n"),
            ("admin-token", "a-token-that-is-long-enough"),
        ] {
            place.write(&format!("credentials/{name}"), secret);
        }
        for name in ["tls.crt", "client.crt", "ledger-ca.pem"] {
            place.write(
                name,
                "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
            );
        }
        for name in ["tls.key", "client.key"] {
            place.write(
                name,
                "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n",
            );
            place.chmod(name, 0o600);
        }
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("written");
    }

    fn chmod(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("changed");
    }

    fn vars(&self) -> impl Vars + use<> {
        let credentials = self.path("credentials").into_os_string();
        move |name: &str| match name {
            "CREDENTIALS_DIRECTORY" => Some(credentials.clone()),
            "APP_SECRET" => Some(OsString::from("from-the-environment")),
            "EMPTY" => Some(OsString::new()),
            _ => None,
        }
    }

    fn parse(&self, text: &str) -> Result<Config, Problems> {
        let name = self.path("config.toml");
        config::parse(&name.to_string_lossy(), text, &self.vars())
    }

    fn accept(&self, text: &str) -> Config {
        match self.parse(text) {
            Ok(config) => config,
            Err(problems) => panic!("refused:\n{problems}\n\n{text}"),
        }
    }

    fn refuse(&self, text: &str) -> Vec<Problem> {
        let problems = self.parse(text).expect_err("refused");
        assert!(!problems.is_empty());
        problems.iter().cloned().collect()
    }

    /// The problem of a file with one thing wrong.
    fn problem(&self, text: &str) -> Problem {
        let mut problems = self.refuse(text);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems.remove(0)
    }
}

const MERCHANT: &str = r#"
[[merchant]]
merchant_no = "1027749636"
app_secret = { credential = "app-secret" }
callback_token = { credential = "callback-token" }
"#;

/// A merchant, and an endpoint with more keys.
fn endpoint(more: &str) -> String {
    format!(
        "{MERCHANT}\n[[endpoint]]\nname = \"ledger\"\nurl = \"https://ledger.example.com/hooks/kyc\"\n\
         secret = {{ credential = \"ledger-secret\" }}\n{more}\n"
    )
}

fn section(name: &str, lines: &str) -> String {
    format!("[{name}]\n{lines}\n{MERCHANT}")
}

/// The keys that the shipped file shows commented out: line (from 0), key, and the line without its `#`.
fn commented_keys() -> Vec<(usize, &'static str, &'static str)> {
    SHIPPED
        .lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let setting = line
                .strip_prefix('#')
                .filter(|rest| !rest.starts_with(' '))?;
            let (key, _) = setting.split_once(" = ")?;
            Some((index, key, setting))
        })
        .collect()
}

/// The shipped file with some of these lines uncommented.
fn with_lines(wanted: impl Fn(usize) -> bool) -> String {
    let keys = commented_keys();
    let lines = SHIPPED.lines().enumerate().map(|(index, line)| {
        let found = keys.iter().find(|(at, ..)| *at == index && wanted(index));
        found.map_or(line, |(_, _, setting)| setting)
    });
    lines.collect::<Vec<_>>().join("\n")
}
