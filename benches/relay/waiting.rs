//! A long queue for an endpoint that is gone: what it weighs, and what it does to everybody else.

use std::sync::Arc;
use std::time::Instant;

use super::latency::{at_rate, sandbox};
use super::load::{Times, saturate};
use super::machine::{heading, ms, row, size};
use super::process::{DEAD, Place, Relay, Setup};
use super::receiver::Receiver;
use super::{Wanted, filling};

struct Figures {
    accepts: (f64, Times),
    webhooks: (f64, Times),
    most_memory: f64,
}

pub async fn run(wanted: &Wanted) -> anyhow::Result<()> {
    let sandbox = sandbox().await?;
    let receiver = Arc::new(Receiver::start().await?);
    let setup = Setup {
        provider: sandbox.base_url(),
        query_rate: "off",
        endpoints: vec![("dead", DEAD.to_owned(), 8), ("healthy", receiver.url(), 8)],
        ..Setup::default()
    };
    heading(
        "Deliveries that wait for a dead endpoint",
        &[
            "waiting",
            "filled in",
            "store",
            "ready after a kill",
            "memory when ready",
            "most memory",
            "accepts /s, 16 connections",
            "p50",
            "p99",
            "webhook at 100/s p50",
            "p99",
        ],
    );
    for waiting in [0, wanted.backlog] {
        let place = Place::new(&setup)?;
        let began = Instant::now();
        filling::fill(place.data(), "dead", waiting).await?;
        let filled_in = began.elapsed();
        let first = place.start()?;
        let _some_work = at_rate(&first, &sandbox, &receiver, 100, wanted.length() / 2).await?;
        first.kill();
        let relay = place.start()?;
        let ready = relay.memory();
        let figures = measure(&relay, wanted, &sandbox, &receiver).await?;
        row(&[
            waiting.to_string(),
            format!("{:.1} s", filled_in.as_secs_f64()),
            format!("{:.0} MiB", size(&place.data()) as f64 / (1 << 20) as f64),
            format!("{:.2} s", relay.started_in.as_secs_f64()),
            format!("{ready:.0} MiB"),
            format!("{:.0} MiB", figures.most_memory),
            format!("{:.0}", figures.accepts.0),
            ms(figures.accepts.1.percentile(50)),
            ms(figures.accepts.1.percentile(99)),
            ms(figures.webhooks.1.percentile(50)),
            ms(figures.webhooks.1.percentile(99)),
        ]);
        relay.kill();
    }
    Ok(())
}

async fn measure(
    relay: &Relay,
    wanted: &Wanted,
    sandbox: &Arc<vexora_relay::sandbox::Sandbox>,
    receiver: &Arc<Receiver>,
) -> anyhow::Result<Figures> {
    let length = wanted.length();
    let webhooks = at_rate(relay, sandbox, receiver, 100, length).await?;
    // Last: what it accepts is verified while it goes on, and would be in the way of the webhooks.
    let accepts = saturate(relay.callbacks, 16, length).await?;
    Ok(Figures {
        accepts,
        webhooks,
        most_memory: relay.most_memory(),
    })
}
