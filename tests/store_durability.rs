//! Damage, failing disks, and processes that end at the worst moment: what the embedded store promises about each.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking"
)]

#[path = "support/copying.rs"]
mod copying;
#[path = "durable/mod.rs"]
mod durable;
#[path = "store_durability/fanout.rs"]
mod fanout;
#[path = "store_durability/unsynced.rs"]
mod unsynced;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vexora_relay::clock::SeededEntropy;
use vexora_relay::store::embedded::{
    JournalError, JournalSettings, OpenError, Point, Rebuilt, ThisMachine,
};
use vexora_relay::store::{Store as _, StoreError};

use durable::{Ledger, Odd, SMALL, block_on, dump, live, load, open, reopen, violations};

/// Large enough that nothing rolls and no checkpoint is taken.
const LARGE: JournalSettings = JournalSettings {
    segment: 64 << 20,
    checkpoint: u64::MAX,
    layer: 16,
    mend: Duration::from_secs(1),
};

/// A store that has lived and ended without closing, and what it acknowledged.
fn lived(tuning: JournalSettings, rounds: u64, closes: bool) -> (tempfile::TempDir, Ledger) {
    let directory = tempfile::tempdir().expect("makes");
    let ledger = Mutex::new(Ledger::default());
    let (store, report) = open(directory.path(), tuning, Arc::new(ThisMachine)).expect("opens");
    assert!(report.is_new && report.rebuilt.is_none(), "{report:?}");
    let ack = |line| ledger.lock().expect("whole").0.push(line);
    block_on(async {
        assert_eq!(
            load(&store, &SeededEntropy::new(3), 0..rounds, &ack).await,
            0
        );
        if closes {
            store.close().await.expect("closes");
        }
    });
    drop(store);
    wait_for_lock(directory.path());
    (directory, ledger.into_inner().expect("whole"))
}

/// A store that is dropped ends on its own thread.
fn wait_for_lock(path: &Path) {
    fs::File::open(path.join("lock"))
        .expect("there")
        .lock()
        .expect("ends");
}

fn holds(path: &Path, ledger: &Ledger) {
    let (store, _) = reopen(path);
    let found = block_on(violations(&store, ledger));
    assert!(found.is_empty(), "{found:?}");
}

fn files(path: &Path, part: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).expect("lists");
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("lists").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().contains(part))
        })
        .collect();
    found.sort();
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("reads");
    bytes[at] ^= 0x40;
    fs::write(path, bytes).expect("writes");
}

#[test]
fn a_store_that_was_not_closed_replays_what_sled_had_not_flushed() {
    for closes in [true, false] {
        let (directory, ledger) = lived(SMALL, 12, closes);
        let (store, report) = reopen(directory.path());
        assert_eq!(report.rebuilt, None);
        assert!(!report.torn && !report.journal_replaced, "{report:?}");
        let found = block_on(violations(&store, &ledger));
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn sled_damaged_in_any_way_is_made_again_and_nothing_is_missing() {
    let sled = |path: &Path| path.join("sled");
    let every = |path: &Path, step: usize, change: &dyn Fn(&mut u8)| {
        let mut bytes = fs::read(path.join("sled/db")).expect("reads");
        bytes.iter_mut().step_by(step).for_each(change);
        fs::write(path.join("sled/db"), bytes).expect("writes");
    };
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let ways: &[Damage<'_>] = &[
        ("flipped bytes all over", &|path| {
            every(path, 1009, &|byte| *byte ^= 1)
        }),
        ("everything zero", &|path| every(path, 1, &|byte| *byte = 0)),
        ("a zeroed page", &|path| {
            let mut bytes = fs::read(path.join("sled/db")).expect("reads");
            bytes[4096..8192].fill(0);
            fs::write(path.join("sled/db"), bytes).expect("writes");
        }),
        ("cut to a half", &|path| {
            let file = fs::File::options()
                .write(true)
                .open(path.join("sled/db"))
                .expect("opens");
            file.set_len(file.metadata().expect("reads").len() / 2)
                .expect("cuts");
        }),
        ("emptied", &|path| {
            fs::write(path.join("sled/db"), []).expect("writes")
        }),
        ("db deleted", &|path| {
            fs::remove_file(path.join("sled/db")).expect("deletes")
        }),
        ("conf deleted", &|path| {
            fs::remove_file(path.join("sled/conf")).expect("deletes")
        }),
        ("conf damaged", &|path| flip(&path.join("sled/conf"), 3)),
        ("snapshots deleted", &|path| {
            files(&path.join("sled"), "snap")
                .iter()
                .for_each(|file| fs::remove_file(file).expect("deletes"));
        }),
        ("snapshots damaged", &|path| {
            files(&path.join("sled"), "snap")
                .iter()
                .for_each(|file| flip(file, 0));
        }),
        ("a snapshot half-written", &|path| {
            fs::write(path.join("sled/snap.00000000000FFFFF.generating"), b"half").expect("writes");
        }),
        ("deleted outright", &|path| {
            fs::remove_dir_all(sled(path)).expect("deletes")
        }),
    ];
    for closes in [true, false] {
        let (original, ledger) = lived(SMALL, 12, closes);
        for (way, damage) in ways {
            let copy = tempfile::tempdir().expect("makes");
            let copied = durable::run(
                Command::new("cp")
                    .arg("-rT")
                    .args([original.path(), copy.path()]),
            );
            assert!(copied.status.success());
            damage(copy.path());
            let (store, report) = reopen(copy.path());
            let found = block_on(violations(&store, &ledger));
            assert!(
                found.is_empty(),
                "{way}, closed {closes}, {report:?}: {found:?}"
            );
            if let Some(Rebuilt::Damaged | Rebuilt::Older) = report.rebuilt {
                assert_eq!(
                    files(copy.path(), "sled.damaged-").len(),
                    1,
                    "{way}: it is kept"
                );
            }
            if *way == "deleted outright" {
                assert_eq!(report.rebuilt, Some(Rebuilt::Missing));
            }
        }
    }
}

#[test]
fn an_older_sled_in_the_place_of_a_closed_one_is_noticed() {
    let (directory, _) = lived(SMALL, 4, true);
    let old = tempfile::tempdir().expect("makes");
    let copied = durable::run(
        Command::new("cp")
            .arg("-rT")
            .args([&directory.path().join("sled"), old.path()]),
    );
    assert!(copied.status.success());
    let (store, _) = reopen(directory.path());
    let before = block_on(async {
        load(&store, &SeededEntropy::new(9), 20..24, &|_| {}).await;
        let before = dump(&store).await;
        store.close().await.expect("closes");
        before
    });
    drop(store);
    fs::remove_dir_all(directory.path().join("sled")).expect("deletes");
    fs::rename(old.path(), directory.path().join("sled")).expect("renames");
    let (store, report) = reopen(directory.path());
    assert_eq!(report.rebuilt, Some(Rebuilt::Older));
    assert_eq!(block_on(dump(&store)), before);
}

#[test]
fn after_the_machine_went_down_sled_is_made_again() {
    let (directory, ledger) = lived(SMALL, 12, false);
    let mut machine = Odd::sound();
    machine.boot = Some("another boot".to_owned());
    let (store, report) = open(directory.path(), SMALL, Arc::new(machine)).expect("opens");
    assert_eq!(report.rebuilt, Some(Rebuilt::PowerCut));
    assert_eq!(block_on(violations(&store, &ledger)), Vec::<String>::new());
}

#[test]
fn checkpoint_and_journal_make_the_very_state_that_was_live() {
    let (directory, _) = lived(SMALL, 40, true);
    assert_eq!(
        files(&directory.path().join("checkpoints"), ".checkpoint").len(),
        2,
        "two are kept"
    );
    let (store, _) = reopen(directory.path());
    let before = block_on(async {
        let before = dump(&store).await;
        store.close().await.expect("closes");
        before
    });
    drop(store);
    fs::remove_dir_all(directory.path().join("sled")).expect("deletes");
    let (store, _) = reopen(directory.path());
    assert_eq!(block_on(dump(&store)), before);
    drop(store);
    wait_for_lock(directory.path());
    // The same from the older of the two, should the newer be damaged.
    let newest = files(&directory.path().join("checkpoints"), ".checkpoint")
        .pop()
        .expect("there");
    flip(&newest, 1000);
    fs::remove_dir_all(directory.path().join("sled")).expect("deletes");
    let (store, _) = reopen(directory.path());
    assert_eq!(block_on(dump(&store)), before);
}

#[test]
fn a_torn_end_is_cut_at_any_byte_and_costs_only_what_was_not_acknowledged() {
    let (directory, ledger) = lived(LARGE, 1, false);
    let journal = files(&directory.path().join("journal"), ".journal")
        .pop()
        .expect("there");
    let bytes = fs::read(&journal).expect("reads");
    // Record by record, by their lengths, behind the header's 40 bytes.
    let mut end = 40;
    loop {
        let length = u32::from_le_bytes(bytes[end..end + 4].try_into().expect("four"));
        if length == 0 {
            break;
        }
        end += 16 + length as usize;
    }
    let more = tempfile::tempdir().expect("makes");
    for cut in 0..40 {
        // A record that was being written when the power went: its head, any part of it.
        let mut torn = bytes.clone();
        torn.truncate(end);
        torn.extend_from_slice(&vec![0xa5; cut * 37]);
        let image = more.path().join(cut.to_string());
        fs::create_dir_all(image.join("journal")).expect("makes");
        let copied = durable::run(
            Command::new("cp")
                .arg("-r")
                .arg(directory.path().join("checkpoints"))
                .arg(&image),
        );
        assert!(copied.status.success());
        let name = journal.file_name().expect("named");
        fs::write(image.join("journal").join(name), torn).expect("writes");
        let (store, report) = reopen(&image);
        assert_eq!(report.torn, cut > 0);
        assert_eq!(block_on(violations(&store, &ledger)), Vec::<String>::new());
    }
}

#[test]
fn a_damaged_journal_is_named_with_its_offset_and_left_as_it_is() {
    let (directory, _) = lived(LARGE, 6, false);
    let journal = files(&directory.path().join("journal"), ".journal").remove(0);
    let whole = fs::read(&journal).expect("reads");
    let written = whole.iter().rposition(|byte| *byte != 0).expect("written");
    for at in [9, 20, 41, 44, 50, 60, written / 2] {
        flip(&journal, at);
        let error = open(directory.path(), LARGE, Arc::new(ThisMachine))
            .map(|_| ())
            .expect_err("refused");
        let OpenError::Journal {
            source: JournalError::Damaged { file, offset, .. },
            ..
        } = &error
        else {
            panic!("{at}: {error:?}");
        };
        assert_eq!(file, &journal);
        assert!(*offset <= at as u64, "{at}: {error:?}");
        flip(&journal, at);
        assert_eq!(fs::read(&journal).expect("still there"), whole);
    }
    reopen(directory.path());
}

#[test]
fn a_journal_that_is_gone_costs_nothing_while_sled_is_whole() {
    let (directory, ledger) = lived(LARGE, 6, true);
    fs::remove_dir_all(directory.path().join("journal")).expect("deletes");
    let (store, report) = reopen(directory.path());
    assert!(report.journal_replaced);
    block_on(store.close()).expect("closes");
    drop(store);
    fs::remove_dir_all(directory.path().join("sled")).expect("deletes");
    holds(directory.path(), &ledger);
}

#[test]
fn a_store_from_before_the_journal_gets_a_checkpoint_first() {
    let (directory, ledger) = lived(LARGE, 6, true);
    // What such a store lacked.
    for name in ["journal", "checkpoints"] {
        fs::remove_dir_all(directory.path().join(name)).expect("deletes");
    }
    fs::remove_file(directory.path().join("state")).expect("deletes");
    let (store, _) = reopen(directory.path());
    assert_eq!(
        files(&directory.path().join("checkpoints"), ".checkpoint").len(),
        1
    );
    block_on(store.close()).expect("closes");
    drop(store);
    fs::remove_dir_all(directory.path().join("sled")).expect("deletes");
    holds(directory.path(), &ledger);
}

/// A disk that fails one kind of step while `fails` is set; then heals.
fn a_failing_disk(steps: &'static [&'static str], kind: io::ErrorKind) {
    let directory = tempfile::tempdir().expect("makes");
    let fails = Arc::new(AtomicBool::new(false));
    let machine = Odd::with_fault({
        let fails = Arc::clone(&fails);
        move |path, asked| {
            let is_journal = path.to_string_lossy().contains("/journal");
            if is_journal && steps.contains(&asked) && fails.load(Ordering::SeqCst) {
                return Err(io::Error::from(kind));
            }
            Ok(true)
        }
    });
    let ledger = Mutex::new(Ledger::default());
    let ack = |line| ledger.lock().expect("whole").0.push(line);
    let (store, _) = open(directory.path(), SMALL, Arc::new(machine)).expect("opens");
    let entropy = SeededEntropy::new(5);
    block_on(async {
        for round in 0..6 {
            fails.store(round % 2 == 1, Ordering::SeqCst);
            let ended = live(&store, &entropy, 1, round, &ack).await;
            match ended {
                Ok(()) => assert_eq!(round % 2, 0),
                Err(StoreError::Write(error)) => assert_eq!((round % 2, error.kind()), (1, kind)),
                Err(other) => panic!("{other:?}"),
            }
        }
        fails.store(false, Ordering::SeqCst);
        load(&store, &entropy, 6..9, &ack).await;
    });
    drop(store);
    wait_for_lock(directory.path());
    let ledger = ledger.into_inner().expect("whole");
    holds(directory.path(), &ledger);
    wait_for_lock(directory.path());
    // And from the journal alone.
    fs::remove_dir_all(directory.path().join("sled")).expect("deletes");
    let (store, _) = reopen(directory.path());
    assert_eq!(block_on(violations(&store, &ledger)), Vec::<String>::new());
    let story = block_on(store.story(&durable::merchant(), &durable::user(1))).expect("reads");
    let acknowledged = ledger
        .0
        .iter()
        .filter(|line| line.starts_with("c 1 "))
        .count();
    assert_eq!(
        story.callbacks.len(),
        acknowledged,
        "what was refused is not there"
    );
}

#[test]
fn a_write_that_fails_is_refused_and_the_store_heals_with_the_disk() {
    a_failing_disk(&["write"], io::ErrorKind::StorageFull);
    a_failing_disk(
        &["write", "create", "set_len", "remove"],
        io::ErrorKind::StorageFull,
    );
}

#[test]
fn a_sync_that_fails_is_refused_and_the_store_heals_with_the_disk() {
    a_failing_disk(&["sync"], io::ErrorKind::Other);
}

/// A store whose sled fails once after the journal took a group, on order.
fn a_failing_sled(
    mend: Duration,
    then: impl AsyncFnOnce(&dyn vexora_relay::store::Store, &SeededEntropy, &dyn Fn(String)),
) {
    let directory = tempfile::tempdir().expect("makes");
    let fails = Arc::new(AtomicBool::new(false));
    let mut machine = Odd::sound();
    machine.at_point = Arc::new({
        let fails = Arc::clone(&fails);
        move |point| match point {
            Point::AppliedNotAnswered if fails.load(Ordering::SeqCst) => {
                Err(io::Error::other("sled"))
            }
            _ => Ok(()),
        }
    });
    let ledger = Mutex::new(Ledger::default());
    let ack = |line| ledger.lock().expect("whole").0.push(line);
    let tuning = JournalSettings { mend, ..SMALL };
    let (store, _) = open(directory.path(), tuning, Arc::new(machine)).expect("opens");
    let entropy = SeededEntropy::new(5);
    block_on(async {
        load(&store, &entropy, 0..2, &ack).await;
        fails.store(true, Ordering::SeqCst);
        // The group that sled did not take counts; what comes after it is the test's.
        let _first_of_several = live(&store, &entropy, 1, 3, &ack).await;
        fails.store(false, Ordering::SeqCst);
        then(&store, &entropy, &ack).await;
        store.close().await.expect("closes");
    });
    drop(store);
    holds(directory.path(), &ledger.into_inner().expect("whole"));
}

#[test]
fn a_sled_that_fails_after_the_journal_stops_the_store_and_loses_nothing() {
    a_failing_sled(Duration::from_secs(3600), async |store, entropy, ack| {
        let refused = live(store, entropy, 2, 4, ack).await;
        assert!(
            matches!(refused, Err(StoreError::Write(_))),
            "until it was made again"
        );
    });
}

#[test]
fn a_sled_that_fails_is_made_again_while_the_store_is_open() {
    a_failing_sled(Duration::ZERO, async |store, entropy, ack| {
        live(store, entropy, 2, 4, ack)
            .await
            .expect("goes on by itself");
        load(store, entropy, 5..9, ack).await;
    });
}

/// Runs only when a test below starts this program again: ends itself at a named point.
#[test]
fn worker() {
    let Ok(directory) = std::env::var("END_IN") else {
        return;
    };
    let directory = PathBuf::from(directory);
    let point = std::env::var("END_AT").expect("given");
    let passes = Mutex::new(25_i32);
    let mut machine = Odd::sound();
    machine.at_point = Arc::new(move |reached| {
        if format!("{reached:?}") == point {
            let mut passes = passes.lock().expect("whole");
            *passes -= if point.contains("heckpoint") || point.contains("ebuilt") {
                25
            } else {
                1
            };
            if *passes <= 0 {
                std::process::abort();
            }
        }
        Ok(())
    });
    let acks = fs::File::create(directory.join("acks")).expect("makes");
    let ack = |line: String| {
        (&acks)
            .write_all(format!("{line}\n").as_bytes())
            .expect("writes")
    };
    let (store, _) = open(&directory.join("data"), SMALL, Arc::new(machine)).expect("opens");
    block_on(load(&store, &SeededEntropy::new(3), 0..80, &ack));
}

#[test]
fn a_process_that_ends_at_any_named_point_leaves_all_that_it_acknowledged() {
    use Point::{
        AppliedNotAnswered, BeforeWrite, CheckpointNamed, CheckpointWritten, RebuiltAside,
        SyncedNotApplied, WrittenNotSynced,
    };
    let points = [
        BeforeWrite,
        WrittenNotSynced,
        SyncedNotApplied,
        AppliedNotAnswered,
        CheckpointWritten,
        CheckpointNamed,
        RebuiltAside,
    ];
    for point in points {
        let directory = tempfile::tempdir().expect("makes");
        let ran = durable::run(
            Command::new(std::env::current_exe().expect("known"))
                .args(["--exact", "worker", "--test-threads=1"])
                .env("END_IN", directory.path())
                .env("END_AT", format!("{point:?}")),
        );
        assert!(!ran.status.success(), "{point:?} was not reached");
        let text = fs::read_to_string(directory.path().join("acks")).unwrap_or_default();
        let ledger = Ledger(text.lines().map(str::to_owned).collect());
        assert!(point == RebuiltAside || ledger.0.len() > 20, "{point:?}");
        holds(&directory.path().join("data"), &ledger);
    }
}
