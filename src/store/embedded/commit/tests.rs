//! What use cases of one group make of each other: work that is claimed as it comes in, looks that come together, and
//! those that wait for company.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;

use super::*;
use crate::domain::{
    Arrival, Callback, CallbackId, EndpointName, EventFilter, EventId, MerchantNo,
    OperationalEvent, Route, Routing, SignCheck, Timestamp, VerifyLane,
};
use crate::store::embedded::keys::Tree;
use crate::store::embedded::migrating::OURS;
use crate::store::embedded::{
    EmbeddedSettings, JournalSettings, ThisMachine, accepting, delivering, opening, operating,
    publishing, verifying,
};
use crate::store::{Hand, Standby, StoreError, VerifyClaim};

const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);

const LEASE: Duration = Duration::from_secs(30);

/// Nobody waits that long.
const LONG: Duration = Duration::from_secs(30);

/// This machine, with a disk that takes nothing while that is set.
#[derive(Debug, Default)]
struct Failing(Arc<AtomicBool>);

impl Machine for Failing {
    fn reached(&self, point: Point) -> io::Result<()> {
        if point == Point::BeforeWrite && self.0.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// A loop over a new store, that nobody runs.
pub(super) fn unrun(directory: &Path, machine: Arc<dyn Machine>, signals: Arc<Signals>) -> Loop {
    let settings = EmbeddedSettings::at(directory.to_owned(), 0);
    let opened = opening::open(&settings, JournalSettings::default(), &machine, NOW, OURS).unwrap();
    let engine = Arc::new(opened.engine);
    Loop::new(Parts {
        engine: Arc::clone(&engine),
        journal: opened.journal,
        images: Arc::new(Images::new(engine, Arc::clone(&machine))),
        machine,
        signals,
        min_free: 0,
        cache: settings.cache,
        metrics: Arc::default(),
    })
}

/// A loop that nobody runs, and a worker of a merchant that has one hand.
struct Scene {
    work: Loop,
    fails: Arc<AtomicBool>,
    hand: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    _standby: Standby<VerifyClaim>,
}

fn merchant() -> MerchantNo {
    "1027749636".parse().unwrap()
}

impl Scene {
    fn new(directory: &Path) -> Self {
        let fails = Arc::new(AtomicBool::new(false));
        let machine = Arc::new(Failing(Arc::clone(&fails)));
        let signals = Arc::new(Signals::default());
        let (hand, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (free, count) = (Arc::clone(&hand), Arc::clone(&begun));
        let standby = signals.stand_by_verifications(merchant(), move || {
            let permit = Arc::clone(&free).try_acquire_owned().ok()?;
            let count = Arc::clone(&count);
            Some(Hand {
                from: NOW,
                lease: LEASE,
                take: Box::new(move |_claim| {
                    Box::new(move || {
                        count.fetch_add(1, Ordering::Relaxed);
                        permit.forget();
                    })
                }),
            })
        });
        let work = unrun(directory, machine, signals);
        Self {
            work,
            fails,
            hand,
            begun,
            _standby: standby,
        }
    }

    /// Commits use cases as one group; returns which of them counted.
    fn commit(&mut self, use_cases: Vec<UseCase>) -> Vec<bool> {
        let counted: Arc<std::sync::Mutex<Vec<bool>>> = Arc::default();
        let jobs = use_cases.into_iter().map(|use_case| -> Job {
            let counted = Arc::clone(&counted);
            Box::new(move |txn| {
                txn.require_sync();
                let result = txn.scoped(use_case);
                Some(Box::new(move |written| {
                    counted
                        .lock()
                        .unwrap()
                        .push(written.is_ok() && result.is_ok());
                }))
            })
        });
        self.work.commit((&mut jobs.collect(), &mut Vec::new()));
        let counted = counted.lock().unwrap();
        counted.clone()
    }

    /// Hands that are free, and pieces that were begun.
    fn stand(&self) -> (usize, usize) {
        let begun = self.begun.load(Ordering::Relaxed);
        (self.hand.available_permits(), begun)
    }
}

type UseCase = Box<dyn FnOnce(&mut Txn<'_>) -> Result<(), StoreError> + Send>;

fn rings(number: u8) -> UseCase {
    let callback = Callback {
        id: CallbackId::new(NOW, number.into()),
        merchant: merchant(),
        user: Some(format!("user-{number}").parse().unwrap()),
        claim: Some("2".into()),
        sign: SignCheck::Valid,
        token: true,
        arrival: Arrival {
            body: vec![],
            content_type: None,
            query: None,
            peer: None,
            at: NOW,
        },
    };
    let fresh = EventId::new(NOW, number.into());
    Box::new(move |txn| accepting::accept(txn, callback, fresh, &Routing::new(vec![])))
}

/// Claims all that wait, so many.
fn claims(number: usize, then: Result<(), StoreError>) -> UseCase {
    Box::new(move |txn| {
        let claimed = verifying::claim(txn, &merchant(), VerifyLane::Main, NOW, LEASE, 9)?;
        assert_eq!(claimed.len(), number);
        let is_all = verifying::is_nothing_due(txn, &merchant(), VerifyLane::Main, NOW)?;
        assert!(is_all);
        then
    })
}

#[test]
fn a_group_that_is_not_written_begins_nothing_and_what_was_due_before_it_is_due_after() {
    let directory = tempfile::tempdir().unwrap();
    let mut scene = Scene::new(directory.path());
    assert_eq!(scene.commit(vec![rings(1)]), [true]);
    scene.hand.add_permits(1);
    scene.fails.store(true, Ordering::Relaxed);
    // With the first out of the way the second would be given.
    assert_eq!(
        scene.commit(vec![claims(1, Ok(())), rings(2)]),
        [false, false]
    );
    assert_eq!(scene.stand(), (1, 0), "the hand is free again");
    scene.fails.store(false, Ordering::Relaxed);
    assert_eq!(scene.commit(vec![rings(3)]), [true]);
    assert_eq!(scene.stand(), (1, 0), "the first waits and goes before");
    assert_eq!(
        scene.commit(vec![claims(2, Err(StoreError::Overloaded)), rings(4)]),
        [false, true]
    );
    assert_eq!(scene.stand(), (1, 0), "it waits still");
    assert_eq!(scene.commit(vec![claims(3, Ok(()))]), [true]);
    scene.hand.add_permits(1);
    let refused: UseCase = Box::new(|txn| rings(5)(txn).and(Err(StoreError::Overloaded)));
    let both = vec![refused, rings(6)];
    assert_eq!(scene.commit(both), [false, true]);
    assert_eq!(scene.stand(), (1, 1), "what was refused is not begun");
    assert_eq!(scene.commit(vec![rings(7), rings(8)]), [true; 2]);
    assert_eq!(scene.stand(), (0, 2), "one hand, one piece");
}

#[test]
fn an_endpoint_that_was_resumed_gets_one_delivery_though_two_looks_come_together() {
    let directory = tempfile::tempdir().unwrap();
    let mut scene = Scene::new(directory.path());
    let ledger: EndpointName = "ledger".parse().unwrap();
    let route = Route {
        endpoint: ledger.clone(),
        events: EventFilter::parse(&["relay.*"]).unwrap(),
        merchants: vec![],
        ordered: true,
    };
    let two = move |txn: &mut Txn<'_>| {
        for number in 0..2 {
            let address = "https://example.com".to_owned();
            let news = OperationalEvent::ProviderDown {
                address,
                since: NOW,
            };
            let routing = Routing::new(vec![route.clone()]);
            publishing::publish_news(txn, EventId::new(NOW, number), NOW, news, &routing)?;
        }
        Ok(())
    };
    let paused = ledger.clone();
    let resumed = move |txn: &mut Txn<'_>| {
        operating::pause(txn, &paused, NOW)?;
        operating::resume(txn, &paused, NOW)?;
        Ok(())
    };
    let looks = |expected: usize| -> UseCase {
        let ledger = ledger.clone();
        Box::new(move |txn| {
            let claimed = delivering::claim(txn, &ledger, NOW, LEASE, 9)?;
            assert_eq!(claimed.len(), expected);
            Ok(())
        })
    };
    let all: Vec<UseCase> = vec![Box::new(two), Box::new(resumed), looks(1), looks(0)];
    assert_eq!(scene.commit(all), [true; 4]);
}

/// Runs the loop on a thread of its own, and has it commit a group that makes it worth waiting for company. `meanwhile` sends
/// what comes while that group is under way.
async fn running<F: Future<Output = ()>>(
    directory: &Path,
    meanwhile: impl FnOnce(Committer) -> F,
) -> (Committer, std::thread::JoinHandle<()>) {
    let Scene { mut work, .. } = Scene::new(directory);
    work.start_drain().unwrap();
    let (committer, waiting) = Committer::new();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (end, may_end) = std::sync::mpsc::channel();
    let thread = {
        let callbacks = [1, 2].map(|number| committer.submit_callback(news(number)));
        let callbacks = futures_util::future::try_join_all(callbacks);
        let other = committer.submit(move |txn| {
            begun.send(()).unwrap();
            may_end.recv_timeout(LONG).unwrap();
            news(3)(txn)
        });
        let mut all = pin!(async { tokio::join!(callbacks, other) });
        // All three are there when the loop begins.
        assert!((&mut all).now_or_never().is_none());
        let thread = std::thread::spawn(move || work.run(waiting));
        has_begun.recv_timeout(LONG).unwrap();
        let mut meanwhile = pin!(meanwhile(committer.clone()));
        let is_sent = (&mut meanwhile).now_or_never();
        end.send(()).unwrap();
        let (callbacks, other) = all.await;
        callbacks.unwrap();
        other.unwrap();
        if is_sent.is_none() {
            meanwhile.await;
        }
        thread
    };
    (committer, thread)
}

/// Something to be synced.
fn news(number: u8) -> impl FnOnce(&mut Txn<'_>) -> Result<(), StoreError> + Send + 'static {
    move |txn| {
        txn.put_raw(Tree::Unsettled, [number].to_vec(), Vec::new());
        Ok(())
    }
}

#[tokio::test]
async fn who_waits_for_company_is_answered_though_none_comes() {
    let directory = tempfile::tempdir().unwrap();
    let (committer, thread) = running(directory.path(), |_| async {}).await;
    let alone = committer.submit_callback(news(4));
    tokio::time::timeout(LONG, alone).await.unwrap().unwrap();
    committer.close().await.unwrap();
    thread.join().unwrap();
}

#[tokio::test]
async fn who_waits_for_company_is_done_before_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let (committer, thread) = running(directory.path(), |_| async {}).await;
    let (last, end) = (committer.submit_callback(news(4)), committer.close());
    let (last, end) = tokio::join!(last, end);
    last.unwrap();
    end.unwrap();
    thread.join().unwrap();
    let settings = EmbeddedSettings::at(directory.path().to_owned(), 0);
    let machine: Arc<dyn Machine> = Arc::new(ThisMachine);
    let opened = opening::open(&settings, JournalSettings::default(), &machine, NOW, OURS);
    let found = opened.unwrap().engine.get(Tree::Unsettled, &[4]).unwrap();
    assert!(found.is_some());
}

#[tokio::test]
async fn a_callback_lets_what_need_not_be_synced_go_and_goes_along_with_what_must() {
    for is_synced in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let order: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let (one, other) = (Arc::clone(&order), Arc::clone(&order));
        let callback = move |txn: &mut Txn<'_>| {
            let beside = txn.changes(Tree::Unsettled).len();
            one.lock()
                .unwrap()
                .push(format!("callback, beside {beside}"));
            news(4)(txn)
        };
        let loose = move |txn: &mut Txn<'_>| {
            other.lock().unwrap().push("loose".into());
            if is_synced {
                txn.require_sync();
            }
            news(5)(txn)
        };
        let (committer, thread) = running(directory.path(), |committer| async move {
            let both = tokio::join!(
                committer.submit_callback(callback),
                committer.submit_loose(loose)
            );
            both.0.unwrap();
            both.1.unwrap();
        })
        .await;
        let beside = usize::from(is_synced);
        assert_eq!(
            *order.lock().unwrap(),
            ["loose".to_owned(), format!("callback, beside {beside}")]
        );
        committer.close().await.unwrap();
        thread.join().unwrap();
    }
}
