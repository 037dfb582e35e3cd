//! The verbs about users against a service that runs, over TCP and over a Unix socket; and what it says of them in its
//! log.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;
use vexora_relay::domain::Status;
use vexora_relay::sandbox::Faults;

use super::kit::{
    Downstream, Ended, MERCHANT, Place, Provider, SECRET, Service, config, endpoint, free,
    merchant, user,
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
        let public = free();
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
    let story = waiting.out.split_once("\n\n").unwrap().1;
    assert!(
        story.contains("application  sent to Vexora and accepted"),
        "{story}"
    );
    let watched = place.run(&["status", "hana"]).with(0);
    assert!(watched.out.contains("watch  ordered:"), "{}", watched.out);

    let sandbox = &running.provider.sandbox;
    sandbox.set_status(&merchant(), &user("taro"), Status::Approved, None);
    let callback = sent[0].callback_url.clone();
    assert!(callback.contains(&format!("/callback/{MERCHANT}")));
    running.provider.post_callback("taro", callback);
    ledger.next();
    running.outcome("delivered");
    let place = &running.place;
    let told = place.run(&["status", "taro"]).with(0);
    for part in ["taro of merchant", "approved", "ledger", "application "] {
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
    users_are_applied_for_watched_and_shown(&free());
}

#[test]
fn users_are_applied_for_watched_and_shown_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("admin.sock");
    users_are_applied_for_watched_and_shown(&format!("unix:{}", socket.display()));
}

#[test]
fn an_application_that_vexora_declines_is_said_to_be_and_leaves_nothing() {
    let admin = free();
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
    let of_a_batch = body.replace('}', ", \"batch\": \"monday\"}");
    for _ in 0..2 {
        let admin = format!("http://{admin}");
        let place = &running.place;
        let (status, _) = place.admin(&admin, "POST", "/api/v1/applications", &of_a_batch);
        assert_eq!(status, 422, "declined is not sent, also within a batch");
    }
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("1006") && !detail.contains(NAME));
    let story = running.place.run(&["status", "taro", "--json"]).with(0);
    assert!(story.json()["application"].is_null() && story.json()["verification"].is_null());
}

impl Running {
    fn file(&self, rows: &[(&str, &str)]) {
        let rows = rows.iter().map(|(id, name)| format!("{id},{name}\n"));
        let text = format!("userId,usernameFurigana\n{}", rows.collect::<String>());
        std::fs::write(self.place.path().join("users.csv"), text).unwrap();
    }

    fn apply_file(&self, more: &[&str]) -> Ended {
        let verb = [&["apply", "--file", "users.csv"], more].concat();
        self.place.run(&verb)
    }

    /// How often each of them reached Vexora.
    fn sent(&self, ids: &[&str]) -> Vec<usize> {
        let sandbox = &self.provider.sandbox;
        let sent = ids.iter();
        sent.map(|id| sandbox.applications(&merchant(), &user(id)).len())
            .collect()
    }
}

#[test]
fn a_file_run_again_sends_nothing_twice_even_after_the_results() {
    let ledger = Downstream::start();
    let running = Running::start(&free(), SECRET, &endpoint(&ledger.url));
    running.file(&[("taro", NAME), ("hana", NAME)]);
    assert_eq!(running.apply_file(&[]).with(0).out, "2 accepted\n");
    let sandbox = &running.provider.sandbox;
    for id in ["taro", "hana"] {
        let url = sandbox.applications(&merchant(), &user(id))[0]
            .callback_url
            .clone();
        sandbox.set_status(&merchant(), &user(id), Status::Approved, None);
        running.provider.post_callback(id, url);
        ledger.next();
        let story = running.place.run(&["status", id, "--json"]).with(0).json();
        assert_eq!(
            (&story["status"], &story["application"]),
            (&"approved".into(), &Value::Null)
        );
    }
    // A name that was spelt wrongly makes no other batch.
    running.file(&[("taro", NAME), ("hana", "ハナ")]);
    let again = running.apply_file(&["--json"]).with(0).json();
    assert_eq!(
        (&again["accepted"], &again["already"]),
        (&0.into(), &2.into())
    );
    assert_eq!(running.sent(&["taro", "hana"]), [1, 1]);
    assert_eq!(running.apply_file(&["--again"]).with(0).out, "2 accepted\n");
    assert_eq!(running.sent(&["taro", "hana"]), [2, 2]);
}

#[test]
fn an_interrupted_file_says_what_failed_and_goes_on_where_it_was() {
    let running = Running::start(&free(), SECRET, "");
    let hang = ["h1", "h2", "h3", "h4"];
    let faults = Faults {
        apply_hang: true,
        ..Faults::default()
    };
    let sandbox = &running.provider.sandbox;
    for id in hang {
        sandbox.set_user_faults(&merchant(), &user(id), Some(faults.clone()));
    }
    let rows = ["wrong", "taro", "h1", "h2", "h3", "h4", "hana"];
    running.file(&rows.map(|id| (id, if id == "wrong" { "!" } else { NAME })));
    let command = &["apply", "--file", "users.csv", "--again"];
    let mut client = Service::start(running.place.command(command));
    // All that goes at a time hangs: whoever stood before has been answered.
    let hangs = (0..1000).any(|_| {
        running.place.run(&["status"]).with(0);
        running.sent(&hang) == [1; 4]
    });
    assert!(hangs, "{:?}", running.sent(&rows));
    client.signal(Signal::INT);
    client.wait_for(|line| line.contains("Ctrl-C again").then_some(()));
    assert_eq!(client.stop(Signal::INT), Some(1));
    let said = client.said.join("\n");
    for part in ["line 2: usernameFurigana", "stopped after 2 of 7"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (_, key) = said.split_once("--batch ").expect("the round's key");
    let key = key.split(' ').next().unwrap();

    for id in hang {
        sandbox.set_user_faults(&merchant(), &user(id), None);
    }
    running.file(&rows.map(|id| (id, NAME)));
    let resumed = running.apply_file(&["--batch", key, "--json"]).with(0);
    let resumed = resumed.json();
    assert_eq!(
        (&resumed["accepted"], &resumed["already"]),
        (&2.into(), &5.into()),
        "{resumed}"
    );
    assert_eq!(running.sent(&rows), [1; 7]);
}

#[test]
fn the_name_is_in_no_line_of_the_log() {
    let mut running = Running::start(&free(), SECRET, "[log]\nlevel = \"debug\"\n");
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
