//! The least that the same work can cost: a handler that stores nothing, a file that is appended to and synced, a loop
//! that posts. What the relay is compared with runs in a process of its own, as the relay does.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, web};
use anyhow::Context;

use super::process::Killed;

/// As many as the relay's listener has.
const WORKERS: usize = 2;

/// What a callback takes in the journal, about: itself, its places in the queues, its user.
const RECORD: usize = 1024;

/// The handler: reads the body, answers `OK`. In a process of its own, like the relay; prints its address.
pub fn serve() -> anyhow::Result<()> {
    actix_web::rt::System::new().block_on(async {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", socket.local_addr()?);
        let app = || App::new().default_service(web::to(|_body: web::Bytes| async { "OK" }));
        let server = HttpServer::new(app).workers(WORKERS).listen(socket)?;
        server.run().await?;
        Ok(())
    })
}

/// A relay that keeps nothing and asks nobody: what it is told it posts, as a delivery, from so many tasks as an
/// endpoint of ours has permits. In a process of its own; prints its address.
pub fn relay(to: &str) -> anyhow::Result<()> {
    actix_web::rt::System::new().block_on(async {
        let socket = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", socket.local_addr()?);
        let (taken, waiting) = tokio::sync::mpsc::unbounded_channel::<web::Bytes>();
        let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
        let client = client()?;
        for _ in 0..AT_ONCE {
            let (client, to, waiting) = (client.clone(), to.to_owned(), Arc::clone(&waiting));
            actix_web::rt::spawn(async move {
                loop {
                    let Some(callback) = waiting.lock().await.recv().await else {
                        break;
                    };
                    let user = serde_json::from_slice::<Callback>(&callback);
                    let body = user.map(|of| BODY.replace("none-100008", &of.user));
                    let _counted_by_who_waits = post(&client, &to, body?).await;
                }
                anyhow::Ok(())
            });
        }
        let app = move || {
            let taken = taken.clone();
            App::new().default_service(web::to(move |body: web::Bytes| {
                let _nobody_left = taken.send(body);
                async { "OK" }
            }))
        };
        let server = HttpServer::new(app).workers(WORKERS).listen(socket)?;
        server.run().await?;
        Ok(())
    })
}

/// As many as an endpoint has permits.
const AT_ONCE: usize = 8;

/// As far as a relay that believes it must read it.
#[derive(serde::Deserialize)]
struct Callback {
    #[serde(rename = "userId")]
    user: String,
}

/// The handler, started; it ends when this is dropped.
pub fn start() -> anyhow::Result<(Killed, SocketAddr)> {
    start_listening(&["--bare"])
}

/// The relay that keeps nothing, started; it ends when this is dropped.
pub fn start_relay(to: &str) -> anyhow::Result<(Killed, SocketAddr)> {
    start_listening(&["--bare", "--post-to", to])
}

fn start_listening(arguments: &[&str]) -> anyhow::Result<(Killed, SocketAddr)> {
    let child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut child = Killed(child);
    let stdout = child.0.stdout.take().context("piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok((child, line.trim().parse()?))
}

/// Records per second that one thread makes durable, `group` with each `fdatasync`.
pub fn append_and_sync(group: usize, length: Duration) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut file = File::create(directory.path().join("appended"))?;
    let bytes = vec![7_u8; RECORD * group];
    let began = Instant::now();
    let mut records = 0;
    while began.elapsed() < length {
        file.write_all(&bytes)?;
        file.sync_data()?;
        records += group;
    }
    Ok(records as f64 / began.elapsed().as_secs_f64())
}

/// What a loop that only posts is to do.
#[derive(Clone, Debug, clap::Args)]
pub struct Posts {
    /// Post to this address in a loop, for ourselves
    #[arg(long, hide = true)]
    post_to: Option<String>,
    /// So many requests at a time
    #[arg(long, hide = true, default_value_t = 1)]
    at_once: usize,
    /// So many requests
    #[arg(long, hide = true, default_value_t = 0)]
    posts: usize,
}

impl Posts {
    /// Where to.
    pub fn to(&self) -> Option<&str> {
        self.post_to.as_deref()
    }

    /// The loop, on as many threads as the relay's stages have.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()?;
        runtime.block_on(self.post())
    }

    /// Each request is as long as a delivery's, to the header; nothing is signed, and all are alike.
    async fn post(self) -> anyhow::Result<()> {
        let url = self.post_to.context("--post-to")?;
        let client = client()?;
        let left = Arc::new(AtomicUsize::new(self.posts));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..self.at_once {
            let (client, url, left) = (client.clone(), url.clone(), Arc::clone(&left));
            tasks.spawn(async move {
                let take = |left: usize| left.checked_sub(1);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    post(&client, &url, BODY.to_owned()).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }
}

/// A delivery of a result.
const BODY: &str = r#"{"type":"kyc.approved","timestamp":"2026-11-21T10:00:00.123Z","data":{"merchantNo":"1027749636","userId":"none-100008","authenticationStatus":"2","status":"approved","failReason":null,"sequence":1,"source":"callback"}}"#;

const HEADERS: [(&str, &str); 5] = [
    ("content-type", "application/json"),
    ("user-agent", "vexora-relay/0.1.0"),
    ("webhook-id", "evt_06EWNNBYXZ0G4W3K6QZ1YFX8M8"),
    ("webhook-timestamp", "1732988442"),
    (
        "webhook-signature",
        "v1,MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    ),
];

/// A loop that posts, started; it ends when it is done, or this is dropped.
pub fn start_posting(url: &str, at_once: usize, posts: usize) -> anyhow::Result<Killed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--post-to", url]);
    command.args(["--at-once", &at_once.to_string()]);
    command.args(["--posts", &posts.to_string()]);
    Ok(Killed(command.spawn()?))
}

fn client() -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls()?);
    Ok(builder.tcp_nodelay(true).no_proxy().build()?)
}

async fn post(client: &reqwest::Client, to: &str, body: String) -> anyhow::Result<()> {
    let post = client.post(to).body(body);
    let post = HEADERS
        .iter()
        .fold(post, |post, (name, value)| post.header(*name, *value));
    post.send().await?.bytes().await?;
    Ok(())
}

fn tls() -> anyhow::Result<rustls::ClientConfig> {
    Ok(
        rustls::ClientConfig::builder_with_provider(vexora_relay::outbound::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
    )
}
