//! `demo`: the whole round trip on this machine, with nothing but the binary.
//!
//! A simulated Vexora, the relay as `serve` runs it, and a receiver that checks each signature as any receiver would.

mod receiver;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::output::Output;
use super::serve::shown;
use super::{Failure, service_runtime};
use crate::app::{App, Deps, Running, Sockets, Workers, callback_path};
use crate::clock::{OsEntropy, SystemClock};
use crate::config;
use crate::config::settings::Config;
use crate::domain::{Furigana, MerchantNo, Secret};
use crate::http::Opened;
use crate::sandbox::{Sandbox, SandboxConfig};
use crate::signing::webhook::WebhookKey;
use crate::store::Story;
use crate::verify::Applied;
use receiver::{Heard, Receiver};

/// The number and secrets of a merchant that exists only here.
const MERCHANT: &str = "1027749636";
const APP_SECRET: &str = "demo-app-secret";
const TOKEN: &str = "demo-callback-token";
const ADMIN_TOKEN: &str = "demo-admin-token";

/// The name that all three apply with, in katakana as the provider wants it.
const FURIGANA: &str = "ヤマダ タロウ";

/// Who applies, and what becomes of them; the names order it of the simulated Vexora.
const USERS: [(&str, &str); 3] = [
    ("demo-taro", "approved"),
    ("demo-reject-hanako", "rejected"),
    ("demo-silent-jiro", "approved, but the callback never comes"),
];

/// A review takes a second here, and the slowest query follows some seconds later.
const REVIEW: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn run(once: bool, output: &Output) -> Result<(), Failure> {
    let directory = Scratch::new()?;
    let result = service_runtime().block_on(demo(once, &directory.0, output));
    drop(directory);
    result
}

/// The demo's data directory: gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let directory =
            std::env::temp_dir().join(format!("vexora-relay-demo-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        Ok(Self(directory))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind in the temporary directory at the worst.
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}

#[allow(clippy::disallowed_methods, reason = "shows seconds since the start")]
async fn demo(once: bool, directory: &Path, output: &Output) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let began = Instant::now();
    let merchant: MerchantNo = MERCHANT.parse()?;
    let mut sandbox = SandboxConfig::new(vec![(merchant.clone(), Secret::new(APP_SECRET))]);
    sandbox.review_time = REVIEW;
    let sandbox = Sandbox::start(sandbox).await?;
    let secret = WebhookKey::symmetric_text(&[42; 32]);
    let mut receiver = Receiver::start(WebhookKey::parse(&Secret::new(&secret))?)?;
    // Bound before the relay, because what it tells the provider of itself must be known to it.
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let relay_url = format!("http://{}", socket.local_addr()?);
    let config = relay_config(directory, &relay_url, &sandbox, &receiver, &secret)?;
    let relay = start_relay(&config, socket).await?;
    let callback_url = format!("{}{}", relay_url, callback_path(&merchant, Some(TOKEN)));
    say_where(&sandbox, &relay, &receiver, &callback_url, output);

    let story = round_trip(&relay, &mut receiver, began, output);
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(stopped);
    let result = tokio::select! {
        result = story => result,
        () = &mut stopped => Err(Failure::Failed(anyhow::anyhow!("interrupted"))),
    };
    if result.is_ok() && !once {
        say_how_to_play(&sandbox, &relay, &callback_url, output);
        loop {
            tokio::select! {
                Some(heard) = receiver.next() => say_heard(&heard, began, output),
                () = &mut stopped => break,
            }
        }
    }
    receiver.stop().await;
    relay.stop().await?;
    sandbox.stop().await;
    result
}

fn relay_config(
    directory: &Path,
    public_url: &str,
    sandbox: &Sandbox,
    receiver: &Receiver,
    secret: &str,
) -> Result<Config, Failure> {
    let text = format!(
        r#"
        [server]
        public_url = "{public_url}"
        [admin]
        listen = "127.0.0.1:0"
        token = "{ADMIN_TOKEN}"
        [store]
        path = {path:?}
        min_free = "1MiB"
        [vexora]
        base_url = "{provider}"
        [verify]
        retry = ["500ms", "1s", "2s", "5s"]
        reconcile = "2s"
        [delivery]
        retry = ["1s", "2s", "5s", "10s"]
        [[merchant]]
        merchant_no = "{MERCHANT}"
        app_secret = "{APP_SECRET}"
        callback_token = "{TOKEN}"
        [[endpoint]]
        name = "demo-receiver"
        url = "{hooks}"
        secret = "{secret}"
        events = ["*"]
        "#,
        path = directory.join("data").display().to_string(),
        provider = sandbox.base_url(),
        hooks = receiver.url(),
    );
    config::parse("demo", &text, &|_: &str| None)
        .map_err(|problems| Failure::Failed(anyhow::anyhow!(problems.to_string())))
}

async fn start_relay(config: &Config, socket: TcpListener) -> Result<Running, Failure> {
    let deps = Deps {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
    };
    let sockets = Sockets {
        public: Some(Opened::Tcp(socket)),
        admin: None,
    };
    let app = App::build(config, deps, sockets).await?;
    Ok(app.start(Workers::Running)?)
}

async fn round_trip(
    relay: &Running,
    receiver: &mut Receiver,
    began: Instant,
    output: &Output,
) -> Result<(), Failure> {
    let merchant: MerchantNo = MERCHANT.parse()?;
    let name: Furigana = FURIGANA.parse()?;
    for (user, fate) in USERS {
        let applied = relay
            .applications()
            .apply(&merchant, &user.parse()?, &name, None)
            .await?;
        step(
            began,
            output,
            &format!("applied for {user} ({fate}): {}", applied.as_str()),
        );
        if applied != Applied::Accepted {
            return Err(Failure::Failed(anyhow::anyhow!(
                "the application was not accepted"
            )));
        }
    }
    let mut told = Vec::new();
    while told.len() < USERS.len() {
        let next = tokio::time::timeout(PATIENCE, receiver.next()).await;
        let Ok(Some(heard)) = next else {
            return Err(Failure::Failed(anyhow::anyhow!(
                "only {} of {} users' results arrived within {PATIENCE:?}",
                told.len(),
                USERS.len()
            )));
        };
        say_heard(&heard, began, output);
        if !heard.signature_ok {
            return Err(Failure::Failed(anyhow::anyhow!(
                "a webhook's signature did not check"
            )));
        }
        let Some(user) = heard.user.filter(|_| heard.is_final) else {
            continue;
        };
        let story = relay.store().story(&merchant, &user.parse()?).await?;
        say_story(&story, output);
        if !told.contains(&user) {
            told.push(user);
        }
    }
    let line = format!(
        "done: {} users, each result verified, signed, delivered and checked",
        told.len()
    );
    let value = json!({ "users": told, "ok": true });
    output.value(&value, &line);
    Ok(())
}

fn step(began: Instant, output: &Output, text: &str) {
    if !output.json {
        output.line(&format!("{:6.2} s  {text}", began.elapsed().as_secs_f64()));
    }
}

fn say_heard(heard: &Heard, began: Instant, output: &Output) {
    let signature = if heard.signature_ok {
        "signature checked"
    } else {
        "SIGNATURE WRONG"
    };
    let user = heard.user.as_deref().unwrap_or("-");
    step(
        began,
        output,
        &format!(
            "webhook {} for {user}: {signature}, {}",
            heard.kind, heard.id
        ),
    );
}

fn say_story(story: &Story, output: &Output) {
    if output.json {
        return;
    }
    for callback in &story.callbacks {
        let claim = callback.claim.as_deref().unwrap_or("-");
        output.line(&format!(
            "              callback claimed {claim}, sign {}",
            callback.sign.as_str()
        ));
    }
    if story.callbacks.is_empty() {
        output.line("              no callback came; found by asking");
    }
    let asked = story.queries.len();
    output.line(&format!(
        "              Vexora asked {asked} times, then the result was final"
    ));
}

fn say_where(
    sandbox: &Sandbox,
    relay: &Running,
    receiver: &Receiver,
    callback_url: &str,
    output: &Output,
) {
    if output.json {
        return;
    }
    output.line(&format!("simulated Vexora  {}", sandbox.base_url()));
    output.line(&format!("relay, callbacks  {callback_url}"));
    output.line(&format!(
        "relay, dashboard  {}/ (sign in with {ADMIN_TOKEN})",
        shown(relay.admin_address(), false)
    ));
    output.line(&format!("receiver          {}", receiver.url()));
    output.line("");
}

fn say_how_to_play(sandbox: &Sandbox, relay: &Running, callback_url: &str, output: &Output) {
    output.line("");
    output
        .line("still up; Ctrl-C ends it. Try a forged callback, and see that nothing comes of it:");
    output.line(&format!(
        "  curl -i {callback_url} -d '{{\"userId\":\"demo-mallory\",\"authenticationStatus\":\"2\"}}'"
    ));
    output.line("or let Vexora change its mind about a user and call back:");
    output.line(&format!(
        "  curl -X PUT {}/users/{MERCHANT}/demo-taro -d '{{\"status\":\"3\",\"failReason\":\"expired\",\"callback\":true}}'",
        sandbox.control_url()
    ));
    output.line(&format!(
        "read each user's story in the dashboard, {}/, signed in with {ADMIN_TOKEN},",
        shown(relay.admin_address(), false)
    ));
    output.line(&format!(
        "and ask whether the relay is ready: curl {}/readyz",
        shown(relay.admin_address(), false)
    ));
}
