//! What operators order of the running service: endpoints, deliveries, replays; over the admin API.

use std::io::{IsTerminal, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::output::{Output, counted};
use super::{Failure, load};
use crate::clock::{Clock, SystemClock};
use crate::config::settings::{Config, Listen};
use crate::domain::Timestamp;

/// A count over a large store takes a while.
const PATIENCE: Duration = Duration::from_secs(120);

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// The running service.
struct Service {
    listen: Listen,
    token: String,
}

impl Service {
    fn of(config: &Config) -> Result<Self, Failure> {
        let token = match &config.admin.token {
            Some(token) => token.expose().to_owned(),
            None => {
                let file = config.store.path.join("admin-token");
                let token = std::fs::read_to_string(&file).map_err(|error| {
                    Failure::Unreachable(format!(
                        "{} cannot be read: {error}\n  hint: the service makes it at its first start; --config must name the service's own file",
                        file.display()
                    ))
                })?;
                token.trim_end().to_owned()
            }
        };
        Ok(Self {
            listen: config.admin.listen.clone(),
            token,
        })
    }

    fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match &self.listen {
            Listen::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, Duration::from_secs(5))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Listen::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        })
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = self.connect()?;
        // HTTP/1.0: the answer comes whole and ends with the connection.
        write!(
            stream,
            "{method} /api/v1{path} HTTP/1.0\r\nhost: relay\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )?;
        stream.flush()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
        Ok((status, body.to_owned()))
    }

    /// Asks or orders; what the service refuses is said in its own words.
    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let at = super::serve::shown(&self.listen, false);
        let (status, answer) = self.exchange(method, path, &body).map_err(|error| {
            Failure::Unreachable(format!(
                "no service answers at {at}: {error}\n  hint: --config must name the file that the service was started with"
            ))
        })?;
        let said: Value = serde_json::from_str(&answer).unwrap_or_default();
        if (200..300).contains(&status) {
            return Ok(said);
        }
        let detail = said.get("detail").and_then(Value::as_str);
        let detail = detail.unwrap_or("it did not say why");
        Err(anyhow::anyhow!("the service answered {status}: {detail}").into())
    }
}

fn service(file: Option<PathBuf>) -> Result<Service, Failure> {
    let (_, config) = load(file)?;
    Service::of(&config)
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("-")
}

fn number_at(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn endpoint_line(one: &Value) -> String {
    let orphaned = if one.get("orphaned") == Some(&Value::Bool(true)) {
        "  (not in the configuration)"
    } else {
        ""
    };
    format!(
        "{:<24} {:<7} {:>8} pending  since {}{orphaned}",
        word(one, "name"),
        word(one, "state"),
        number_at(one, "/pending"),
        word(one, "since"),
    )
}

/// `endpoints`.
pub(super) fn endpoints(file: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    let said = service(file)?.call("GET", "/endpoints", &Value::Null)?;
    let all = said.get("endpoints").and_then(Value::as_array);
    let lines: Vec<String> = all.into_iter().flatten().map(endpoint_line).collect();
    output.value(&said, &lines.join("\n"));
    Ok(())
}

/// `pause`, `resume` and `test`.
pub(super) fn order(
    file: Option<PathBuf>,
    endpoint: &str,
    order: &str,
    output: &Output,
) -> Result<(), Failure> {
    let path = format!("/endpoints/{}/{order}", escaped(endpoint));
    let said = service(file)?.call("POST", &path, &Value::Null)?;
    let text = if order == "test" {
        format!("event {} is on its way to {endpoint}", word(&said, "event"))
    } else {
        endpoint_line(&said)
    };
    output.value(&said, &text);
    Ok(())
}

/// `retry` and `discard`.
pub(super) fn delivery(
    file: Option<PathBuf>,
    (event, endpoint): (&str, &str),
    order: &str,
    output: &Output,
) -> Result<(), Failure> {
    let (event, endpoint) = (escaped(event), escaped(endpoint));
    let path = format!("/deliveries/{event}/{endpoint}/{order}");
    let said = service(file)?.call("POST", &path, &Value::Null)?;
    let text = format!("{event} for {endpoint}: {}", word(&said, "state"));
    output.value(&said, &text);
    Ok(())
}

/// What `replay` was called with.
pub(super) struct ReplayArgs {
    pub(super) endpoint: String,
    pub(super) since: String,
    pub(super) until: Option<String>,
    pub(super) types: Vec<String>,
    pub(super) states: Vec<String>,
    pub(super) dry_run: bool,
    pub(super) yes: bool,
}

/// `replay`: says what it would do, asks, and has it done.
pub(super) fn replay(
    file: Option<PathBuf>,
    args: &ReplayArgs,
    output: &Output,
) -> Result<(), Failure> {
    let now = SystemClock.now();
    let until = args.until.as_deref().map(|text| time("--until", text, now));
    let mut body = json!({
        "since": time("--since", &args.since, now)?,
        "until": until.transpose()?.unwrap_or_else(|| now.to_string()),
        "types": args.types,
        "states": args.states,
        "dry_run": true,
    });
    let service = service(file)?;
    let path = format!("/endpoints/{}/replay", escaped(&args.endpoint));
    let counted_first = service.call("POST", &path, &body)?;
    let total = number_at(&counted_first, "/total");
    let number = counted(usize::try_from(total).unwrap_or(usize::MAX), "event");
    let would = format!("{} would be told again of {number}", args.endpoint);
    if args.dry_run {
        output.value(&counted_first, &would);
        return Ok(());
    }
    if !args.yes && !agreed(&would, output)? {
        return Err(Failure::Said);
    }
    if let Some(dry_run) = body.get_mut("dry_run") {
        *dry_run = json!(false);
    }
    let said = service.call("POST", &path, &body)?;
    let id = number_at(&said, "/replay/id");
    let text = format!("replay {id}: {} is told again of {number}", args.endpoint);
    output.value(&said, &text);
    Ok(())
}

/// Asks a person. A script has to say `--yes`.
fn agreed(would: &str, output: &Output) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{would}; --yes does it without asking, --dry-run never"
        )));
    }
    output.note(&format!("{would}. Go on? [y/N]"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// RFC 3339, or an age such as `1h`.
fn time(what: &str, text: &str, now: Timestamp) -> Result<String, Failure> {
    if let Ok(age) = humantime::parse_duration(text) {
        return Ok(now.minus(age).to_string());
    }
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(Failure::Usage(format!(
        "{what}: expected a time such as 2026-11-21T10:00:00Z, or an age such as 1h"
    )))
}

/// A path's segment; whatever is no letter, digit, `-` or `_` has no business in one here.
fn escaped(segment: &str) -> String {
    let bytes = segment.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    bytes.collect()
}
