//! Fan-outs a transaction at a time: what is made at once, what is written down, and what becomes of that in which order.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod ahead;
mod behind;
mod beside;
mod listed;
mod order;

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sled::IVec;

use super::*;
use crate::domain::{
    EventFilter, JobKind, JobOrder, ResultEvent, Routing, Source, Status, Timestamp, Verdict,
};
use crate::store::embedded::codec;
use crate::store::embedded::keys::Key;
use crate::store::embedded::migrating::OURS;
use crate::store::embedded::{
    EmbeddedSettings, Finding, JournalSettings, Machine, ThisMachine, jobs, opening, operating,
    verify_store,
};

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + secs * 1000)
}

fn endpoint(number: usize) -> EndpointName {
    format!("e-{number:03}").parse().unwrap()
}

fn user(name: &str) -> (MerchantNo, UserId) {
    ("1027749636".parse().unwrap(), name.parse().unwrap())
}

/// So many endpoints that hear every result in order.
fn routing(numbers: impl Iterator<Item = usize>) -> Routing {
    let routes = numbers.map(|number| Route {
        endpoint: endpoint(number),
        events: EventFilter::parse(&["kyc.*"]).unwrap(),
        merchants: vec![],
        ordered: true,
    });
    Routing::new(routes.collect())
}

fn result(name: &str, sequence: u64, made: Timestamp) -> Event {
    let (merchant, user) = user(name);
    let content = EventContent::Result(ResultEvent {
        merchant,
        user,
        verdict: Verdict::new(Status::parse("2").unwrap(), None),
        sequence,
        source: Source::Callback,
    });
    let id = EventId::new(made, u128::from(sequence));
    let at = at(100 + sequence);
    Event { id, at, content }
}

/// About whatever an endpoint has or lacks.
fn order(kind: JobKind, number: usize) -> JobOrder {
    JobOrder {
        kind,
        endpoint: endpoint(number),
        since: at(0),
        until: at(1000),
        types: vec![],
        states: vec![],
    }
}

fn numbers(deliveries: Vec<Delivery>) -> Vec<usize> {
    let number = |one: Delivery| one.endpoint.as_str()[2..].parse().unwrap();
    deliveries.into_iter().map(number).collect()
}

/// A store without its commit loop: the test is the loop.
struct Scene {
    engine: Engine,
    now: Cell<Instant>,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            engine: Engine::made_in(directory.path()),
            now: Cell::new(Instant::now()),
            _directory: directory,
        }
    }

    /// With so many endpoints paused.
    fn with_held(numbers: std::ops::Range<usize>) -> Self {
        let scene = Self::new();
        numbers.for_each(|number| scene.pause(number));
        scene
    }

    /// One group.
    fn run<R>(&self, use_case: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError>) -> R {
        let mut txn = Txn::new(&self.engine, Room::ANY);
        let done = use_case(&mut txn).unwrap();
        let (changes, _) = txn.finish();
        self.engine
            .apply(changes, self.engine.sequence() + 1)
            .unwrap();
        done
    }

    fn publish(&self, event: &Event, routing: &Routing) {
        self.run(|txn| publishing::publish(txn, event.clone(), routing));
    }

    /// A turn, so much later than the one before that any part may be made.
    fn work(&self) -> bool {
        let now = self.now.get() + Duration::from_secs(60);
        self.now.set(now);
        self.turn(now)
    }

    fn turn(&self, now: Instant) -> bool {
        self.run(|txn| work(txn, now))
    }

    /// Those to whom an event is still to be told, by number.
    fn to_come(&self, event: &Event) -> Vec<usize> {
        let deliveries = deliveries_to_come(&self.engine, event, None).unwrap();
        numbers(deliveries)
    }

    /// Does a job, as far as one part of it goes; returns how many it did.
    fn job(&self, order: &JobOrder, routing: &Routing) -> u64 {
        let job = self.run(|txn| jobs::begin(txn, order.clone(), 1, at(300)));
        let part = jobs::look(&self.engine, job.id, 1000, routing).unwrap();
        let part = part.unwrap();
        let job = self.run(|txn| jobs::advance(txn, &part, at(301), routing));
        job.unwrap().done
    }

    fn pause(&self, number: usize) {
        self.run(|txn| operating::pause(txn, &endpoint(number), at(0)));
    }

    fn resume(&self, number: usize) {
        self.run(|txn| operating::resume(txn, &endpoint(number), at(0)));
    }

    /// Who has a delivery of an event, by number.
    fn told(&self, event: &Event) -> Vec<usize> {
        numbers(self.deliveries(event))
    }

    fn deliveries(&self, event: &Event) -> Vec<Delivery> {
        let id = event.id.to_bytes();
        let entries = self.engine.prefix(Tree::Deliveries, &id).unwrap();
        let decode = |entry: Result<(sled::IVec, sled::IVec), StoreError>| {
            let (key, bytes) = entry.unwrap();
            codec::decode(&key, &bytes).unwrap()
        };
        entries.map(decode).collect()
    }

    /// Keys of what is left.
    fn parts(&self) -> Vec<Key> {
        let entries = self.engine.prefix(Tree::FanOut, &[]).unwrap();
        entries.map(|entry| Key::of([&entry.unwrap().0])).collect()
    }
}

/// What `verify-store` says of a store in which one group was written.
fn findings_after(use_case: impl FnOnce(&mut Txn<'_>)) -> Vec<Finding> {
    let directory = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings::at(directory.path().to_owned(), 0);
    let machine: Arc<dyn Machine> = Arc::new(ThisMachine);
    let tuning = JournalSettings::default();
    let opened = opening::open(&settings, tuning, &machine, at(0), OURS);
    let mut opened = opened.unwrap();
    let mut txn = Txn::new(&opened.engine, Room::ANY);
    use_case(&mut txn);
    let (changes, _) = txn.finish();
    let sequence = opened.journal.append(&changes).unwrap();
    opened.engine.apply(changes, sequence).unwrap();
    drop(opened);
    verify_store(&settings).unwrap().findings
}

#[test]
fn who_is_up_has_a_delivery_at_once_and_the_others_soon_after_the_very_same() {
    let scene = Scene::with_held(0..99);
    let event = result("taro", 1, at(0));
    scene.publish(&event, &routing(0..100));
    assert_eq!(scene.told(&event), [99], "the last of the file");
    assert_eq!(scene.parts(), [keys::fan_out(event.id, 0)]);
    assert!(scene.work());
    assert_eq!(scene.told(&event).len(), 1 + PART, "a part and no more");
    for _ in 1..99_usize.div_ceil(PART) {
        assert!(scene.work());
    }
    assert_eq!(scene.told(&event), (0..100).collect::<Vec<_>>());
    for delivery in scene.deliveries(&event) {
        let expected = Delivery {
            is_last: true,
            ..publishing::fresh(&event, delivery.endpoint.clone(), true)
        };
        assert_eq!(delivery, expected);
        let place = keys::delivery_due(&delivery.endpoint, false, event.at, event.id);
        assert!(
            scene
                .engine
                .get(Tree::DeliveryDue, &place)
                .unwrap()
                .is_some()
        );
    }
    assert_eq!(scene.parts(), []);
    assert!(scene.engine.fan_out.is_any(), "nobody has looked yet");
    assert!(!scene.work());
    assert!(!scene.engine.fan_out.is_any());
}

#[test]
fn few_targets_are_all_told_at_once_and_of_many_that_are_up_the_first() {
    let scene = Scene::with_held(0..10);
    let few = result("taro", 1, at(0));
    scene.publish(&few, &routing(0..DIRECT));
    assert_eq!(scene.told(&few), (0..32).collect::<Vec<_>>(), "held or not");
    assert_eq!(scene.parts(), []);
    let many = result("hanako", 1, at(1));
    scene.publish(&many, &routing(0..100));
    assert_eq!(scene.told(&many), (10..42).collect::<Vec<_>>());
}

#[test]
fn an_endpoint_counts_as_it_is_now_also_within_a_group() {
    let scene = Scene::with_held(0..40);
    let all = routing(0..40);
    let told = |number: usize| {
        let event = result(&format!("user-{number}"), 1, at(number as u64));
        scene.publish(&event, &all);
        scene.told(&event)
    };
    assert_eq!(told(1), Vec::<usize>::new());
    scene.run(|txn| operating::resume(txn, &endpoint(7), at(2)));
    assert_eq!(told(2), [7]);
    scene.run(|txn| operating::pause(txn, &endpoint(7), at(3)));
    assert_eq!(told(3), Vec::<usize>::new());
    let event = result("taro", 1, at(4));
    scene.run(|txn| {
        operating::resume(txn, &endpoint(8), at(4))?;
        publishing::publish(txn, event.clone(), &all)
    });
    assert_eq!(scene.told(&event), [8]);
    // A group that was not written says nothing of anybody.
    let mut dropped = Txn::new(&scene.engine, Room::ANY);
    operating::resume(&mut dropped, &endpoint(9), at(5)).unwrap();
    let lost = result("lost", 1, at(5));
    publishing::publish(&mut dropped, lost, &all).unwrap();
    drop(dropped);
    assert_eq!(told(6), [8]);
}

/// The clock goes back, so that the newer result's parts come first by their keys.
#[test]
fn a_users_results_keep_their_order_at_every_endpoint_whatever_the_clock_does() {
    for (first, second, as_one_group) in [(0, 50, false), (50, 0, false), (50, 0, true)] {
        let scene = Scene::with_held(0..80);
        let events = [
            result("taro", 1, at(first)),
            result("taro", 2, at(second)),
            result("taro", 3, at(25)),
        ];
        // The second concerns few, and one of them is up.
        let targets = [routing(0..100), routing(40..90), routing(0..100)];
        let publish = |txn: &mut Txn<'_>, range: std::ops::Range<usize>| {
            let mut both = events[range.clone()].iter().zip(&targets[range]);
            both.try_for_each(|(event, to)| publishing::publish(txn, event.clone(), to))
        };
        if as_one_group {
            scene.run(|txn| publish(txn, 0..3));
        } else {
            (0..3).for_each(|number| scene.run(|txn| publish(txn, number..number + 1)));
        }
        assert_eq!(scene.told(&events[0]), (80..100).collect::<Vec<_>>());
        assert_eq!(scene.told(&events[1]), (80..90).collect::<Vec<_>>());
        assert_eq!(scene.told(&events[2]), (80..100).collect::<Vec<_>>());
        while scene.work() {
            let told = events.each_ref().map(|event| scene.told(event));
            for number in told[1].iter().chain(&told[2]) {
                assert!(told[0].contains(number), "{number} misses the first");
            }
            for number in told[2].iter().filter(|number| (40..90).contains(*number)) {
                assert!(told[1].contains(number), "{number} misses the second");
            }
        }
        assert_eq!(scene.told(&events[2]).len(), 100);
        for number in 0..100 {
            let due = keys::delivery_due_prefix(&endpoint(number), false);
            let queued = scene.engine.prefix(Tree::DeliveryDue, &due).unwrap();
            let queued: Vec<_> = queued.map(|entry| entry.unwrap().0).collect();
            assert_eq!(queued.len(), 1, "the first of each line");
            assert_eq!(keys::trailing_id(&queued[0]), Some(events[0].id.to_bytes()));
        }
    }
}
