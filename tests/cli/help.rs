//! What the program says of itself, and how it takes being called wrongly.

use super::kit::{Place, program, run};

const VERBS: [&str; 8] = [
    "serve",
    "check",
    "demo",
    "query",
    "sign",
    "secret",
    "callback-url",
    "completions",
];

#[test]
fn the_help_shows_every_verb_and_the_exit_codes() {
    let help = run(program().arg("--help")).with(0);
    assert_eq!(help.err, "");
    insta::assert_snapshot!(help.out, @"");
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
    ] {
        let ended = nowhere.run(args).with(2);
        assert_eq!(ended.out, "", "{args:?}");
        assert_ne!(ended.err, "", "{args:?}");
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
