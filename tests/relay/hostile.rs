//! Whatever a provider or a receiver answers, and whatever users are called: a clear outcome, and the flow goes on.

use vexora_relay::domain::{Answer, Status};
use vexora_relay::sandbox::Faults;

use crate::kit::{Reply, Setup, Sink, merchant, user};

fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Each hostile answer, and how the query ends.
fn answers(elsewhere: &Sink) -> Vec<(&'static str, Reply, &'static str)> {
    let data = |data: &str| {
        Reply::body(&format!(
            r#"{{"code":"0000","success":true,"data":{data}}}"#
        ))
    };
    let verdict = r#"{"code":"0000","success":true,"data":{"authenticationStatus":"2"},"pad":""#;
    let mut not_utf8 = ok(r#"{"code":"0000","success":true,"data":{"authenticationStatus":"_"}}"#);
    let at = not_utf8.iter().position(|byte| *byte == b'_').unwrap();
    not_utf8[at] = 0xff;
    vec![
        (
            "a redirect",
            Reply::with_header(307, "location", &elsewhere.base_url()),
            "status",
        ),
        ("201", Reply::Answer(201, vec![], b"{}".to_vec()), "status"),
        ("404", Reply::status(404), "status"),
        ("nothing", Reply::body(""), "not_json"),
        ("html", Reply::body("<html>"), "not_json"),
        ("an array", Reply::body("[]"), "not_json"),
        ("deep nesting", Reply::body(&"[".repeat(60_000)), "not_json"),
        (
            "deep nesting within",
            data(&format!("{}{}", "[".repeat(30_000), "]".repeat(30_000))),
            "unreadable",
        ),
        (
            "more than 64 KiB",
            Reply::body(&format!("{verdict}{}\"}}", "x".repeat(70_000))),
            "not_json",
        ),
        (
            "without end",
            Reply::Endless(format!("HTTP/1.1 200 OK\r\n\r\n{verdict}").into_bytes()),
            "not_json",
        ),
        ("no UTF-8", Reply::Raw(not_utf8), "not_json"),
        (
            "headers of a mebibyte",
            Reply::Raw(
                [
                    b"HTTP/1.1 200 OK\r\nx: ".to_vec(),
                    vec![b'x'; 1 << 20],
                    b"\r\n\r\n".to_vec(),
                ]
                .concat(),
            ),
            "connect",
        ),
        (
            "no HTTP",
            Reply::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
            "connect",
        ),
        ("the end", Reply::Raw(vec![]), "connect"),
        ("silence", Reply::Stalls(vec![]), "timeout"),
        (
            "half a body",
            Reply::Stalls(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{".to_vec()),
            "timeout",
        ),
        (
            "another code",
            Reply::body(r#"{"code":"9999","success":true,"data":{"authenticationStatus":"2"}}"#),
            "refused",
        ),
        (
            "no success",
            Reply::body(r#"{"code":"0000","success":false,"data":{"authenticationStatus":"2"}}"#),
            "refused",
        ),
        (
            "no data",
            Reply::body(r#"{"code":"0000","success":true}"#),
            "unreadable",
        ),
        (
            "a status of null",
            data(r#"{"authenticationStatus":null}"#),
            "unreadable",
        ),
        (
            "a status of many digits",
            data(&format!(
                r#"{{"authenticationStatus":{}}}"#,
                "9".repeat(400)
            )),
            "unreadable",
        ),
        (
            "a status with a line break",
            data(r#"{"authenticationStatus":"2\n"}"#),
            "unreadable",
        ),
    ]
}

#[tokio::test]
async fn no_answer_of_the_provider_is_taken_for_a_verdict_unless_it_is_one() {
    let (sink, vexora, elsewhere) = (
        Sink::start().await,
        Sink::start().await,
        Sink::start().await,
    );
    elsewhere.answers(Reply::verdict("2"));
    let relay = Setup::new()
        .provider(&vexora.base_url())
        .vexora("timeout = \"300ms\"\nrate_limit = \"off\"")
        .endpoint("ledger", &sink.url(), "events = [\"*\"]")
        .start()
        .await;
    let cases = answers(&elsewhere);
    for (number, (what, reply, class)) in cases.iter().enumerate() {
        let id = format!("u{number}");
        vexora.answers(reply.clone());
        relay.post_callback(&id, "2").await;
        relay.settle().await;
        match relay.last_query(&id).await.1 {
            Answer::Failed(failure) => assert_eq!(failure.class(), *class, "{what}"),
            Answer::Verdict(verdict) => panic!("{what} was taken for {verdict:?}"),
        }
        assert_eq!(sink.count(), number, "{what} was told");
        vexora.answers(Reply::verdict("2"));
        relay.ask_next(&id).await;
        assert_eq!(sink.count(), number + 1, "after {what}");
    }
    assert_eq!(elsewhere.count(), 0, "a redirect was followed");
}

#[tokio::test]
async fn what_sister_deployments_answer_is_understood() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.sandbox.set_faults(Faults {
        success_text: true,
        status_number: true,
        ..Faults::default()
    });
    relay.result("u1", "2").await;
    assert_eq!(sink.only().json()["data"]["authenticationStatus"], "2");
}

#[tokio::test]
async fn an_absurd_number_for_a_status_is_unknown_and_passed_on_as_written() {
    let (sink, vexora) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .provider(&vexora.base_url())
        .endpoint("ledger", &sink.url(), "events = [\"*\"]")
        .start()
        .await;
    vexora.answers(Reply::body(
        r#"{"code":"0000","success":true,"data":{"authenticationStatus":1e999999}}"#,
    ));
    relay.post_callback("u1", "2").await;
    relay.settle().await;
    let (_, answer) = relay.last_query("u1").await;
    let Answer::Verdict(verdict) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(*verdict.status(), Status::Unknown("1e999999".into()));
    assert_eq!(sink.only().kind(), "kyc.unknown");
}

#[tokio::test]
async fn users_may_be_called_anything_and_reasons_may_say_anything() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let emoji = "👩‍💻".chars().cycle().take(128).collect::<String>();
    let names = [
        "\"quoted\" 'twice' \\",
        "</script><script>alert(1)</script>",
        "'; DROP TABLE users; --",
        "../../etc/passwd",
        "ユーザー",
        " ",
        "%00{{7*7}}",
        emoji.as_str(),
    ];
    let reason = "line\r\nbreak \u{0} \u{1b}[31mred \u{202e}dlrow </script> \"";
    for name in names {
        relay
            .sandbox
            .set_status(&merchant(), &user(name), Status::Rejected, Some(reason));
        relay.post_callback(name, "3").await;
    }
    relay.settle().await;
    let mut told: Vec<(String, String)> = sink
        .requests()
        .iter()
        .map(|r| {
            (
                r.user(),
                r.json()["data"]["failReason"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    told.sort();
    let mut expected: Vec<(String, String)> = names
        .iter()
        .map(|name| ((*name).to_owned(), reason.to_owned()))
        .collect();
    expected.sort();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn no_answer_of_a_receiver_stops_the_flow() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "timeout = \"1s\"\nretry = [\"5s\"]")
        .start()
        .await;
    let cases = [
        ("no HTTP", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("an absurd status", b"HTTP/1.1 99999 Odd\r\n\r\n".to_vec()),
        (
            "headers of a mebibyte",
            [
                b"HTTP/1.1 200 OK\r\nx: ".to_vec(),
                vec![b'x'; 1 << 20],
                b"\r\n\r\n".to_vec(),
            ]
            .concat(),
        ),
        (
            "a header without a name",
            b"HTTP/1.1 200 OK\r\n: nameless\r\n\r\n".to_vec(),
        ),
        (
            "two lengths",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec(),
        ),
        (
            "a negative length",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_vec(),
        ),
    ];
    for (number, (what, bytes)) in cases.into_iter().enumerate() {
        let id = format!("u{number}");
        sink.answers(Reply::Raw(bytes));
        relay.result(&id, "2").await;
        assert_eq!(relay.outcomes(&id, "ledger").await, ["reset"], "{what}");
        sink.answers(Reply::status(204));
        relay.try_next(&id, "ledger").await;
        assert_eq!(
            relay.outcomes(&id, "ledger").await,
            ["reset", "ok"],
            "{what}"
        );
    }
    sink.answers(Reply::Raw(
        b"HTTP/1.1 503 No\r\nretry-after: \xff\xfe\r\n\r\n\xff\xfe\0".to_vec(),
    ));
    relay.result("last", "2").await;
    assert_eq!(relay.outcomes("last", "ledger").await, ["status"]);
    let (_, attempts) = relay.delivery("last", "ledger").await;
    assert_eq!(attempts[0].outcome.body, b"\xff\xfe\0");
}
