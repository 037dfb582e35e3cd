//! `demo`: the round trip with nothing but the binary.

use std::io::{Read as _, Write as _};

use rustix::process::Signal;

use super::kit::{Place, Service};

const USERS: [&str; 3] = ["demo-taro", "demo-reject-hanako", "demo-silent-jiro"];

#[test]
fn once_shows_three_users_from_application_to_signed_webhook() {
    let ended = Place::with("").run(&["demo", "--once"]).with(0);
    for user in USERS {
        assert!(ended.out.contains(&format!("applied for {user}")));
        let checked = format!("for {user}: signature checked");
        assert!(ended.out.contains(&checked), "{}", ended.out);
    }
    assert!(
        ended
            .out
            .contains("webhook kyc.rejected for demo-reject-hanako")
    );
    assert!(ended.out.contains("no callback came; found by asking"));
}

#[test]
fn once_in_json_is_one_value() {
    let json = Place::with("")
        .run(&["demo", "--once", "--json"])
        .with(0)
        .json();
    assert_eq!(json["ok"], true);
    for user in USERS {
        assert!(json["users"].as_array().unwrap().contains(&user.into()));
    }
}

#[test]
fn without_once_it_stays_up_until_it_is_told_to_stop() {
    let place = Place::with("");
    let mut demo = Service::start_reading_stdout(place.command(&["demo"]));
    demo.wait_for(|line| line.contains("still up").then_some(()));
    let url = demo.wait_for(|line| {
        let (_, rest) = line.split_once("dashboard, http://")?;
        assert!(rest.ends_with("/, signed in with demo-admin-token,"));
        rest.split('/').next().map(str::to_owned)
    });
    let mut stream = std::net::TcpStream::connect(url).unwrap();
    let asked = b"GET / HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n";
    stream.write_all(asked).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("location: /sign-in"), "{answer}");
    assert_eq!(demo.stop(Signal::INT), Some(0), "{:?}", demo.said);
}
