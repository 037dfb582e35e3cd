//! Memory idle and under load, and CPU time per callback, of the relay's process alone.

use std::sync::Arc;
use std::time::Duration;

use super::Wanted;
use super::latency::{at_rate, sandbox, saturated};
use super::load::saturate;
use super::machine::{heading, row};
use super::process::{Place, Relay, Setup};
use super::receiver::Receiver;

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
    tokio::time::sleep(Duration::from_secs(3)).await;
    heading(
        "Memory and CPU time of the relay's process",
        &[
            "state",
            "callbacks",
            "CPU per callback",
            "memory",
            "most so far",
        ],
    );
    say("idle, 3 s after the start", 0, Duration::ZERO, &relay);
    let before = relay.cpu();
    let (_, times) = at_rate(&relay, &sandbox, &receiver, 200, wanted.length()).await?;
    let cost = relay.cpu() - before;
    say(
        "accept, query, deliver at 200/s",
        times.count(),
        cost,
        &relay,
    );
    let before = relay.cpu();
    let (_, times) = saturated(&relay, &sandbox, &receiver, 64, wanted.length()).await?;
    let cost = relay.cpu() - before;
    say("the same, 64 under way", times.count(), cost, &relay);
    relay.kill();

    let place = Place::new(&Setup {
        provider: sandbox.base_url(),
        query_rate: "20/s",
        endpoints: vec![],
        ..Setup::default()
    })?;
    let relay = place.start()?;
    let before = relay.cpu();
    let (_, times) = saturate(relay.callbacks, 64, wanted.length()).await?;
    let cost = relay.cpu() - before;
    say("accept only, 64 connections", times.count(), cost, &relay);
    relay.kill();
    Ok(())
}

fn say(state: &str, callbacks: usize, cpu: Duration, relay: &Relay) {
    let each = match callbacks {
        0 => "-".to_owned(),
        _ => format!("{:.0} us", cpu.as_secs_f64() * 1e6 / callbacks as f64),
    };
    row(&[
        state.to_owned(),
        callbacks.to_string(),
        each,
        format!("{:.1} MiB", relay.memory()),
        format!("{:.1} MiB", relay.most_memory()),
    ]);
}
