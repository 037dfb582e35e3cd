//! The configuration from outside: what a person who installs the relay writes, and what is said to them about it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use vexora_relay::config::settings::{Listen, PayloadFormat, Rate};
use vexora_relay::config::{self, Config, Problem, Problems, Vars};
use vexora_relay::domain::{EventKind, MerchantNo};

const SHIPPED: &str = include_str!("../config.toml");
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

// The shipped file.

#[test]
fn the_shipped_file_is_accepted_without_a_warning() {
    let config = Place::new().accept(SHIPPED);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.merchants.len(), 1);
    assert_eq!(config.endpoints.len(), 1);
    assert!(!config.is_loopback_only());
}

#[test]
fn what_the_shipped_file_shows_are_the_defaults() {
    let place = Place::new();
    let shipped = place.accept(SHIPPED);
    let minimal = place.accept(&endpoint(""));
    assert_eq!(format!("{shipped:#?}"), format!("{minimal:#?}"));
}

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

fn with_lines(wanted: impl Fn(usize) -> bool) -> String {
    let keys = commented_keys();
    let lines = SHIPPED.lines().enumerate().map(|(index, line)| {
        let found = keys.iter().find(|(at, ..)| *at == index && wanted(index));
        found.map_or(line, |(_, _, setting)| setting)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_key_that_is_commented_out_in_the_shipped_file_works_once_it_is_not() {
    let place = Place::new();
    let keys = commented_keys();
    assert!(keys.len() >= 15, "{keys:?}");
    place.accept(&with_lines(|_| true));
    for (index, key, _) in keys {
        if !key.starts_with("client_") {
            place.accept(&with_lines(|at| at == index));
        }
    }
}

#[test]
fn what_the_shipped_file_says_an_endpoint_may_override_has_the_value_of_delivery() {
    let place = Place::new();
    let shipped = place.accept(SHIPPED);
    let keys = [
        "timeout",
        "retry",
        "jitter",
        "give_up_after",
        "concurrency",
        "rate_limit",
        "ordering",
        "format",
    ];
    let shown: Vec<_> = commented_keys()
        .into_iter()
        .filter(|(_, key, _)| keys.contains(key))
        .collect();
    assert_eq!(shown.len(), keys.len());
    let overridden = place.accept(&with_lines(|at| shown.iter().any(|(line, ..)| *line == at)));
    assert_eq!(format!("{shipped:#?}"), format!("{overridden:#?}"));
}

#[test]
fn the_shipped_file_shows_every_key_there_is() {
    let place = Place::new();
    let all = with_lines(|_| true);
    let mut headers = 0;
    // A key that cannot be, after each header: the problem lists the keys that can.
    for (index, header) in all
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with('['))
    {
        headers += 1;
        let mut lines: Vec<&str> = all.lines().collect();
        lines.insert(index + 1, "zzzzzzzz = 1");
        let problem = place.problem(&lines.join("\n"));
        let body: Vec<&str> = all
            .lines()
            .skip(index + 1)
            .take_while(|line| !line.starts_with('['))
            .collect();
        let known = problem
            .expected
            .strip_prefix("one of ")
            .expect("a list of keys");
        for key in known.split(", ") {
            let start = format!("{key} = ");
            assert!(
                body.iter().any(|line| line.starts_with(&start)),
                "{header} does not show {key}"
            );
        }
    }
    assert_eq!(headers, 9);
}

// Problems.

#[test]
fn a_file_full_of_mistakes_is_reported_whole_with_line_key_and_advice() {
    let text = r##"[server]
listen = "localhost:8080"
max_bdoy = "64KiB"
max_body = "2MiB"
request_timeout = 10
rate_limit = "fast"
allow_from = ["10.0.0.0/8", "10.0.0.7/8", "everyone"]

[vexora]
base_url = "http://api.vexora.example/japan"
max_in_flight = 0

[verify]
retry = ["1s", "soon", "0s"]
on_bad_sign = "flagg"

[delivery]
jitter = 1.5

[mystery]

[[merchant]]
merchant_no = 1027749636
app_secret = { credential = "no-such-credential" }
callback_token = "hunter2"

[[endpoint]]
name = "ledger"
url = "http://ledger.example.com/hooks/s3cr3t"
secret = "whsec_hunter2"
events = ["kyc.aproved"]
merchants = ["0000000000"]
headers = { Host = "x", X-Team = "payments" }
client_cert = "nowhere.pem"

[[endpoint]]
name = "ledger"
url = "https://user:hunter2@ledger.example.com/"
allow_private = false
"##;
    let place = Place::new();
    let problems = config::parse("config.toml", text, &place.vars()).expect_err("refused");
    let report = problems
        .to_string()
        .replace(&*place.directory.path().to_string_lossy(), "/tmp");
    assert!(
        !report.contains("hunter2") && !report.contains("hooks/s3cr3t"),
        "{report}"
    );
    insta::assert_snapshot!(report, @r##"
    config.toml:2: server.listen: is "localhost:8080", expected an address and port such as "127.0.0.1:8080", or "unix:/path"
      hint: names are not looked up; IPv6 goes in brackets, as in "[::1]:8080"
    config.toml:3: server.max_bdoy: is not a key here, expected one of listen, public_url, tls, max_body, request_timeout, ack, allow_from, trusted_proxies, rate_limit
      hint: did you mean max_body?
    config.toml:4: server.max_body: is "2MiB", expected a size from 1KiB to 1MiB
    config.toml:5: server.request_timeout: is an integer, expected a duration from 100ms to 1m
    config.toml:6: server.rate_limit: is "fast", expected "off" or a rate from "1/h" to "1000000/s"
      hint: so many per second, minute or hour: "50/s", "3000/m", "10000/h"
    config.toml:7: server.allow_from, item 2: is "10.0.0.7/8", expected a network without host bits
      hint: "10.0.0.0/8" is the network, "10.0.0.7" the address alone
    config.toml:7: server.allow_from, item 3: is "everyone", expected a network such as "10.0.0.0/8" or an address
    config.toml:10: vexora.base_url: scheme is "http", expected "https"
      hint: plain http is allowed to loopback only
    config.toml:11: vexora.max_in_flight: is 0, expected a whole number from 1 to 1000
    config.toml:14: verify.retry, item 2: is "soon", expected a duration from 1ms to 30d
      hint: a number and a unit: "500ms", "10s", "2m", "1h", "90d"
    config.toml:14: verify.retry, item 3: is "0s", expected a duration from 1ms to 30d
    config.toml:15: verify.on_bad_sign: is "flagg", expected "flag" or "refuse"
      hint: did you mean "flag"?
    config.toml:18: delivery.jitter: is 1.5, expected a number from 0 to 1
    config.toml:20: mystery: is not a key here, expected one of server, admin, store, vexora, verify, delivery, log, merchant, endpoint
    config.toml:23: merchant 1: merchant_no: is an integer, expected a string of exactly ten digits
      hint: put it in quotes
    config.toml:24: merchant 1: app_secret.credential: cannot read "/tmp/credentials/no-such-credential" (No such file or directory (os error 2)), expected the credential's file
      hint: does the unit have LoadCredential=no-such-credential:… ?
    config.toml:25: merchant 1: callback_token: has 7 characters, expected 16 to 128 characters of A-Z a-z 0-9 - . _ ~
      hint: `openssl rand -hex 24` and `vexora-relay secret` make one
    config.toml:27: endpoint "ledger": client_key: is missing, expected a file: client_cert is given, and they go together
    config.toml:29: endpoint "ledger": url: scheme is "http", expected "https"
      hint: plain http is allowed to loopback only, unless allow_http = true
    config.toml:30: endpoint "ledger": secret: is no signing secret: what follows the prefix is not base 64 (standard alphabet, padded), expected whsec_ or whsk_ and base 64
      hint: `vexora-relay secret` makes one; the receiver must know it too
    config.toml:31: endpoint "ledger": events, item 1: is "kyc.aproved", expected an event type, a family such as "kyc.*", or "*"
      hint: did you mean "kyc.approved"? there are kyc.pending, kyc.under_review, kyc.approved, kyc.rejected, kyc.unknown, relay.endpoint.down, relay.endpoint.recovered, relay.delivery.abandoned, relay.verification.stuck, relay.callback.unrecognized, relay.provider.down, relay.provider.recovered, relay.test
    config.toml:32: endpoint "ledger": merchants, item 1: is "0000000000", expected the merchant_no of a [[merchant]]
    config.toml:33: endpoint "ledger": headers.Host: is a header that the relay sets itself, expected another header
    config.toml:34: endpoint "ledger": client_cert: cannot read "nowhere.pem" (No such file or directory (os error 2)), expected a PEM file with a certificate
      hint: a relative path starts at the directory of the configuration file
    config.toml:36: endpoint "ledger": secret: is missing, expected a secret: { credential = "name" }, { file = "path" } or { env = "NAME" }
    config.toml:37: endpoint "ledger": name: is that of another endpoint in line 28, expected a name of its own
    config.toml:38: endpoint "ledger": url: has a user name or password in it, expected a URL without
      hint: an endpoint takes them as headers = { Authorization = { credential = "…" } }
    config.toml:39: endpoint "ledger": allow_private: is false, which is not supported yet, expected true, the default
      hint: until then keep the service from private networks with systemd's IPAddressDeny= or a firewall
    28 problems
    "##);
}

#[test]
fn after_a_syntax_error_only_that_is_reported_and_not_the_line() {
    let place = Place::new();
    let problem = place.problem(
        "[server]\nnonsense = 1\n\n[[merchant]]\napp_secret = \"hunter2\nmerchant_no = 1\n",
    );
    assert_eq!(problem.line, Some(5));
    assert!(!problem.to_string().contains("hunter2"));
    let twice = place.problem("[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n");
    assert_eq!(twice.line, Some(3));
}

#[test]
fn an_empty_file_lacks_a_merchant_and_nothing_else() {
    let problem = Place::new().problem("");
    assert_eq!((problem.line, problem.key.as_str()), (None, "merchant"));
}

#[test]
fn a_mistyped_key_is_refused_with_the_key_that_was_meant() {
    let place = Place::new();
    let problem = place.problem(&section("store", "retension = \"1d\""));
    assert_eq!(problem.key, "store.retension");
    assert_eq!(problem.hint.as_deref(), Some("did you mean retention?"));
    let problem = place.problem(&format!("[sever]\n{MERCHANT}"));
    assert_eq!(problem.hint.as_deref(), Some("did you mean server?"));
    let problem = place.problem(&endpoint("\"a key\\n\" = 1"));
    assert_eq!(problem.key, "endpoint \"ledger\": \"a key\\n\"");
    assert_eq!(problem.hint, None);
}

#[test]
fn single_brackets_and_lists_of_tables_are_told_apart() {
    let place = Place::new();
    let problem = &place.refuse("[merchant]\nmerchant_no = \"1027749636\"\n")[0];
    assert_eq!(problem.key, "merchant");
    assert!(problem.expected.contains("[[merchant]]"));
    let problem = place.problem(&format!("{MERCHANT}\n[[server]]\n"));
    assert!(problem.expected.contains("[server]"));
    let inline =
        r#"merchant = [{ merchant_no = "1027749636", app_secret = { env = "APP_SECRET" } }]"#;
    assert_eq!(place.accept(inline).merchants.len(), 1);
}

#[test]
fn each_entry_of_a_list_has_its_own_problems_on_its_own_line() {
    let place = Place::new();
    let text = "[[merchant]]\nmerchant_no = \"1\"\n\n[[merchant]]\napp_secret = \"x\"\n\n[[merchant]]\n\
                merchant_no = \"1027749636\"\napp_secret = \"x\"\n\n[[merchant]]\nmerchant_no = \"1027749636\"\napp_secret = \"\"\n";
    let problems = place.refuse(text);
    let places: Vec<(usize, &str)> = problems
        .iter()
        .map(|p| (p.line.expect("a line"), p.key.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (1, "merchant \"1\": app_secret"),
            (2, "merchant \"1\": merchant_no"),
            (4, "merchant 2: merchant_no"),
            (12, "merchant \"1027749636\": merchant_no"),
            (13, "merchant \"1027749636\": app_secret"),
        ]
    );
    assert!(problems[3].found.contains("line 8"), "{}", problems[3]);
}

#[test]
fn an_endpoint_is_not_blamed_for_the_merchant_it_refers_to() {
    let text = endpoint("merchants = [\"1027749636\"]").replace("\"app-secret\"", "\"gone\"");
    assert_eq!(
        Place::new().problem(&text).key,
        "merchant \"1027749636\": app_secret.credential"
    );
}

// Bounds.

#[test]
fn every_bound_holds_on_both_sides() {
    let place = Place::new();
    for (table, key, good, bad) in [
        (
            "server",
            "max_body",
            vec!["1KiB", "1MiB", "1024"],
            vec!["1023B", "1048577B", "0B", "64 kilo", "-1KiB", ""],
        ),
        (
            "server",
            "request_timeout",
            vec!["100ms", "1m"],
            vec!["99ms", "61s", "10", "", "ten seconds"],
        ),
        (
            "server",
            "rate_limit",
            vec!["off", "1/h", "3000/m", "1000000/s"],
            vec![
                "0/s",
                "1/d",
                "1",
                "-1/s",
                "1000001/s",
                "/s",
                "Off",
                "9999999999/s",
            ],
        ),
        ("server", "ack", vec!["OK", " "], vec!["", "O\\nK"]),
        (
            "server",
            "listen",
            vec!["[::]:8080", "127.0.0.1:0", "unix:/run/x.sock"],
            vec![
                "8080",
                ":8080",
                "localhost:8080",
                "unix:x",
                "unix:",
                "unix:/run/",
                "::1:8080",
            ],
        ),
        (
            "server",
            "public_url",
            vec![
                "https://relay.example.com",
                "https://relay.example.com/in/",
                "http://127.0.0.1:8080",
            ],
            vec![
                "http://relay.example.com",
                "relay.example.com",
                "https://relay.example.com/?a=b",
                "https://relay.example.com/#a",
                "https://u@relay.example.com",
                "https://",
            ],
        ),
        (
            "store",
            "retention",
            vec!["1m", "36500d"],
            vec!["59s", "36501d", "forever"],
        ),
        ("store", "min_free", vec!["0B", "1TiB"], vec!["", "much"]),
        ("store", "path", vec!["x"], vec![""]),
        (
            "vexora",
            "base_url",
            vec![
                "http://[::1]:1/japan/",
                "http://localhost",
                "https://x.example",
            ],
            vec![
                "http://10.0.0.1",
                "ftp://localhost",
                "http://127.0.0.1.example.com",
            ],
        ),
        (
            "vexora",
            "timeout",
            vec!["100ms", "5m"],
            vec!["99ms", "301s"],
        ),
        ("vexora", "rate_limit", vec!["off"], vec!["none"]),
        (
            "verify",
            "give_up_after",
            vec!["1ms", "365d"],
            vec!["0s", "366d"],
        ),
        ("verify", "duplicate_window", vec!["0s", "30d"], vec!["31d"]),
        (
            "verify",
            "reconcile",
            vec!["1s", "30d", "off"],
            vec!["999ms", "31d", "never"],
        ),
        (
            "verify",
            "on_bad_sign",
            vec!["flag", "refuse"],
            vec!["ignore", ""],
        ),
        (
            "delivery",
            "timeout",
            vec!["100ms", "5m"],
            vec!["99ms", "6m"],
        ),
        (
            "delivery",
            "give_up_after",
            vec!["1ms", "365d"],
            vec!["0ms", "366d"],
        ),
        ("delivery", "rate_limit", vec!["off", "5/m"], vec!["0/m"]),
        (
            "delivery",
            "ordering",
            vec!["per-user", "none"],
            vec!["per_user"],
        ),
        (
            "delivery",
            "format",
            vec!["standard", "vexora"],
            vec!["json"],
        ),
        (
            "log",
            "level",
            vec!["error", "trace", "off", "info,vexora_relay::deliver=debug"],
            vec!["verbose", "", "info,loud", "info,a=loud"],
        ),
        ("log", "format", vec!["text", "json", "auto"], vec!["xml"]),
    ] {
        for value in good {
            place.accept(&section(table, &format!("{key} = \"{value}\"")));
        }
        for value in bad {
            let problem = place.problem(&section(table, &format!("{key} = \"{value}\"")));
            assert_eq!(
                (problem.line, problem.key),
                (Some(2), format!("{table}.{key}")),
                "{value}"
            );
        }
        let other_kind = place.problem(&section(table, &format!("{key} = 1979-05-27")));
        assert_eq!(other_kind.found, "is a date");
    }
}

#[test]
fn numbers_and_lists_have_bounds_too() {
    let place = Place::new();
    let steps = |count: usize, step: &str| {
        format!(
            "retry = [{}]",
            vec![format!("\"{step}\""); count].join(", ")
        )
    };
    for (table, good, bad) in [
        (
            "vexora",
            vec!["max_in_flight = 1", "max_in_flight = 1000"],
            vec![
                "max_in_flight = 0",
                "max_in_flight = 1001",
                "max_in_flight = -1",
                "max_in_flight = \"8\"",
                "max_in_flight = 9223372036854775807",
            ],
        ),
        (
            "delivery",
            vec!["concurrency = 1", "concurrency = 1000"],
            vec!["concurrency = 0", "concurrency = 1001", "concurrency = 1.0"],
        ),
        (
            "delivery",
            vec!["jitter = 0", "jitter = 1", "jitter = 0.5"],
            vec![
                "jitter = -0.1",
                "jitter = 1.1",
                "jitter = 2",
                "jitter = nan",
                "jitter = inf",
                "jitter = \"0.2\"",
            ],
        ),
        (
            "server",
            vec!["allow_from = [\"::1\", \"10.0.0.0/8\"]"],
            vec![
                "allow_from = \"10.0.0.0/8\"",
                "allow_from = [1]",
                "trusted_proxies = [\"10.0.0.0/33\"]",
            ],
        ),
    ] {
        for line in good {
            place.accept(&section(table, line));
        }
        for line in bad {
            assert_eq!(place.problem(&section(table, line)).line, Some(2), "{line}");
        }
    }
    for table in ["verify", "delivery"] {
        for line in [steps(1, "1ms"), steps(100, "30d"), steps(2, "50ms")] {
            place.accept(&section(table, &line));
        }
        for line in [
            steps(0, ""),
            steps(101, "1s"),
            steps(1, "0s"),
            steps(1, "31d"),
            "retry = \"1s\"".to_owned(),
        ] {
            assert_eq!(
                place.problem(&section(table, &line)).line,
                Some(2),
                "{line}"
            );
        }
    }
    let long = "x".repeat(1025);
    place.problem(&section("server", &format!("ack = \"{long}\"")));
    place.accept(&section("server", &format!("ack = \"{}\"", &long[1..])));
}

#[test]
fn what_is_written_is_what_comes_out() {
    let config = Place::new().accept(&format!(
        "[server]\nlisten = \"unix:/run/x.sock\"\npublic_url = \"https://relay.example.com/in/\"\nallow_from = [\"10.0.0.0/8\", \"::1\"]\n\
         tls = {{ cert = \"tls.crt\", key = \"tls.key\" }}\nmax_body = \"2KiB\"\nrate_limit = \"3000/m\"\n\
         [store]\nmin_free = \"0B\"\n[verify]\nreconcile = \"off\"\n[delivery]\nconcurrency = 3\nordering = \"none\"\n{}",
        endpoint("timeout = \"1s\"\nretry = [\"50ms\", \"1s\"]\nevents = [\"relay.*\"]\nmerchants = [\"1027749636\"]\n\
                  headers = { Authorization = { credential = \"ledger-auth\" } }\nproxy = \"socks5h://127.0.0.1:1080\"\nca = \"ledger-ca.pem\"\n\
                  client_cert = \"client.crt\"\nclient_key = \"client.key\"\nexpect_body = \"OK\"\nformat = \"vexora\"")
    ));
    assert_eq!(config.server.listen, Listen::Unix("/run/x.sock".into()));
    assert_eq!(
        config.server.public_url.as_deref(),
        Some("https://relay.example.com/in")
    );
    assert_eq!(config.server.max_body, 2048);
    let rate = config.server.rate_limit.expect("a limit");
    assert_eq!(
        rate,
        Rate {
            count: 3000.try_into().expect("not zero"),
            per: Duration::from_secs(60)
        }
    );
    assert_eq!(config.server.allow_from.len(), 2);
    assert!(config.server.tls.expect("tls").cert.is_absolute());
    assert_eq!(config.store.min_free, 0);
    assert_eq!(config.verify.reconcile, None);
    let ledger = &config.endpoints[0];
    assert_eq!(
        (ledger.concurrency, ledger.ordered, ledger.timeout),
        (3, false, Duration::from_secs(1))
    );
    assert_eq!(
        ledger.policy.retry.after(1),
        Some(Duration::from_millis(50))
    );
    assert_eq!(ledger.policy.retry.len(), 2);
    assert_eq!(ledger.format, PayloadFormat::Vexora);
    assert_eq!(ledger.headers[0].0, "authorization");
    assert_eq!(ledger.headers[0].1.expose(), "Bearer of-the-ledger");
    assert_eq!(
        ledger.transport.proxy.as_deref(),
        Some("socks5h://127.0.0.1:1080")
    );
    assert!(ledger.transport.ca.is_some() && ledger.transport.client_identity.is_some());
    assert_eq!(ledger.expect_body.as_deref(), Some("OK"));
    assert!(
        ledger.events.wants(EventKind::EndpointDown)
            && !ledger.events.wants(EventKind::KycApproved)
    );
}

#[test]
fn routing_is_made_of_the_endpoints() {
    let place = Place::new();
    let config = place.accept(&endpoint("merchants = [\"1027749636\"]"));
    let ours: MerchantNo = "1027749636".parse().expect("valid");
    let other: MerchantNo = "0000000000".parse().expect("valid");
    let routing = config.routing();
    assert!(routing.wanted(EventKind::KycApproved, Some(&ours)));
    assert!(!routing.wanted(EventKind::KycApproved, Some(&other)));
    assert!(!routing.wanted(EventKind::KycPending, Some(&ours)));
}

#[test]
fn the_data_directory_is_systemds_unless_the_file_names_one() {
    let place = Place::new();
    let with = |state: &'static str, text: &str| {
        let inner = place.vars();
        let vars = move |name: &str| match name {
            "STATE_DIRECTORY" => Some(OsString::from(state)),
            _ => inner.get(name),
        };
        config::parse("/etc/x/config.toml", text, &vars)
            .expect("valid")
            .store
            .path
    };
    assert_eq!(
        with("/var/lib/a:/var/lib/b", MERCHANT),
        Path::new("/var/lib/a")
    );
    assert_eq!(with("", MERCHANT), Path::new("data"));
    assert_eq!(
        with("/var/lib/a", &section("store", "path = \"here\"")),
        Path::new("here")
    );
}

// Endpoints.

#[test]
fn an_endpoint_that_cannot_work_is_refused() {
    let place = Place::new();
    place.write("empty.pem", "");
    for (line, key) in [
        ("events = []", "events"),
        ("events = [\"kyc.*\", \"kyc.aproved\"]", "events, item 2"),
        ("events = \"*\"", "events"),
        ("merchants = [\"1027749637\"]", "merchants, item 1"),
        ("merchants = [1027749636]", "merchants, item 1"),
        ("headers = { webhook-id = \"x\" }", "headers.webhook-id"),
        ("headers = { \"a b\" = \"x\" }", "headers.\"a b\""),
        ("headers = { A = \"é\" }", "headers.A"),
        ("headers = { A = \"x\", a = \"x\" }", "headers.a"),
        ("headers = { A = 1 }", "headers.A"),
        ("headers = []", "headers"),
        ("ca = \"nowhere.pem\"", "ca"),
        ("ca = \"tls.key\"", "ca"),
        ("ca = \"empty.pem\"", "ca"),
        ("ca = \"credentials\"", "ca"),
        ("ca = \"\"", "ca"),
        ("client_cert = \"client.crt\"", "client_key"),
        ("client_key = \"client.key\"", "client_cert"),
        ("proxy = \"ftp://proxy.example.com\"", "proxy"),
        ("proxy = \"http://u:p@proxy.example.com\"", "proxy"),
        ("proxy = \"proxy.example.com:3128\"", "proxy"),
        ("proxy = \"http://proxy.example.com/path\"", "proxy"),
        ("expect_body = \"\"", "expect_body"),
        ("allow_private = false", "allow_private"),
        ("allow_private = \"yes\"", "allow_private"),
        ("timeout = \"6m\"", "timeout"),
        ("format = \"cloudevents\"", "format"),
    ] {
        let problem = place.problem(&endpoint(line));
        assert_eq!(problem.key, format!("endpoint \"ledger\": {key}"), "{line}");
        assert_eq!(problem.line, Some(11), "{line}");
    }
}

#[test]
fn plain_http_is_for_loopback_unless_it_is_allowed() {
    let place = Place::new();
    let with =
        |url: &str, more: &str| endpoint(more).replace("https://ledger.example.com/hooks/kyc", url);
    for url in [
        "http://127.0.0.1:1/a?key=1",
        "http://127.8.9.1/",
        "http://[::1]:1/",
        "http://localhost/",
        "HTTPS://X.example/",
    ] {
        place.accept(&with(url, ""));
    }
    for url in [
        "http://ledger.example.com/",
        "http://10.0.0.1/",
        "http://localhost.example.com/",
        "http://0.0.0.0/",
    ] {
        let problem = place.problem(&with(url, ""));
        assert!(problem.hint.expect("a hint").contains("allow_http"));
        place.accept(&with(url, "allow_http = true"));
    }
    for url in [
        "ftp://x/",
        "//x/",
        "x",
        "https://u:p@x.example/",
        "https://x.example/#a",
        "https:// x.example/",
        "https://x.example/\\n",
        "",
    ] {
        let problem = place.problem(&with(url, "allow_http = true"));
        assert_eq!(problem.key, "endpoint \"ledger\": url");
    }
}

#[test]
fn a_signing_secret_is_needed_unless_the_format_is_vexoras() {
    let place = Place::new();
    let without =
        |more: &str| endpoint(more).replace("secret = { credential = \"ledger-secret\" }", "");
    assert_eq!(
        place.problem(&without("")).key,
        "endpoint \"ledger\": secret"
    );
    assert!(
        place.accept(&without("format = \"vexora\"")).endpoints[0]
            .keys
            .is_empty()
    );
    assert!(
        place
            .accept(&format!("[delivery]\nformat = \"vexora\"\n{}", without("")))
            .endpoints[0]
            .keys
            .is_empty()
    );
    let bad = place.problem(&without("secret = \"whsec_hunter2\""));
    assert!(
        bad.found.contains("base 64") && !bad.to_string().contains("hunter2"),
        "{bad}"
    );
    let both = format!("secret = [{{ credential = \"ledger-secret\" }}, \"{WHSEC}\"]");
    assert_eq!(place.accept(&without(&both)).endpoints[0].keys.len(), 2);
}

// Secrets.

fn app_secret(value: &str) -> String {
    MERCHANT.replace("{ credential = \"app-secret\" }", value)
}

#[test]
fn a_secret_comes_from_where_the_file_says() {
    let place = Place::new();
    place.write("mine", "in a file \n");
    place.chmod("mine", 0o600);
    for (value, expected) in [
        ("{ credential = \"app-secret\" }", "s3cr3t-of-the-app"),
        ("{ file = \"mine\" }", "in a file "),
        ("{ env = \"APP_SECRET\" }", "from-the-environment"),
        ("\"plain\"", "plain"),
    ] {
        let config = place.accept(&app_secret(value));
        assert_eq!(config.merchants[0].app_secret.signing().expose(), expected);
        assert_eq!(
            config.warnings.len(),
            usize::from(expected == "plain"),
            "{:?}",
            config.warnings
        );
    }
    let table =
        "[[merchant]]\nmerchant_no = \"1027749636\"\n[merchant.app_secret]\nenv = \"APP_SECRET\"\n";
    place.accept(table);
}

#[test]
fn of_secrets_in_rotation_the_first_signs_and_all_are_accepted() {
    let config = Place::new().accept(&app_secret(
        "[{ env = \"APP_SECRET\" }, { credential = \"app-secret\" }]",
    ));
    let secrets = &config.merchants[0].app_secret;
    assert_eq!(secrets.signing().expose(), "from-the-environment");
    assert!(secrets.any_matches(b"s3cr3t-of-the-app"));
}

#[test]
fn a_secret_that_is_not_there_is_a_problem_that_says_so_without_its_value() {
    let place = Place::new();
    place.write("empty", "\n");
    place.write("lines", "hunter2\n\n");
    place.write("binary", b"hunter2\xff");
    place.write("huge", "hunter2 ".repeat(9000));
    for (value, key, found) in [
        ("\"\"", "", "is empty"),
        ("7", "", "is an integer"),
        ("[]", "", "is an empty list"),
        ("[\"hunter2\", \"\"]", ", item 2", "is empty"),
        ("[[\"hunter2\"]]", ", item 1", "is a list"),
        ("{}", "", "is an empty table"),
        (
            "{ file = \"lines\", env = \"APP_SECRET\" }",
            "",
            "names 2 sources",
        ),
        (
            "{ credental = \"app-secret\" }",
            ".credental",
            "is not a key here",
        ),
        (
            "{ credential = \"../app-secret\" }",
            ".credential",
            "is \"../app-secret\"",
        ),
        ("{ credential = \"a/b\" }", ".credential", "is \"a/b\""),
        ("{ credential = \"\" }", ".credential", "is \"\""),
        ("{ credential = \"gone\" }", ".credential", "cannot read"),
        ("{ file = \"empty\" }", ".file", "is empty"),
        ("{ file = \"lines\" }", ".file", "8 bytes with a line break"),
        ("{ file = \"binary\" }", ".file", "is not UTF-8"),
        ("{ file = \"huge\" }", ".file", "is larger than 64 KiB"),
        ("{ file = \"credentials\" }", ".file", "is a directory"),
        ("{ file = \"\" }", ".file", "is empty"),
        ("{ file = 7 }", ".file", "is an integer"),
        ("{ env = \"UNSET\" }", ".env", "$UNSET is not set"),
        ("{ env = \"EMPTY\" }", ".env", "is empty"),
        ("{ env = \"A=B\" }", ".env", "is \"A=B\""),
    ] {
        let problems = place.refuse(&app_secret(value));
        let problem = problems.iter().find(|p| p.found.contains(found));
        let problem = problem.unwrap_or_else(|| panic!("{value}: {problems:#?}"));
        assert_eq!(
            problem.key,
            format!("merchant \"1027749636\": app_secret{key}"),
            "{value}"
        );
        assert!(!format!("{problems:?}").contains("hunter2"), "{value}");
    }
}

#[test]
fn without_a_credentials_directory_the_hint_says_who_makes_one() {
    let none = |_: &str| None;
    let text = "[[merchant]]\nmerchant_no = \"1027749636\"\napp_secret = { credential = \"app-secret\" }\n";
    let problems = config::parse("config.toml", text, &none).expect_err("refused");
    let problem = problems.iter().next().expect("one");
    assert!(problem.found.contains("$CREDENTIALS_DIRECTORY is not set"));
    assert!(
        problem
            .hint
            .as_deref()
            .expect("a hint")
            .contains("LoadCredential=app-secret:")
    );
}

#[test]
fn a_callback_token_goes_into_a_url_and_is_hard_to_guess() {
    let place = Place::new();
    let with = |token: &str| {
        MERCHANT.replace(
            "{ credential = \"callback-token\" }",
            &format!("{{ file = \"{token}\" }}"),
        )
    };
    for (token, warnings) in [
        ("x".repeat(16), 0),
        ("x".repeat(128), 0),
        ("aA0-._~x".to_owned(), 1),
        ("x".repeat(15), 1),
    ] {
        place.write("token", &token);
        place.chmod("token", 0o600);
        assert_eq!(
            place.accept(&with("token")).warnings.len(),
            warnings,
            "{token}"
        );
    }
    for token in [
        "x".repeat(7),
        "x".repeat(129),
        format!("{}/", "x".repeat(20)),
        format!("{} ", "x".repeat(20)),
        "ü".repeat(20),
    ] {
        place.write("token", &token);
        let problem = place.problem(&with("token"));
        assert!(
            problem
                .hint
                .as_deref()
                .expect("a hint")
                .contains("openssl rand -hex 24")
        );
        assert!(!problem.to_string().contains(&token));
    }
}

// Warnings.

#[test]
fn secrets_in_the_file_are_warned_of_unless_everything_is_on_loopback() {
    let place = Place::new();
    let text = "[vexora]\nbase_url = \"http://127.0.0.1:9000/japan\"\n[[merchant]]\nmerchant_no = \"1027749636\"\napp_secret = \"s\"\n\
        [[endpoint]]\nname = \"ledger\"\nurl = \"http://localhost:9001/\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
        headers = { X-Team = \"payments\", Authorization = \"Bearer hunter2\" }\n";
    let config = place.accept(text);
    assert!(config.is_loopback_only());
    assert_eq!(config.warnings, Vec::<String>::new());
    for (from, to) in [
        (
            "http://127.0.0.1:9000/japan",
            "https://api.vexora.example/japan",
        ),
        ("http://localhost:9001/", "https://ledger.example.com/"),
        ("[vexora]", "[server]\nlisten = \"0.0.0.0:8080\"\n[vexora]"),
    ] {
        let config = place.accept(&text.replace(from, to));
        assert!(!config.is_loopback_only());
        // App secret, no callback token, signing secret, Authorization; not the team's name.
        assert_eq!(config.warnings.len(), 4, "{:#?}", config.warnings);
        assert!(!format!("{:?}", config.warnings).contains("hunter2"));
    }
    let warnings = place
        .accept(
            &text
                .replace("localhost", "127.0.0.1")
                .replace("http://127.0.0.1:9001", "https://x.example"),
        )
        .warnings;
    assert!(
        warnings[1].contains("config.toml:5: merchant \"1027749636\": app_secret: "),
        "{warnings:#?}"
    );
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    let place = Place::new();
    place.write("mine", "secret");
    for (mode, warnings) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
        place.chmod("mine", mode);
        let config = place.accept(&app_secret("{ file = \"mine\" }"));
        assert_eq!(config.warnings.len(), warnings, "{:?}", config.warnings);
    }
    place.chmod("tls.key", 0o644);
    let config = place.accept(&section(
        "server",
        "tls = { cert = \"tls.crt\", key = \"tls.key\" }",
    ));
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn the_admin_listener_has_an_address_of_its_own_and_is_not_for_everyone() {
    let place = Place::new();
    let problem = place.problem(&section("admin", "listen = \"127.0.0.1:8080\""));
    assert_eq!(problem.key, "admin.listen");
    let any = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    place.accept(&format!("{any}{MERCHANT}"));
    assert_eq!(
        place
            .accept(&section("admin", "listen = \"0.0.0.0:8081\""))
            .warnings
            .len(),
        1
    );
    place.problem(&section("admin", "token = \"two words\""));
}

#[test]
fn half_a_tls_identity_is_no_identity() {
    let place = Place::new();
    for (tls, key) in [
        ("{ cert = \"tls.crt\" }", "server.tls.key"),
        ("{ key = \"tls.key\" }", "server.tls.cert"),
        ("{}", "server.tls"),
        (
            "{ cert = \"tls.key\", key = \"tls.key\" }",
            "server.tls.cert",
        ),
        ("\"tls.crt\"", "server.tls"),
    ] {
        assert_eq!(
            place
                .problem(&section("server", &format!("tls = {tls}")))
                .key,
            key
        );
    }
}

// Files.

#[test]
fn a_file_that_is_none_is_told_apart_from_one_that_is_wrong() {
    let place = Place::new();
    place.write("latin1.toml", b"# caf\xe9\n");
    place.write("huge.toml", "#\n".repeat(600_000));
    place.write("good.toml", endpoint("ca = \"ledger-ca.pem\""));
    for (file, found) in [
        ("missing.toml", "cannot read"),
        ("latin1.toml", "is not UTF-8 at byte 5"),
        ("huge.toml", "is larger than 1024 KiB"),
        (".", "is a directory"),
    ] {
        let problems = config::load_with(&place.path(file), &place.vars()).expect_err("refused");
        assert_eq!(problems.len(), 1);
        assert!(problems.to_string().contains(found), "{problems}");
    }
    let good = config::load_with(&place.path("good.toml"), &place.vars()).expect("valid");
    assert_eq!(
        good.endpoints[0].transport.ca.as_deref(),
        Some(place.path("ledger-ca.pem").as_path())
    );
    assert!(config::parse("huge", &"#\n".repeat(600_000), &place.vars()).is_err());
    // A byte order mark and Windows line ends are no fault of anyone's.
    let windows = format!(
        "\u{feff}{}",
        endpoint("timeout = \"6m\"").replace('\n', "\r\n")
    );
    assert_eq!(place.problem(&windows).line, Some(11));
}

// Whatever there is in it.

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", more in "[\\[\\]{}=\"',.#a-z0-9\\n -]{0,200}") {
        let none = |_: &str| None;
        for text in [&text, &more] {
            if let Err(problems) = config::parse("config.toml", text, &none) {
                prop_assert!(!problems.to_string().is_empty());
            }
        }
    }

    #[test]
    fn no_change_to_the_shipped_file_makes_it_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, any::<prop::sample::Index>()), 1..6),
    ) {
        let tokens = ["", "\"", "[", "]", "{}", "= 1", "= -9223372036854775808", "\"🦀\"", "\n", "[[endpoint]]", "true", "1e999"];
        let mut lines: Vec<String> = with_lines(|_| true).lines().map(str::to_owned).filter(|l| !l.starts_with('#')).collect();
        for (line, token, cut) in changes {
            let line = line.index(lines.len());
            let start = cut.index(lines[line].chars().count() + 1);
            let kept: String = lines[line].chars().take(start).collect();
            lines[line] = format!("{kept}{}", tokens[token]);
        }
        let none = |_: &str| None;
        if let Err(problems) = config::parse("config.toml", &lines.join("\n"), &none) {
            for problem in problems.iter() {
                prop_assert!(problem.line.is_none_or(|line| line >= 1 && line <= lines.len() + 1));
                prop_assert!(!problem.found.is_empty() && !problem.expected.is_empty());
            }
        }
    }
}
