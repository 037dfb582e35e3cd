//! `SIGHUP` and `reload`: the configuration is read again, all of it or nothing.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use vexora_relay::domain::{Secret, Status};
use vexora_relay::signing::webhook::WebhookKey;

use super::kit::{
    Arrived, Downstream, MERCHANT, Place, Provider, Service, WEBHOOK_SECRET, config, endpoint,
    merchant, user,
};

/// `whsec_` and 32 times the byte 43.
const OTHER_SECRET: &str = "whsec_KysrKysrKysrKysrKysrKysrKysrKysrKysrKysrKys=";

/// A relay that is up, and how it is spoken to.
struct Relay {
    service: Service,
    place: Place,
    provider: Provider,
    callbacks: String,
    admin: String,
}

impl Relay {
    fn start(tables: &str) -> Self {
        let provider = Provider::start();
        let place = Place::with(&config(&provider.sandbox.base_url(), tables));
        let mut service = Service::start(place.command(&["serve"]));
        let ready = service.ready();
        let callbacks = ready["callbacks"].as_str().unwrap();
        Self {
            callbacks: format!("{callbacks}/callback/{MERCHANT}"),
            admin: ready["admin"].as_str().unwrap().to_owned(),
            service,
            place,
            provider,
        }
    }

    /// A user's final result comes in.
    fn result(&self, id: &str) {
        let approved = Status::Approved;
        self.provider
            .sandbox
            .set_status(&merchant(), &user(id), approved, None);
        let attempt = self.provider.post_callback(id, self.callbacks.clone());
        assert!(attempt.confirmed, "{attempt:?}");
    }

    fn write(&self, text: &str) {
        std::fs::write(self.place.path().join("config.toml"), text).unwrap();
    }

    /// The file says this from now on, and the service has read it.
    fn reload(&mut self, tables: &str) -> Value {
        self.write(&config(&self.provider.sandbox.base_url(), tables));
        self.place.run(&["reload"]).with(0);
        self.said("reloaded: ")
    }

    /// The fields of the next line whose message begins so.
    fn said(&mut self, beginning: &str) -> Value {
        self.service.wait_for(|line| {
            let said: Value = serde_json::from_str(line).ok()?;
            said["message"]
                .as_str()?
                .starts_with(beginning)
                .then_some(said)
        })
    }

    fn status(&self) -> Value {
        self.place.admin(&self.admin, "GET", "/api/v1/status", "").1
    }
}

fn named(name: &str, url: &str) -> String {
    endpoint(url).replace("\"ledger\"", &format!("\"{name}\""))
}

fn told_of(arrived: &Arrived) -> String {
    let said: Value = serde_json::from_slice(&arrived.body).unwrap();
    said["data"]["userId"].as_str().unwrap().to_owned()
}

fn signed_with(secret: &str, arrived: &Arrived) -> bool {
    let key = WebhookKey::parse(&Secret::new(secret)).unwrap();
    let timestamp = arrived.header("webhook-timestamp").parse().unwrap();
    let own = key.sign(arrived.header("webhook-id"), timestamp, &arrived.body);
    let all = arrived.header("webhook-signature");
    all.split(' ').any(|one| one == own)
}

#[test]
fn an_endpoint_comes_goes_and_returns_to_what_was_kept_for_it() {
    let (ledger, second) = (Downstream::start(), Downstream::start());
    let mut relay = Relay::start(&endpoint(&ledger.url));
    let both = endpoint(&ledger.url) + &named("second", &second.url);
    let said = relay.reload(&both);
    assert_eq!(
        (&said["endpoints"], &said["added"]),
        (&2.into(), &"second".into())
    );
    relay.result("taro");
    assert_eq!(told_of(&ledger.next()), "taro");
    assert_eq!(told_of(&second.next()), "taro");

    // Nobody is there to hear of hana when the second is taken out of the file.
    let nowhere = format!("http://{}/hooks", super::kit::nobody());
    relay.reload(&(endpoint(&ledger.url) + &named("second", &nowhere)));
    relay.result("hana");
    assert_eq!(told_of(&ledger.next()), "hana");
    relay.said("delivery to second failed");
    let said = relay.reload(&endpoint(&ledger.url));
    assert_eq!(said["removed"], "second");
    let status = relay.status();
    assert_eq!(status["orphaned"], serde_json::json!(["second"]));
    assert_eq!(status["pending"]["deliveries"]["second"], 1);

    relay.reload(&both);
    assert_eq!(told_of(&second.next()), "hana");
    assert_eq!(relay.service.stop(Signal::TERM), Some(0));
}

#[test]
fn a_secret_rotates_without_a_gap() {
    let ledger = Downstream::start();
    let mut relay = Relay::start(&endpoint(&ledger.url));
    relay.result("before");
    assert!(signed_with(WEBHOOK_SECRET, &ledger.next()));
    let with =
        |secrets: &str| endpoint(&ledger.url).replace(&format!("\"{WEBHOOK_SECRET}\""), secrets);
    relay.reload(&with(&format!(
        "[\"{OTHER_SECRET}\", \"{WEBHOOK_SECRET}\"]"
    )));
    relay.result("meanwhile");
    let meanwhile = ledger.next();
    assert!(signed_with(OTHER_SECRET, &meanwhile) && signed_with(WEBHOOK_SECRET, &meanwhile));
    relay.reload(&with(&format!("\"{OTHER_SECRET}\"")));
    relay.result("after");
    let after = ledger.next();
    assert!(signed_with(OTHER_SECRET, &after) && !signed_with(WEBHOOK_SECRET, &after));
}

#[test]
fn an_invalid_file_changes_nothing_and_every_problem_is_named() {
    let ledger = Downstream::start();
    let mut relay = Relay::start(&endpoint(&ledger.url));
    let tables = endpoint("ftp://elsewhere.example") + "retries = 3\n";
    relay.write(&config(&relay.provider.sandbox.base_url(), &tables));
    let ended = relay.place.run(&["reload"]).with(78);
    assert!(
        ended.err.contains("endpoint \"ledger\": url"),
        "{}",
        ended.err
    );
    let pid = Pid::from_raw(i32::try_from(relay.service.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let last = relay.said("not reloaded: config.toml has ");
    assert_eq!(last["problems"], 2);
    for problem in [
        "endpoint \\\"ledger\\\": url",
        "endpoint \\\"ledger\\\": retries",
    ] {
        let mut said = relay.service.said.iter();
        assert!(said.any(|line| line.contains(problem)), "{problem}");
    }
    relay.result("taro");
    assert_eq!(told_of(&ledger.next()), "taro", "as it was");
}

#[test]
fn what_needs_a_new_start_is_said() {
    let mut relay = Relay::start("");
    let base = relay.provider.sandbox.base_url();
    let text = config(&base, "").replace(
        "[server]\nlisten = \"127.0.0.1:0\"",
        "[server]\nlisten = \"127.0.0.1:1\"",
    );
    relay.write(&text);
    relay.place.run(&["reload"]).with(0);
    let said = relay.said("server.listen has changed");
    assert_eq!(said["level"], "WARN");
}

#[test]
fn where_nothing_runs_reload_ends_with_3() {
    let place = Place::with(&config("http://127.0.0.1:9/japan", ""));
    let ended = place.run(&["reload"]).with(3);
    assert!(ended.err.contains("hint: "), "{}", ended.err);
    let mut service = Service::start(place.command(&["serve"]));
    service.ready();
    service.stop(Signal::TERM);
    place.run(&["reload"]).with(3);
}
