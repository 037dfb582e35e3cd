//! Who is let in, for how long, and what a form must carry.

use serde_json::json;

use super::visitor::Visitor;
use crate::kit::{Relay, Setup, Sink, hours, secs};

async fn relay() -> (Relay, Sink) {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    (relay, sink)
}

const PAGES: [&str; 7] = [
    "/",
    "/now",
    "/users",
    "/events",
    "/endpoints",
    "/abandoned",
    "/unrecognized",
];

#[tokio::test]
async fn nobody_sees_a_page_who_has_not_signed_in() {
    let (relay, _sink) = relay().await;
    let mut visitor = Visitor::of(&relay);
    for path in PAGES {
        let answer = visitor.get(path).await;
        assert_eq!(answer.status, 303, "{path}");
        let to = url::form_urlencoded::byte_serialize(path.as_bytes()).collect::<String>();
        assert_eq!(answer.header("location"), format!("/sign-in?to={to}"));
    }
    visitor
        .cookies
        .insert("vexora-relay-session".into(), "0".repeat(32));
    assert_eq!(
        visitor.get("/").await.status,
        303,
        "a session that nobody opened"
    );
}

#[tokio::test]
async fn the_token_opens_a_session_whose_cookie_scripts_and_other_sites_do_not_get() {
    let (relay, _sink) = relay().await;
    let mut visitor = Visitor::of(&relay);
    let form = visitor.get("/sign-in?to=%2Fusers%3Fprefix%3Da").await;
    let (ticket, to) = (form.hidden("ticket"), form.hidden("to"));
    assert_eq!(to, "/users?prefix=a");
    let token = relay.admin_token();
    let fields = [("ticket", ticket.as_str()), ("to", &to), ("token", &token)];
    let answer = visitor.post("/sign-in", &fields).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/users?prefix=a")
    );
    let cookies = answer.cookies();
    let session = cookies
        .iter()
        .find(|one| one.starts_with("vexora-relay-session="));
    let session = session.expect("a session's cookie");
    let (value, attributes) = session.split_once("; ").unwrap();
    assert_eq!(value.len(), "vexora-relay-session=".len() + 32);
    assert_eq!(
        attributes,
        "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"
    );
    assert_eq!(visitor.page("/").await.status, 200);
    // The API takes its own credentials and no others.
    assert_eq!(visitor.get("/api/v1/status").await.status, 401);
}

#[tokio::test]
async fn a_wrong_token_opens_nothing_and_many_of_them_slow_the_address_down() {
    let (relay, _sink) = relay().await;
    let mut visitor = Visitor::of(&relay);
    for _ in 0..10 {
        let answer = visitor.signs_in("wrong").await;
        assert_eq!(answer.status, 403);
        answer.shows("That is not the admin token.");
        assert!(!visitor.cookies.contains_key("vexora-relay-session"));
    }
    let answer = visitor.signs_in(&relay.admin_token()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1"));
    relay.advance(secs(1));
    let answer = visitor.signs_in(&relay.admin_token()).await;
    assert_eq!(answer.status, 303);
    // The API and the dashboard count together.
    let (status, _) = relay.admin("GET", "/status", &json!({})).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn signing_in_takes_a_form_that_this_browser_was_given() {
    let (relay, _sink) = relay().await;
    let token = relay.admin_token();
    let mut visitor = Visitor::of(&relay);
    let without = visitor.post("/sign-in", &[("token", &token)]).await;
    assert_eq!(without.status, 403);
    let mut other = Visitor::of(&relay);
    let others = other.get("/sign-in").await.hidden("ticket");
    let fields = [("ticket", others.as_str()), ("token", &token)];
    visitor.get("/sign-in").await;
    assert_eq!(visitor.post("/sign-in", &fields).await.status, 403);
    visitor.extra = "sec-fetch-site: cross-site\r\n".to_owned();
    assert_eq!(visitor.signs_in(&token).await.status, 403);
    visitor.extra = "sec-fetch-site: same-origin\r\n".to_owned();
    assert_eq!(visitor.signs_in(&token).await.status, 303);
}

#[tokio::test]
async fn a_session_ends_after_twelve_hours_and_when_it_is_signed_out_of() {
    let (relay, _sink) = relay().await;
    let mut visitor = Visitor::signed_in(&relay).await;
    relay.advance(hours(12) - secs(1));
    visitor.page("/").await;
    relay.advance(secs(1));
    assert_eq!(visitor.get("/").await.status, 303);

    let mut visitor = Visitor::signed_in(&relay).await;
    let kept = visitor.cookies.clone();
    let csrf = visitor.page("/").await.hidden("csrf");
    assert_eq!(visitor.post("/sign-out", &[("csrf", "")]).await.status, 403);
    visitor.page("/").await;
    let answer = visitor.post("/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/sign-in")
    );
    assert!(!visitor.cookies.contains_key("vexora-relay-session"));
    visitor.cookies = kept;
    assert_eq!(
        visitor.get("/").await.status,
        303,
        "the cookie is worth nothing"
    );
}

#[tokio::test]
async fn what_changes_something_takes_the_token_of_this_very_session() {
    let (relay, _sink) = relay().await;
    relay.result("u1", "2").await;
    let event = relay.events("u1").await[0].id;
    let mut visitor = Visitor::signed_in(&relay).await;
    let own = visitor.page("/").await.hidden("csrf");
    let others = Visitor::signed_in(&relay)
        .await
        .page("/")
        .await
        .hidden("csrf");
    assert!(own.len() == 32 && own != others);
    let before = relay.queries("u1");
    for path in [
        "/sign-out".to_owned(),
        "/user/verify".to_owned(),
        "/user/watch".to_owned(),
        format!("/deliveries/{event}/ledger/retry"),
        format!("/deliveries/{event}/ledger/discard"),
        "/endpoints/ledger/pause".to_owned(),
        "/endpoints/ledger/resume".to_owned(),
        "/endpoints/ledger/test".to_owned(),
        "/endpoints/ledger/bulk".to_owned(),
        "/jobs/1/cancel".to_owned(),
        "/callbacks/cb_1/reprocess".to_owned(),
    ] {
        for csrf in ["", "0", &others] {
            let fields = [
                ("csrf", csrf),
                ("merchant", "1027749636"),
                ("user", "u1"),
                ("kind", "discard"),
            ];
            let answer = visitor.post(&path, &fields).await;
            assert_eq!(answer.status, 403, "{path}");
            answer.shows("Nothing was done.");
        }
        visitor.extra = "sec-fetch-site: same-site\r\n".to_owned();
        let answer = visitor.post(&path, &[("csrf", &own)]).await;
        assert_eq!(answer.status, 403, "{path}");
        visitor.extra.clear();
        assert_eq!(
            visitor.get(&path).await.status,
            if path.ends_with("bulk") { 400 } else { 404 },
            "{path}"
        );
    }
    relay.settle().await;
    assert_eq!(relay.queries("u1"), before);
    visitor.page("/endpoints").await.does_not_show("paused");
}

#[tokio::test]
async fn every_answer_keeps_the_browser_from_doing_more_than_it_is_asked_to() {
    let (relay, _sink) = relay().await;
    let mut visitor = Visitor::signed_in(&relay).await;
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
         connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let more = [
        "/sign-in",
        "/events/evt_1",
        "/endpoints/none",
        "/events?type=x",
        "/user?merchant=1",
    ];
    let token = relay.admin_token();
    for path in PAGES.into_iter().chain(more) {
        let answer = visitor.get(path).await;
        assert_eq!(answer.header("content-security-policy"), policy, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(
            answer.header("content-type"),
            "text/html; charset=utf-8",
            "{path}"
        );
        for never in [
            " style=",
            "<style",
            "onclick",
            "javascript:",
            "http://",
            "https://",
            &token,
            crate::kit::WHSEC,
            crate::kit::APP_SECRET,
            crate::kit::TOKEN,
        ] {
            answer.does_not_show(never);
        }
    }
    let nobody = Visitor::of(&relay).get("/").await;
    assert_eq!(nobody.header("content-security-policy"), policy);
}

#[tokio::test]
async fn stylesheet_and_script_are_served_by_a_name_that_changes_with_them() {
    let (relay, _sink) = relay().await;
    let mut visitor = Visitor::of(&relay);
    let page = visitor.get("/sign-in").await;
    for (ending, kind) in [
        (".css", "text/css; charset=utf-8"),
        (".js", "text/javascript; charset=utf-8"),
    ] {
        let (before, _) = page.body.split_once(ending).expect("named in the page");
        let (_, name) = before.rsplit_once('"').unwrap();
        let asset = visitor.page(&format!("{name}{ending}")).await;
        assert_eq!(asset.header("content-type"), kind);
        assert!(asset.header("cache-control").contains("immutable"));
        assert!(!asset.body.is_empty());
    }
    assert_eq!(
        visitor
            .get("/assets/dashboard-000000000000.css")
            .await
            .status,
        404
    );
}
