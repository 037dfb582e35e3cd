//! What strangers send is shown harmless.

use super::visitor::Visitor;
use crate::kit::{MERCHANT, Setup, Sink, TOKEN, post};

const SCRIPT: &str = "<script>alert(1)</script>";

#[tokio::test]
async fn names_reasons_and_bodies_of_strangers_are_text_and_nothing_else() {
    let sink = Sink::start().await;
    sink.answers(crate::kit::Reply::body(
        "<b onmouseover=alert(1)>\u{1b}[31m\u{202e}",
    ));
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let id = "\"><img src=x>\u{202e}/..";
    let reason = format!("{SCRIPT}\u{202e}\u{200b}{}", "x".repeat(50_000));
    relay.says(id, "3", Some(&reason));
    relay.post_callback(id, "3").await;
    relay.settle().await;
    let mut visitor = Visitor::signed_in(&relay).await;
    let event = relay.events(id).await[0].id;
    let mut pages = vec![
        "/".to_owned(),
        "/users?prefix=%22".to_owned(),
        "/events".to_owned(),
        format!("/events/{event}"),
        format!(
            "/user?{}",
            url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs([("merchant", MERCHANT), ("user", id)])
                .finish()
        ),
        "/users?prefix=%3Cscript%3Ealert(1)%3C%2Fscript%3E".to_owned(),
        "/events?type=%3Cscript%3E".to_owned(),
        "/events?cursor=%3Cscript%3E".to_owned(),
        "/user?merchant=%3Cscript%3E&user=%3Cscript%3E".to_owned(),
        "/endpoints/%3Cscript%3E".to_owned(),
        "/sign-in?to=%22%3E%3Cscript%3E".to_owned(),
    ];
    let mut body = format!("{SCRIPT}\u{202e}\0\u{1b}]0;title\u{7}").into_bytes();
    body.extend([0xff, 0xfe]);
    body.extend(vec![b'<'; 60_000]);
    let path = format!("/callback/{MERCHANT}/{TOKEN}?a=%3Cscript%3E");
    assert_eq!(post(relay.address(), &path, &body).await.0, 200);
    let list = visitor.page("/unrecognized").await;
    let (_, rest) = list
        .body
        .split_once("/callbacks/cb_")
        .expect("one is listed");
    pages.push("/unrecognized".to_owned());
    pages.push(format!("/callbacks/cb_{}", rest.get(..26).unwrap()));
    for path in &pages {
        let seen = visitor.get(path).await;
        assert!(seen.status < 500, "{path}: {seen:?}");
        for never in [
            "<script>", "<img", "<b ", "\u{202e}", "\u{200b}", "\u{1b}", "\0",
        ] {
            assert!(
                !seen.body.contains(never),
                "{never:?} in {path}\n{}",
                seen.body
            );
        }
        assert!(
            seen.body.len() < 200_000,
            "{path}: {} bytes",
            seen.body.len()
        );
    }
    let story = visitor.page(&pages[4]).await;
    story.shows("&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}");
    story.shows("more characters)");
    let event = visitor.page(&pages[3]).await;
    event.shows("&lt;b onmouseover=alert(1)&gt;\\u{1b}[31m\\u{202e}");
    let callback = visitor.page(&pages[12]).await;
    callback.shows("&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}\\u{0}\\u{1b}]0;title\\u{7}");
    callback.shows("more characters)");
}
