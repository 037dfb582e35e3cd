//! A healthy endpoint's webhooks beside endpoints that behave badly.

use std::sync::Arc;
use std::time::Duration;

use super::Wanted;
use super::hostile::{Hostile, Manner};
use super::latency::{at_rate, sandbox};
use super::machine::{heading, ms, row};
use super::process::{Place, Setup};
use super::receiver::Receiver;

/// Results a second. With a thousand endpoints each of them is a thousand deliveries, and a fifth of the rate is
/// measured too: less, and connections are closed before their first request.
const RATE: u32 = 10;

enum Beside {
    Nobody,
    One(Manner),
    Dead(usize),
}

const ROWS: [(&str, Beside); 11] = [
    ("nobody", Beside::Nobody),
    ("accepts and never answers", Beside::One(Manner::Silent)),
    ("answers a byte a second", Beside::One(Manner::Drips)),
    ("answers without end", Beside::One(Manner::Endless)),
    ("resets every connection", Beside::One(Manner::Resets)),
    ("bad certificate", Beside::One(Manner::BadCertificate)),
    ("1,000 that refuse connections", Beside::Dead(1000)),
    ("1,000 that refuse, which is known", Beside::Dead(1000)),
    ("nobody, again", Beside::Nobody),
    ("nobody, at 2/s", Beside::Nobody),
    (
        "1,000 that refuse, which is known, at 2/s",
        Beside::Dead(1000),
    ),
];

pub async fn run(wanted: &Wanted) -> anyhow::Result<()> {
    let sandbox = sandbox().await?;
    heading(
        "Callback to the webhook of a healthy endpoint, at 10/s unless said otherwise, beside others that get the same events",
        &[
            "beside",
            "callbacks",
            "p50",
            "p99",
            "p50 to that alone",
            "p99 to that alone",
            "memory before",
            "after",
            "most",
            "CPU",
        ],
    );
    let mut alone = None;
    for (name, beside) in ROWS {
        let receiver = Arc::new(Receiver::start().await?);
        let mut setup = Setup {
            provider: sandbox.base_url(),
            endpoints: vec![("healthy", receiver.url(), 8)],
            ..Setup::default()
        };
        let hostile = match beside {
            Beside::One(manner) => Some(Hostile::start(manner).await?),
            Beside::Nobody | Beside::Dead(_) => None,
        };
        let url = hostile.as_ref().map(Hostile::url);
        setup.endpoints.extend(url.map(|url| ("hostile", url, 8)));
        if let Beside::Dead(number) = beside {
            setup.dead = number;
        }
        let place = Place::new(&setup)?;
        let relay = place.start()?;
        let is_slow = name.ends_with("at 2/s");
        let (rate, length) = if is_slow {
            (RATE / 5, wanted.length() * 12)
        } else {
            (RATE, wanted.length() * 4)
        };
        let warm = match beside {
            // Until each has failed five times and is known to be down. How it is until then is a row too.
            Beside::Dead(_) if name.contains("known") => Duration::from_secs(20),
            _ => length / 4,
        };
        // At the full rate whatever is measured: so that they are known to be down.
        let _warm = at_rate(&relay, &sandbox, &receiver, RATE, warm).await?;
        let before = (relay.memory(), relay.cpu());
        let (_, times) = at_rate(&relay, &sandbox, &receiver, rate, length).await?;
        let [p50, p99] = [times.percentile(50), times.percentile(99)];
        if name.starts_with("nobody, at") {
            alone = None;
        }
        let (p50_alone, p99_alone) = *alone.get_or_insert((p50, p99));
        row(&[
            name.to_owned(),
            times.count().to_string(),
            ms(p50),
            ms(p99),
            format!("{:.2}", p50.div_duration_f64(p50_alone)),
            format!("{:.2}", p99.div_duration_f64(p99_alone)),
            format!("{:.1} MiB", before.0),
            format!("{:.1} MiB", relay.memory()),
            format!("{:.1} MiB", relay.most_memory()),
            format!("{:.2} s", (relay.cpu() - before.1).as_secs_f64()),
        ]);
        relay.kill();
    }
    Ok(())
}
