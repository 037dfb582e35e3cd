//! What each key may hold, on both sides of every bound, and what comes out.

use super::*;

#[test]
fn every_bound_holds_on_both_sides() {
    let place = Place::new();
    for (table, key, good, bad) in [
        (
            "server",
            "max_body",
            vec!["1KiB", "1MiB", "1024"],
            vec!["1023B", "1048577B", "0B", "64 kilo", "-1KiB", ""],
        ),
        (
            "server",
            "request_timeout",
            vec!["100ms", "1m"],
            vec!["99ms", "61s", "10", "", "ten seconds"],
        ),
        (
            "server",
            "rate_limit",
            vec!["off", "1/h", "3000/m", "1000000/s"],
            vec![
                "0/s",
                "1/d",
                "1",
                "-1/s",
                "1000001/s",
                "/s",
                "Off",
                "9999999999/s",
            ],
        ),
        ("server", "ack", vec!["OK", " "], vec!["", "O\\nK"]),
        (
            "server",
            "listen",
            vec!["[::]:8080", "127.0.0.1:0", "unix:/run/x.sock"],
            vec![
                "8080",
                ":8080",
                "localhost:8080",
                "unix:x",
                "unix:",
                "unix:/run/",
                "::1:8080",
            ],
        ),
        (
            "server",
            "public_url",
            vec![
                "https://relay.example.com",
                "https://relay.example.com/in/",
                "http://127.0.0.1:8080",
            ],
            vec![
                "http://relay.example.com",
                "relay.example.com",
                "https://relay.example.com/?a=b",
                "https://relay.example.com/#a",
                "https://u@relay.example.com",
                "https://",
            ],
        ),
        (
            "store",
            "retention",
            vec!["1m", "36500d"],
            vec!["59s", "36501d", "forever"],
        ),
        ("store", "min_free", vec!["0B", "1TiB"], vec!["", "much"]),
        ("store", "path", vec!["x"], vec![""]),
        (
            "vexora",
            "base_url",
            vec![
                "http://[::1]:1/japan/",
                "http://localhost",
                "https://x.example",
            ],
            vec![
                "http://10.0.0.1",
                "ftp://localhost",
                "http://127.0.0.1.example.com",
            ],
        ),
        (
            "vexora",
            "timeout",
            vec!["100ms", "5m"],
            vec!["99ms", "301s"],
        ),
        ("vexora", "rate_limit", vec!["off"], vec!["none"]),
        (
            "verify",
            "give_up_after",
            vec!["1ms", "365d"],
            vec!["0s", "366d"],
        ),
        ("verify", "duplicate_window", vec!["0s", "30d"], vec!["31d"]),
        (
            "verify",
            "reconcile",
            vec!["1s", "30d", "off"],
            vec!["999ms", "31d", "never"],
        ),
        (
            "verify",
            "on_bad_sign",
            vec!["flag", "refuse"],
            vec!["ignore", ""],
        ),
        (
            "delivery",
            "timeout",
            vec!["100ms", "5m"],
            vec!["99ms", "6m"],
        ),
        (
            "delivery",
            "give_up_after",
            vec!["1ms", "365d"],
            vec!["0ms", "366d"],
        ),
        ("delivery", "rate_limit", vec!["off", "5/m"], vec!["0/m"]),
        (
            "delivery",
            "ordering",
            vec!["per-user", "none"],
            vec!["per_user"],
        ),
        (
            "delivery",
            "format",
            vec!["standard", "vexora"],
            vec!["json"],
        ),
        (
            "log",
            "level",
            vec!["error", "trace", "off", "info,vexora_relay::deliver=debug"],
            vec!["verbose", "", "info,loud", "info,a=loud"],
        ),
        ("log", "format", vec!["text", "json", "auto"], vec!["xml"]),
    ] {
        for value in good {
            place.accept(&section(table, &format!("{key} = \"{value}\"")));
        }
        for value in bad {
            let problem = place.problem(&section(table, &format!("{key} = \"{value}\"")));
            assert_eq!(
                (problem.line, problem.key),
                (Some(2), format!("{table}.{key}")),
                "{value}"
            );
        }
        let other_kind = place.problem(&section(table, &format!("{key} = 1979-05-27")));
        assert_eq!(other_kind.found, "is a date");
    }
}

#[test]
fn numbers_and_lists_have_bounds_too() {
    let place = Place::new();
    let steps = |count: usize, step: &str| {
        format!(
            "retry = [{}]",
            vec![format!("\"{step}\""); count].join(", ")
        )
    };
    for (table, good, bad) in [
        (
            "vexora",
            vec!["max_in_flight = 1", "max_in_flight = 1000"],
            vec![
                "max_in_flight = 0",
                "max_in_flight = 1001",
                "max_in_flight = -1",
                "max_in_flight = \"8\"",
                "max_in_flight = 9223372036854775807",
            ],
        ),
        (
            "delivery",
            vec!["concurrency = 1", "concurrency = 1000"],
            vec!["concurrency = 0", "concurrency = 1001", "concurrency = 1.0"],
        ),
        (
            "delivery",
            vec!["jitter = 0", "jitter = 1", "jitter = 0.5"],
            vec![
                "jitter = -0.1",
                "jitter = 1.1",
                "jitter = 2",
                "jitter = nan",
                "jitter = inf",
                "jitter = \"0.2\"",
            ],
        ),
        (
            "server",
            vec!["allow_from = [\"::1\", \"10.0.0.0/8\"]"],
            vec![
                "allow_from = \"10.0.0.0/8\"",
                "allow_from = [1]",
                "trusted_proxies = [\"10.0.0.0/33\"]",
            ],
        ),
    ] {
        for line in good {
            place.accept(&section(table, line));
        }
        for line in bad {
            assert_eq!(place.problem(&section(table, line)).line, Some(2), "{line}");
        }
    }
    for table in ["verify", "delivery"] {
        for line in [steps(1, "1ms"), steps(100, "30d"), steps(2, "50ms")] {
            place.accept(&section(table, &line));
        }
        for line in [
            steps(0, ""),
            steps(101, "1s"),
            steps(1, "0s"),
            steps(1, "31d"),
            "retry = \"1s\"".to_owned(),
        ] {
            assert_eq!(
                place.problem(&section(table, &line)).line,
                Some(2),
                "{line}"
            );
        }
    }
    let long = "x".repeat(1025);
    place.problem(&section("server", &format!("ack = \"{long}\"")));
    place.accept(&section("server", &format!("ack = \"{}\"", &long[1..])));
}

#[test]
fn what_is_written_is_what_comes_out() {
    let config = Place::new().accept(&format!(
        "[server]\nlisten = \"unix:/run/x.sock\"\npublic_url = \"https://relay.example.com/in/\"\nallow_from = [\"10.0.0.0/8\", \"::1\"]\n\
         tls = {{ cert = \"tls.crt\", key = \"tls.key\" }}\nmax_body = \"2KiB\"\nrate_limit = \"3000/m\"\n\
         [store]\nmin_free = \"0B\"\n[verify]\nreconcile = \"off\"\n[delivery]\nconcurrency = 3\nordering = \"none\"\n{}",
        endpoint("timeout = \"1s\"\nretry = [\"50ms\", \"1s\"]\nevents = [\"kyc.unknown\"]\nmerchants = [\"1027749636\"]\n\
                  headers = { Authorization = { credential = \"ledger-auth\" } }\nproxy = \"socks5h://127.0.0.1:1080\"\nca = \"ledger-ca.pem\"\n\
                  client_cert = \"client.crt\"\nclient_key = \"client.key\"\nexpect_body = \"OK\"\nformat = \"vexora\"")
    ));
    assert_eq!(config.server.listen, Listen::Unix("/run/x.sock".into()));
    assert_eq!(
        config.server.public_url.as_deref(),
        Some("https://relay.example.com/in")
    );
    assert_eq!(config.server.max_body, 2048);
    let rate = config.server.rate_limit.expect("a limit");
    assert_eq!(
        rate,
        Rate {
            count: 3000.try_into().expect("not zero"),
            per: Duration::from_secs(60)
        }
    );
    assert_eq!(config.server.allow_from.len(), 2);
    assert!(config.server.tls.expect("tls").cert.is_absolute());
    assert_eq!(config.store.min_free, 0);
    assert_eq!(config.verify.policy.reconcile, None);
    let ledger = &config.endpoints[0];
    assert_eq!(
        (ledger.concurrency, ledger.ordered, ledger.timeout),
        (3, false, Duration::from_secs(1))
    );
    assert_eq!(
        ledger.policy.retry.after(1),
        Some(Duration::from_millis(50))
    );
    assert_eq!(ledger.policy.retry.len(), 2);
    assert_eq!(ledger.format, PayloadFormat::Vexora);
    assert_eq!(ledger.headers[0].0, "authorization");
    assert_eq!(ledger.headers[0].1.expose(), "Bearer of-the-ledger");
    assert_eq!(
        ledger.transport.proxy.as_deref(),
        Some("socks5h://127.0.0.1:1080")
    );
    assert!(ledger.transport.ca.is_some() && ledger.transport.client_identity.is_some());
    assert_eq!(ledger.expect_body.as_deref(), Some("OK"));
    assert!(
        ledger.events.wants(EventKind::KycUnknown) && !ledger.events.wants(EventKind::KycApproved)
    );
}

#[test]
fn routing_is_made_of_the_endpoints() {
    let place = Place::new();
    let config = place.accept(&endpoint("merchants = [\"1027749636\"]"));
    let ours: MerchantNo = "1027749636".parse().expect("valid");
    let other: MerchantNo = "0000000000".parse().expect("valid");
    let routing = config.routing();
    assert!(routing.wanted(EventKind::KycApproved, Some(&ours)));
    assert!(!routing.wanted(EventKind::KycApproved, Some(&other)));
    assert!(!routing.wanted(EventKind::KycPending, Some(&ours)));
}

#[test]
fn the_data_directory_is_systemds_unless_the_file_names_one() {
    let place = Place::new();
    let with = |state: &'static str, text: &str| {
        let inner = place.vars();
        let vars = move |name: &str| match name {
            "STATE_DIRECTORY" => Some(OsString::from(state)),
            _ => inner.get(name),
        };
        config::parse("/etc/x/config.toml", text, &vars)
            .expect("valid")
            .store
            .path
    };
    assert_eq!(
        with("/var/lib/a:/var/lib/b", MERCHANT),
        Path::new("/var/lib/a")
    );
    assert_eq!(with("", MERCHANT), Path::new("data"));
    assert_eq!(
        with("/var/lib/a", &section("store", "path = \"here\"")),
        Path::new("here")
    );
}
