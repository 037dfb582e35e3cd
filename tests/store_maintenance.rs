//! What an operator does with a store: backup, restore, verify, compact, export. Held to: nothing is lost, nothing is
//! overwritten, and what is wrong is said.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking"
)]

#[path = "durable/mod.rs"]
mod durable;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use vexora_relay::clock::{Entropy as _, SeededEntropy};
use vexora_relay::domain::{Source, Trust};
use vexora_relay::store::embedded::{
    EmbeddedSettings, MaintenanceError, SledStore, ThisMachine, compact, restore, verify_store,
};
use vexora_relay::store::{Lists as _, Store, Tallies};

use durable::{Ledger, SMALL, at, block_on, dump, load, open, reopen, violations};

fn settings(path: &Path) -> EmbeddedSettings {
    EmbeddedSettings::at(path.to_owned(), 0)
}

fn lived(path: &Path) -> SledStore {
    let (store, _) = open(path, SMALL, Arc::new(ThisMachine)).expect("opens");
    block_on(load(&store, &SeededEntropy::new(3), 0..12, &|_| {}));
    store
}

fn closed(path: &Path) -> String {
    let store = lived(path);
    block_on(async {
        let state = dump(&store).await;
        store.close().await.expect("closes");
        state
    })
}

#[test]
fn a_restored_backup_is_the_store_that_was_backed_up() {
    let directory = tempfile::tempdir().expect("makes");
    let store = lived(&directory.path().join("data"));
    let file = directory.path().join("relay.backup");
    let before = block_on(async {
        let before = dump(&store).await;
        let bytes = store.backup(file.clone()).await.expect("writes");
        assert_eq!(bytes, fs::metadata(&file).expect("there").len());
        assert!(
            store.backup(file.clone()).await.is_err(),
            "never overwrites"
        );
        before
    });
    let new = directory.path().join("new");
    restore(&file, &new, at(0)).expect("restores");
    let (restored, report) = reopen(&new);
    assert_eq!(report.rebuilt, None);
    assert_eq!(block_on(dump(&restored)), before);
    let again = restore(&file, &new, at(0));
    assert!(matches!(again, Err(MaintenanceError::NotEmpty { .. })));
}

#[test]
fn a_backup_taken_under_load_holds_all_that_was_acknowledged_before_it() {
    let directory = tempfile::tempdir().expect("makes");
    let (store, _) =
        open(&directory.path().join("data"), SMALL, Arc::new(ThisMachine)).expect("opens");
    let ledger = Mutex::new(Ledger::default());
    let ack = |line| ledger.lock().expect("whole").0.push(line);
    let file = directory.path().join("relay.backup");
    let entropy = SeededEntropy::new(3);
    let before = block_on(async {
        load(&store, &entropy, 0..10, &ack).await;
        let before = ledger.lock().expect("whole").clone();
        let (backup, _) = futures_util::future::join(
            store.backup(file.clone()),
            load(&store, &entropy, 10..30, &ack),
        )
        .await;
        backup.expect("writes");
        before
    });
    let new = directory.path().join("new");
    restore(&file, &new, at(0)).expect("restores");
    let (restored, _) = reopen(&new);
    assert_eq!(
        block_on(violations(&restored, &before)),
        Vec::<String>::new()
    );
    block_on(restored.close()).expect("closes");
    drop(restored);
    assert_eq!(verify_store(&settings(&new)).expect("looks").findings, []);
}

#[test]
fn a_damaged_backup_is_refused_at_any_byte_and_makes_nothing() {
    let directory = tempfile::tempdir().expect("makes");
    let store = lived(&directory.path().join("data"));
    let file = directory.path().join("relay.backup");
    block_on(store.backup(file.clone())).expect("writes");
    let whole = fs::read(&file).expect("reads");
    let new = directory.path().join("new");
    let refused = |bytes: &[u8], what: String| {
        fs::write(&file, bytes).expect("writes");
        let refusal = restore(&file, &new, at(0));
        assert!(
            matches!(refusal, Err(MaintenanceError::Backup(_))),
            "{what}: {refusal:?}"
        );
        assert!(!new.exists());
    };
    for at in (0..whole.len())
        .step_by(whole.len() / 97)
        .chain([whole.len() - 1])
    {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        refused(&damaged, format!("flipped at {at}"));
        refused(&whole[..at], format!("cut at {at}"));
    }
}

#[test]
fn a_sound_store_verifies_and_each_kind_of_damage_is_found() {
    let directory = tempfile::tempdir().expect("makes");
    closed(directory.path());
    let report = verify_store(&settings(directory.path())).expect("looks");
    assert_eq!(report.findings, []);
    // The last one may have been under way when the store was closed, which ends it unfinished.
    assert!(
        report.entries > 500 && (1..=2).contains(&report.checkpoints),
        "{report:?}"
    );

    // A silent hole in sled: a record goes, and nobody told the journal.
    let hole = |tree: &str, key: Option<&[u8]>| {
        let sled = sled::open(directory.path().join("sled")).expect("opens");
        let tree = sled.open_tree(format!("{tree}.blocks")).expect("opens");
        match key {
            Some(record) => tree
                .insert(&record[3..19], record)
                .map(|_| ())
                .expect("writes"),
            None => {
                let (key, _) = tree.first().expect("reads").expect("some");
                tree.remove(key).map(|_| ()).expect("removes");
            }
        }
    };
    hole("callbacks", None);
    let findings = verify_store(&settings(directory.path()))
        .expect("looks")
        .findings;
    let said = |part: &str| findings.iter().any(|finding| finding.what.contains(part));
    assert!(
        said("is missing from sled") && said("leads nowhere"),
        "{findings:?}"
    );

    // A block of its own with one entry: a key of 16 bytes, and a record of 9 that is none.
    let record = [b"\x01\x10\x09".as_slice(), &[7; 16], b"\x01nonsense"].concat();
    hole("events", Some(&record));
    let findings = verify_store(&settings(directory.path()))
        .expect("looks")
        .findings;
    let said = |part: &str| findings.iter().any(|finding| finding.what.contains(part));
    assert!(
        said("is in sled and nowhere else") && said("is damaged"),
        "{findings:?}"
    );

    // What is not even a block.
    let nonsense = [b"\x02\x10\x09".as_slice(), &[8; 16]].concat();
    hole("users", Some(&nonsense));
    let findings = verify_store(&settings(directory.path()))
        .expect("looks")
        .findings;
    assert!(
        findings
            .iter()
            .any(|finding| finding.place == "users" && finding.what.contains("is no block")),
        "{findings:?}"
    );

    let files = fs::read_dir(directory.path().join("checkpoints")).expect("lists");
    let newest = files
        .map(|file| file.expect("lists").path())
        .max()
        .expect("some");
    let mut bytes = fs::read(&newest).expect("reads");
    bytes[500] ^= 1;
    fs::write(&newest, bytes).expect("writes");
    let findings = verify_store(&settings(directory.path()))
        .expect("looks")
        .findings;
    assert!(
        findings
            .iter()
            .any(|finding| finding.place.contains("checkpoint")),
        "{findings:?}"
    );
}

#[test]
fn compacting_keeps_everything_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("makes");
    let before = closed(directory.path());
    let report = compact(&settings(directory.path()), at(0)).expect("compacts");
    assert!(report.before > 0 && report.after > 0);
    let left = fs::read_dir(directory.path()).expect("lists");
    let mut left: Vec<String> = left
        .map(|entry| {
            entry
                .expect("lists")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    left.sort();
    assert_eq!(left, ["checkpoints", "journal", "lock", "sled", "state"]);
    let (store, report) = reopen(directory.path());
    assert_eq!(report.rebuilt, None);
    assert_eq!(block_on(dump(&store)), before);
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_export_is_a_json_line_per_record_and_bodies_that_are_no_text_are_base64() {
    let directory = tempfile::tempdir().expect("makes");
    let store = lived(directory.path());
    let out = Shared::default();
    let lines = block_on(store.export(Box::new(out.clone()))).expect("writes");
    let text = String::from_utf8(out.0.lock().expect("whole").clone()).expect("text");
    let parsed: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(parsed.len() as u64, lines);
    let count = |kind: &str| parsed.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!(
        (count("callback"), count("user"), count("damaged")),
        (96, 8, 0)
    );
    for kind in ["query", "event", "delivery", "attempt"] {
        assert!(count(kind) > 50, "{kind}");
    }
    let callbacks = parsed.iter().filter(|line| line["kind"] == "callback");
    let (text, bytes): (Vec<_>, Vec<_>) = callbacks.partition(|line| line["body"].is_string());
    assert_eq!((text.len(), bytes.len()), (48, 48));
    assert_eq!(text[0]["body"].as_str().map(str::len), Some(600));
    let encoded = bytes[0]["bodyBase64"].as_str().map(str::len);
    assert_eq!(encoded, Some(800), "600 bytes in base64");
}

#[test]
fn a_store_without_the_index_of_what_is_unsettled_gets_it_when_it_is_opened() {
    let directory = tempfile::tempdir().expect("makes");
    let path = directory.path().join("data");
    let counted = |store: &SledStore| block_on(store.tallies()).expect("counts");
    let pending = |tallies: &Tallies| {
        let endpoints = tallies.endpoints.iter();
        endpoints.map(|(_, tally)| tally.pending).sum::<u64>()
    };
    let store = lived(&path);
    let waited = pending(&counted(&store));
    block_on(async {
        let entropy = SeededEntropy::new(4);
        let endpoint = "ledger".parse().expect("valid");
        for round in 0..3 {
            let (fresh, now) = (entropy.event_id(at(9000 + round)), at(9000 + round));
            let sent = store.test(&endpoint, fresh, now, durable::routing()).await;
            assert!(sent.expect("stored"), "the endpoint is known");
            let (merchant, user) = (
                durable::merchant(),
                durable::user(usize::try_from(round).expect("small")),
            );
            let rung =
                store.request_verification(&merchant, &user, Source::Operator, Trust::Token, now);
            rung.await.expect("stored");
        }
    });
    let before = counted(&store);
    assert_eq!(before.verifications, 3);
    assert_eq!(pending(&before), waited + 3);
    block_on(store.close()).expect("closes");
    drop(store);

    // As a version that kept neither index nor counts would have left it.
    let db = sled::open(path.join("sled")).expect("opens");
    for name in ["unsettled", "stuck"] {
        db.open_tree(name).expect("there").clear().expect("cleared");
    }
    let meta = db.open_tree("meta").expect("there");
    let keys: Vec<_> = meta.scan_prefix("tally:").keys().collect();
    for key in keys {
        meta.remove(key.expect("reads")).expect("removed");
    }
    db.flush().expect("flushed");
    drop((meta, db));

    let (store, report) = reopen(&path);
    assert_eq!(report.rebuilt, None, "it is taken for what it is");
    assert_eq!(counted(&store), before);
    block_on(store.close()).expect("closes");
    drop(store);
    assert_eq!(verify_store(&settings(&path)).expect("looks").findings, []);
}
