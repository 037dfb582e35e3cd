//! Memory idle and under load, and CPU time per callback, of the relay's process alone; beside a relay that keeps nothing and
//! asks nobody, in turns, as no two machines' microseconds are alike.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use vexora_relay::sandbox::Sandbox;

use super::latency::{at_rate, sandbox, saturated};
use super::load::{median, saturate};
use super::machine::{heading, row};
use super::process::{Place, Relay, Setup};
use super::receiver::Receiver;
use super::{Wanted, bare, machine};

/// Turns.
const TURNS: usize = 3;

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
    say("idle, 3 s after the start", 0, f64::NAN, &relay);
    let before = relay.cpu();
    let (_, times) = at_rate(&relay, &sandbox, &receiver, 200, wanted.length()).await?;
    let each = each(relay.cpu() - before, times.count());
    say(
        "accept, query, deliver at 200/s",
        times.count(),
        each,
        &relay,
    );
    let load = Load {
        sandbox: &sandbox,
        receiver: &receiver,
        length: wanted.length(),
    };
    let (bare, bare_address) = bare::start_relay(&receiver.url())?;
    let (mut done, mut costs): (usize, [Vec<f64>; 3]) = Default::default();
    for _ in 0..TURNS {
        let (number, ours) = load
            .costs(relay.id(), (relay.callbacks, &relay.path))
            .await?;
        let (_, theirs) = load.costs(bare.0.id(), (bare_address, "/")).await?;
        done += number;
        for (all, one) in costs.iter_mut().zip([ours, theirs, ours / theirs]) {
            all.push(one);
        }
    }
    drop(bare);
    let [ours, theirs, times_theirs] = costs.map(median);
    say("the same, 64 under way", done, ours, &relay);
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
    let each = self::each(relay.cpu() - before, times.count());
    say("accept only, 64 connections", times.count(), each, &relay);
    relay.kill();
    println!(
        "\nA relay that keeps nothing in a file and asks nobody, 64 under way: {theirs:.0} us a callback; ours, in turns with it, \
         {times_theirs:.1} times that."
    );
    Ok(())
}

/// So many callbacks under way that the machine is busy.
struct Load<'a> {
    sandbox: &'a Arc<Sandbox>,
    receiver: &'a Arc<Receiver>,
    length: Duration,
}

impl Load<'_> {
    /// How many callbacks there were, and what each cost a process, in microseconds.
    async fn costs(&self, process: u32, to: (SocketAddr, &str)) -> anyhow::Result<(usize, f64)> {
        let before = machine::cpu(process);
        let (_, times) = saturated(to, self.sandbox, self.receiver, 64, self.length).await?;
        let cost = machine::cpu(process) - before;
        Ok((times.count(), each(cost, times.count())))
    }
}

/// Microseconds for each.
fn each(cpu: Duration, callbacks: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / callbacks as f64
}

fn say(state: &str, callbacks: usize, each: f64, relay: &Relay) {
    let each = if each.is_nan() {
        "-".to_owned()
    } else {
        format!("{each:.0} us")
    };
    row(&[
        state.to_owned(),
        callbacks.to_string(),
        each,
        format!("{:.1} MiB", relay.memory()),
        format!("{:.1} MiB", relay.most_memory()),
    ]);
}
