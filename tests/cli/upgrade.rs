//! Stores of other versions: one of every schema that was released is read and served, a newer one is left alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::kit::{Downstream, Place, Service, config, endpoint, free};

const BASE: &str = "http://127.0.0.1:9/japan";

/// Unpacks a store that an earlier version left, as `data` in the place.
fn unpack(fixture: &Path, place: &Place) {
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(fixture)
        .arg("-C")
        .arg(place.path())
        .status();
    assert!(unpacked.unwrap().success());
}

#[test]
fn a_store_of_every_released_schema_is_whole_and_served() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for schema in 1..=1 {
        let fixture = fixtures.join(format!("store-schema-{schema}.tar.gz"));
        let downstream = Downstream::start();
        let admin = free();
        let text = config(BASE, &endpoint(&downstream.url)).replace(
            "[admin]\nlisten = \"127.0.0.1:0\"",
            &format!("[admin]\nlisten = \"{admin}\""),
        );
        let place = Place::with(&text);
        unpack(&fixture, &place);
        place.run(&["verify-store"]).with(0);

        let mut relay = Service::start(place.command(&["serve"]));
        assert_eq!(relay.ready()["store_is"], "existing");
        // What waited goes out, to whom it was meant for.
        let mut told: Vec<(String, String)> = (0..2)
            .map(|_| {
                let said: serde_json::Value =
                    serde_json::from_slice(&downstream.next().body).unwrap();
                let word = |of: &serde_json::Value| of.as_str().unwrap().to_owned();
                (word(&said["data"]["userId"]), word(&said["type"]))
            })
            .collect();
        told.sort();
        let expected = [("approved", "kyc.approved"), ("rejected", "kyc.rejected")];
        let expected = expected.map(|(user, kind)| (user.to_owned(), kind.to_owned()));
        assert_eq!(told, expected, "schema {schema}");
        let story = place.run(&["status", "waiting"]).with(0).out;
        assert!(story.contains("callback"), "{story}");
        assert_eq!(relay.stop(Signal::TERM), Some(0));
        place.run(&["verify-store"]).with(0);
        // sled as an older version laid it is made again, which is no damage, and the old one is not kept.
        let left = contents(&place.path().join("data"));
        let is_kept = |path: &PathBuf| path.to_string_lossy().contains("sled.");
        assert!(!left.keys().any(is_kept), "{:?}", left.keys());
    }
}

/// Every file beneath, but for the lock, which says who looked last.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.ends_with("lock") {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Where a header says which format its file has, and which schema its records.
const FORMAT: usize = 8;
const SCHEMA: usize = 12;

/// Has a checkpoint or a segment say that it is of another version.
fn forge(file: &Path, at: usize, number: u32) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(file, bytes).unwrap();
}

fn forge_all(directory: &Path, at: usize, number: u32) {
    for entry in std::fs::read_dir(directory).unwrap() {
        forge(&entry.unwrap().path(), at, number);
    }
}

/// A place with the first release's store.
fn first() -> Place {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-schema-1.tar.gz");
    let place = Place::with(&config(BASE, ""));
    unpack(&fixture, &place);
    place
}

fn is_refused_untouched(place: &Place, verbs: &[&str], said: &str) {
    let data = place.path().join("data");
    let before = contents(&data);
    for verb in verbs {
        let ended = place.run(&[verb]).with(78);
        assert!(ended.err.contains(said), "{verb}: {}", ended.err);
        assert!(ended.err.contains("hint: "), "{verb}: {}", ended.err);
    }
    assert_eq!(contents(&data), before, "{said}: something was changed");
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    for newer in ["checkpoints", "journal"] {
        for (at, said) in [
            (SCHEMA, "has schema 2, this version knows up to 1"),
            (FORMAT, "has files of format 2, this version knows up to 1"),
        ] {
            let place = first();
            forge_all(&place.path().join("data").join(newer), at, 2);
            is_refused_untouched(&place, &["serve", "compact", "verify-store"], said);
        }
    }
}

#[test]
fn a_store_that_is_too_old_is_refused_and_left_as_it_is() {
    let place = first();
    for older in ["checkpoints", "journal"] {
        forge_all(&place.path().join("data").join(older), SCHEMA, 0);
    }
    let said = "has schema 0, this version has schema 1 and cannot migrate from there";
    is_refused_untouched(&place, &["serve", "compact", "verify-store"], said);
}

#[test]
fn a_backup_of_another_version_is_not_restored() {
    for (at, number, said) in [
        (SCHEMA, 2, "has schema 2: a newer version wrote it"),
        (FORMAT, 2, "has format 2: a newer version wrote it"),
        (SCHEMA, 0, "has schema 0, this version has schema 1"),
    ] {
        let place = first();
        let data = place.path().join("data");
        let backup = place.path().join("backup");
        let checkpoint = data.join("checkpoints/00000000000000000000.checkpoint");
        std::fs::rename(checkpoint, &backup).unwrap();
        std::fs::remove_dir_all(&data).unwrap();
        forge(&backup, at, number);
        let ended = place.run(&["restore", backup.to_str().unwrap()]).with(78);
        assert!(ended.err.contains(said), "{}", ended.err);
        assert!(ended.err.contains("hint: "), "{}", ended.err);
        assert!(!data.exists());
    }
}
