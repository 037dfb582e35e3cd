//! The verbs about users against a service that runs, over TCP and over a Unix socket; and what it says of them in its
//! log.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;
use vexora_relay::domain::Status;

use super::kit::{
    Downstream, Ended, MERCHANT, Place, Provider, SECRET, Service, config, endpoint, merchant,
    nobody, user,
};

const NAME: &str = "ケンサク ミツカラナイ";

/// A service that can apply: its public address is known before it starts.
struct Running {
    provider: Provider,
    place: Place,
    service: Service,
}

impl Running {
    fn start(admin: &str, secret: &str, tables: &str) -> Self {
        let provider = Provider::start();
        let public = nobody();
        let text = config(&provider.sandbox.base_url(), tables)
            .replace(
                "[server]\nlisten = \"127.0.0.1:0\"",
                &format!("[server]\nlisten = \"{public}\"\npublic_url = \"http://{public}\""),
            )
            .replace(
                "[admin]\nlisten = \"127.0.0.1:0\"",
                &format!("[admin]\nlisten = \"{admin}\""),
            )
            .replace(SECRET, secret);
        let place = Place::with(&text);
        let mut service = Service::start(place.command(&["serve"]));
        service.ready();
        Self {
            provider,
            place,
            service,
        }
    }

    /// Applies for a user; the name comes in on stdin, as it should.
    fn apply(&self, id: &str, name: &str) -> Ended {
        let mut command = self
            .place
            .command(&["apply", "--user", id, "--furigana", "-"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(name.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Waits for a line whose outcome is this.
    fn outcome(&mut self, outcome: &str) {
        self.service.wait_for(|line| {
            let said: Value = serde_json::from_str(line).ok()?;
            (said["outcome"] == outcome).then_some(())
        });
    }
}

fn users_are_applied_for_watched_and_shown(admin: &str) {
    let ledger = Downstream::start();
    let mut running = Running::start(admin, SECRET, &endpoint(&ledger.url));
    let applied = running.apply("taro", NAME).with(0);
    assert_eq!(applied.out, "1 accepted\n");
    let again = running.apply("taro", NAME).with(0);
    assert!(again.out.contains("1 applied for before"), "{}", again.out);
    let sent = running
        .provider
        .sandbox
        .applications(&merchant(), &user("taro"));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].username_furigana, NAME);

    let place = &running.place;
    let watched = place.run(&["watch", "hana", "taro"]).with(0);
    assert!(
        watched.out.contains("2 watched") && watched.out.contains("1 of them new"),
        "{}",
        watched.out
    );
    let status = place.run(&["status"]).with(0);
    assert!(status.out.contains("ready: callbacks are taken"));
    let json = place.run(&["status", "--json"]).with(0).json();
    assert_eq!(json["ready"], true);
    let waiting = place.run(&["status", "taro"]).with(0);
    assert!(waiting.out.contains("application sent"), "{}", waiting.out);

    let sandbox = &running.provider.sandbox;
    sandbox.set_status(&merchant(), &user("taro"), Status::Approved, None);
    let callback = sent[0].callback_url.clone();
    assert!(callback.contains(&format!("/callback/{MERCHANT}")));
    running.provider.post_callback("taro", callback);
    ledger.next();
    running.outcome("delivered");
    let place = &running.place;
    let told = place.run(&["status", "taro"]).with(0);
    for part in ["taro of merchant", "approved", "ledger"] {
        assert!(told.out.contains(part), "{part}: {}", told.out);
    }
    let story = place.run(&["status", "taro", "--json"]).with(0).json();
    assert_eq!(
        (&story["status"], &story["sequence"]),
        (&"approved".into(), &1.into())
    );
    assert_eq!(running.service.stop(Signal::TERM), Some(0));
    for verb in [&["status"][..], &["status", "taro"], &["watch", "hana"]] {
        running.place.run(verb).with(3);
    }
    running.apply("hana", NAME).with(3);
}

#[test]
fn users_are_applied_for_watched_and_shown_over_tcp() {
    users_are_applied_for_watched_and_shown(&nobody());
}

#[test]
fn users_are_applied_for_watched_and_shown_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    users_are_applied_for_watched_and_shown(&format!("unix:{}", socket.display()));
}

#[test]
fn an_application_that_vexora_declines_is_said_to_be_and_leaves_nothing() {
    let admin = nobody();
    let running = Running::start(&admin, "another-secret", "");
    let declined = running.apply("taro", NAME).with(1);
    assert!(
        declined.err.contains("Vexora declined the application")
            && declined.err.contains("\"1006\""),
        "{}",
        declined.err
    );
    assert_eq!(declined.out, "0 accepted; 1 failed\n");
    let body = format!("{{\"userId\": \"taro\", \"usernameFurigana\": \"{NAME}\"}}");
    let (status, problem) = running.place.admin(
        &format!("http://{admin}"),
        "POST",
        "/api/v1/applications",
        &body,
    );
    assert_eq!(
        (status, &problem["code"], &problem["status"]),
        (422, &"application_declined".into(), &422.into())
    );
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("1006") && !detail.contains(NAME));
    let story = running.place.run(&["status", "taro", "--json"]).with(0);
    assert!(story.json()["application"].is_null() && story.json()["verification"].is_null());
}

#[test]
fn the_name_is_in_no_line_of_the_log() {
    let mut running = Running::start(&nobody(), SECRET, "[log]\nlevel = \"debug\"\n");
    running.apply("taro", NAME).with(0);
    let wrong = format!("{NAME}!");
    let refused = running.apply("hana", &wrong).with(2);
    assert!(!refused.err.contains(NAME), "{}", refused.err);
    // Past the command line's own look at it, too.
    let declined = format!("{{\"userId\": \"hana\", \"usernameFurigana\": \"{wrong}\"}}");
    let garbled = format!("{{\"userId\": \"jiro\", \"usernameFurigana\": \"{NAME}\", }}");
    let ready: Value = serde_json::from_str(&running.service.said[0]).unwrap();
    let admin = ready["admin"].as_str().unwrap();
    for body in [declined, garbled] {
        let (status, problem) = running
            .place
            .admin(admin, "POST", "/api/v1/applications", &body);
        assert_eq!(status, 400);
        assert!(!problem.to_string().contains("ミツカラナイ"), "{problem}");
    }
    running.service.stop(Signal::TERM);
    let log = running.service.said.join("\n");
    assert!(log.contains("\"DEBUG\"") && log.contains("taro"), "{log}");
    let escaped = serde_json::to_string(NAME).unwrap();
    let percent: String = NAME.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for needle in [
        "ミツカラナイ",
        escaped.trim_matches('"'),
        percent.as_str(),
        "usernameFurigana",
    ] {
        assert!(!log.contains(needle), "{needle}:\n{log}");
    }
}
