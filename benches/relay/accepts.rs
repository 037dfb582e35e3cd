//! Durable accepts, against a handler that stores nothing and a file that is only synced: each in turns, since what else the
//! machine does comes and goes. Rates and ratios are medians over the turns; latencies are those of all turns together.

use super::load::{Times, median, saturate};
use super::machine::{heading, ms, row};
use super::process::{Place, Setup};
use super::{Wanted, bare, latency};

/// Turns.
const TURNS: u32 = 5;

pub async fn run(wanted: &Wanted) -> anyhow::Result<()> {
    let sandbox = latency::sandbox().await?;
    heading(
        "Durable accepts, over the real listener",
        &[
            "connections",
            "relay /s",
            "p50",
            "p99",
            "bare handler /s",
            "p50",
            "p99",
            "ratio",
            "append+fdatasync /s, so many a sync",
            "ratio",
        ],
    );
    for connections in [1, 16, 64, 256] {
        let length = wanted.length() / TURNS;
        // A store of its own for each row: what one row left behind must not slow the next.
        let place = Place::new(&Setup {
            provider: sandbox.base_url(),
            query_rate: "20/s",
            endpoints: vec![],
            ..Setup::default()
        })?;
        let relay = place.start()?;
        let (_handler, address) = bare::start()?;
        saturate(relay.callbacks, connections, length).await?;
        saturate(address, connections, length).await?;
        let (mut times, mut their_times) = (Times::default(), Times::default());
        let mut rates: [Vec<f64>; 5] = Default::default();
        for _ in 0..TURNS {
            let (ours, some) = saturate(relay.callbacks, connections, length).await?;
            times.extend([some]);
            let (theirs, some) = saturate(address, connections, length).await?;
            their_times.extend([some]);
            let synced =
                tokio::task::block_in_place(|| bare::append_and_sync(connections, length))?;
            let turn = [ours, theirs, synced, ours / theirs, ours / synced];
            for (all, one) in rates.iter_mut().zip(turn) {
                all.push(one);
            }
        }
        relay.kill();
        let [ours, theirs, synced, share, share_of_syncs] = rates.map(median);
        row(&[
            connections.to_string(),
            format!("{ours:.0}"),
            ms(times.percentile(50)),
            ms(times.percentile(99)),
            format!("{theirs:.0}"),
            ms(their_times.percentile(50)),
            ms(their_times.percentile(99)),
            format!("{share:.2}"),
            format!("{synced:.0}"),
            format!("{share_of_syncs:.2}"),
        ]);
    }
    Ok(())
}
