//! What a person at a terminal sees and answers: colours, widths, questions, progress, and screens that are redrawn.

use std::fs::File;

use rustix::process::Signal;
use serde_json::Value;
use vexora_relay::domain::Status;

use super::kit::{
    Downstream, Ended, MERCHANT, Place, Provider, Service, config, endpoint, free, merchant, user,
};
use super::pty::{CLEARED, CTRL_C, CTRL_D, Terminal};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";

/// A service with one endpoint, which is paused, and a result for it that waits.
struct Running {
    place: Place,
    service: Service,
    _provider: Provider,
    _ledger: Downstream,
}

impl Running {
    fn start() -> Self {
        let (provider, ledger) = (Provider::start(), Downstream::start());
        let admin = format!("[admin]\nlisten = \"{}\"", free());
        let text = config(&provider.sandbox.base_url(), &endpoint(&ledger.url));
        let place = Place::with(&text.replace("[admin]\nlisten = \"127.0.0.1:0\"", &admin));
        let mut service = Service::start(place.command(&["serve"]));
        let callbacks = service.ready()["callbacks"].as_str().unwrap().to_owned();
        place.run(&["pause", "ledger"]).with(0);
        let sandbox = &provider.sandbox;
        sandbox.set_status(&merchant(), &user("taro"), Status::Approved, None);
        provider.post_callback("taro", format!("{callbacks}/callback/{MERCHANT}"));
        service.wait_for(|line| {
            let said: Value = serde_json::from_str(line).ok()?;
            said["event"].is_string().then_some(())
        });
        Self {
            place,
            service,
            _provider: provider,
            _ledger: ledger,
        }
    }

    fn at_terminal(&self, columns: u16, args: &[&str]) -> Terminal {
        Terminal::run(self.place.command(args), columns)
    }

    /// Asks for what needs a yes, and answers with these keys.
    fn answered(&self, args: &[&str], keys: &str) -> Ended {
        let mut terminal = self.at_terminal(100, args);
        terminal.wait_for("Go on? [y/N]", 1);
        terminal.press(keys);
        terminal.ended()
    }

    fn jobs(&self) -> usize {
        let listed = self.place.run(&["jobs", "--json"]).with(0).json();
        listed["jobs"].as_array().unwrap().len()
    }
}

/// A text without what only colours it.
fn colourless(text: &str) -> String {
    let mut text = text.to_owned();
    for code in [RED, GREEN, "\x1b[33m", "\x1b[0m"] {
        text = text.replace(code, "");
    }
    text
}

#[test]
fn bulk_work_is_done_on_a_yes_and_on_nothing_else() {
    let mut running = Running::start();
    let discard = ["discard", "--endpoint", "ledger"];
    let retry = ["retry", "--endpoint", "ledger", "--state", "waiting"];
    let replay = ["replay", "ledger", "--since", "1h", "--state", "delivered"];
    for keys in ["n\n", "\n", "yeah\n", CTRL_D] {
        for args in [&discard[..], &retry] {
            let refused = running.answered(args, keys).with(1);
            let asked = "1 delivery to ledger (waiting) would be";
            assert!(refused.out.contains(asked), "{keys:?}: {}", refused.out);
            assert!(refused.out.contains("nothing was done"), "{}", refused.out);
        }
    }
    let stopped = running.answered(&discard, CTRL_C);
    assert_eq!(stopped.code, None, "ended by the signal");
    assert_eq!(running.jobs(), 0);

    // A pipe answers no question: what it holds is for something else.
    for args in [&discard[..], &retry, &replay] {
        let mut command = running.place.command(args);
        let yes = running.place.path().join("yes");
        std::fs::write(&yes, "y\n").unwrap();
        let refused = super::kit::run(command.stdin(File::open(&yes).unwrap())).with(2);
        assert!(
            refused.err.contains("--yes does it without asking"),
            "{}",
            refused.err
        );
    }
    assert_eq!(running.jobs(), 0);

    let nothing = running.answered(&replay, "y\n").with(0);
    assert!(nothing.out.contains("nothing to do"), "{}", nothing.out);
    let done = running.answered(&discard, "y\n").with(0);
    assert!(done.out.contains("job 1: 1 delivery"), "{}", done.out);
    assert_eq!(running.jobs(), 1);
    running.service.stop(Signal::TERM);
}

#[test]
fn colours_are_for_terminals_and_never_say_what_no_word_says() {
    let running = Running::start();
    let lists = [
        &["endpoints"][..],
        &["deliveries"],
        &["callbacks"],
        &["status"],
        &["status", "taro"],
    ];
    for args in lists {
        let ended = |terminal: Terminal| terminal.ended().with(0).out;
        let command = || running.place.command(args);
        let coloured = ended(running.at_terminal(80, args));
        for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let plain = ended(Terminal::run_with(command(), 80, environment));
            assert!(
                !plain.contains('\x1b'),
                "{args:?}, {environment:?}: {plain}"
            );
            // Alike but for the seconds that have passed.
            let words = |text: &str| -> Vec<String> {
                let seen = colourless(text);
                let digits = |c: char| if c.is_ascii_digit() { '0' } else { c };
                let words = seen.split_whitespace();
                words
                    .map(|word| word.chars().map(digits).collect())
                    .collect()
            };
            assert_eq!(words(&plain), words(&coloured), "{args:?}");
        }
        let file = File::create(running.place.path().join("out")).unwrap();
        let piped = pty_process::blocking::Command::from(command()).stdout(file);
        let silent = ended(Terminal::spawned(piped, 80));
        assert_eq!(silent, "", "{args:?}: all of it went into the file");
        let text = std::fs::read_to_string(running.place.path().join("out")).unwrap();
        assert!(
            !text.is_empty() && !text.contains('\x1b'),
            "{args:?}: {text}"
        );
    }
    let endpoints = running.at_terminal(80, &["endpoints"]).ended().with(0).out;
    assert!(endpoints.contains("\x1b[33mpaused\x1b[0m"), "{endpoints}");
    let callbacks = running.at_terminal(80, &["callbacks"]).ended().with(0).out;
    assert!(
        callbacks.contains(&format!("{GREEN}accepted")),
        "{callbacks}"
    );
    let status = running.at_terminal(80, &["status"]).ended().with(0).out;
    assert!(
        status.contains(&format!("{RED}NEEDS SOMEONE\x1b[0m")),
        "{status}"
    );
    let help = Terminal::run_with(running.place.command(&["--help"]), 80, ("NO_COLOR", "1"));
    assert!(!help.ended().with(0).out.contains('\x1b'));
}

#[test]
fn tables_are_as_wide_as_the_terminal_and_stories_fold() {
    let running = Running::start();
    for columns in [60, 80, 120] {
        for args in [
            &["deliveries"][..],
            &["callbacks"],
            &["events"],
            &["status", "taro"],
        ] {
            let shown = running.at_terminal(columns, args).ended().with(0).out;
            let shown = colourless(&shown);
            // The sentences above and beneath the table are for the terminal to fold.
            let table = shown.lines().filter(|line| line.contains("  "));
            for line in table {
                let wide = line.chars().count();
                assert!(wide <= usize::from(columns), "{columns}: {wide}: {line}");
            }
        }
    }
    let events = running.place.run(&["events", "--json"]).with(0).json();
    let id = events["events"][0]["id"].as_str().unwrap();
    let narrow = running.at_terminal(60, &["deliveries"]).ended().with(0).out;
    assert!(narrow.contains('…') && !narrow.contains(id), "{narrow}");
    let wide = running
        .at_terminal(160, &["deliveries"])
        .ended()
        .with(0)
        .out;
    assert!(wide.contains(id), "{wide}");
    let story = running.at_terminal(60, &["status", "taro"]).ended().with(0);
    let unfolded: String = story.out.split_whitespace().collect();
    assert!(
        unfolded.contains(id) && !story.out.contains('…'),
        "{}",
        story.out
    );
    assert!(
        story.out.contains("times in Asia/Tokyo, +09:00"),
        "{}",
        story.out
    );
}

#[test]
fn long_work_shows_a_bar_that_fits_in_one_line() {
    let running = Running::start();
    let file = running.place.path().join("users");
    let users: String = (0..2500).map(|number| format!("user-{number}\n")).collect();
    std::fs::write(&file, users).unwrap();
    let watch = ["watch", "--file", "users"];
    let shown = running.at_terminal(80, &watch).ended().with(0).out;
    for bar in [
        "\r[########------------] 1000 of 2500 users\x1b[K",
        "\r[################----] 2000 of 2500 users\x1b[K",
        "\r[####################] 2500 of 2500 users\x1b[K",
        "\r\x1b[K2500 watched until final",
    ] {
        assert!(shown.contains(bar), "{bar:?}: {shown:?}");
    }
    let narrow = running.at_terminal(30, &watch).ended().with(0).out;
    let bar = "\r[########------------] 1000 …\x1b[K";
    assert!(narrow.contains(bar), "{narrow:?}");
    let nobody = running.place.run(&watch).with(0);
    assert_eq!(nobody.err, "", "no bar where nobody looks");
}

#[test]
fn a_watched_screen_is_redrawn_until_ctrl_c_ends_it_well() {
    let mut running = Running::start();
    let mut status = running.at_terminal(80, &["status", "--watch"]);
    let mut deliveries = running.at_terminal(80, &["deliveries", "--watch"]);
    status.wait_for("endpoint paused", 1);
    deliveries.wait_for("held", 1);
    running
        .place
        .run(&["discard", "--endpoint", "ledger", "--yes", "--watch"])
        .with(0);
    deliveries.wait_for("abandoned", 1);
    running.place.run(&["resume", "ledger"]).with(0);
    status.wait_for("no deliveries wait", 1);
    for mut watching in [status, deliveries] {
        watching.wait_for(CLEARED, 2);
        watching.press(CTRL_C);
        watching.ended().with(0);
    }

    // What ends it otherwise is a failure, and says so.
    let mut status = running.at_terminal(80, &["status", "--watch"]);
    status.wait_for("ready", 1);
    running.service.stop(Signal::TERM);
    let failed = status.ended().with(3);
    assert!(failed.out.contains("does not answer"), "{}", failed.out);
}
