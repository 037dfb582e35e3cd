//! A result for very many endpoints, most of them held: whatever ends or fails while their deliveries are being made, each
//! gets its delivery, and one.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vexora_relay::clock::{Entropy as _, SeededEntropy};
use vexora_relay::domain::{
    Answer, EndpointName, EventFilter, Route, Routing, Schedule, Source, Status, Trust, Verdict,
    VerifyLane, VerifyPolicy,
};
use vexora_relay::store::embedded::{
    EmbeddedSettings, Point, Rebuilt, SledStore, ThisMachine, restore, verify_store,
};
use vexora_relay::store::{AnswerReport, DeliveryFilter, Lists as _, PageOf, Scope, Store as _};

use super::durable::{self, Odd, at, block_on, merchant, user};
use super::{LARGE, wait_for_lock};

/// Longer than any of this takes, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// All but the last are paused. Beside that one, six parts of 16 and one of 3.
const ENDPOINTS: usize = 100;

/// As many writes as there may be.
const ANY: i64 = i64::MAX / 2;

fn endpoint(number: usize) -> EndpointName {
    format!("e-{number:03}").parse().expect("valid")
}

fn routing() -> Arc<Routing> {
    let routes = (0..ENDPOINTS).map(|number| Route {
        endpoint: endpoint(number),
        events: EventFilter::parse(&["kyc.*"]).expect("valid"),
        merchants: vec![],
        ordered: true,
    });
    Arc::new(Routing::new(routes.collect()))
}

/// What becomes of writes beyond those that the test allows.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Fail,
    /// The power is gone, and nobody knows yet: what is written is nowhere, and no sync ends well.
    GoNowhere,
}

struct Scene {
    directory: tempfile::TempDir,
    store: SledStore,
    entropy: SeededEntropy,
    allowed: Arc<AtomicI64>,
    refused: Arc<AtomicU64>,
    /// Each sync of the journal, when it is asked for.
    syncs: Receiver<()>,
}

impl Scene {
    fn new(then: Then) -> Self {
        let directory = tempfile::tempdir().expect("makes");
        let allowed = Arc::new(AtomicI64::new(ANY));
        let refused = Arc::new(AtomicU64::default());
        let is_cut = Arc::new(AtomicBool::default());
        let (said, syncs) = channel();
        let said = Mutex::new(said);
        let mut machine = Odd::with_fault({
            let is_cut = Arc::clone(&is_cut);
            move |path, step| {
                let is_journal = path.to_string_lossy().contains("/journal");
                match (is_journal, is_cut.load(Ordering::SeqCst), step) {
                    (true, false, "sync") => {
                        let _test_ended = said.lock().expect("whole").send(());
                        Ok(true)
                    }
                    (true, true, "write" | "set_len") => Ok(false),
                    (true, true, _) => Err(io::Error::other("the power is gone")),
                    _ => Ok(true),
                }
            }
        });
        machine.at_point = Arc::new({
            let (allowed, refused) = (Arc::clone(&allowed), Arc::clone(&refused));
            move |point| {
                let is_over =
                    point == Point::BeforeWrite && allowed.fetch_sub(1, Ordering::SeqCst) <= 0;
                if is_over {
                    refused.fetch_add(1, Ordering::SeqCst);
                    is_cut.store(then == Then::GoNowhere, Ordering::SeqCst);
                }
                if is_over && then == Then::Fail {
                    return Err(io::Error::other("the disk is full"));
                }
                Ok(())
            }
        });
        let (store, _) = durable::open(directory.path(), LARGE, Arc::new(machine)).expect("opens");
        block_on(async {
            for number in 0..ENDPOINTS - 1 {
                let held = store.pause(&endpoint(number), at(0)).await;
                assert!(held.expect("pauses").holds());
            }
        });
        Self {
            directory,
            store,
            entropy: SeededEntropy::new(3),
            allowed,
            refused,
            syncs,
        }
    }

    /// A result, after which this many groups are written: parts, so far as there are any.
    fn result(&self, number: usize, code: &str, then: i64) {
        let (merchant, user, now) = (merchant(), user(number), at(100));
        let (source, trust) = (Source::Operator, Trust::Token);
        let rung = self
            .store
            .request_verification(&merchant, &user, source, trust, now);
        block_on(rung).expect("rings");
        self.syncs.try_iter().count();
        let lease = Duration::from_secs(30);
        let claims = self
            .store
            .claim_verifications(&merchant, VerifyLane::Main, now, lease, 1);
        let claim = block_on(claims).expect("claims").remove(0);
        // Nothing is left to be written when the counting begins.
        self.syncs.recv_timeout(PATIENCE).expect("synced in time");
        let report = AnswerReport {
            answer: Answer::Verdict(Verdict::new(Status::parse(code).expect("valid"), None)),
            now,
            took: Duration::from_millis(3),
            fresh: self.entropy.event_id(now),
            fresh_too: self.entropy.event_id(now),
            policy: VerifyPolicy {
                retry: Schedule::new(vec![Duration::from_secs(1)]).expect("valid"),
                give_up_after: Duration::from_secs(600),
                duplicate_window: Duration::from_secs(1),
                reconcile: None,
            },
            routing: routing(),
        };
        self.allowed.store(1 + then, Ordering::SeqCst);
        let recorded = block_on(self.store.record_answer(&claim, report));
        assert!(recorded.expect("records").event.is_some());
    }

    fn wait_for_refusals(&self, number: u64) {
        let is_so = || self.refused.load(Ordering::SeqCst) >= number;
        until(is_so, || "too few".to_owned());
    }

    /// The process is gone.
    fn killed(self) -> tempfile::TempDir {
        drop(self.store);
        wait_for_lock(self.directory.path());
        self.directory
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "bounds what is waited for in real time"
)]
fn now() -> Instant {
    Instant::now()
}

/// Waits for what must come.
fn until(is_so: impl Fn() -> bool, found: impl Fn() -> String) {
    let began = now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{}", found());
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// The lines of a kind in an export.
fn exported(store: &SledStore, directory: &Path, kind: &str) -> Vec<serde_json::Value> {
    let file = directory.join("export");
    let to = std::fs::File::create(&file).expect("makes");
    block_on(store.export(Box::new(to))).expect("exports");
    let text = std::fs::read_to_string(file).expect("reads");
    let lines = text.lines().map(serde_json::from_str);
    let lines = lines.map(|line: Result<serde_json::Value, _>| line.expect("JSON"));
    lines.filter(|line| line["kind"] == kind).collect()
}

/// Who has a delivery of each of a user's results, the oldest first.
fn told(store: &SledStore, number: usize) -> Vec<Vec<EndpointName>> {
    let filter = DeliveryFilter {
        scope: Scope {
            user: Some(user(number)),
            ..Scope::default()
        },
        ..DeliveryFilter::default()
    };
    let listed = block_on(store.deliveries(filter, PageOf::first(10 * ENDPOINTS)));
    let mut told: BTreeMap<u64, Vec<EndpointName>> = BTreeMap::new();
    // The newest first, and the last.
    for one in listed.expect("reads").items.into_iter().rev() {
        let of_result = told.entry(one.delivery.sequence).or_default();
        of_result.push(one.delivery.endpoint);
    }
    told.into_values().collect()
}

fn everybody() -> Vec<EndpointName> {
    (0..ENDPOINTS).map(endpoint).collect()
}

/// Waits until everybody has a delivery of each result of user 1; then the store is whole.
fn all_come(store: SledStore, path: &Path, results: usize) {
    let wanted = vec![everybody(); results];
    let come = || told(&store, 1) == wanted;
    until(come, || format!("{:?}", told(&store, 1)));
    let pending = block_on(store.pending()).expect("reads").deliveries;
    assert_eq!(pending.len(), ENDPOINTS);
    assert!(
        pending.iter().all(|(_, count)| *count == results as u64),
        "{pending:?}"
    );
    block_on(store.close()).expect("closes");
    drop(store);
    is_whole(path);
}

fn is_whole(path: &Path) {
    let settings = EmbeddedSettings::at(path.to_owned(), 0);
    assert_eq!(verify_store(&settings).expect("looks").findings, []);
}

fn reopen(path: &Path) -> SledStore {
    let opened = durable::open(path, LARGE, Arc::new(ThisMachine));
    opened.expect("opens").0
}

#[test]
fn who_is_up_has_its_delivery_before_any_of_the_others() {
    let scene = Scene::new(Then::Fail);
    scene.result(1, "2", 0);
    assert_eq!(told(&scene.store, 1), [[endpoint(99)]]);
    scene.wait_for_refusals(1);
    assert_eq!(told(&scene.store, 1), [[endpoint(99)]], "nothing by halves");
    let mut still_to_come = exported(&scene.store, scene.directory.path(), "fan_out")
        .iter()
        .flat_map(|line| line["endpoints"].as_array().expect("a list").clone())
        .collect::<Vec<_>>();
    still_to_come.extend([endpoint(99).as_str().into()]);
    let names = everybody();
    let names: Vec<_> = names.iter().map(EndpointName::as_str).collect();
    assert_eq!(still_to_come, names);
}

#[test]
fn a_process_killed_between_two_parts_is_followed_by_one_that_makes_the_rest() {
    for (parts, made) in [(0, 1), (1, 17)] {
        let scene = Scene::new(Then::Fail);
        scene.result(1, "2", parts);
        scene.wait_for_refusals(1);
        assert_eq!(told(&scene.store, 1)[0].len(), made);
        let directory = scene.killed();
        is_whole(directory.path());
        all_come(reopen(directory.path()), directory.path(), 1);
    }
}

#[test]
fn a_backup_holds_who_is_still_to_be_told() {
    let scene = Scene::new(Then::Fail);
    scene.result(1, "2", 0);
    scene.wait_for_refusals(1);
    let file = scene.directory.path().join("relay.backup");
    block_on(scene.store.backup(file.clone())).expect("writes");
    let elsewhere = scene.directory.path().join("elsewhere");
    restore(&file, &elsewhere, at(0)).expect("restores");
    is_whole(&elsewhere);
    all_come(reopen(&elsewhere), &elsewhere, 1);
}

#[test]
fn the_rest_is_made_from_the_journal_alone() {
    let scene = Scene::new(Then::Fail);
    scene.result(1, "2", 1);
    scene.wait_for_refusals(1);
    let directory = scene.killed();
    std::fs::remove_dir_all(directory.path().join("sled")).expect("deletes");
    all_come(reopen(directory.path()), directory.path(), 1);
}

#[test]
fn a_store_closed_with_parts_left_goes_on_with_them() {
    let scene = Scene::new(Then::Fail);
    scene.result(1, "2", 0);
    scene.wait_for_refusals(1);
    scene.allowed.store(ANY, Ordering::SeqCst);
    block_on(scene.store.close()).expect("closes");
    let directory = scene.killed();
    is_whole(directory.path());
    all_come(reopen(directory.path()), directory.path(), 1);
}

#[test]
fn a_power_cut_takes_deliveries_back_together_with_what_they_were_made_of() {
    for parts in [0, 1] {
        let scene = Scene::new(Then::GoNowhere);
        scene.result(1, "2", parts);
        // Of those that went nowhere the first was not missed; the next wanted a sync.
        scene.wait_for_refusals(2);
        let directory = scene.killed();
        let mut machine = Odd::sound();
        machine.boot = Some("the next boot".into());
        let (store, report) =
            durable::open(directory.path(), LARGE, Arc::new(machine)).expect("opens");
        assert_eq!(report.rebuilt, Some(Rebuilt::PowerCut));
        all_come(store, directory.path(), 1);
    }
}

#[test]
fn a_disk_that_fails_is_tried_again_after_a_pause_though_nobody_asks() {
    let scene = Scene::new(Then::Fail);
    scene.result(1, "2", 0);
    let began = now();
    scene.wait_for_refusals(2);
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(500), "{waited:?}");
    assert_eq!(told(&scene.store, 1)[0].len(), 1);
    scene.allowed.store(ANY, Ordering::SeqCst);
    all_come(scene.store, scene.directory.path(), 1);
}
