//! What the program says of itself, and how it takes being called wrongly.

use super::kit::{Place, program, run};

const VERBS: [&str; 31] = [
    "callbacks",
    "events",
    "deliveries",
    "watched",
    "reprocess",
    "serve",
    "check",
    "demo",
    "reload",
    "endpoints",
    "pause",
    "resume",
    "test",
    "retry",
    "discard",
    "replay",
    "jobs",
    "retention",
    "query",
    "sign",
    "secret",
    "callback-url",
    "completions",
    "status",
    "apply",
    "watch",
    "backup",
    "export",
    "restore",
    "verify-store",
    "compact",
];

#[test]
fn the_help_shows_every_verb_and_the_exit_codes() {
    let help = run(program().arg("--help")).with(0);
    assert_eq!(help.err, "");
    insta::assert_snapshot!(help.out, @r"
    Takes Vexora KYC callbacks, makes them durable, verifies them by query and tells every webhook until
    each has heard

    Usage: vexora-relay [OPTIONS] <COMMAND>

    Commands:
      serve         Run the relay until SIGTERM or SIGINT
      check         Check the configuration and say all that is wrong with it
      demo          See it work: a simulated Vexora, the relay and a receiver on loopback ports
      status        Show how the service stands, or the whole story of one user
      callbacks     List callbacks, newest first
      events        List events, newest first
      deliveries    List deliveries, those of the newest event first
      watched       List the users who are asked about until their result is final
      reprocess     Read a callback again and ask about its user
      apply         Apply for KYC (kycApplyFor), for one user or a file of them; the service then asks
                    until the result is final
      watch         Have users asked about until their results are final, who applied by other ways
      reload        Have the running service read its configuration again
      endpoints     Show every endpoint: up, down or paused, and what is pending
      pause         Hold an endpoint's deliveries until it is resumed
      resume        Take an endpoint for up again: what was held goes out
      test          Send an endpoint a relay.test event
      retry         Try an abandoned delivery again, or a waiting one at once; or all of an endpoint
      discard       Give a delivery up, or all of an endpoint
      replay        Tell an endpoint again what it may have missed, or what was made before it was there
      jobs          Show bulk work (replay, retry, discard) and how far it is; watch or cancel it
      retention     Say how much settled work is older than store.retention and would go now; nothing is
                    deleted by this
      query         Ask Vexora about one user, straight and signed; nothing is stored or delivered
      sign          Compute Vexora's sign over parameters, with a merchant's secret
      secret        Make a fresh webhook secret
      callback-url  Print the callBackUrl to give to Vexora; it contains the token
      backup        Copy the whole store to a file while the service runs; it is read back before it has
                    its name
      export        Print everything in the store as JSON Lines while the service runs (docs/export.md)
      restore       Make a store from a backup, in an empty data directory; without the service
      verify-store  Read the whole store and say what is wrong with it; without the service
      compact       Give the room of what was deleted back to the disk; without the service
      completions   Print a completion script
      help          Print this message or the help of the given subcommand(s)

    Options:
          --config <FILE>  The configuration file [default: ./config.toml, then
                           /etc/vexora-relay/config.toml]
          --json           Print JSON on stdout
      -h, --help           Print help
      -V, --version        Print version

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 service not reachable, 78 configuration.
    ");
}

#[test]
fn each_verb_has_help_with_an_example() {
    for verb in VERBS {
        let help = run(program().args([verb, "--help"])).with(0).out;
        assert!(help.contains("Example"), "{verb}:\n{help}");
        assert!(help.contains(&format!("vexora-relay {verb}")), "{help}");
        assert!(help.contains("--config <FILE>"), "{verb}:\n{help}");
    }
}

#[test]
fn the_version_is_the_crates() {
    let version = run(program().arg("--version")).with(0).out;
    let expected = format!("vexora-relay {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(version, expected);
}

#[test]
fn wrong_usage_ends_with_2_and_nothing_on_stdout() {
    let nowhere = Place::with("");
    for args in [
        &[][..],
        &["frobnicate"],
        &["query"],
        &["query", ""],
        &["sign"],
        &["sign", "userId"],
        &["sign", "=value"],
        &["check", "--offline"],
        &["completions", "cobol"],
        &["retry", "evt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE"],
        &["retry", "--endpoint", "ledger", "--state", "delivered"],
        &[
            "discard",
            "evt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE",
            "ledger",
            "--yes",
        ],
        &[
            "discard",
            "evt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE",
            "--endpoint",
            "ledger",
        ],
        &["jobs", "--watch"],
        &["callbacks", "--state", "lost"],
        &["events", "--type", "kyc.lost"],
        &["deliveries", "--limit", "0"],
        &["deliveries", "--watch", "--json"],
        &["reprocess"],
    ] {
        let ended = nowhere.run(args).with(2);
        assert_eq!(ended.out, "", "{args:?}");
        assert_ne!(ended.err, "", "{args:?}");
    }
}

#[test]
fn a_word_that_is_none_is_named_with_those_that_are() {
    let nowhere = Place::with("");
    let kinds = "kyc.pending, kyc.under_review, kyc.approved, ";
    let stands = "waiting, held, delivering, delivered, abandoned, given_up, discarded]";
    for (args, flag, given, allowed) in [
        (&["events"][..], "--type", "kyc.bogus", kinds),
        (
            &["replay", "ledger", "--since", "1h"],
            "--type",
            "kyc.bogus",
            kinds,
        ),
        (
            &["replay", "ledger", "--since", "1h"],
            "--state",
            "lost",
            "delivered, abandoned, missing]",
        ),
        (
            &["retry", "--endpoint", "ledger"],
            "--type",
            "kyc.bogus",
            kinds,
        ),
        (
            &["retry", "--endpoint", "ledger"],
            "--state",
            "lost",
            "abandoned, waiting]",
        ),
        (
            &["discard", "--endpoint", "ledger"],
            "--type",
            "kyc.bogus",
            kinds,
        ),
        (
            &["callbacks"],
            "--state",
            "lost",
            "accepted, unrecognized, valid, invalid, missing]",
        ),
        (&["deliveries"], "--state", "lost", stands),
        (&["watched"], "--state", "lost", "stuck]"),
    ] {
        let args = [args, &[flag, given]].concat();
        let ended = nowhere.run(&args).with(2);
        assert_eq!(ended.out, "", "{args:?}");
        for part in [
            &format!("'{given}' for '{flag}"),
            "[possible values: ",
            allowed,
        ] {
            assert!(ended.err.contains(part), "{args:?}: {part}:\n{}", ended.err);
        }
    }
}

#[test]
fn retry_and_discard_say_both_ways_when_they_are_told_too_little() {
    let nowhere = Place::with("");
    let ways = |verb: &str, name: &str| {
        [
            format!("vexora-relay {verb} EVENT ENDPOINT\n"),
            format!("vexora-relay {verb} --endpoint {name} "),
        ]
    };
    let event = "evt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE";
    for (verb, usual) in [("retry", "abandoned"), ("discard", "waiting")] {
        for (more, begins, name) in [
            (&[][..], "what?", "NAME"),
            (&["--since", "1d"], "what?", "NAME"),
            (
                &[event],
                "evt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE: for which endpoint?",
                "NAME",
            ),
            (&["ledger"], "ledger: that is no event", "ledger"),
        ] {
            let args = [&[verb], more].concat();
            let ended = nowhere.run(&args).with(2);
            assert_eq!(ended.out, "");
            let begins = format!("error: {verb} {begins}\n");
            assert!(ended.err.starts_with(&begins), "{}", ended.err);
            for way in ways(verb, name) {
                assert!(ended.err.contains(&way), "{way}: {}", ended.err);
            }
            assert!(
                ended.err.contains(&format!("(those that are {usual};")),
                "{}",
                ended.err
            );
        }
        let help = nowhere.run(&[verb, "--help"]).with(0).out;
        assert!(
            help.contains(&format!("{verb} [OPTIONS] --endpoint <NAME>\n")),
            "{help}"
        );
    }
}

#[test]
fn a_completion_script_knows_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(program().args(["completions", shell])).with(0).out;
        for verb in VERBS {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn a_manual_page_is_made_for_every_verb() {
    let pages = tempfile::tempdir().unwrap();
    run(program().arg("manual").arg(pages.path())).with(0);
    let page = |name: &str| std::fs::read_to_string(pages.path().join(name)).unwrap();
    assert!(page("vexora-relay.1").contains("78 configuration"));
    for verb in VERBS {
        let page = page(&format!("vexora-relay-{verb}.1"));
        assert!(page.contains("Example"), "{verb}");
        assert!(page.contains("\\-\\-config"), "{verb}");
    }
}
