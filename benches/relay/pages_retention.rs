//! What callbacks notice of a pass of retention that removes what it finds.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::super::load::{Times, steady};
use super::super::machine::{heading, ms, row};
use super::super::process::{Place, Relay, Setup};
use super::super::{Wanted, filling};
use super::dashboard::exchange;

/// Callbacks a second meanwhile.
const RATE: u32 = 200;

/// More than the passes of the longest measurement remove.
const SETTLED: usize = 60_000;

/// How long settled work is kept in this part: as short as the configuration takes.
const KEPT: &str = "1m";

/// Longer than until the first pass after a start.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn run(wanted: &Wanted, provider: String) -> anyhow::Result<()> {
    let place = Place::new(&Setup {
        provider,
        query_rate: "20/s",
        ..Setup::default()
    })?;
    let settled = SETTLED.min(wanted.backlog);
    filling::fill_settled(place.data(), settled, Duration::from_secs(3600)).await?;
    heading(
        "Callbacks at 200/s to the public listener, while a pass of retention removes",
        &[
            "a pass",
            "records removed /s",
            "accepted",
            "p50",
            "p99",
            "slowest",
        ],
    );
    let length = wanted.length() * 2;
    for kept in ["90d", KEPT, "90d"] {
        keep(&place, kept)?;
        let relay = place.start()?;
        let _warm = steady(relay.callbacks, &relay.path, RATE, length / 4).await?;
        if kept == KEPT {
            begun(&relay).await?;
        }
        let (before, began) = (removed(&relay).await?, Instant::now());
        let times = steady(relay.callbacks, &relay.path, RATE, length).await?;
        let gone = (removed(&relay).await? - before) / began.elapsed().as_secs_f64();
        say(kept == KEPT, gone, &times);
        relay.kill();
    }
    Ok(())
}

fn say(is_passing: bool, gone: f64, times: &Times) {
    row(&[
        if is_passing { "removes" } else { "none" }.to_owned(),
        format!("{gone:.0}"),
        times.count().to_string(),
        ms(times.percentile(50)),
        ms(times.percentile(99)),
        ms(times.percentile(100)),
    ]);
}

/// Writes into the configuration for how long settled work is kept.
fn keep(place: &Place, kept: &str) -> anyhow::Result<()> {
    let file = place.data().with_file_name("config.toml");
    let text = std::fs::read_to_string(&file)?;
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("retention = "));
    let lines = lines.flat_map(|line| {
        let retention = (line.trim() == "[store]").then(|| format!("retention = \"{kept}\""));
        std::iter::once(line.to_owned()).chain(retention)
    });
    let text: Vec<String> = lines.collect();
    std::fs::write(&file, text.join("\n"))?;
    Ok(())
}

async fn removed(relay: &Relay) -> anyhow::Result<f64> {
    let (_, text) = exchange(relay.admin, "GET", "/metrics", "", "").await?;
    let series = "vexora_relay_retention_removed_total{";
    let lines = text.lines().filter(|line| line.starts_with(series));
    let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(numbers.sum())
}

/// Waits until a pass has begun to remove.
async fn begun(relay: &Relay) -> anyhow::Result<()> {
    let began = Instant::now();
    while removed(relay).await? == 0.0 {
        ensure!(began.elapsed() < PATIENCE, "no pass has begun");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
