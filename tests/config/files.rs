//! Files that are none, and texts that nobody would write.

use super::*;

#[test]
fn a_file_that_is_none_is_told_apart_from_one_that_is_wrong() {
    let place = Place::new();
    place.write("latin1.toml", b"# caf\xe9\n");
    place.write("huge.toml", "#\n".repeat(600_000));
    place.write("good.toml", endpoint("ca = \"ledger-ca.pem\""));
    for (file, found) in [
        ("missing.toml", "cannot read"),
        ("latin1.toml", "is not UTF-8 at byte 5"),
        ("huge.toml", "is larger than 1024 KiB"),
        (".", "is a directory"),
    ] {
        let problems = config::load_with(&place.path(file), &place.vars()).expect_err("refused");
        assert_eq!(problems.len(), 1);
        assert!(problems.to_string().contains(found), "{problems}");
    }
    let good = config::load_with(&place.path("good.toml"), &place.vars()).expect("valid");
    assert_eq!(
        good.endpoints[0].transport.ca.as_deref(),
        Some(place.path("ledger-ca.pem").as_path())
    );
    assert!(config::parse("huge", &"#\n".repeat(600_000), &place.vars()).is_err());
    // A byte order mark and Windows line ends are no fault of anyone's.
    let windows = format!(
        "\u{feff}{}",
        endpoint("timeout = \"6m\"").replace('\n', "\r\n")
    );
    assert_eq!(place.problem(&windows).line, Some(11));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", more in "[\\[\\]{}=\"',.#a-z0-9\\n -]{0,200}") {
        let none = |_: &str| None;
        for text in [&text, &more] {
            if let Err(problems) = config::parse("config.toml", text, &none) {
                prop_assert!(!problems.to_string().is_empty());
            }
        }
    }

    #[test]
    fn no_change_to_the_shipped_file_makes_it_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, any::<prop::sample::Index>()), 1..6),
    ) {
        let tokens = ["", "\"", "[", "]", "{}", "= 1", "= -9223372036854775808", "\"🦀\"", "\n", "[[endpoint]]", "true", "1e999"];
        let mut lines: Vec<String> = with_lines(|_| true).lines().map(str::to_owned).filter(|l| !l.starts_with('#')).collect();
        for (line, token, cut) in changes {
            let line = line.index(lines.len());
            let start = cut.index(lines[line].chars().count() + 1);
            let kept: String = lines[line].chars().take(start).collect();
            lines[line] = format!("{kept}{}", tokens[token]);
        }
        let none = |_: &str| None;
        // A change may have added a line: what counts is the text's own lines.
        let text = lines.join("\n");
        let last = text.split('\n').count();
        if let Err(problems) = config::parse("config.toml", &text, &none) {
            for problem in problems.iter() {
                prop_assert!(problem.line.is_none_or(|line| (1..=last).contains(&line)), "{problem:?} of {last} lines");
                prop_assert!(!problem.found.is_empty() && !problem.expected.is_empty());
            }
        }
    }
}

#[test]
fn a_bomb_of_a_file_is_refused_and_not_a_crash() {
    let place = Place::new();
    place.problem(&format!("a = {}", "[".repeat(100_000)));
    place.problem(&format!("a = {}", "{ a = ".repeat(100_000)));
    place.problem(&format!("[{}a]", "a.".repeat(100_000)));
    let keys: String = (0..5_000).map(|n| format!("max_body{n} = 1\n")).collect();
    assert_eq!(place.refuse(&section("server", &keys)).len(), 5_000);
}

#[test]
fn dotted_keys_are_the_same_as_tables() {
    let place = Place::new();
    let problem = place.problem(&format!("\nserver.max_body = \"2MiB\"\n{MERCHANT}"));
    assert_eq!(
        (problem.line, problem.key.as_str()),
        (Some(2), "server.max_body")
    );
    assert_eq!(
        place
            .accept(&format!("vexora.max_in_flight = 3\n{MERCHANT}"))
            .vexora
            .max_in_flight,
        3
    );
}
