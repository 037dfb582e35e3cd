//! A success of which nothing follows is written at once and synced a little later: what a power cut makes of it, what
//! it may never make of it, and that the sync comes. Seen through what the store asks of its disk.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vexora_relay::clock::SeededEntropy;
use vexora_relay::domain::{Delivery, Timestamp};
use vexora_relay::store::embedded::{JournalSettings, Rebuilt, SledStore};
use vexora_relay::store::{AttemptRecorded, DeliveryClaim, Store as _, StoreError};

use super::copying::copy;
use super::durable::{self, Odd, block_on, merchant, user};
use super::{LARGE, wait_for_lock};

/// Longer than any of this takes, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// When everything happens, after all results.
const NOW: Timestamp = Timestamp::from_millis(1_760_000_100_000);

/// A store on a disk whose power can be cut: what is written then stays in memory, and nothing is synced any more.
struct Scene {
    directory: tempfile::TempDir,
    store: SledStore,
    entropy: SeededEntropy,
    is_cut: Arc<AtomicBool>,
    /// Each sync of the journal, when it is asked for.
    syncs: Receiver<()>,
}

impl Scene {
    /// With so many results of one user in line.
    fn with(results: u64) -> Self {
        let directory = tempfile::tempdir().expect("makes");
        let is_cut = Arc::new(AtomicBool::new(false));
        let (said, syncs) = channel();
        let said = Mutex::new(said);
        let machine = Odd::with_fault({
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
        let (store, _) = durable::open(directory.path(), LARGE, Arc::new(machine)).expect("opens");
        let entropy = SeededEntropy::new(3);
        block_on(async {
            for round in 0..results {
                let made = durable::result(&store, &entropy, 1, round, &|_| {}).await;
                made.expect("a result");
            }
        });
        Self {
            directory,
            store,
            entropy,
            is_cut,
            syncs,
        }
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    fn next_sync(&self) {
        self.syncs.recv_timeout(PATIENCE).expect("synced in time");
    }

    /// The first in line goes out; that this is so has been synced.
    fn claim(&self, now: Timestamp) -> DeliveryClaim {
        self.syncs.try_iter().count();
        let mut claims = claims(&self.store, now);
        assert_eq!(claims.len(), 1, "one of a line at a time");
        self.next_sync();
        claims.remove(0)
    }

    fn record(
        &self,
        claim: &DeliveryClaim,
        status: u16,
    ) -> Result<Option<AttemptRecorded>, StoreError> {
        let report = durable::attempt(&self.entropy, NOW, status);
        block_on(self.store.record_attempt(claim, report))
    }

    /// The power was cut; the machine boots.
    fn boot(self) -> (tempfile::TempDir, SledStore) {
        drop(self.store);
        wait_for_lock(self.directory.path());
        let mut machine = Odd::sound();
        machine.boot = Some("the next boot".into());
        let (store, report) =
            durable::open(self.directory.path(), LARGE, Arc::new(machine)).expect("opens");
        assert_eq!(report.rebuilt, Some(Rebuilt::PowerCut));
        (self.directory, store)
    }
}

fn claims(store: &SledStore, now: Timestamp) -> Vec<DeliveryClaim> {
    let endpoint = "ledger".parse().expect("valid");
    let claims = store.claim_deliveries(&endpoint, now, Duration::from_secs(30), 8);
    block_on(claims).expect("claims")
}

/// The deliveries of the user, oldest first.
fn told(store: &SledStore) -> Vec<Delivery> {
    let story = block_on(store.story(&merchant(), &user(1))).expect("reads");
    let told = story.events.into_iter().flat_map(|(_, told)| told);
    told.map(|(delivery, _)| delivery).collect()
}

fn is_refused(recorded: Result<Option<AttemptRecorded>, StoreError>) {
    assert!(
        matches!(recorded, Err(StoreError::Write(_))),
        "without a sync: {recorded:?}"
    );
}

#[test]
fn a_cut_right_after_a_success_that_was_not_synced_only_repeats_the_same_id() {
    let scene = Scene::with(1);
    let claim = scene.claim(NOW);
    scene.cut();
    let recorded = scene.record(&claim, 204).expect("nothing needs a sync");
    assert!(!recorded.expect("held").delivery.is_pending());
    let (_directory, store) = scene.boot();
    let again = claims(&store, NOW);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].delivery.event, claim.delivery.event);
    assert_eq!(told(&store).len(), 1, "and nothing else");
}

#[test]
fn a_success_that_was_not_synced_is_synced_though_nothing_comes() {
    let scene = Scene::with(1);
    let claim = scene.claim(NOW);
    let recorded = scene.record(&claim, 204).expect("records");
    assert!(recorded.is_some());
    scene.next_sync();
    scene.cut();
    let (_directory, store) = scene.boot();
    assert!(!told(&store)[0].is_pending());
    assert!(claims(&store, NOW).is_empty());
}

#[test]
fn a_success_with_a_next_in_line_is_synced_before_the_next_can_go() {
    let scene = Scene::with(2);
    let claim = scene.claim(NOW);
    scene.cut();
    is_refused(scene.record(&claim, 204));
    assert!(
        claims(&scene.store, NOW).is_empty(),
        "the next waits for the record"
    );
    // And once the disk syncs again.
    scene.is_cut.store(false, Ordering::SeqCst);
    let recorded = scene.record(&claim, 204).expect("records");
    assert!(recorded.is_some());
    scene.cut();
    let (_directory, store) = scene.boot();
    let next = claims(&store, NOW);
    assert_eq!(next.len(), 1);
    assert!(next[0].delivery.sequence > claim.delivery.sequence);
    assert!(!told(&store)[0].is_pending());
}

#[test]
fn whatever_else_comes_of_an_attempt_is_synced() {
    let scene = Scene::with(1);
    let claim = scene.claim(NOW);
    scene.cut();
    is_refused(scene.record(&claim, 500));
    scene.is_cut.store(false, Ordering::SeqCst);
    let recorded = scene.record(&claim, 500).expect("records");
    let due = recorded.expect("held").delivery.due().expect("pending");
    // The first success after a failure: the endpoint is another one.
    let claim = scene.claim(due);
    scene.cut();
    is_refused(scene.record(&claim, 204));
}

/// All but sled, which is made again from it.
fn copied(data: &Path) -> tempfile::TempDir {
    let killed = tempfile::tempdir().expect("makes");
    for part in ["journal", "checkpoints"] {
        copy(&data.join(part), &killed.path().join(part));
    }
    std::fs::copy(data.join("state"), killed.path().join("state")).expect("copies");
    killed
}

#[test]
fn a_kill_at_any_step_finds_every_success_also_where_the_journal_goes_on_in_a_new_file() {
    const USERS: usize = 40;
    let directory = tempfile::tempdir().expect("makes");
    let heard = Arc::new(AtomicUsize::new(usize::MAX));
    let killed = Arc::new(Mutex::new(Vec::new()));
    // Before each step, what a kill would leave behind, and how many successes had been recorded.
    let machine = Odd::with_fault({
        let (data, heard, killed) = (
            directory.path().to_owned(),
            Arc::clone(&heard),
            Arc::clone(&killed),
        );
        let steps = AtomicUsize::new(0);
        move |path, step| {
            let known = heard.load(Ordering::SeqCst);
            if known == usize::MAX || !path.to_string_lossy().contains("/journal") {
                return Ok(true);
            }
            // Every step of a file's making, and every seventh else.
            let is_new = step != "write" || std::fs::metadata(path).is_ok_and(|it| it.len() < 100);
            if is_new || steps.fetch_add(1, Ordering::SeqCst).is_multiple_of(7) {
                let mut killed = killed.lock().expect("whole");
                killed.push((known, step.to_owned(), copied(&data)));
            }
            Ok(true)
        }
    });
    let tuning = JournalSettings {
        segment: 4 << 10,
        ..LARGE
    };
    let (store, _) = durable::open(directory.path(), tuning, Arc::new(machine)).expect("opens");
    let entropy = SeededEntropy::new(3);
    block_on(async {
        for number in 0..USERS {
            let made = durable::result(&store, &entropy, number, 0, &|_| {}).await;
            made.expect("a result");
        }
    });
    for number in 0..USERS {
        heard.store(number, Ordering::SeqCst);
        let endpoint = "ledger".parse().expect("valid");
        let claims = store.claim_deliveries(&endpoint, NOW, Duration::from_secs(30), 1);
        let claim = block_on(claims).expect("claims").remove(0);
        let report = durable::attempt(&entropy, NOW, 204);
        let recorded = block_on(store.record_attempt(&claim, report)).expect("records");
        assert!(recorded.is_some());
    }
    heard.store(usize::MAX, Ordering::SeqCst);
    drop(store);
    wait_for_lock(directory.path());
    let killed = std::mem::take(&mut *killed.lock().expect("whole"));
    let made = killed
        .iter()
        .filter(|(_, step, _)| step == "create")
        .count();
    assert!(
        made >= 3 && killed.len() >= 20,
        "{made} of {}",
        killed.len()
    );
    for (known, step, directory) in killed {
        let (store, report) = durable::reopen(directory.path());
        assert_eq!(report.rebuilt, Some(Rebuilt::Missing));
        let is_told = |number: &usize| {
            let story = block_on(store.story(&merchant(), &user(*number))).expect("reads");
            let mut told = story.events.iter().flat_map(|(_, told)| told);
            told.all(|(delivery, _)| !delivery.is_pending())
        };
        let told = (0..USERS).filter(is_told).count();
        assert!(told >= known, "{told} of {known} before a {step}");
    }
}
