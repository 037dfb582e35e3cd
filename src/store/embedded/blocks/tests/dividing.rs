//! Dividing blocks: in a process that is killed while it does, and in a sled that is given much.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use super::super::dividing::{AT_A_TIME, NAME};
use super::super::*;
use super::{database, pairs};

/// Where the process that is killed has its database.
const KILLED: &str = "VEXORA_TEST_BLOCKS_KILLED";

fn never_changed() -> impl Iterator<Item = [u8; 2]> {
    (0..250_u8).flat_map(|number| [[number, 100], [number, 200]])
}

/// The process that [`whoever_is_killed_while_it_divides_loses_nothing`] kills; does nothing by itself.
#[test]
fn whoever_is_to_be_killed() {
    let Some(directory) = std::env::var_os(KILLED) else {
        return;
    };
    // What a kill leaves ends where sled wrote last: that is to be in the middle of a division.
    let db = sled::Config::new()
        .path(directory)
        .flush_every_ms(Some(1))
        .open()
        .unwrap();
    let blocks = super::blocks(&db);
    let fixed: Vec<_> = never_changed().collect();
    let put = fixed.iter().map(|key| (&key[..], Some(&b"here"[..])));
    blocks.write(put).unwrap();
    db.flush().unwrap();
    for number in 0..250_u8 {
        // In between, so that what is there moves.
        let around: Vec<_> = (101..140_u8).map(|other| [number, other]).collect();
        let changes = around.iter().map(|key| (&key[..], Some(&[7_u8; 20][..])));
        blocks.write(changes).unwrap();
        println!("wrote");
    }
}

#[test]
fn whoever_is_killed_while_it_divides_loses_nothing() {
    let (mut kill, mut halfway) = (0, 0);
    // Most fall into a division; on a disk that is slow to sync fewer do, and more are made until one has.
    while kill < 24 || (halfway == 0 && kill < 400) {
        kill += 1;
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("store::embedded::blocks::tests::dividing::whoever_is_to_be_killed")
            .env(KILLED, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wrote = said
            .map(Result::unwrap)
            .filter(|line| line.ends_with("wrote"));
        let layers = 1 + kill % 24 * 9;
        assert_eq!(wrote.by_ref().take(layers).count(), layers);
        child.kill().unwrap();
        child.wait().unwrap();
        let db = sled::Config::new().path(directory.path()).open().unwrap();
        let notes = db.open_tree(NAME).unwrap();
        halfway += notes.len();
        let blocks = super::blocks(&db);
        assert_eq!(notes.len(), 0, "kill {kill}: the division is at its end");
        let all = (Bound::Unbounded, Bound::Unbounded);
        let found = pairs(blocks.walk(all, false).unwrap());
        let is_once = found.is_sorted_by(|(one, _), (next, _)| one < next);
        assert!(is_once, "kill {kill}");
        let here = found.iter().filter(|(_, value)| value == b"here").count();
        assert_eq!(here, never_changed().count(), "kill {kill}");
        for key in never_changed() {
            assert!(blocks.get(&key).unwrap().is_some(), "kill {kill}: {key:?}");
        }
    }
    assert!(halfway > 0, "none was killed in the middle of a division");
}

/// A database that grows in between what it has, so that blocks are divided, and is emptied again, so that its file shrinks.
fn changes_for_ever(number: u64, progress: &mpsc::SyncSender<()>) {
    let directory = tempfile::tempdir().unwrap();
    let db = sled::Config::new().path(directory.path()).open().unwrap();
    let shared = Arc::new(Shared::new(&db).unwrap());
    let blocks = Blocks::new(db.open_tree("test").unwrap(), 1024, shared).unwrap();
    let mut draw = number + 1;
    let mut drawn = move || {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (draw >> 33).to_be_bytes()
    };
    loop {
        let mut all = BTreeSet::new();
        for layer in 0..12 {
            let keys: BTreeSet<_> = (0..200).map(|_| drawn()).collect();
            let value = (layer < 11).then_some(&[7_u8; 300][..]);
            all.extend(&keys);
            let changed = if value.is_some() { &keys } else { &all };
            blocks
                .write(changed.iter().map(|key| (&key[..], value)))
                .unwrap();
            if progress.send(()).is_err() {
                return;
            }
        }
    }
}

/// Somebody else's writes, each synced.
fn keep_the_disk_busy(is_done: &AtomicBool) {
    let mut file = tempfile::tempfile().unwrap();
    while !is_done.load(Ordering::Relaxed) {
        file.write_all(&[0; 256 << 10]).unwrap();
        file.sync_data().unwrap();
        if file.metadata().unwrap().len() > 64 << 20 {
            file = tempfile::tempfile().unwrap();
        }
    }
}

/// sled 0.34.7 can come to wait for ever for itself, where it is given much and its disk is slow (see `dividing`).
#[test]
#[ignore = "keeps a disk busy for half a minute; run by hand after a change of how sled is written to"]
fn sled_does_not_come_to_wait_for_itself() {
    const ROUNDS: usize = 12_000;
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| keep_the_disk_busy(&is_done));
        let (progress, made) = mpsc::sync_channel(1);
        for number in 0..2 {
            let progress = progress.clone();
            std::thread::spawn(move || changes_for_ever(number, &progress));
        }
        let stood_still = (0..ROUNDS).find(|_| {
            let made = made.recv_timeout(std::time::Duration::from_secs(20));
            made.is_err()
        });
        is_done.store(true, Ordering::Relaxed);
        assert_eq!(stood_still, None, "the layer after which nothing goes on");
    });
}

#[test]
fn sled_is_waited_for_when_it_was_given_much() {
    let (_directory, db) = database();
    let shared = Shared::new(&db).unwrap();
    let tree = db.open_tree("test").unwrap();
    db.flush().unwrap();
    tree.insert(b"a", b"little").unwrap();
    shared.wrote(AT_A_TIME - 1).unwrap();
    assert_ne!(tree.flush().unwrap(), 0, "it was not waited for");
    for wrote in [1, AT_A_TIME] {
        tree.insert(b"a", b"much").unwrap();
        shared.wrote(wrote).unwrap();
        assert_eq!(tree.flush().unwrap(), 0, "nothing is left to write");
    }
    tree.insert(b"a", b"little again").unwrap();
    shared.wrote(1).unwrap();
    assert_ne!(tree.flush().unwrap(), 0, "it was not waited for");
}
