//! What operators see of a full store: how long a page of a list and of the dashboard takes, and what callbacks notice
//! of operators who page, and of retention.

#[path = "pages_dashboard.rs"]
mod dashboard;
#[path = "pages_retention.rs"]
mod retention;

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::asking::{exists, get};
use super::latency::sandbox;
use super::load::{Times, steady};
use super::machine::{MIB, heading, ms, row, size};
use super::process::{DEAD, Place, Relay, Setup};
use super::{Wanted, filling};

/// Callbacks a second while operators page.
const RATE: u32 = 200;

/// Operators who page at the same time, each as fast as it is answered.
const OPERATORS: usize = 8;

/// With the largest page, and with filters that fit all, few and none.
const LISTS: [&str; 14] = [
    "/api/v1/status",
    "/api/v1/endpoints",
    "/api/v1/callbacks",
    "/api/v1/callbacks?limit=500",
    "/api/v1/callbacks?state=unrecognized",
    "/api/v1/callbacks?user=nobody",
    "/api/v1/events",
    "/api/v1/events?limit=500",
    "/api/v1/events?type=kyc.rejected",
    "/api/v1/deliveries",
    "/api/v1/deliveries?limit=500",
    "/api/v1/deliveries?endpoint=dead&state=held",
    "/api/v1/deliveries?state=abandoned",
    "/api/v1/watched",
];

pub async fn run(wanted: &Wanted) -> anyhow::Result<()> {
    let sandbox = sandbox().await?;
    let place = Place::new(&Setup {
        provider: sandbox.base_url(),
        query_rate: "20/s",
        endpoints: vec![("dead", DEAD.to_owned(), 8)],
        ..Setup::default()
    })?;
    let began = Instant::now();
    filling::fill(place.data(), "dead", wanted.backlog).await?;
    println!(
        "\n{} events filled in within {:.1} s",
        wanted.backlog,
        began.elapsed().as_secs_f64()
    );
    let relay = place.start()?;
    let mut lists = Vec::new();
    for list in LISTS {
        if exists(relay.admin, list).await? {
            lists.push(list);
        }
    }
    callbacks(wanted, &relay, &lists).await?;
    let title = format!(
        "A page of each list, over {} events in {:.0} MiB",
        wanted.backlog,
        size(&place.data()) as f64 / MIB
    );
    heading(
        &title,
        &["list", "pages", "rows a page", "p50", "p99", "slowest"],
    );
    for list in lists {
        let paged = page(&relay, list, wanted.length()).await?;
        let times = Times::new(paged.times);
        row(&[
            format!("`{list}`"),
            times.count().to_string(),
            format!("{:.0}", paged.rows as f64 / times.count().max(1) as f64),
            ms(times.percentile(50)),
            ms(times.percentile(99)),
            ms(times.percentile(100)),
        ]);
    }
    dashboard::run(wanted, &relay, wanted.backlog as u64).await?;
    relay.kill();
    retention::run(wanted, sandbox.base_url()).await
}

/// What callbacks notice.
async fn callbacks(wanted: &Wanted, relay: &Relay, lists: &[&'static str]) -> anyhow::Result<()> {
    heading(
        "Callbacks at 200/s to the public listener, while operators page all lists",
        &[
            "operators",
            "pages /s",
            "accepted",
            "p50",
            "p99",
            "memory",
            "most",
        ],
    );
    let length = wanted.length() * 2;
    let _warm = steady(relay.callbacks, &relay.path, RATE, length / 4).await?;
    for operators in [0, OPERATORS, 0] {
        let mut paging = JoinSet::new();
        for first in 0..operators {
            // Each begins with another list.
            let mut lists = lists.to_vec();
            let mid = first % lists.len().max(1);
            lists.rotate_left(mid);
            let admin = relay.admin;
            paging.spawn(async move { page_all(admin, &lists, length).await });
        }
        let times = steady(relay.callbacks, &relay.path, RATE, length).await?;
        let mut pages = 0;
        while let Some(paged) = paging.join_next().await {
            pages += paged??;
        }
        row(&[
            operators.to_string(),
            format!("{:.0}", pages as f64 / length.as_secs_f64()),
            times.count().to_string(),
            ms(times.percentile(50)),
            ms(times.percentile(99)),
            format!("{:.0} MiB", relay.memory()),
            format!("{:.0} MiB", relay.most_memory()),
        ]);
    }
    Ok(())
}

/// Pages gone through, one list after another and on from cursor to cursor, for so long.
async fn page_all(
    admin: std::net::SocketAddr,
    lists: &[&str],
    length: Duration,
) -> anyhow::Result<usize> {
    let began = Instant::now();
    let mut pages = 0;
    let mut cursors = vec![None; lists.len()];
    while began.elapsed() < length {
        for (list, cursor) in lists.iter().zip(&mut cursors) {
            let (_, answer) = get(admin, &on_from(list, cursor.as_deref())).await?;
            *cursor = next(&answer);
            pages += 1;
        }
    }
    Ok(pages)
}

#[derive(Default)]
struct Paged {
    times: Vec<Duration>,
    rows: usize,
}

/// One list from its beginning on, and again when it is over, for so long.
async fn page(relay: &Relay, list: &str, length: Duration) -> anyhow::Result<Paged> {
    let began = Instant::now();
    let mut paged = Paged::default();
    let mut cursor: Option<String> = None;
    while began.elapsed() < length {
        let (took, answer) = get(relay.admin, &on_from(list, cursor.as_deref())).await?;
        paged.times.push(took);
        let fields = answer.as_object().into_iter().flat_map(|all| all.values());
        let arrays = fields.filter_map(serde_json::Value::as_array);
        paged.rows += arrays.map(Vec::len).sum::<usize>();
        cursor = next(&answer);
    }
    Ok(paged)
}

fn on_from(list: &str, cursor: Option<&str>) -> String {
    let and = if list.contains('?') { '&' } else { '?' };
    cursor.map_or_else(
        || list.to_owned(),
        |cursor| format!("{list}{and}cursor={cursor}"),
    )
}

fn next(answer: &serde_json::Value) -> Option<String> {
    Some(answer.get("next")?.as_str()?.to_owned())
}
