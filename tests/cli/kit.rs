//! What the tests of the command line do: keep a place with a configuration, run a verb, run a service, and play the
//! provider and a receiver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::task::TaskTracker;
use vexora_relay::domain::{MerchantNo, Secret, UserId};
use vexora_relay::sandbox::{CallbackAttempt, CallbackSpec, Sandbox, SandboxConfig};

pub const MERCHANT: &str = "1027749636";
pub const SECRET: &str = "s3cr3t";
/// `whsec_` and 32 times the byte 42.
pub const WEBHOOK_SECRET: &str = "whsec_KioqKioqKioqKioqKioqKioqKioqKioqKioqKioqKio=";

/// Longer than anything here takes, on a machine with much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn merchant() -> MerchantNo {
    MERCHANT.parse().unwrap()
}

pub fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

/// The program, cut off from this process's surroundings and from any terminal.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vexora-relay"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in [
        "COLUMNS",
        "CREDENTIALS_DIRECTORY",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "NOTIFY_SOCKET",
        "NO_COLOR",
        "RUST_LOG",
        "STATE_DIRECTORY",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    ] {
        command.env_remove(name);
    }
    command
}

/// How a verb ended.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// What it said on stdout, if it ended with this code.
    #[track_caller]
    pub fn with(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.out,
            self.err
        );
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}:\n{}", self.out))
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A time of the API as clocks in Japan show it.
#[track_caller]
pub fn in_japan(at: &Value) -> String {
    let at: jiff::Timestamp = at.as_str().unwrap().parse().unwrap();
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(9));
    at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A directory with a `config.toml`, in which the program is run.
pub struct Place {
    directory: TempDir,
}

impl Place {
    pub fn with(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.toml"), config).unwrap();
        Self { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = program();
        command.current_dir(self.path()).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        run(&mut self.command(args))
    }

    /// Runs a verb where lines have this many columns, and clocks show Japan's time.
    pub fn run_in_japan(&self, columns: &str, args: &[&str]) -> Ended {
        let mut command = self.command(args);
        command.env("COLUMNS", columns).env("TZ", "Asia/Tokyo");
        run(&mut command)
    }

    /// Asks the admin API of the service that runs here. Returns status and answer.
    pub fn admin(&self, base: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let token = std::fs::read_to_string(self.path().join("data/admin-token")).unwrap();
        let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            token.trim(),
            body.len()
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }
}

/// A configuration on loopback. Tables are given whole, so that a test shows what it is about.
pub fn config(base_url: &str, tables: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[store]\nmin_free = \"1MiB\"\n\
         [vexora]\nbase_url = \"{base_url}\"\n\
         [[merchant]]\nmerchant_no = \"{MERCHANT}\"\napp_secret = \"{SECRET}\"\n{tables}"
    )
}

pub fn endpoint(url: &str) -> String {
    format!("[[endpoint]]\nname = \"ledger\"\nurl = \"{url}\"\nsecret = \"{WEBHOOK_SECRET}\"\n")
}

/// An address on which nobody listens, and nobody begins to.
pub fn nobody() -> String {
    "127.0.0.1:1".to_owned()
}

/// An address to listen on, which nobody has, and which no connection of other tests takes for its own end.
pub fn free() -> String {
    let socket = TcpListener::bind("127.0.77.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

/// A simulated Vexora, on threads of its own.
pub struct Provider {
    pub sandbox: Sandbox,
    runtime: Runtime,
}

impl Provider {
    pub fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let config = SandboxConfig::new(vec![(merchant(), Secret::new(SECRET))]);
        let sandbox = runtime.block_on(Sandbox::start(config)).unwrap();
        Self { sandbox, runtime }
    }

    /// Posts a callback about a user, and waits for the answer.
    pub fn post_callback(&self, id: &str, url: String) -> CallbackAttempt {
        let spec = CallbackSpec {
            url: Some(url),
            ..CallbackSpec::default()
        };
        let (merchant, user) = (merchant(), user(id));
        let sent = self.sandbox.send_callback(&merchant, &user, &spec);
        self.runtime.block_on(sent).unwrap()
    }
}

/// A request as it came.
pub struct Arrived {
    pub method: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Arrived {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A downstream that answers 204 and remembers.
pub struct Downstream {
    pub url: String,
    arrived: Receiver<Arrived>,
    _runtime: Runtime,
}

impl Downstream {
    pub fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hooks", socket.local_addr().unwrap());
        let (tell, arrived) = channel();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(tell.clone()))
                .default_service(web::to(record))
        })
        .workers(1)
        .disable_signals()
        .listen(socket)
        .unwrap();
        let inside = runtime.enter();
        TaskTracker::new().spawn(server.run());
        drop(inside);
        Self {
            url,
            arrived,
            _runtime: runtime,
        }
    }

    /// The next request, which is here or comes soon.
    pub fn next(&self) -> Arrived {
        self.arrived.recv_timeout(PATIENCE).expect("a request")
    }
}

async fn record(
    request: HttpRequest,
    body: web::Bytes,
    tell: web::Data<Sender<Arrived>>,
) -> HttpResponse {
    let headers = request.headers().iter();
    let arrived = Arrived {
        method: request.method().to_string(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        body: body.to_vec(),
    };
    // The test may have seen enough and be over.
    let _over = tell.send(arrived);
    HttpResponse::NoContent().finish()
}

/// A process that goes on until it is told to stop, and does not outlive its test.
pub struct Service {
    child: Child,
    lines: Receiver<String>,
    pub said: Vec<String>,
}

impl Service {
    /// Starts a command whose stderr is listened to.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let pipe = child.stderr.take().unwrap();
        Self::reading(child, pipe)
    }

    /// Starts a command whose stdout is listened to.
    pub fn start_reading_stdout(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let pipe = child.stdout.take().unwrap();
        Self::reading(child, pipe)
    }

    /// The pipe is read to its end by a thread, so that the process never waits for us.
    fn reading(child: Child, pipe: impl Read + Send + 'static) -> Self {
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                if tell.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads on until a line is what is waited for.
    #[track_caller]
    pub fn wait_for<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> T {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("it never said so, but:\n{}", self.said.join("\n"));
            };
            let found = wanted(&line);
            self.said.push(line);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// The start line's fields: it is the first that says where callbacks are taken.
    #[track_caller]
    pub fn ready(&mut self) -> Value {
        self.wait_for(|line| {
            let said: Value = serde_json::from_str(line).ok()?;
            said["callbacks"].is_string().then_some(said)
        })
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal, waits for the end, and returns the exit code.
    #[track_caller]
    pub fn stop(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.said.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    panic!("it did not end:\n{}", self.said.join("\n"))
                }
            }
        }
        // Its end of the pipe is closed, so it has ended or is about to.
        self.child.wait().unwrap().code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // An error: it has ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
