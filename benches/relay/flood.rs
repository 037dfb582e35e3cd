//! Forged callbacks for users that do not exist, as fast as they can be sent, while a few genuine results arrive.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::asking::pending;
use super::latency::{at_rate, sandbox};
use super::load::{Connection, Times, post_request, serial};
use super::machine::{MIB, heading, ms, row, size};
use super::process::{Place, Setup};
use super::receiver::Receiver;
use super::{MERCHANT, Wanted};

/// Forged callbacks a second that are meant to be sent.
const RATE: u32 = 10_000;

/// Genuine results a second.
const GENUINE: u32 = 5;

/// Fewer than the relay grants one address, which the genuine ones share.
const CONNECTIONS: usize = 128;

/// Longer than the relay takes to answer anything that it answers.
const PATIENCE: Duration = Duration::from_secs(10);

struct Flood {
    name: &'static str,
    /// The merchant has a callback token.
    guarded: bool,
    /// The forger knows it.
    knows: bool,
}

const FLOODS: [Flood; 3] = [
    Flood {
        name: "merchant without a token",
        guarded: false,
        knows: false,
    },
    Flood {
        name: "token not known to the forger",
        guarded: true,
        knows: false,
    },
    Flood {
        name: "token known, wrong sign",
        guarded: true,
        knows: true,
    },
];

pub async fn run(wanted: &Wanted) -> anyhow::Result<()> {
    let sandbox = sandbox().await?;
    heading(
        "Genuine callback to webhook at 5/s, while forged callbacks come (10,000/s meant)",
        &[
            "forged",
            "sent /s",
            "answered",
            "quiet p50",
            "p99",
            "in the flood p50",
            "p99",
            "verifications open before",
            "after",
            "store before",
            "after",
            "memory before",
            "after",
            "most",
        ],
    );
    let length = wanted.length() * 4;
    for flood in FLOODS {
        let receiver = Arc::new(Receiver::start().await?);
        let place = Place::new(&Setup {
            provider: sandbox.base_url(),
            query_rate: "20/s",
            endpoints: vec![("healthy", receiver.url(), 8)],
            token: flood.guarded,
            ..Setup::default()
        })?;
        let relay = place.start()?;
        let stored = || format!("{:.1} MiB", size(&place.data()) as f64 / MIB);
        let _warm = at_rate(&relay, &sandbox, &receiver, GENUINE, length / 4).await?;
        let (_, quiet) = at_rate(&relay, &sandbox, &receiver, GENUINE, length).await?;
        let before = (pending(&relay).await?.0, stored(), relay.memory());
        let path = if flood.knows {
            relay.path.clone()
        } else {
            format!("/callback/{MERCHANT}")
        };
        let genuine = at_rate(&relay, &sandbox, &receiver, GENUINE, length);
        let (forged, genuine) = tokio::join!(forge(relay.callbacks, &path, length), genuine);
        let ((sent, answers), (_, genuine)) = (forged?, genuine?);
        let times = |times: &Times| [ms(times.percentile(50)), ms(times.percentile(99))];
        let [quiet_p50, quiet_p99] = times(&quiet);
        let [p50, p99] = times(&genuine);
        row(&[
            flood.name.to_owned(),
            format!("{sent:.0}"),
            answers,
            quiet_p50,
            quiet_p99,
            p50,
            p99,
            before.0.to_string(),
            pending(&relay).await?.0.to_string(),
            before.1,
            stored(),
            format!("{:.1} MiB", before.2),
            format!("{:.1} MiB", relay.memory()),
            format!("{:.1} MiB", relay.most_memory()),
        ]);
        relay.kill();
    }
    Ok(())
}

/// Sends for so long; returns how many a second, and what was answered how often.
async fn forge(to: SocketAddr, path: &str, length: Duration) -> anyhow::Result<(f64, String)> {
    let next = Arc::new(AtomicU32::new(0));
    let counts: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (next, counts, path) = (Arc::clone(&next), Arc::clone(&counts), path.to_owned());
        tasks.spawn(async move {
            let mut connection = None;
            loop {
                // Each has its instant; who is late goes at once.
                let due = Duration::from_secs(1) * next.fetch_add(1, Ordering::Relaxed) / RATE;
                if due.max(began.elapsed()) >= length {
                    return;
                }
                tokio::time::sleep_until((began + due).into()).await;
                let once = once(to, &path, &mut connection);
                let outcome = match tokio::time::timeout(PATIENCE, once).await {
                    Ok(Ok(status)) => status.to_string(),
                    Ok(Err(_no_answer)) => "no answer".to_owned(),
                    Err(_late) => "late".to_owned(),
                };
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(outcome).or_default() += 1;
            }
        });
    }
    tasks.join_all().await;
    let elapsed = began.elapsed().as_secs_f64();
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let answers = counts
        .iter()
        .map(|(outcome, count)| format!("{count} x {outcome}"));
    let sent: u64 = counts.values().sum();
    Ok((
        sent as f64 / elapsed,
        answers.collect::<Vec<_>>().join(", "),
    ))
}

/// One forged callback, over the connection of the one before if that was left open.
async fn once(to: SocketAddr, path: &str, kept: &mut Option<Connection>) -> anyhow::Result<u16> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(to).await?,
    };
    let body = format!(
        r#"{{"userId":"invented-{}","authenticationStatus":"2","timestamp":"1732988442913","sign":"{}"}}"#,
        serial(),
        "0".repeat(32)
    );
    let answer = connection.exchange(&post_request(path, &body)).await?;
    if !answer.closes {
        *kept = Some(connection);
    }
    Ok(answer.status)
}
