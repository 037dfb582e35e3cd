//! The least that the same work can cost: a handler that stores nothing, a file that is appended to and synced, a loop
//! that posts.

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

/// The handler, started; it ends when this is dropped.
pub fn start() -> anyhow::Result<(Killed, SocketAddr)> {
    let child = Command::new(std::env::current_exe()?)
        .arg("--bare")
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

/// Posts per second of a plain reqwest loop with so many in flight.
pub async fn post_loop(url: &str, concurrency: usize, number: usize) -> anyhow::Result<f64> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .no_proxy()
        .build()?;
    let left = Arc::new(AtomicUsize::new(number));
    let mut tasks = tokio::task::JoinSet::new();
    let began = Instant::now();
    for _ in 0..concurrency {
        let (client, url, left) = (client.clone(), url.to_owned(), Arc::clone(&left));
        tasks.spawn(async move {
            let take = |left: usize| left.checked_sub(1);
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
            {
                let body = format!(
                    r#"{{"data":{{"userId":"none-0"}},"fill":"{}"}}"#,
                    "x".repeat(180)
                );
                let answer = client.post(&url).body(body).send().await?;
                answer.bytes().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(number as f64 / began.elapsed().as_secs_f64())
}

fn tls() -> anyhow::Result<rustls::ClientConfig> {
    Ok(
        rustls::ClientConfig::builder_with_provider(vexora_relay::outbound::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
    )
}
