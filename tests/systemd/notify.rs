//! What the service manager is told, in order: ready, how things are, reloading, stopping, and that the workers turn.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::kit::{Downstream, Place, Service, config, endpoint, nobody};

const BASE: &str = "http://127.0.0.1:9/japan";

/// The other end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram, PathBuf);

impl Manager {
    fn at(place: &Place) -> Self {
        let path = place.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self(socket, path)
    }

    fn start(&self, place: &Place) -> Service {
        self.start_with(place, |_| ())
    }

    fn start_with(&self, place: &Place, with: impl FnOnce(&mut Command)) -> Service {
        let mut command = place.command(&["serve"]);
        command.env("NOTIFY_SOCKET", &self.1);
        with(&mut command);
        Service::start(command)
    }

    /// The next message, line by line.
    #[track_caller]
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).expect("a message in time");
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Reads on to the message with a line that begins so; nothing before it may begin with `never`.
    #[track_caller]
    fn wait_for(&self, wanted: &str, never: &str) -> Vec<String> {
        loop {
            let message = self.next();
            if message.iter().any(|line| line.starts_with(wanted)) {
                return message;
            }
            let unwanted = message.iter().find(|line| line.starts_with(never));
            assert_eq!(unwanted, None, "before {wanted}");
        }
    }
}

fn status(message: &[String]) -> &str {
    let mut lines = message.iter();
    lines
        .find_map(|line| line.strip_prefix("STATUS="))
        .unwrap_or("")
}

fn signal(service: &Service, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(service.pid()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn it_says_ready_once_it_serves_then_reloading_and_ready_again_and_stopping() {
    let downstream = Downstream::start();
    let text = config(BASE, &endpoint(&downstream.url));
    let place = Place::with(&text);
    let manager = Manager::at(&place);
    let mut relay = manager.start(&place);

    let ready = manager.next();
    assert_eq!(ready[0], "READY=1");
    let serving = status(&ready);
    assert!(
        serving.starts_with("callbacks on http://127.0.0.1:"),
        "{serving}"
    );
    assert!(serving.ends_with(", 1 endpoint, nothing late"), "{serving}");
    let address = serving.split(['/', ',']).nth(2).unwrap();
    std::net::TcpStream::connect(address).expect("it serves when it says so");

    let second = endpoint(&downstream.url).replace("ledger", "crm");
    std::fs::write(place.path().join("config.toml"), text.clone() + &second).unwrap();
    signal(&relay, Signal::HUP);
    let reloading = manager.wait_for("RELOADING=1", "READY");
    let monotonic = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(monotonic.parse::<u64>().unwrap() > 0);
    let reloaded = manager.wait_for("READY=1", "STOPPING");
    assert!(status(&reloaded).contains("2 endpoints"), "{reloaded:?}");

    std::fs::write(
        place.path().join("config.toml"),
        text.replace("http://", "ftp://"),
    )
    .unwrap();
    signal(&relay, Signal::HUP);
    manager.wait_for("RELOADING=1", "READY");
    let refused = manager.wait_for("READY=1", "STOPPING");
    assert!(
        status(&refused).starts_with("configuration not reloaded: 2 problems, see the log; "),
        "{refused:?}"
    );
    assert!(status(&refused).contains("2 endpoints"), "{refused:?}");

    std::fs::write(place.path().join("config.toml"), &text).unwrap();
    place.run(&["reload"]).with(0);
    manager.wait_for("RELOADING=1", "READY");
    let reloaded = manager.wait_for("READY=1", "STOPPING");
    assert!(
        status(&reloaded).starts_with("callbacks on "),
        "{reloaded:?}"
    );

    signal(&relay, Signal::TERM);
    manager.wait_for("STOPPING=1", "READY");
    assert_eq!(relay.stop(Signal::TERM), Some(0));
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let place = Place::with(&config("ftp://127.0.0.1", ""));
    let manager = Manager::at(&place);
    let mut command = place.command(&["serve"]);
    command.env("NOTIFY_SOCKET", &manager.1);
    super::kit::run(&mut command).with(78);
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0; 64]).is_err(), "something was said");
}

#[test]
fn an_endpoint_that_is_held_is_in_the_status() {
    let place = Place::with(&config(BASE, &endpoint(&format!("http://{}", nobody()))));
    let manager = Manager::at(&place);
    let mut relay = manager.start(&place);
    manager.next();
    relay.ready();
    let admin = relay.said.iter().find_map(|line| {
        let said: serde_json::Value = serde_json::from_str(line).ok()?;
        said["admin"].as_str().map(str::to_owned)
    });
    let paused = place.admin(
        &admin.unwrap(),
        "POST",
        "/api/v1/endpoints/ledger/pause",
        "",
    );
    assert_eq!(paused.0, 200);
    let told = manager.wait_for("STATUS=held", "STOPPING");
    assert!(
        status(&told).starts_with("held: deliver ledger; callbacks on "),
        "{told:?}"
    );
    assert_eq!(relay.stop(Signal::TERM), Some(0));
}

/// Built here, as the power-cut test does with its own.
fn stalling(place: &Place) -> PathBuf {
    let library = place.path().join("stall.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systemd/stall.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .status();
    assert!(built.unwrap().success());
    library
}

#[test]
fn the_watchdog_is_fed_while_every_worker_turns_and_starves_when_one_hangs() {
    let place = Place::with(&config(BASE, ""));
    let manager = Manager::at(&place);
    let stall = place.path().join("stall");
    let library = stalling(&place);
    let mut relay = manager.start_with(&place, |command| {
        command
            .env("LD_PRELOAD", library)
            .env("STALL", &stall)
            .env("WATCHDOG_USEC", "3000000");
    });
    manager.wait_for("READY=1", "WATCHDOG");
    for _ in 0..4 {
        manager.wait_for("WATCHDOG=1", "STOPPING");
    }
    // The disk hangs. Most workers have nothing to write and turn on; the note that we are alive does not get through.
    std::fs::write(&stall, "").unwrap();
    let stuck = "STATUS=heartbeat has not turned for ";
    manager.wait_for(stuck, "STOPPING");
    for _ in 0..3 {
        manager.wait_for(stuck, "WATCHDOG");
    }
    std::fs::remove_file(&stall).unwrap();
    manager.wait_for("WATCHDOG=1", "STOPPING");
    assert_eq!(relay.stop(Signal::TERM), Some(0));
}

#[test]
fn a_watchdog_for_another_process_is_none_of_ours() {
    let place = Place::with(&config(BASE, ""));
    let manager = Manager::at(&place);
    let mut relay = manager.start_with(&place, |command| {
        command
            .env("WATCHDOG_USEC", "30000")
            .env("WATCHDOG_PID", "1");
    });
    manager.wait_for("READY=1", "WATCHDOG");
    relay.ready();
    signal(&relay, Signal::TERM);
    manager.wait_for("STOPPING=1", "WATCHDOG");
    assert_eq!(relay.stop(Signal::TERM), Some(0));
}
