//! From a callback's being sent to its webhook's arrival: accept, query, record, claim, deliver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;
use vexora_relay::domain::{Secret, Status};
use vexora_relay::sandbox::{Sandbox, SandboxConfig};

use super::load::{Connection, Times, callback_to, serial, user};
use super::machine::{heading, ms, row};
use super::process::{Place, Relay, Setup};
use super::receiver::Receiver;
use super::{APP_SECRET, MERCHANT, Wanted};

/// Longer than a delivery takes unless it is lost.
const PATIENCE: Duration = Duration::from_secs(60);

const CONNECTIONS: usize = 16;

/// A provider.
pub async fn sandbox() -> anyhow::Result<Arc<Sandbox>> {
    let config = SandboxConfig::new(vec![(MERCHANT.parse()?, Secret::new(APP_SECRET))]);
    Ok(Arc::new(Sandbox::start(config).await?))
}

pub async fn run(wanted: &Wanted) -> anyhow::Result<()> {
    let sandbox = sandbox().await?;
    let receiver = Arc::new(Receiver::start().await?);
    let place = Place::new(&Setup {
        provider: sandbox.base_url(),
        query_rate: "off",
        endpoints: vec![("healthy", receiver.url(), 8)],
        ..Setup::default()
    })?;
    let relay = place.start()?;
    heading(
        "Callback sent to webhook arrived, provider and receiver on loopback",
        &["load", "callbacks", "per second", "p50", "p99"],
    );
    let _warm = at_rate(&relay, &sandbox, &receiver, 200, wanted.length() / 2).await?;
    let (rate, times) = at_rate(&relay, &sandbox, &receiver, 200, wanted.length() * 2).await?;
    say("200/s", rate, &times);
    let (rate, times) = saturated(
        (relay.callbacks, &relay.path),
        &sandbox,
        &receiver,
        64,
        wanted.length(),
    )
    .await?;
    say("saturation, 64 under way", rate, &times);
    relay.kill();
    Ok(())
}

pub fn say(load: &str, rate: f64, times: &Times) {
    row(&[
        load.to_owned(),
        times.count().to_string(),
        format!("{rate:.0}"),
        ms(times.percentile(50)),
        ms(times.percentile(99)),
    ]);
}

/// One callback and its webhook.
async fn one(
    connection: &mut Connection,
    path: &str,
    sandbox: &Sandbox,
    receiver: &Receiver,
) -> anyhow::Result<impl Future<Output = anyhow::Result<Duration>> + use<>> {
    let serial = serial();
    sandbox.set_status(
        &MERCHANT.parse()?,
        &user(serial).parse()?,
        Status::Approved,
        None,
    );
    let arrival = receiver.expect(serial);
    let request = callback_to(path, serial);
    let sent = Instant::now();
    connection.post(&request).await?;
    Ok(async move {
        let arrived = tokio::time::timeout(PATIENCE, arrival).await;
        let arrived = arrived.context("a webhook never came")?;
        Ok(arrived?.saturating_duration_since(sent))
    })
}

/// At an even rate, whatever becomes of those before.
pub async fn at_rate(
    relay: &Relay,
    sandbox: &Arc<Sandbox>,
    receiver: &Arc<Receiver>,
    rate: u32,
    length: Duration,
) -> anyhow::Result<(f64, Times)> {
    let gap = Duration::from_secs(1) / rate;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for index in 0..u32::try_from(CONNECTIONS)? {
        let mut connection = Connection::open(relay.callbacks).await?;
        let (sandbox, receiver) = (Arc::clone(sandbox), Arc::clone(receiver));
        let path = relay.path.clone();
        tasks.spawn(async move {
            let first = tokio::time::Instant::from_std(began) + gap * index;
            let every = gap * u32::try_from(CONNECTIONS)?;
            let mut ticks = tokio::time::interval_at(first, every);
            let mut webhooks = JoinSet::new();
            while began.elapsed() < length {
                ticks.tick().await;
                webhooks.spawn(one(&mut connection, &path, &sandbox, &receiver).await?);
            }
            gather(webhooks).await
        });
    }
    let mut all = Vec::new();
    while let Some(times) = tasks.join_next().await {
        all.extend(times??);
    }
    let times = Times::new(all);
    Ok((times.count() as f64 / began.elapsed().as_secs_f64(), times))
}

/// The next one goes when the webhook of one before has come.
pub async fn saturated(
    (to, path): (SocketAddr, &str),
    sandbox: &Arc<Sandbox>,
    receiver: &Arc<Receiver>,
    under_way: usize,
    length: Duration,
) -> anyhow::Result<(f64, Times)> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..under_way {
        let mut connection = Connection::open(to).await?;
        let (sandbox, receiver) = (Arc::clone(sandbox), Arc::clone(receiver));
        let path = path.to_owned();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < length {
                times.push(
                    one(&mut connection, &path, &sandbox, &receiver)
                        .await?
                        .await?,
                );
            }
            anyhow::Ok(times)
        });
    }
    let mut all = Vec::new();
    while let Some(times) = tasks.join_next().await {
        all.extend(times??);
    }
    let elapsed = began.elapsed();
    let times = Times::new(all);
    Ok((times.count() as f64 / elapsed.as_secs_f64(), times))
}

async fn gather(mut tasks: JoinSet<anyhow::Result<Duration>>) -> anyhow::Result<Vec<Duration>> {
    let mut all = Vec::new();
    while let Some(time) = tasks.join_next().await {
        all.push(time??);
    }
    Ok(all)
}
