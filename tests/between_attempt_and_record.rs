//! The store fails, stalls or ends between an attempt and its record: the receiver has heard, and nobody has noted it.
//!
//! Promised: the attempt stays counted; nobody tries again before its lease is over; then the same `webhook-id` goes out
//! once more, and the attempt that nobody saw the end of is in the delivery's story.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vexora_relay::clock::{Clock, Entropy, SeededEntropy, SimClock};
use vexora_relay::deliver::{
    Deliverer, DelivererParts, DelivererSettings, Sender, Target, WireFormat,
};
use vexora_relay::domain::{
    Answer, Attempt, Delivery, DeliveryPolicy, EventFilter, FailureClass, Jitter, Route, Routing,
    Schedule, Secret, Source, Status, Timestamp, Trust, Verdict, VerifyLane, VerifyPolicy,
};
use vexora_relay::metrics::Metrics;
use vexora_relay::outbound::{Client, ClientSettings, PublicRoots};
use vexora_relay::signing::webhook::WebhookKey;
use vexora_relay::store::embedded::{EmbeddedSettings, JournalSettings, Machine, Point, SledStore};
use vexora_relay::store::{AnswerReport, Store};
use vexora_relay::worker::{self, Hands, Stage};

const MERCHANT: &str = "1027749636";
const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);
/// The attempt's timeout and the slack that a lease has beyond it, and more.
const PAST_THE_LEASE: Duration = Duration::from_secs(60);

/// What the next groups meet before they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Fine,
    Fail,
    Stall,
}

/// This machine, until it is ordered otherwise.
#[derive(Debug, Default)]
struct Ordered {
    order: Mutex<Order>,
    changed: Condvar,
}

impl Ordered {
    fn order(&self, order: Order) {
        *self.order.lock().expect("unpoisoned") = order;
        self.changed.notify_all();
    }
}

impl Machine for Ordered {
    fn reached(&self, point: Point) -> io::Result<()> {
        if point != Point::BeforeWrite {
            return Ok(());
        }
        let order = self.order.lock().expect("unpoisoned");
        let stalled = |order: &mut Order| *order == Order::Stall;
        match *self.changed.wait_while(order, stalled).expect("unpoisoned") {
            Order::Fail => Err(io::Error::other("failed on order")),
            Order::Fine | Order::Stall => Ok(()),
        }
    }
}

/// A store with one result waiting for one endpoint, and a receiver that orders what happens once it has heard.
struct Scene {
    directory: tempfile::TempDir,
    machine: Arc<Ordered>,
    clock: Arc<SimClock>,
    store: Arc<SledStore>,
    url: String,
    heard: mpsc::UnboundedReceiver<String>,
}

impl Scene {
    async fn new(once_heard: Order) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let machine = Arc::<Ordered>::default();
        let clock = Arc::new(SimClock::at(START));
        let store = open(directory.path(), &machine, START);
        let (url, heard) = receiver(once_heard, Arc::clone(&machine));
        let scene = Self {
            directory,
            machine,
            clock,
            store,
            url,
            heard,
        };
        scene.result("taro", 1).await;
        scene
    }

    /// With a delivery each for three users.
    async fn of_three() -> Self {
        let scene = Self::new(Order::Fine).await;
        scene.result("hanako", 2).await;
        scene.result("jiro", 3).await;
        scene
    }

    /// The provider approves a user.
    async fn result(&self, name: &str, seed: u64) {
        let store = &self.store;
        let (merchant, user) = (
            MERCHANT.parse().expect("valid"),
            name.parse().expect("valid"),
        );
        let rung =
            store.request_verification(&merchant, &user, Source::Operator, Trust::Token, START);
        rung.await.expect("rings");
        let lease = Duration::from_secs(30);
        let claims = store
            .claim_verifications(&merchant, VerifyLane::Main, START, lease, 1)
            .await
            .expect("claims");
        let report = AnswerReport {
            answer: Answer::Verdict(Verdict::new(Status::Approved, None)),
            now: START,
            took: Duration::ZERO,
            fresh: SeededEntropy::new(seed).event_id(START),
            fresh_too: SeededEntropy::new(seed + 100).event_id(START),
            policy: VerifyPolicy {
                retry: schedule(),
                give_up_after: Duration::from_secs(600),
                duplicate_window: Duration::from_secs(600),
                reconcile: None,
            },
            routing: routing(),
        };
        store
            .record_answer(&claims[0], report)
            .await
            .expect("records");
    }

    fn deliverer(&self) -> Arc<Deliverer> {
        let client = Client::new(&ClientSettings::default(), &PublicRoots::load()).expect("makes");
        let key = Secret::new(&WebhookKey::symmetric_text(&[7; 32]));
        let target = Target {
            url: self.url.parse().expect("valid"),
            keys: vec![WebhookKey::parse(&key).expect("valid")],
            headers: vec![],
            format: WireFormat::Standard,
            expect_body: None,
            timeout: Duration::from_secs(10),
        };
        let settings = DelivererSettings {
            policy: DeliveryPolicy {
                retry: schedule(),
                jitter: Jitter::NONE,
                give_up_after: Duration::from_secs(3600),
            },
            sender: Sender::new(client, target),
        };
        Arc::new(Deliverer::new(DelivererParts {
            endpoint: "ledger".parse().expect("valid"),
            concurrency: 4,
            pace: None,
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy: Arc::new(SeededEntropy::new(2)),
            routing: Arc::new(ArcSwap::new(routing())),
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            metrics: Arc::new(Metrics::new(START)),
        }))
    }

    /// Makes every attempt that is due; how many that was.
    async fn deliver(&self) -> usize {
        worker::run_due(&self.deliverer())
            .await
            .expect("the store reads")
    }

    async fn told(&self) -> (Delivery, Vec<Attempt>) {
        let (merchant, user) = (
            MERCHANT.parse().expect("valid"),
            "taro".parse().expect("valid"),
        );
        let mut story = self.store.story(&merchant, &user).await.expect("reads");
        story.events.remove(0).1.remove(0)
    }

    fn next_heard(&mut self) -> Option<String> {
        self.heard.try_recv().ok()
    }
}

fn open(path: &Path, machine: &Arc<Ordered>, now: Timestamp) -> Arc<SledStore> {
    let settings = EmbeddedSettings::at(path.to_owned(), 0);
    let machine = Arc::clone(machine) as Arc<dyn Machine>;
    let opened = SledStore::open_on(&settings, JournalSettings::default(), machine, now);
    Arc::new(opened.expect("opens").0)
}

fn schedule() -> Schedule {
    Schedule::new(vec![Duration::from_secs(5); 5]).expect("valid")
}

fn routing() -> Arc<Routing> {
    Arc::new(Routing::new(vec![Route {
        endpoint: "ledger".parse().expect("valid"),
        events: EventFilter::final_results(),
        merchants: vec![],
        ordered: true,
    }]))
}

/// Tells the `webhook-id` of what comes; orders for the store what is to happen before the first is answered.
fn receiver(once_heard: Order, machine: Arc<Ordered>) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hooks", listener.local_addr().expect("bound"));
    let (said, heard) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut order = Some(once_heard);
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let (mut id, mut length) = (String::new(), 0);
            for line in stream.by_ref().lines() {
                let line = line.expect("a header").to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("webhook-id: ") {
                    value.clone_into(&mut id);
                } else if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.parse().expect("a length");
                } else if line.is_empty() {
                    break;
                }
            }
            stream.read_exact(&mut vec![0; length]).expect("a body");
            if let Some(order) = order.take() {
                machine.order(order);
            }
            let _test_ended = said.send(id);
            let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            stream.get_mut().write_all(answer).expect("answered");
        }
    });
    (url, heard)
}

fn outcomes(attempts: &[Attempt]) -> Vec<(u32, Option<FailureClass>)> {
    let told = attempts.iter();
    told.map(|one| (one.number, one.outcome.failure)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_costs_an_attempt_and_the_same_id_goes_out_after_the_lease() {
    let mut scene = Scene::new(Order::Fail).await;
    assert_eq!(scene.deliver().await, 1);
    let id = scene.next_heard().expect("the receiver has heard");
    let (delivery, attempts) = scene.told().await;
    assert!(delivery.is_pending(), "nobody noted that it was heard");
    assert_eq!((delivery.attempts, attempts.len()), (1, 0));

    scene.machine.order(Order::Fine);
    assert_eq!(scene.deliver().await, 0, "the lease still runs");
    scene.clock.advance(PAST_THE_LEASE);
    assert_eq!(scene.deliver().await, 1);
    assert_eq!(scene.next_heard(), Some(id), "the same id, once more");
    let (delivery, attempts) = scene.told().await;
    assert!(!delivery.is_pending());
    let seen = [(1, Some(FailureClass::Interrupted)), (2, None)];
    assert_eq!(outcomes(&attempts), seen);
    assert_eq!((scene.deliver().await, scene.next_heard()), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_after_a_record_that_failed_sends_the_same_id_at_once() {
    let mut scene = Scene::new(Order::Fail).await;
    assert_eq!(scene.deliver().await, 1);
    let id = scene.next_heard().expect("the receiver has heard");
    scene.machine.order(Order::Fine);
    scene.store.close().await.expect("closes");
    // The old one goes first: its lock is held as long as it lives.
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    scene.store = open(elsewhere.path(), &scene.machine, START);
    scene.store = open(scene.directory.path(), &scene.machine, scene.clock.now());

    assert_eq!(scene.deliver().await, 1, "nobody else can hold a lease");
    assert_eq!(scene.next_heard(), Some(id));
    let (delivery, attempts) = scene.told().await;
    assert!(!delivery.is_pending());
    assert_eq!(delivery.attempts, 2);
    assert_eq!(outcomes(&attempts).last(), Some(&(2, None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_stalls_is_waited_for_and_nothing_is_sent_twice() {
    let mut scene = Scene::new(Order::Stall).await;
    let deliverer = scene.deliverer();
    let attempt = TaskTracker::new().spawn(async move { worker::run_due(&deliverer).await });
    let id = scene.heard.recv().await;
    assert!(id.is_some(), "the receiver has heard");
    let (delivery, attempts) = scene.told().await;
    assert!(delivery.is_pending(), "reads do not wait for the record");
    assert_eq!((delivery.attempts, attempts.len()), (1, 0));
    assert_eq!(scene.deliver().await, 0, "the lease still runs");

    scene.machine.order(Order::Fine);
    assert_eq!(attempt.await.expect("ends").expect("records"), 1);
    let (delivery, attempts) = scene.told().await;
    assert!(!delivery.is_pending());
    assert_eq!(outcomes(&attempts), [(1, None)]);
    assert_eq!((scene.deliver().await, scene.next_heard()), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_comes_along_with_a_record_until_the_worker_is_to_end() {
    let mut scene = Scene::of_three().await;
    let deliverer = scene.deliverer();
    let claim = deliverer.claim(1).await.expect("claims").remove(0);
    let permit = deliverer.permits().acquire_owned().await.expect("open");
    let end = CancellationToken::new();
    let hands = Hands::new(end.clone(), TaskTracker::new());
    let next = Arc::clone(&deliverer).perform(claim, permit, &hands).await;
    let (second, permit) = next.expect("two more are due");
    assert!(scene.next_heard().is_some());
    assert_eq!(deliverer.permits().available_permits(), 3, "it is kept");

    end.cancel();
    let last = Arc::clone(&deliverer).perform(second, permit, &hands);
    assert!(last.await.is_none());
    assert!(scene.next_heard().is_some(), "what was claimed is sent");
    assert_eq!(deliverer.permits().available_permits(), 4);
    assert_eq!(scene.next_heard(), None);
    assert_eq!(scene.deliver().await, 1, "the last was left to others");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_claimed_ahead_is_given_back_when_the_loop_ends() {
    let mut scene = Scene::of_three().await;
    let deliverer = scene.deliverer();
    let claim = deliverer.claim(1).await.expect("claims").remove(0);
    let permit = deliverer.permits().acquire_owned().await.expect("open");
    // All hands are busy, and the receiver is fast.
    let _others = deliverer.permits().acquire_many_owned(3).await;
    let hands = Hands::new(CancellationToken::new(), TaskTracker::new());
    let next = Arc::clone(&deliverer).perform(claim, permit, &hands).await;
    assert!(next.is_some() && scene.next_heard().is_some());
    // None, as both that are left are claimed; or one, if the receiver was not that fast.
    let before = scene.deliver().await;
    deliverer.ended().await;
    assert_eq!(before + scene.deliver().await, 1);
    assert!(scene.next_heard().is_some());
}
