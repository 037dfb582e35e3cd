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
    let message = "reloaded: 1 merchant, 2 endpoints; endpoints added: second";
    assert_eq!(said["message"], message);
    relay.result("taro");
    assert_eq!(told_of(&ledger.next()), "taro");
    assert_eq!(told_of(&second.next()), "taro");

    // Nobody is there to hear of hana when the second is taken out of the file.
    let nowhere = format!("http://{}/hooks", super::kit::nobody());
    let said = relay.reload(&(endpoint(&ledger.url) + &named("second", &nowhere)));
    assert_eq!(said["changed"], "second (url)");
    assert!(!said.to_string().contains(&nowhere), "{said}");
    relay.result("hana");
    assert_eq!(told_of(&ledger.next()), "hana");
    relay.said("delivery to second failed");
    let said = relay.reload(&endpoint(&ledger.url));
    assert_eq!(said["removed"], "second");
    let kept = relay.said("endpoint second is gone from the configuration; ");
    assert_eq!(
        (
            &kept["level"],
            &kept["endpoint"],
            &kept["pending"],
            &kept["abandoned"]
        ),
        (&"WARN".into(), &"second".into(), &1.into(), &0.into())
    );
    let what_to_do = "deliveries kept for it: 1 waiting. Put it back and what waits goes out, or give up what is kept by `vexora-relay discard --endpoint second`";
    assert!(
        kept["message"].as_str().unwrap().ends_with(what_to_do),
        "{kept}"
    );
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
fn the_log_names_what_came_went_and_changed_and_no_secret() {
    let ledger = Downstream::start();
    let all = |names: &mut dyn Iterator<Item = usize>| -> String {
        let names = names.map(|number| named(&format!("e{number:02}"), &ledger.url));
        names.collect()
    };
    let mut relay = Relay::start(&all(&mut (0..3)));
    let said = relay.reload(&all(&mut (0..3)));
    assert_eq!(said["message"], "reloaded: 1 merchant, 3 endpoints");
    for field in [
        "added",
        "changed",
        "removed",
        "merchants_added",
        "merchants_changed",
        "merchants_removed",
    ] {
        assert_eq!(said[field], "", "{field}");
    }

    // In the file in the other order, and twenty-two more.
    let said = relay.reload(&all(&mut (0..25).rev()));
    let added: Vec<String> = (3..23).map(|number| format!("e{number:02}")).collect();
    assert_eq!(said["added"], added.join(",") + " and 2 more");

    let tables = all(&mut (1..25)).replace(WEBHOOK_SECRET, OTHER_SECRET)
        + "[[merchant]]\nmerchant_no = \"2027749636\"\napp_secret = \"another-app-secret\"\n"
        + "callback_token = \"a-token-of-the-merchant\"\n"
        + "[delivery]\ntimeout = \"7s\"\n";
    let text = config(&relay.provider.sandbox.base_url(), &tables);
    relay.write(&text.replace("\"s3cr3t\"", "\"s3cr3t-too\""));
    relay.place.run(&["reload"]).with(0);
    let said = relay.said("reloaded: ");
    let message = said["message"].as_str().unwrap();
    let beginning = "reloaded: 2 merchants, 24 endpoints; \
                     merchants added: 2027749636; changed: 1027749636 (app_secret); \
                     endpoints changed: e01 (secret timeout), e02 (secret timeout), ";
    assert!(message.starts_with(beginning), "{message}");
    let end = ", e20 (secret timeout) and 4 more; removed: e00";
    assert!(message.ends_with(end), "{message}");

    let said = relay.reload(
        &(all(&mut (1..25)).replace(WEBHOOK_SECRET, OTHER_SECRET)
            + "[delivery]\ntimeout = \"7s\"\n"),
    );
    assert_eq!(
        said["message"],
        "reloaded: 1 merchant, 24 endpoints; merchants changed: 1027749636 (app_secret); removed: 2027749636"
    );
    assert_eq!(relay.service.stop(Signal::TERM), Some(0));
    let log = relay.service.said.join("\n");
    for secret in [
        OTHER_SECRET,
        "another-app-secret",
        "a-token-of",
        "s3cr3t",
        &ledger.url,
    ] {
        assert!(!log.contains(secret), "{secret}");
    }
    assert!(
        !log.contains("is gone from the configuration"),
        "nothing was kept for it"
    );
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
