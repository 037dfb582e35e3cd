//! Many minutes at a steady rate, with a receiver that refuses three in ten: everything must have come at the end, and
//! nothing may grow that should not.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;
use vexora_relay::domain::Status;
use vexora_relay::sandbox::Sandbox;

use super::asking::pending;
use super::latency::sandbox;
use super::load::{Connection, Times, callback_to, serial, user};
use super::machine::{MIB, heading, ms, row, size};
use super::process::{Place, Relay, Setup};
use super::receiver::{Arrival, Receiver};
use super::{MERCHANT, Wanted};

/// Callbacks a second.
const RATE: u32 = 200;

const CONNECTIONS: u32 = 16;

/// Of a hundred webhooks so many are answered 500.
const REFUSED: u64 = 30;

/// More than enough steps: one of 120,000 deliveries is refused sixteen times in a row once in two thousand runs.
const RETRY: &str = r#"retry = ["200ms", "500ms", "1s", "1s", "2s", "2s", "2s", "2s", "5s", "5s", "5s", "5s", "5s", "5s", "5s", "5s", "5s", "5s", "5s", "5s", "5s", "5s", "5s", "5s"]"#;

/// So short that as much goes as comes long before the end: what then still grows, grows without need.
const KEPT: &str = r#"retention = "2m""#;

/// For what is left when no more callbacks come. Longer than the longest pause between probes, twice.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is known of each user.
#[derive(Default)]
struct Ledger {
    users: HashMap<u64, Story>,
    /// How long deliveries took since the last row.
    times: Vec<Duration>,
    delivered: u64,
    again: u64,
}

struct Story {
    sent: Instant,
    acknowledged: bool,
    ids: HashSet<String>,
}

type Shared = Arc<Mutex<Ledger>>;

fn lock(ledger: &Shared) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    fn arrived(&mut self, arrival: Arrival) {
        let Some(story) = arrival.user.and_then(|user| self.users.get_mut(&user)) else {
            return;
        };
        if story.ids.is_empty() {
            self.delivered += 1;
            self.times.push(arrival.at.duration_since(story.sent));
        }
        if !story.ids.insert(arrival.id) {
            self.again += 1;
        }
    }

    fn acknowledged(&self) -> impl Iterator<Item = &Story> {
        self.users.values().filter(|story| story.acknowledged)
    }

    fn missing(&self) -> usize {
        let empty = |story: &&Story| story.ids.is_empty();
        self.acknowledged().filter(empty).count()
    }
}

pub async fn run(wanted: &Wanted) -> anyhow::Result<()> {
    let sandbox = sandbox().await?;
    let dice = Mutex::new(1);
    let mut receiver = Receiver::start_taking(move || {
        throw(&mut dice.lock().unwrap_or_else(PoisonError::into_inner)) % 100 >= REFUSED
    })
    .await?;
    let place = Place::new(&Setup {
        provider: sandbox.base_url(),
        endpoints: vec![("moody", receiver.url(), 32)],
        delivery: RETRY,
        store: KEPT,
        ..Setup::default()
    })?;
    let relay = place.start()?;
    let ledger = Shared::default();
    let writing = Arc::clone(&ledger);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(arrival) = receiver.arrivals.recv().await {
            lock(&writing).arrived(arrival);
        }
    });
    let length = wanted.soak_length();
    heading(
        "A soak: callbacks at 200/s for a receiver that refuses 30 %",
        &[
            "after",
            "callbacks",
            "delivered",
            "verifications open",
            "deliveries waiting",
            "memory",
            "sled",
            "journal",
            "checkpoints",
            "delivered after p50",
            "p99",
        ],
    );
    let began = Instant::now();
    let posting = post_for(&relay, &sandbox, &ledger, length);
    tokio::pin!(posting);
    // Every minute, or ten times if it is short.
    let mut minutes = tokio::time::interval((length / 10).min(Duration::from_secs(60)));
    minutes.tick().await;
    let mut first = None;
    let posted = loop {
        tokio::select! {
            posted = &mut posting => break posted,
            _ = minutes.tick() => {
                let state = say(began, &place, &relay, &ledger).await?;
                first.get_or_insert(state);
            }
        }
    };
    posted?;
    let ended = Instant::now();
    loop {
        let waiting = pending(&relay).await?;
        if (waiting == (0, 0) && lock(&ledger).missing() == 0) || ended.elapsed() > PATIENCE {
            break;
        }
        tokio::select! {
            _ = minutes.tick() => { say(began, &place, &relay, &ledger).await?; }
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
    let last = say(began, &place, &relay, &ledger).await?;
    verdict(&relay, &ledger, (first.unwrap_or(last), last), ended).await
}

/// What a row says, for what grew.
#[derive(Clone, Copy)]
struct State {
    callbacks: usize,
    memory: f64,
    store: u64,
}

async fn say(
    began: Instant,
    place: &Place,
    relay: &Relay,
    ledger: &Shared,
) -> anyhow::Result<State> {
    let (verifications, deliveries) = pending(relay).await?;
    let part = |name: &str| size(&place.data().join(name));
    let shown = |bytes: u64| format!("{:.1} MiB", bytes as f64 / MIB);
    let (callbacks, delivered, times) = {
        let mut ledger = lock(ledger);
        let times = Times::new(std::mem::take(&mut ledger.times));
        (ledger.users.len(), ledger.delivered, times)
    };
    let state = State {
        callbacks,
        memory: relay.memory(),
        store: size(&place.data()),
    };
    row(&[
        format!("{:.0} s", began.elapsed().as_secs_f64()),
        callbacks.to_string(),
        delivered.to_string(),
        verifications.to_string(),
        deliveries.to_string(),
        format!("{:.1} MiB", state.memory),
        shown(part("sled")),
        shown(part("journal")),
        shown(part("checkpoints")),
        ms(times.percentile(50)),
        ms(times.percentile(99)),
    ]);
    Ok(state)
}

async fn verdict(
    relay: &Relay,
    ledger: &Shared,
    (first, last): (State, State),
    ended: Instant,
) -> anyhow::Result<()> {
    let (verifications, deliveries) = pending(relay).await?;
    heading(
        "The soak at its end",
        &[
            "callbacks acknowledged",
            "not acknowledged",
            "events missing",
            "users with two ids",
            "arrived again with the same id",
            "still open",
            "until all was delivered",
            "memory a callback",
            "store a callback",
        ],
    );
    let ledger = lock(ledger);
    let acknowledged = ledger.acknowledged().count();
    let refused = ledger.users.len() - acknowledged;
    let missing = ledger.missing();
    let twice = ledger.users.values();
    let twice = twice.filter(|story| story.ids.len() > 1).count();
    let more = last.callbacks.saturating_sub(first.callbacks).max(1) as f64;
    let (memory, store) = (
        (last.memory - first.memory) * MIB / more,
        (last.store as f64 - first.store as f64) / more,
    );
    row(&[
        acknowledged.to_string(),
        refused.to_string(),
        missing.to_string(),
        twice.to_string(),
        ledger.again.to_string(),
        (verifications + deliveries).to_string(),
        format!("{:.1} s", ended.elapsed().as_secs_f64()),
        format!("{memory:.0} bytes"),
        format!("{store:.0} bytes"),
    ]);
    ensure!(missing == 0, "{missing} events never arrived");
    ensure!(twice == 0, "{twice} results arrived under two ids");
    ensure!(refused == 0, "{refused} callbacks were not acknowledged");
    ensure!(verifications + deliveries == 0, "work is left over");
    Ok(())
}

/// Callbacks at an even rate, each of another user whom the provider has approved.
async fn post_for(
    relay: &Relay,
    sandbox: &Arc<Sandbox>,
    ledger: &Shared,
    length: Duration,
) -> anyhow::Result<()> {
    let gap = Duration::from_secs(1) / RATE;
    let began = tokio::time::Instant::now();
    let mut tasks = JoinSet::new();
    for index in 0..CONNECTIONS {
        let (sandbox, ledger) = (Arc::clone(sandbox), Arc::clone(ledger));
        let (to, path) = (relay.callbacks, relay.path.clone());
        tasks.spawn(async move {
            let mut connection = Connection::open(to).await?;
            let mut ticks = tokio::time::interval_at(began + gap * index, gap * CONNECTIONS);
            while began.elapsed() < length {
                ticks.tick().await;
                let serial = serial();
                let name = user(serial).parse()?;
                sandbox.set_status(&MERCHANT.parse()?, &name, Status::Approved, None);
                let story = Story {
                    sent: Instant::now(),
                    acknowledged: false,
                    ids: HashSet::new(),
                };
                lock(&ledger).users.insert(serial, story);
                match connection.post(&callback_to(&path, serial)).await {
                    Ok(()) => {
                        let mut ledger = lock(&ledger);
                        let story = ledger.users.get_mut(&serial);
                        story.into_iter().for_each(|one| one.acknowledged = true);
                    }
                    // It is counted; the next one may do better.
                    Err(_refused) => connection = Connection::open(to).await?,
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// The next number of a sequence without visible order (splitmix64): the same in every run.
fn throw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
