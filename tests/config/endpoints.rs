//! `[[endpoint]]`: what cannot work is refused at load, not when the first webhook is due.

use super::*;

#[test]
fn an_endpoint_that_cannot_work_is_refused() {
    let place = Place::new();
    place.write("empty.pem", "");
    for (line, key) in [
        ("events = []", "events"),
        ("events = [\"kyc.*\", \"kyc.aproved\"]", "events, item 2"),
        ("events = \"*\"", "events"),
        ("merchants = [\"1027749637\"]", "merchants, item 1"),
        ("merchants = [1027749636]", "merchants, item 1"),
        ("headers = { webhook-id = \"x\" }", "headers.webhook-id"),
        ("headers = { \"a b\" = \"x\" }", "headers.\"a b\""),
        ("headers = { A = \"é\" }", "headers.A"),
        ("headers = { A = \"x\", a = \"x\" }", "headers.a"),
        ("headers = { A = 1 }", "headers.A"),
        ("headers = []", "headers"),
        ("ca = \"nowhere.pem\"", "ca"),
        ("ca = \"tls.key\"", "ca"),
        ("ca = \"empty.pem\"", "ca"),
        ("ca = \"credentials\"", "ca"),
        ("ca = \"\"", "ca"),
        ("client_cert = \"client.crt\"", "client_key"),
        ("client_key = \"client.key\"", "client_cert"),
        ("proxy = \"ftp://proxy.example.com\"", "proxy"),
        ("proxy = \"http://u:p@proxy.example.com\"", "proxy"),
        ("proxy = \"proxy.example.com:3128\"", "proxy"),
        ("proxy = \"http://proxy.example.com/path\"", "proxy"),
        ("expect_body = \"\"", "expect_body"),
        (
            "allow_private = false\nproxy = \"http://proxy.example.com\"",
            "allow_private",
        ),
        (
            "events = [\"kyc.*\", \"relay.*\"]\nformat = \"vexora\"",
            "events",
        ),
        ("events = [\"*\"]\nformat = \"vexora\"", "events"),
        ("allow_private = \"yes\"", "allow_private"),
        ("timeout = \"6m\"", "timeout"),
        ("format = \"cloudevents\"", "format"),
    ] {
        let problem = place.problem(&endpoint(line));
        assert_eq!(problem.key, format!("endpoint \"ledger\": {key}"), "{line}");
        assert_eq!(problem.line, Some(11), "{line}");
    }
}

#[test]
fn plain_http_is_for_loopback_unless_it_is_allowed() {
    let place = Place::new();
    let with =
        |url: &str, more: &str| endpoint(more).replace("https://ledger.example.com/hooks/kyc", url);
    for url in [
        "http://127.0.0.1:1/a?key=1",
        "http://127.8.9.1/",
        "http://[::1]:1/",
        "http://localhost/",
        "HTTPS://X.example/",
    ] {
        place.accept(&with(url, ""));
    }
    for url in [
        "http://ledger.example.com/",
        "http://10.0.0.1/",
        "http://localhost.example.com/",
        "http://0.0.0.0/",
    ] {
        let problem = place.problem(&with(url, ""));
        assert!(problem.hint.expect("a hint").contains("allow_http"));
        place.accept(&with(url, "allow_http = true"));
    }
    for url in [
        "ftp://x/",
        "//x/",
        "x",
        "https://u:p@x.example/",
        "https://x.example/#a",
        "https:// x.example/",
        "https://x.example/\\n",
        "",
    ] {
        let problem = place.problem(&with(url, "allow_http = true"));
        assert_eq!(problem.key, "endpoint \"ledger\": url");
    }
}

#[test]
fn a_signing_secret_is_needed_unless_the_format_is_vexoras() {
    let place = Place::new();
    let without =
        |more: &str| endpoint(more).replace("secret = { credential = \"ledger-secret\" }", "");
    assert_eq!(
        place.problem(&without("")).key,
        "endpoint \"ledger\": secret"
    );
    assert!(
        place.accept(&without("format = \"vexora\"")).endpoints[0]
            .keys
            .is_empty()
    );
    assert!(
        place
            .accept(&format!("[delivery]\nformat = \"vexora\"\n{}", without("")))
            .endpoints[0]
            .keys
            .is_empty()
    );
    let bad = place.problem(&without("secret = \"whsec_hunter2\""));
    assert!(
        bad.found.contains("base 64") && !bad.to_string().contains("hunter2"),
        "{bad}"
    );
    let both = format!("secret = [{{ credential = \"ledger-secret\" }}, \"{WHSEC}\"]");
    assert_eq!(place.accept(&without(&both)).endpoints[0].keys.len(), 2);
}
