//! Secrets: where they come from, that they do not show, and what is warned of.

use super::*;

fn app_secret(value: &str) -> String {
    MERCHANT.replace("{ credential = \"app-secret\" }", value)
}

#[test]
fn a_secret_comes_from_where_the_file_says() {
    let place = Place::new();
    place.write("mine", "in a file \n");
    place.chmod("mine", 0o600);
    for (value, expected) in [
        ("{ credential = \"app-secret\" }", "s3cr3t-of-the-app"),
        ("{ file = \"mine\" }", "in a file "),
        ("{ env = \"APP_SECRET\" }", "from-the-environment"),
        ("\"plain\"", "plain"),
    ] {
        let config = place.accept(&app_secret(value));
        assert_eq!(config.merchants[0].app_secret.signing().expose(), expected);
        assert_eq!(
            config.warnings.len(),
            usize::from(expected == "plain"),
            "{:?}",
            config.warnings
        );
    }
    let table =
        "[[merchant]]\nmerchant_no = \"1027749636\"\n[merchant.app_secret]\nenv = \"APP_SECRET\"\n";
    place.accept(table);
}

#[test]
fn of_secrets_in_rotation_the_first_signs_and_all_are_accepted() {
    let config = Place::new().accept(&app_secret(
        "[{ env = \"APP_SECRET\" }, { credential = \"app-secret\" }]",
    ));
    let secrets = &config.merchants[0].app_secret;
    assert_eq!(secrets.signing().expose(), "from-the-environment");
    assert!(secrets.any_matches(b"s3cr3t-of-the-app"));
}

#[test]
fn a_secret_that_is_not_there_is_a_problem_that_says_so_without_its_value() {
    let place = Place::new();
    place.write("empty", "\n");
    place.write("lines", "hunter2\n\n");
    place.write("binary", b"hunter2\xff");
    place.write("huge", "hunter2 ".repeat(9000));
    for (value, key, found) in [
        ("\"\"", "", "is empty"),
        ("7", "", "is an integer"),
        ("[]", "", "is an empty list"),
        ("[\"hunter2\", \"\"]", ", item 2", "is empty"),
        ("[[\"hunter2\"]]", ", item 1", "is a list"),
        ("{}", "", "is an empty table"),
        (
            "{ file = \"lines\", env = \"APP_SECRET\" }",
            "",
            "names 2 sources",
        ),
        (
            "{ credental = \"app-secret\" }",
            ".credental",
            "is not a key here",
        ),
        (
            "{ credential = \"../app-secret\" }",
            ".credential",
            "is \"../app-secret\"",
        ),
        ("{ credential = \"a/b\" }", ".credential", "is \"a/b\""),
        ("{ credential = \"\" }", ".credential", "is \"\""),
        ("{ credential = \"gone\" }", ".credential", "cannot read"),
        ("{ file = \"empty\" }", ".file", "is empty"),
        ("{ file = \"lines\" }", ".file", "8 bytes with a line break"),
        ("{ file = \"binary\" }", ".file", "is not UTF-8"),
        ("{ file = \"huge\" }", ".file", "is larger than 64 KiB"),
        ("{ file = \"credentials\" }", ".file", "is a directory"),
        ("{ file = \"\" }", ".file", "is empty"),
        ("{ file = 7 }", ".file", "is an integer"),
        ("{ env = \"UNSET\" }", ".env", "$UNSET is not set"),
        ("{ env = \"EMPTY\" }", ".env", "is empty"),
        ("{ env = \"A=B\" }", ".env", "is \"A=B\""),
    ] {
        let problems = place.refuse(&app_secret(value));
        let problem = problems.iter().find(|p| p.found.contains(found));
        let problem = problem.unwrap_or_else(|| panic!("{value}: {problems:#?}"));
        assert_eq!(
            problem.key,
            format!("merchant \"1027749636\": app_secret{key}"),
            "{value}"
        );
        assert!(!format!("{problems:?}").contains("hunter2"), "{value}");
    }
}

#[test]
fn without_a_credentials_directory_the_hint_says_who_makes_one() {
    let none = |_: &str| None;
    let text = "[[merchant]]\nmerchant_no = \"1027749636\"\napp_secret = { credential = \"app-secret\" }\n";
    let problems = config::parse("config.toml", text, &none).expect_err("refused");
    let problem = problems.iter().next().expect("one");
    assert!(problem.found.contains("$CREDENTIALS_DIRECTORY is not set"));
    assert!(
        problem
            .hint
            .as_deref()
            .expect("a hint")
            .contains("LoadCredential=app-secret:")
    );
}

#[test]
fn a_callback_token_goes_into_a_url_and_is_hard_to_guess() {
    let place = Place::new();
    let with = |token: &str| {
        MERCHANT.replace(
            "{ credential = \"callback-token\" }",
            &format!("{{ file = \"{token}\" }}"),
        )
    };
    for (token, warnings) in [
        ("x".repeat(16), 0),
        ("x".repeat(128), 0),
        ("aA0-._~x".to_owned(), 1),
        ("x".repeat(15), 1),
    ] {
        place.write("token", &token);
        place.chmod("token", 0o600);
        assert_eq!(
            place.accept(&with("token")).warnings.len(),
            warnings,
            "{token}"
        );
    }
    for token in [
        "x".repeat(7),
        "x".repeat(129),
        format!("{}/", "x".repeat(20)),
        format!("{} ", "x".repeat(20)),
        "ü".repeat(20),
    ] {
        place.write("token", &token);
        let problem = place.problem(&with("token"));
        assert!(
            problem
                .hint
                .as_deref()
                .expect("a hint")
                .contains("openssl rand -hex 24")
        );
        assert!(!problem.to_string().contains(&token));
    }
}

#[test]
fn secrets_in_the_file_are_warned_of_unless_everything_is_on_loopback() {
    let place = Place::new();
    let text = "[vexora]\nbase_url = \"http://127.0.0.1:9000/japan\"\n[[merchant]]\nmerchant_no = \"1027749636\"\napp_secret = \"s\"\n\
        [[endpoint]]\nname = \"ledger\"\nurl = \"http://localhost:9001/\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
        headers = { X-Team = \"payments\", Authorization = \"Bearer hunter2\" }\n";
    let config = place.accept(text);
    assert!(config.is_loopback_only());
    assert_eq!(config.warnings, Vec::<String>::new());
    for (from, to) in [
        (
            "http://127.0.0.1:9000/japan",
            "https://api.vexora.example/japan",
        ),
        ("http://localhost:9001/", "https://ledger.example.com/"),
        ("[vexora]", "[server]\nlisten = \"0.0.0.0:8080\"\n[vexora]"),
    ] {
        let config = place.accept(&text.replace(from, to));
        assert!(!config.is_loopback_only());
        // App secret, no callback token, signing secret, Authorization; not the team's name.
        assert_eq!(config.warnings.len(), 4, "{:#?}", config.warnings);
        assert!(!format!("{:?}", config.warnings).contains("hunter2"));
    }
    let warnings = place
        .accept(
            &text
                .replace("localhost", "127.0.0.1")
                .replace("http://127.0.0.1:9001", "https://x.example"),
        )
        .warnings;
    assert!(
        warnings[1].contains("config.toml:5: merchant \"1027749636\": app_secret: "),
        "{warnings:#?}"
    );
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    let place = Place::new();
    place.write("mine", "secret");
    for (mode, warnings) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
        place.chmod("mine", mode);
        let config = place.accept(&app_secret("{ file = \"mine\" }"));
        assert_eq!(config.warnings.len(), warnings, "{:?}", config.warnings);
    }
    place.chmod("tls.key", 0o644);
    let config = place.accept(&section(
        "server",
        "tls = { cert = \"tls.crt\", key = \"tls.key\" }",
    ));
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn the_admin_listener_has_an_address_of_its_own_and_is_not_for_everyone() {
    let place = Place::new();
    let problem = place.problem(&section("admin", "listen = \"127.0.0.1:8080\""));
    assert_eq!(problem.key, "admin.listen");
    let any = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    place.accept(&format!("{any}{MERCHANT}"));
    assert_eq!(
        place
            .accept(&section("admin", "listen = \"0.0.0.0:8081\""))
            .warnings
            .len(),
        1
    );
    place.problem(&section("admin", "token = \"two words\""));
}

#[test]
fn half_a_tls_identity_is_no_identity() {
    let place = Place::new();
    for (tls, key) in [
        ("{ cert = \"tls.crt\" }", "server.tls.key"),
        ("{ key = \"tls.key\" }", "server.tls.cert"),
        ("{}", "server.tls"),
        (
            "{ cert = \"tls.key\", key = \"tls.key\" }",
            "server.tls.cert",
        ),
        ("\"tls.crt\"", "server.tls"),
    ] {
        assert_eq!(
            place
                .problem(&section("server", &format!("tls = {tls}")))
                .key,
            key
        );
    }
}
