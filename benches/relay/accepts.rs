//! Durable accepts, against a handler that stores nothing and a file that is only synced.

use super::load::saturate;
use super::machine::{heading, ms, row};
use super::process::{Place, Setup};
use super::{Wanted, bare, latency};

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
        let length = wanted.length();
        // A store of its own for each row: what one row left behind must not slow the next.
        let place = Place::new(&Setup {
            provider: sandbox.base_url(),
            query_rate: "20/s",
            endpoints: vec![],
            ..Setup::default()
        })?;
        let relay = place.start()?;
        saturate(relay.callbacks, connections, length / 5).await?;
        let (ours, times) = saturate(relay.callbacks, connections, length).await?;
        relay.kill();
        let (_handler, address) = bare::start()?;
        saturate(address, connections, length / 5).await?;
        let (theirs, their_times) = saturate(address, connections, length).await?;
        let synced = tokio::task::block_in_place(|| bare::append_and_sync(connections, length))?;
        row(&[
            connections.to_string(),
            format!("{ours:.0}"),
            ms(times.percentile(50)),
            ms(times.percentile(99)),
            format!("{theirs:.0}"),
            ms(their_times.percentile(50)),
            ms(their_times.percentile(99)),
            format!("{:.2}", ours / theirs),
            format!("{synced:.0}"),
            format!("{:.2}", ours / synced),
        ]);
    }
    Ok(())
}
