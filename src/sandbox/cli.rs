//! The command line of `vexora-sandbox`.
//!
//! Promise: stdout carries one line, once it listens; everything else is on stderr. Exit 0 after SIGINT or SIGTERM, 1
//! when it cannot start, 2 for a wrong command line. A secret is never shown. `RUST_LOG` sets the log's level.

use std::error::Error;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use super::{Faults, Sandbox, SandboxConfig, SandboxError, UnknownUser};
use crate::clock::SystemClock;
use crate::domain::{InvalidId, MerchantNo, Secret};

const DEMO_MERCHANT: &str = "1027749636";
const DEMO_SECRET: &str = "sandbox-app-secret";

const EXAMPLES: &str = "\
Without --merchant there is one, 1027749636, and its app secret is sandbox-app-secret.
A user whose id contains \"reject\" is rejected (\"reject-once\": the first time only), one with \"silent\" is
approved without a callback, all others are approved.

Examples:
  vexora-sandbox
  VEXORA_SANDBOX_SECRET=s3cr3t vexora-sandbox --merchant 1027749636
  vexora-sandbox --time-scale 0.01 --callback-forged --query-lag 5s
  curl http://127.0.0.1:9090/control/users
  curl -X PUT http://127.0.0.1:9090/control/users/1027749636/taro -d '{\"status\":\"3\",\"failReason\":\"blurred\"}'
  curl -X POST http://127.0.0.1:9090/control/users/1027749636/taro/callback -d '{\"sign\":\"wrong\"}'";

/// A simulated Vexora: KYC applications, status queries and result callbacks, with faults to order.
#[derive(Debug, Parser)]
#[command(name = "vexora-sandbox", version, after_help = EXAMPLES)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// Allow an address that other machines can reach; the control API stays with this machine
    #[arg(long)]
    allow_remote: bool,
    /// A merchant and its app secret; without "=SECRET" the secret is VEXORA_SANDBOX_SECRET. Repeatable
    #[arg(long = "merchant", value_name = "NUMBER[=SECRET]")]
    merchants: Vec<String>,
    /// The app secret of merchants that are given without one
    #[arg(long, hide = true, env = "VEXORA_SANDBOX_SECRET", hide_env_values = true, value_parser = secret)]
    secret: Option<Secret>,
    /// Multiply every simulated time by this: 0.01 makes an hour 36 seconds
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time_scale: f64,
    /// From an application to its result
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    review_time: Duration,
    /// What a query for a user that never applied comes to
    #[arg(long, value_enum, default_value_t = UnknownUser::Refuse)]
    unknown_user: UnknownUser,
    #[command(flatten)]
    faults: Faults,
}

struct Merchant(MerchantNo, Option<Secret>);

fn secret(text: &str) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("the app secret is empty".to_owned());
    }
    Ok(Secret::new(text))
}

/// Not a clap parser: clap repeats what it refuses, and this holds a secret.
fn merchant(text: &str) -> Result<Merchant, String> {
    let (number, given) = match text.split_once('=') {
        Some((number, given)) => (number, Some(secret(given)?)),
        None => (text, None),
    };
    let number = number
        .parse()
        .map_err(|problem: InvalidId| format!("--merchant: {problem}, then =SECRET"))?;
    Ok(Merchant(number, given))
}

impl Args {
    fn config(self) -> Result<SandboxConfig, String> {
        let shared = self.secret;
        let mut merchants = Vec::new();
        for text in &self.merchants {
            let Merchant(number, own) = merchant(text)?;
            let secret = own.or_else(|| shared.clone()).ok_or_else(|| {
                format!(
                    "merchant {number} has no app secret\n\
                     hint: set VEXORA_SANDBOX_SECRET, or say --merchant {number}=SECRET"
                )
            })?;
            merchants.push((number, secret));
        }
        if merchants.is_empty() {
            let number = DEMO_MERCHANT
                .parse()
                .map_err(|problem: InvalidId| problem.to_string())?;
            let secret = shared.unwrap_or_else(|| Secret::new(DEMO_SECRET));
            merchants.push((number, secret));
        }
        let mut config = SandboxConfig::new(merchants);
        config.listen = self.listen;
        config.allow_remote = self.allow_remote;
        config.faults = self.faults;
        config.time_scale = self.time_scale;
        config.review_time = self.review_time;
        config.unknown_user = self.unknown_user;
        config.clock = Arc::new(SystemClock);
        Ok(config)
    }
}

/// The whole program: parse, serve until told to stop.
#[must_use]
pub fn run() -> ExitCode {
    let args = Args::parse();
    let filter =
        EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_unset| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let config = match args.config() {
        Ok(config) => config,
        Err(problem) => {
            // As clap itself ends for a wrong command line.
            let _one = fail(&problem);
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(config)),
        Err(problem) => fail(&format!("cannot start: {problem}")),
    }
}

async fn serve(config: SandboxConfig) -> ExitCode {
    // Before listening, so that whoever reads our line may at once tell us to stop.
    let told = match signals() {
        Ok(told) => told,
        Err(problem) => return fail(&format!("cannot listen for signals: {problem}")),
    };
    let numbers: Vec<String> = config
        .merchants
        .iter()
        .map(|(number, _)| number.to_string())
        .collect();
    match Sandbox::start(config).await {
        Ok(sandbox) => {
            say(&format!(
                "simulated Vexora at {} for merchant {}",
                sandbox.base_url(),
                numbers.join(", ")
            ));
            told.await;
            tracing::info!("stopping");
            sandbox.stop().await;
            ExitCode::SUCCESS
        }
        Err(problem) => fail(&explain(&problem)),
    }
}

/// Ends with the first signal to stop.
#[cfg(unix)]
fn signals() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ends with the first signal to stop.
#[cfg(not(unix))]
fn signals() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _told = tokio::signal::ctrl_c().await;
    })
}

fn explain(problem: &SandboxError) -> String {
    let mut text = problem.to_string();
    let mut cause = problem.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    match problem {
        SandboxError::NotLoopback(_) => {
            text.push_str("\nhint: say --allow-remote if you mean it; there is no authentication");
        }
        SandboxError::Listen { .. } => {
            text.push_str("\nhint: --listen 127.0.0.1:0 takes a free port");
        }
        SandboxError::TimeScale(_) | SandboxError::Client(_) => {}
    }
    text
}

#[allow(
    clippy::print_stdout,
    reason = "the one line that is this program's data"
)]
fn say(line: &str) {
    println!("{line}");
}

#[allow(
    clippy::print_stderr,
    reason = "the one place where this program complains"
)]
fn fail(problem: &str) -> ExitCode {
    eprintln!("error: {problem}");
    ExitCode::FAILURE
}
