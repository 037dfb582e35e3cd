//! Real disks that fill up, turn read-only, vanish or belong to somebody else, beneath the real binary.
//!
//! Promise under test: never an `OK` that is not true, 503 while it lasts, service again by itself when there is room,
//! and never a process that dies or panics of it. A file system of a few megabytes needs the right to mount; without
//! it the tests say so and pass.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests, and the helpers of tests"
)]

#[path = "../cli/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of the command line")]
mod kit;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kit::{MERCHANT, Place, SECRET, Service, endpoint, nobody, program};
use rustix::process::Signal;
use tempfile::TempDir;

/// A file system of its own, unmounted when the test ends.
struct Small(TempDir);

impl Small {
    /// `None`, said aloud, where nothing may be mounted.
    fn mount(megabytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(directory.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(directory));
        }
        println!("skipped: no file system can be mounted here");
        None
    }

    fn remount(&self, option: &str) {
        let mode = format!("remount,{option}");
        let done = Command::new("mount")
            .args(["-o", &mode])
            .arg(self.0.path())
            .status()
            .unwrap();
        assert!(done.success(), "remount {option}");
    }

    /// Takes all the room there is.
    fn fill(&self) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _left_mounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn config(data: &Path, min_free: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nrate_limit = \"off\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [store]\npath = {:?}\nmin_free = \"{min_free}\"\n[vexora]\nbase_url = \"http://{}\"\n\
         [[merchant]]\nmerchant_no = \"{MERCHANT}\"\napp_secret = \"{SECRET}\"\n{}",
        data.display().to_string(),
        nobody(),
        endpoint(&format!("http://{}/", nobody())),
    )
}

fn serve(place: &Place) -> (Service, String) {
    let mut service = Service::start(place.command(&["serve"]));
    let address = service.ready()["callbacks"]
        .as_str()
        .unwrap()
        .replace("http://", "");
    (service, address)
}

/// The status of one callback, with a body large enough to be felt.
fn post(address: &str, user: &str) -> u16 {
    let pad = "x".repeat(8 << 10);
    let body =
        format!("{{\"userId\":\"{user}\",\"authenticationStatus\":\"2\",\"pad\":\"{pad}\"}}");
    request(
        address,
        &format!(
            "POST /callback/{MERCHANT} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

fn request(address: &str, bytes: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn is_alive(address: &str) -> bool {
    request(
        address,
        "GET /healthz HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n",
    ) == 200
}

/// Posts until the answer is this one; the test fails if it never is.
fn post_until(address: &str, wanted: u16) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0..20_000 {
        let user = format!("u{wanted}-{number}");
        match post(address, &user) {
            status if status == wanted => {
                if status == 200 {
                    accepted.push(user);
                }
                return accepted;
            }
            200 => accepted.push(user),
            503 => {}
            other => panic!("answered {other}"),
        }
    }
    panic!("never answered {wanted}");
}

fn users_in_store(data: &Path) -> String {
    let pending = std::fs::read_dir(data.join("journal")).unwrap();
    let mut all = String::new();
    for entry in pending {
        all.push_str(&String::from_utf8_lossy(
            &std::fs::read(entry.unwrap().path()).unwrap(),
        ));
    }
    all
}

#[test]
fn a_full_disk_is_503_while_it_lasts_and_service_again_by_itself() {
    let Some(small) = Small::mount(24) else {
        return;
    };
    let data = small.0.path().join("data");
    let place = Place::with(&config(&data, "0B"));
    let (mut service, address) = serve(&place);
    let mut accepted = post_until(&address, 200);
    let ballast = small.fill();
    accepted.extend(post_until(&address, 503));
    // Room that the journal took before may still hold one: then its OK is true, and is checked like the others.
    for number in 0..50 {
        let user = format!("full-{number}");
        match post(&address, &user) {
            503 => {}
            200 => accepted.push(user),
            other => panic!("answered {other}"),
        }
    }
    assert!(is_alive(&address));
    std::fs::remove_file(ballast).unwrap();
    accepted.extend(post_until(&address, 200));
    for number in 0..20 {
        assert_eq!(post(&address, &format!("after-{number}")), 200);
        accepted.push(format!("after-{number}"));
    }
    assert_eq!(service.stop(Signal::TERM), Some(0));
    assert!(
        !service.said.iter().any(|line| line.contains("panicked")),
        "{:?}",
        service.said
    );
    let held = users_in_store(&data);
    for user in accepted {
        assert!(
            held.contains(&user),
            "{user} was acknowledged and is not there"
        );
    }
    // And what is there opens again.
    let (mut service, address) = serve(&place);
    assert_eq!(post(&address, "again"), 200);
    assert_eq!(service.stop(Signal::TERM), Some(0));
}

#[test]
fn a_disk_that_is_low_refuses_callbacks_before_the_store_can_fail() {
    let Some(small) = Small::mount(24) else {
        return;
    };
    let data = small.0.path().join("data");
    let place = Place::with(&config(&data, "8MiB"));
    let mut service = Service::start(place.command(&["serve"]));
    let said = service.ready();
    let [address, admin] =
        ["callbacks", "admin"].map(|name| said[name].as_str().unwrap().replace("http://", ""));
    post_until(&address, 200);
    let ballast = small.0.path().join("ballast");
    std::fs::write(&ballast, vec![1u8; 16 << 20]).unwrap();
    post_until(&address, 503);
    let ready = "GET /readyz HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n";
    assert_eq!(request(&admin, ready), 503, "not ready for callbacks");
    std::fs::remove_file(ballast).unwrap();
    post_until(&address, 200);
    assert_eq!(request(&admin, ready), 200);
    assert_eq!(service.stop(Signal::TERM), Some(0));
}

#[test]
fn a_disk_that_turns_read_only_is_503_and_service_again_when_it_turns_back() {
    let Some(small) = Small::mount(24) else {
        return;
    };
    let data = small.0.path().join("data");
    let place = Place::with(&config(&data, "0B"));
    let (mut service, address) = serve(&place);
    post_until(&address, 200);
    // A file system does not turn read-only under open files; what fails then is the next file. A file system that
    // does (after an error) fails every write, which is the case of the full disk above.
    service.stop(Signal::TERM);
    small.remount("ro");
    let ended = place.run(&["serve"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(
        ended.err.contains("read-only") || ended.err.contains("Read-only"),
        "{}",
        ended.err
    );
    small.remount("rw");
    let (mut service, address) = serve(&place);
    post_until(&address, 200);
    assert_eq!(service.stop(Signal::TERM), Some(0));
}

#[test]
fn a_data_directory_that_is_gone_is_never_answered_ok() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let place = Place::with(&config(&data, "0B"));
    let (mut service, address) = serve(&place);
    post_until(&address, 200);
    std::fs::remove_dir_all(&data).unwrap();
    for number in 0..20 {
        assert_eq!(post(&address, &format!("gone-{number}")), 503);
    }
    assert!(is_alive(&address));
    // Whether the end is clean is not promised; that there is one is.
    service.stop(Signal::TERM);
}

#[test]
fn a_data_directory_of_somebody_else_is_named() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become somebody else");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let place = tempfile::tempdir_in("/tmp").unwrap();
    let file = place.path().join("config.toml");
    std::fs::write(&file, config(&data, "0B")).unwrap();
    for open in [place.path(), home.path()] {
        std::fs::set_permissions(open, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    // The binary may lie where nobody else can read: a copy does not.
    let binary = place.path().join("vexora-relay");
    std::fs::copy(env!("CARGO_BIN_EXE_vexora-relay"), &binary).unwrap();
    let mut command = program();
    let mut own = Command::new(&binary);
    own.args(["serve", "--config"])
        .arg(&file)
        .uid(65_534)
        .gid(65_534);
    own.stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    std::mem::swap(&mut command, &mut own);
    let ended = kit::run(&mut command);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(
        ended.err.contains(&data.display().to_string()),
        "{}",
        ended.err
    );
    assert!(
        ended.err.to_lowercase().contains("permission denied"),
        "{}",
        ended.err
    );
}
