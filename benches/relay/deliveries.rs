//! Deliveries out of a backlog, against a loop that only posts, both in a process of their own: each in turns, of which
//! the figures are medians.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::load::median;
use super::machine::{heading, row};
use super::process::{Place, Setup};
use super::receiver::Receiver;
use super::{Wanted, bare, filling};

/// Turns.
const TURNS: usize = 3;

/// Nothing comes any more.
const SILENCE: Duration = Duration::from_secs(30);

pub async fn run(wanted: &Wanted) -> anyhow::Result<()> {
    let number = if wanted.quick { 4000 } else { 20_000 };
    heading(
        "Deliveries out of a backlog",
        &[
            "concurrency",
            "relay /s",
            "plain reqwest loop /s",
            "ratio",
            "the relay's CPU per delivery",
        ],
    );
    for concurrency in [8, 32] {
        let mut rates: [Vec<f64>; 4] = Default::default();
        for _ in 0..TURNS {
            let [ours, theirs, cpu] = turn(concurrency, number).await?;
            for (all, one) in rates.iter_mut().zip([ours, theirs, ours / theirs, cpu]) {
                all.push(one);
            }
        }
        let [ours, theirs, share, cpu] = rates.map(median);
        row(&[
            concurrency.to_string(),
            format!("{ours:.0}"),
            format!("{theirs:.0}"),
            format!("{share:.2}"),
            format!("{cpu:.0} us"),
        ]);
    }
    Ok(())
}

/// A relay's rate, that of a loop, and what a delivery takes of the relay's CPU time, in microseconds.
async fn turn(concurrency: usize, number: usize) -> anyhow::Result<[f64; 3]> {
    let mut receiver = Receiver::start().await?;
    let place = Place::new(&Setup {
        // Nobody is asked: there is nothing to verify.
        provider: "http://127.0.0.1:1".into(),
        query_rate: "off",
        endpoints: vec![("healthy", receiver.url(), concurrency)],
        ..Setup::default()
    })?;
    filling::fill(place.data(), "healthy", number).await?;
    let relay = place.start()?;
    // What it needs until it delivers is not counted.
    let (_, before) = (receiver.arrivals.recv().await, relay.cpu());
    let ours = rate(&mut receiver, number - 1).await?;
    let cpu = relay.cpu().saturating_sub(before).as_secs_f64() * 1e6 / number as f64;
    relay.kill();
    let posting = bare::start_posting(&receiver.url(), concurrency, number)?;
    receiver.arrivals.recv().await;
    let theirs = rate(&mut receiver, number - 1).await?;
    drop(posting);
    Ok([ours, theirs, cpu])
}

/// Arrivals per second, from now until so many have come.
async fn rate(receiver: &mut Receiver, number: usize) -> anyhow::Result<f64> {
    let began = Instant::now();
    for _ in 0..number {
        let arrival = tokio::time::timeout(SILENCE, receiver.arrivals.recv()).await;
        arrival.context("a delivery never came")?;
    }
    Ok(number as f64 / began.elapsed().as_secs_f64())
}
