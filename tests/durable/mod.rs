//! A relay's life in small, for tests of durability: callbacks, verdicts, deliveries, and a ledger of what the store
//! has acknowledged, against which any later state of the store can be held.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use vexora_relay::clock::{Entropy, SeededEntropy};
use vexora_relay::domain::{
    Answer, Arrival, Callback, DeliveryPolicy, DeliveryState, EventContent, EventFilter,
    FailureClass, Jitter, MerchantNo, Outcome, Route, Routing, Schedule, SignCheck, Status,
    Timestamp, UserId, Verdict, VerifyLane, VerifyPolicy,
};
use vexora_relay::store::embedded::{
    EmbeddedSettings, JournalSettings, Machine, OpenError, OpenReport, OutFile, Point, SledStore,
    ThisMachine,
};
use vexora_relay::store::{AnswerReport, AttemptReport, Store, StoreError};

pub fn merchant() -> MerchantNo {
    "1027749636".parse().expect("valid")
}

pub fn user(number: usize) -> UserId {
    format!("user-{number}").parse().expect("valid")
}

pub fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + secs * 1000)
}

pub fn routing() -> Arc<Routing> {
    Arc::new(Routing::new(vec![Route {
        endpoint: "ledger".parse().expect("valid"),
        events: EventFilter::parse(&["kyc.*"]).expect("valid"),
        merchants: vec![],
        ordered: true,
    }]))
}

/// Small files, so that a short run rolls segments and takes checkpoints.
pub const SMALL: JournalSettings = JournalSettings {
    segment: 48 << 10,
    checkpoint: 150 << 10,
    layer: 16,
    mend: Duration::from_secs(1),
};

pub fn open(
    path: &Path,
    tuning: JournalSettings,
    machine: Arc<dyn Machine>,
) -> Result<(SledStore, OpenReport), OpenError> {
    let _nobody_forks = FORKING.read().expect("whole");
    let mut settings = EmbeddedSettings::at(path.to_owned(), 0);
    settings.cache = 4 << 20;
    SledStore::open_on(&settings, tuning, machine, at(0))
}

/// A child has a copy of every open file, locks included, from its fork to its exec: meanwhile no store that another
/// test has just closed can be opened.
static FORKING: RwLock<()> = RwLock::new(());

pub fn run(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let forking = FORKING.write().expect("whole");
    let child = command.spawn().expect("starts");
    drop(forking);
    child.wait_with_output().expect("ends")
}

pub fn reopen(path: &Path) -> (SledStore, OpenReport) {
    open(path, SMALL, Arc::new(ThisMachine)).expect("opens")
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// What the store has said `Ok` to, one line each: `c user callback`, `e user event`, `s event` (an attempt may go out
/// from here on), `d event` (it was heard).
#[derive(Clone, Debug, Default)]
pub struct Ledger(pub Vec<String>);

/// One user's way: a result, and what is due for the endpoint; whatever fails is left out of the ledger. Every third
/// round nothing goes out, so that results stand in line.
pub async fn live(
    store: &dyn Store,
    entropy: &SeededEntropy,
    number: usize,
    round: u64,
    ack: &dyn Fn(String),
) -> Result<(), StoreError> {
    result(store, entropy, number, round, ack).await?;
    if round % 3 == 2 {
        return Ok(());
    }
    let now = at(round * 10);
    let ledger = "ledger".parse().expect("valid");
    let lease = Duration::from_secs(30);
    for claim in store.claim_deliveries(&ledger, now, lease, 2).await? {
        let event = hex::encode(claim.delivery.event.to_bytes());
        ack(format!("s {event}"));
        let report = attempt(entropy, now, 204);
        if store.record_attempt(&claim, report).await?.is_some() {
            ack(format!("d {event}"));
        }
    }
    Ok(())
}

/// An attempt that was answered with this status.
pub fn attempt(entropy: &SeededEntropy, now: Timestamp, status: u16) -> AttemptReport {
    AttemptReport {
        began: now,
        took: Duration::from_millis(5),
        outcome: Outcome {
            failure: (status >= 300).then_some(FailureClass::Status),
            status: Some(status),
            retry_after: None,
            body: vec![],
            detail: None,
        },
        now,
        draw: 0.0,
        fresh: entropy.event_id(now),
        fresh_too: entropy.event_id(now),
        policy: DeliveryPolicy {
            retry: Schedule::new(vec![Duration::from_secs(5)]).expect("valid"),
            jitter: Jitter::NONE,
            give_up_after: Duration::from_secs(3600),
        },
        routing: routing(),
        onward: None,
    }
}

/// A callback and a verdict, another one each round.
pub async fn result(
    store: &dyn Store,
    entropy: &SeededEntropy,
    number: usize,
    round: u64,
    ack: &dyn Fn(String),
) -> Result<(), StoreError> {
    let now = at(round * 10);
    let user = user(number);
    let id = entropy.callback_id(now);
    let callback = Callback {
        id,
        merchant: merchant(),
        user: Some(user.clone()),
        claim: Some("2".into()),
        sign: SignCheck::Valid,
        token: true,
        arrival: Arrival {
            // Every other body is no text.
            body: vec![if number.is_multiple_of(2) { b'a' } else { 0xff }; 600],
            content_type: None,
            query: None,
            peer: None,
            at: now,
        },
    };
    store
        .accept(callback, entropy.event_id(now), routing())
        .await?;
    ack(format!("c {number} {}", hex::encode(id.to_bytes())));
    let lease = Duration::from_secs(30);
    let claims = store
        .claim_verifications(&merchant(), VerifyLane::Main, now, lease, 1)
        .await?;
    for claim in claims {
        let code = if round.is_multiple_of(2) { "2" } else { "3" };
        let report = AnswerReport {
            answer: Answer::Verdict(Verdict::new(Status::parse(code).expect("valid"), None)),
            now,
            took: Duration::from_millis(3),
            fresh: entropy.event_id(now),
            fresh_too: entropy.event_id(now),
            policy: VerifyPolicy {
                retry: Schedule::new(vec![Duration::from_secs(1)]).expect("valid"),
                give_up_after: Duration::from_secs(600),
                duplicate_window: Duration::from_secs(1),
                reconcile: None,
            },
            routing: routing(),
        };
        let recorded = store.record_answer(&claim, report).await?;
        if let Some(event) = recorded.event {
            ack(format!(
                "e {} {}",
                claim.user,
                hex::encode(event.to_bytes())
            ));
        }
    }
    Ok(())
}

/// Rounds of users side by side, as a busy relay has them.
pub async fn load(
    store: &dyn Store,
    entropy: &SeededEntropy,
    rounds: std::ops::Range<u64>,
    ack: &dyn Fn(String),
) -> usize {
    let mut failed = 0;
    for round in rounds {
        let lives = (0..8).map(|n| live(store, entropy, n, round, ack));
        let ended = futures_util::future::join_all(lives).await;
        failed += ended.iter().filter(|end| end.is_err()).count();
    }
    failed
}

/// Everything of these users, readable, for comparing states.
pub async fn dump(store: &dyn Store) -> String {
    let mut all = String::new();
    for number in 0..8 {
        let story = store.story(&merchant(), &user(number)).await;
        all += &format!("{:#?}\n", story.expect("reads"));
    }
    all
}

/// What of the ledger is not in the store, and what in the store cannot be.
pub async fn violations(store: &dyn Store, ledger: &Ledger) -> Vec<String> {
    let Held {
        lines, mut wrong, ..
    } = held(store).await;
    let lost = ledger.0.iter().filter(|line| !lines.contains(*line));
    wrong.extend(lost.map(|line| format!("lost: {line}")));
    wrong
}

/// Likewise after a power cut, which may take back that something was heard if nothing follows from it: then it is still
/// to go, under the same id, and nothing newer of its line has gone out.
pub async fn violations_after_a_cut(store: &dyn Store, ledger: &Ledger) -> Vec<String> {
    let Held {
        lines,
        events,
        mut wrong,
    } = held(store).await;
    let sent = ledger.0.iter().filter_map(|line| line.strip_prefix("s "));
    let sent: Vec<_> = sent.filter_map(|event| events.get(event)).collect();
    let is_repeated = |event: &str| {
        let Some((user, sequence, true)) = events.get(event) else {
            return false;
        };
        !sent
            .iter()
            .any(|(of, newer, _)| of == user && newer > sequence)
    };
    let lost = ledger.0.iter().filter(|line| !lines.contains(*line));
    let lost = lost.filter(|line| !line.strip_prefix("d ").is_some_and(is_repeated));
    wrong.extend(lost.map(|line| format!("lost: {line}")));
    wrong
}

/// What a store holds.
#[derive(Default)]
struct Held {
    /// As they stand in a ledger.
    lines: BTreeSet<String>,
    /// Of each event its user, its place in line, and whether it is still to go.
    events: BTreeMap<String, (usize, u64, bool)>,
    /// What cannot be.
    wrong: Vec<String>,
}

async fn held(store: &dyn Store) -> Held {
    let mut held = Held::default();
    let Held {
        lines,
        events,
        wrong: found,
    } = &mut held;
    for number in 0..8 {
        let story = match store.story(&merchant(), &user(number)).await {
            Ok(story) => story,
            Err(error) => {
                found.push(format!("user {number}: {error}"));
                continue;
            }
        };
        for callback in &story.callbacks {
            lines.insert(format!(
                "c {number} {}",
                hex::encode(callback.id.to_bytes())
            ));
        }
        for (at, (event, deliveries)) in story.events.iter().enumerate() {
            let id = hex::encode(event.id.to_bytes());
            lines.insert(format!("e user-{number} {id}"));
            lines.insert(format!("s {id}"));
            let EventContent::Result(result) = &event.content else {
                continue;
            };
            if result.sequence != at as u64 + 1 {
                found.push(format!(
                    "user {number}: sequence {} at {at}",
                    result.sequence
                ));
            }
            for (delivery, attempts) in deliveries {
                let place = (number, delivery.sequence, delivery.is_pending());
                events.insert(id.clone(), place);
                if matches!(delivery.state, DeliveryState::Delivered { .. }) {
                    lines.insert(format!("d {id}"));
                    if attempts.len() != delivery.attempts as usize {
                        found.push(format!("{id}: {} attempts recorded", attempts.len()));
                    }
                }
            }
        }
        if story.state.sequence != story.events.len() as u64 {
            found.push(format!(
                "user {number}: its count is {}",
                story.state.sequence
            ));
        }
    }
    held
}

type Fault = dyn Fn(&Path, &str) -> std::io::Result<bool> + Send + Sync;

/// A machine on which a test decides what becomes of every write, sync and name. `Ok(false)` leaves the step out.
#[derive(Clone)]
pub struct Odd {
    pub boot: Option<String>,
    pub fault: Arc<Fault>,
    pub at_point: Arc<dyn Fn(Point) -> std::io::Result<()> + Send + Sync>,
}

impl Odd {
    pub fn sound() -> Self {
        Self {
            boot: ThisMachine.boot(),
            fault: Arc::new(|_, _| Ok(true)),
            at_point: Arc::new(|_| Ok(())),
        }
    }

    pub fn with_fault(
        fault: impl Fn(&Path, &str) -> std::io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        Self {
            fault: Arc::new(fault),
            ..Self::sound()
        }
    }
}

impl std::fmt::Debug for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Odd")
    }
}

struct OddFile {
    file: Box<dyn OutFile>,
    path: std::path::PathBuf,
    fault: Arc<Fault>,
}

impl OutFile for OddFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        match (self.fault)(&self.path, "write") {
            Ok(true) => self.file.write_at(bytes, offset),
            Ok(false) => Ok(()),
            Err(error) => {
                // A disk that fills up takes a part first.
                self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
                Err(error)
            }
        }
    }

    fn sync(&mut self) -> std::io::Result<()> {
        if (self.fault)(&self.path, "sync")? {
            self.file.sync()?;
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> std::io::Result<()> {
        if (self.fault)(&self.path, "set_len")? {
            self.file.set_len(len)?;
        }
        Ok(())
    }
}

impl Machine for Odd {
    fn create(&self, path: &Path) -> std::io::Result<Box<dyn OutFile>> {
        (self.fault)(path, "create")?;
        Ok(Box::new(OddFile {
            file: ThisMachine.create(path)?,
            path: path.to_owned(),
            fault: Arc::clone(&self.fault),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        (self.fault)(to, "rename")?;
        ThisMachine.rename(from, to)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        (self.fault)(path, "remove")?;
        ThisMachine.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> std::io::Result<()> {
        if (self.fault)(path, "sync_directory")? {
            ThisMachine.sync_directory(path)?;
        }
        Ok(())
    }

    fn boot(&self) -> Option<String> {
        self.boot.clone()
    }

    fn reached(&self, point: Point) -> std::io::Result<()> {
        (self.at_point)(point)
    }
}
