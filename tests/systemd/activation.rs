//! Sockets that somebody else holds: which is which, and restarts under load that refuse nobody and lose nothing.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rustix::io::FdFlags;
use rustix::process::Signal;

use super::kit::{MERCHANT, Place, Service, config, free};

const BASE: &str = "http://127.0.0.1:9/japan";

fn has_socket_activate() -> bool {
    let found = Command::new("systemd-socket-activate")
        .arg("--version")
        .output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        println!("SKIPPED: systemd-socket-activate is not here (Debian: systemd)");
    }
    found
}

fn get(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn systemd_hands_over_both_sockets_whatever_their_order_tcp_and_unix() {
    if !has_socket_activate() {
        return;
    }
    // Each time the admin socket is the first of the two, so that the order alone would be wrong.
    let place = Place::with(&config(BASE, ""));
    let unix = place.path().join("admin.sock");
    for admin in [free(), unix.display().to_string()] {
        let callbacks = free();
        let mut command = Command::new("systemd-socket-activate");
        command
            .args(["-l", &admin, "-l", &callbacks, "--fdname=admin:callbacks"])
            .arg(env!("CARGO_BIN_EXE_vexora-relay"))
            .arg("serve")
            .current_dir(place.path())
            .stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        let mut relay = Service::start(command);
        relay.wait_for(|line| line.contains("Listening on").then_some(()));
        relay.wait_for(|line| line.contains("Listening on").then_some(()));
        // The first connection starts the service, and is then its to answer.
        let first = TcpStream::connect(&callbacks).unwrap();
        assert!(get(first, "/healthz").starts_with("HTTP/1.1 200"));
        let ready = relay.ready();
        assert_eq!(ready["callbacks"], format!("http://{callbacks}"));
        let answer = if admin.contains('/') {
            get(UnixStream::connect(&unix).unwrap(), "/readyz")
        } else {
            get(TcpStream::connect(&admin).unwrap(), "/readyz")
        };
        assert!(answer.contains("\"ready\":true"), "{answer}");
        assert_eq!(relay.stop(Signal::TERM), Some(0));
    }
}

/// What the service manager does: holds the socket, and hands it to one process after the other.
struct Holder(TcpListener);

impl Holder {
    fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        // Inherited by the service; the library is told where it begins instead of it being moved to 3.
        rustix::io::fcntl_setfd(socket.as_fd(), FdFlags::empty()).unwrap();
        Self(socket)
    }

    fn start(&self, place: &Place) -> Service {
        let mut command = place.command(&["serve"]);
        command
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDNAMES", "callbacks")
            .env("LISTEN_FDS_FIRST_FD", self.0.as_raw_fd().to_string());
        Service::start(command)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// Posts callbacks, each over a connection of its own, until told to end, and tells whose were acknowledged.
fn post(to: SocketAddr, client: usize, end: &AtomicBool, cut: &AtomicBool, tell: &Sender<String>) {
    for number in 0.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let user = format!("u-{client}-{number}");
        let body = format!("{{\"userId\":\"{user}\",\"authenticationStatus\":\"2\"}}");
        let mut stream = match TcpStream::connect(to) {
            Ok(stream) => stream,
            Err(error) => panic!("a connection was not taken: {error}"),
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let request = format!(
            "POST /callback/{MERCHANT} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        let asked = stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.read_to_string(&mut answer));
        match asked {
            Ok(_) if answer.starts_with("HTTP/1.1 200") => tell.send(user).unwrap(),
            Ok(_) if answer.starts_with("HTTP/1.1 503") => {}
            // A process that was killed takes what it was reading with it; one that stops does not.
            Ok(_) | Err(_) if cut.load(Ordering::Relaxed) => {}
            Ok(_) => panic!("answered {answer:?}"),
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "never answered");
                panic!("a request was cut off: {error}");
            }
        }
    }
}

#[test]
fn restarts_under_load_refuse_no_connection_and_lose_no_acknowledged_callback() {
    let text = config(BASE, "").replace("[admin]", "rate_limit = \"off\"\n[admin]");
    let place = Place::with(&text);
    let holder = Holder::new();
    let (end, cut) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut relay = holder.start(&place);
    relay.ready();
    let (tell, told) = channel();
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (to, end, cut) = (holder.address(), Arc::clone(&end), Arc::clone(&cut));
            let tell = tell.clone();
            std::thread::spawn(move || post(to, client, &end, &cut, &tell))
        })
        .collect();
    drop(tell);
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        // Each process is in the middle of its work when it ends.
        for _ in 0..100 {
            acknowledged.push(told.recv_timeout(Duration::from_secs(60)).unwrap());
        }
        if round == 4 {
            cut.store(true, Ordering::Relaxed);
            relay.stop(Signal::KILL);
        } else {
            assert_eq!(relay.stop(Signal::TERM), Some(0), "{:?}", relay.said);
        }
        relay = holder.start(&place);
        relay.ready();
    }
    end.store(true, Ordering::Relaxed);
    acknowledged.extend(told);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(relay.stop(Signal::TERM), Some(0));

    let mut relay = Service::start(place.command(&["serve"]));
    let admin = relay.ready()["admin"].as_str().unwrap().to_owned();
    let token = std::fs::read_to_string(place.path().join("data/admin-token")).unwrap();
    let mut stream = TcpStream::connect(admin.strip_prefix("http://").unwrap()).unwrap();
    let request = format!(
        "GET /api/v1/export HTTP/1.0\r\nhost: relay\r\nauthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut export = String::new();
    stream.read_to_string(&mut export).unwrap();
    let held: HashSet<String> = export
        .lines()
        .filter_map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).ok()?;
            let user = record["user"].as_str().or(record["userId"].as_str())?;
            Some(user.to_owned())
        })
        .collect();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|user| !held.contains(*user))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} are lost, such as {:?}",
        lost.len(),
        acknowledged.len(),
        lost[0]
    );
    println!(
        "{} acknowledged over 5 restarts, all of them held",
        acknowledged.len()
    );
    assert_eq!(relay.stop(Signal::TERM), Some(0));
}

#[test]
fn sockets_that_cannot_be_placed_are_refused() {
    let place = Place::with(&config(BASE, ""));
    let file = std::fs::File::create(place.path().join("file")).unwrap();
    rustix::io::fcntl_setfd(file.as_fd(), FdFlags::empty()).unwrap();
    let mut command = place.command(&["serve"]);
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", file.as_raw_fd().to_string());
    let ended = super::kit::run(&mut command).with(78);
    assert!(ended.err.contains("ListenStream="), "{}", ended.err);
    let mut command = place.command(&["serve"]);
    command.env("LISTEN_FDS", "3");
    let ended = super::kit::run(&mut command).with(78);
    assert!(
        ended.err.contains("FileDescriptorName=admin"),
        "{}",
        ended.err
    );
}
