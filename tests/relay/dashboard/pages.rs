//! What each page says of a state that was brought about, and what its forms do.

use super::visitor::Visitor;
use crate::kit::{MERCHANT, Relay, Reply, Setup, Sink, TOKEN, post, secs};

/// The answer of `u1` was given up for `ledger`; `u2` was told of.
async fn with_an_abandoned_one() -> (Relay, Sink) {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "retry = [\"1s\"]")
        .start()
        .await;
    relay.result("u2", "2").await;
    sink.answers(Reply::status(503));
    relay.says("u1", "3", Some("expired"));
    relay.post_callback("u1", "3").await;
    relay.settle().await;
    relay.try_next("u1", "ledger").await;
    let (delivery, _) = relay.delivery("u1", "ledger").await;
    assert!(!delivery.is_pending());
    (relay, sink)
}

#[tokio::test]
async fn now_says_what_needs_someone_and_what_to_do_and_otherwise_that_nothing_does() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let mut visitor = Visitor::signed_in(&relay).await;
    let page = visitor.page("/").await;
    page.shows("Nothing needs you");
    page.shows("Last hour");
    page.shows("Last day");
    assert_eq!(page.body.matches("<svg").count(), 12);

    let (relay, _sink) = with_an_abandoned_one().await;
    assert_eq!(
        post(
            relay.address(),
            &format!("/callback/{MERCHANT}/{TOKEN}"),
            b"{}"
        )
        .await
        .0,
        200
    );
    let mut visitor = Visitor::signed_in(&relay).await;
    visitor
        .submits("/endpoints/ledger", "/endpoints/ledger/pause", &[])
        .await;
    let page = visitor.page("/").await;
    page.shows("Needs someone");
    page.shows("1 delivery was given up for ledger");
    page.shows("href=\"/abandoned?endpoint=ledger\"");
    page.shows("Endpoint ledger is paused; 0 deliveries are held");
    page.shows("1 callback was kept in which no user id was found");
    let needs = |what| page.body.find(what).unwrap();
    assert!(
        needs("given up") < needs("is paused"),
        "what is broken comes first"
    );
    let part = visitor.page("/now").await;
    part.shows("given up for ledger");
    part.does_not_show("<html");
}

#[tokio::test]
async fn now_plots_what_happened() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.result("u1", "2").await;
    relay.advance(secs(60));
    relay.end_minute().await;
    relay.result("u2", "2").await;
    relay.advance(secs(60));
    let page = Visitor::signed_in(&relay).await.page("/").await;
    page.shows("aria-label=\"Callbacks, last hour: highest 1/min; accepted at last 1/min, refused at last 0/min\"");
    page.shows("Deliveries, last day: highest 1/min; delivered at last 1/min");
}

#[tokio::test]
async fn a_provider_that_is_down_is_the_first_thing_said() {
    let dead = Sink::start().await;
    dead.answers(Reply::status(500));
    let sink = Sink::start().await;
    let relay = Setup::new()
        .provider(&dead.base_url())
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    for number in 0..5 {
        relay.post_callback(&format!("u{number}"), "2").await;
    }
    relay.settle().await;
    let page = Visitor::signed_in(&relay).await.page("/").await;
    page.shows(&format!(
        "Vexora as a whole does not answer for merchant {MERCHANT}"
    ));
}

#[tokio::test]
async fn a_user_is_found_and_its_story_read_from_callback_to_last_attempt() {
    let (relay, _sink) = with_an_abandoned_one().await;
    let mut visitor = Visitor::signed_in(&relay).await;
    let found = visitor.page("/users?prefix=u1").await;
    found.shows(&format!("href=\"/user?merchant={MERCHANT}&amp;user=u1\""));
    found.shows("rejected");
    found.does_not_show("user=u2");
    visitor
        .page("/users?prefix=nobody")
        .await
        .shows("Nobody whose id begins so is known.");
    let path = format!("/user?merchant={MERCHANT}&user=u1");
    let story = visitor.page(&path).await;
    let place = |what: &str| {
        story
            .body
            .find(what)
            .unwrap_or_else(|| panic!("no {what} in {}", story.body))
    };
    let order = [
        place("<span class=\"what\">Callback</span>"),
        place("<span class=\"what\">Vexora asked</span>"),
        place("<span class=\"what\">Event</span>"),
        place("<span class=\"what\">Attempt 1</span>"),
        place("<span class=\"what\">Attempt 2</span>"),
    ];
    assert!(order.is_sorted(), "{order:?}");
    story.shows("expired");
    story.shows("HTTP 503");
    story.shows("abandoned: tries used up");

    let before = relay.queries("u1");
    let order = |what: &str| format!("/user/{what}?merchant={MERCHANT}&user=u1");
    visitor
        .submits(&path, &order("verify"), &[])
        .await
        .shows("Vexora is asked about this user now");
    relay.settle().await;
    assert_eq!(relay.queries("u1"), before + 1);
    visitor
        .page(&path)
        .await
        .does_not_show("Vexora is asked about this user now");
    visitor
        .submits(&path, &order("watch"), &[])
        .await
        .shows("asked about from now on");
    assert!(relay.story("u1").await.verification.is_some());
    visitor
        .submits(&path, &order("watch"), &[])
        .await
        .shows("asked about already");
    assert_eq!(
        visitor
            .get("/user?merchant=2000000002&user=u1")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn what_was_abandoned_is_retried_and_discarded_one_by_one() {
    let (relay, sink) = with_an_abandoned_one().await;
    let event = relay.events("u1").await[0].id;
    let mut visitor = Visitor::signed_in(&relay).await;
    let path = format!("/deliveries/{event}/ledger");
    let list = visitor.page("/abandoned").await;
    list.shows("last: <bdi>status</bdi>");
    let back = [("back", "/abandoned")];
    let after = visitor
        .submits("/abandoned", &format!("{path}/discard"), &back)
        .await;
    after.shows("is discarded");
    after.shows("Nothing is abandoned.");
    let from = format!("/events/{event}");
    let after = visitor
        .submits(
            &from,
            &format!("{path}/retry"),
            &[("back", "//evil.example")],
        )
        .await;
    after.shows("is tried again now");
    sink.answers(Reply::status(200));
    relay.settle().await;
    assert!(visitor.page(&from).await.body.contains("delivered"));
    let csrf = visitor.page("/").await.hidden("csrf");
    let refused = visitor
        .post(&format!("{path}/retry"), &[("csrf", &csrf)])
        .await;
    assert_eq!(refused.header("location"), from);
    visitor
        .page(&from)
        .await
        .shows("Not done: it was delivered.");
}

#[tokio::test]
async fn bulk_orders_are_counted_before_anything_happens() {
    let (relay, sink) = with_an_abandoned_one().await;
    let mut visitor = Visitor::signed_in(&relay).await;
    visitor
        .page("/abandoned")
        .await
        .shows("href=\"/endpoints/ledger/bulk?kind=retry&amp;state=abandoned\"");
    let ask = visitor
        .page("/endpoints/ledger/bulk?kind=retry&state=abandoned")
        .await;
    ask.shows("Retry 1 delivery to ledger?");
    relay.settle().await;
    assert_eq!(sink.count(), 3, "nothing happens by looking");
    sink.answers(Reply::status(200));
    let hidden: Vec<(String, String)> = ["kind", "since", "until", "state"]
        .map(|name| (name.to_owned(), ask.hidden(name)))
        .to_vec();
    let fields: Vec<(&str, &str)> = hidden
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let from = "/endpoints/ledger/bulk?kind=retry&state=abandoned";
    let begun = visitor
        .submits(from, "/endpoints/ledger/bulk", &fields)
        .await;
    begun.shows("Job 1 has begun: retry of 1 for ledger.");
    relay.settle().await;
    relay.advance(secs(1));
    relay.settle().await;
    assert_eq!(sink.count(), 4);
    visitor.page("/endpoints/ledger").await.shows("1 of 1");

    let replay = visitor.page("/endpoints/ledger/bulk?kind=replay&since=2024-01-01T00%3A00&until=&type=kyc.approved&state=delivered").await;
    replay.shows("Replay 1 delivery to ledger?");
    replay.shows("2024-01-01 00:00:00");
    let nothing = visitor
        .page("/endpoints/ledger/bulk?kind=discard&state=abandoned")
        .await;
    nothing.shows("Discard 0 deliveries to ledger?");
    nothing.does_not_show("name=\"kind\"");
    for wrong in [
        "",
        "kind=replay",
        "kind=retry&state=delivered",
        "kind=retry&type=x",
        "kind=retry&until=soon",
    ] {
        let answer = visitor
            .get(&format!("/endpoints/ledger/bulk?{wrong}"))
            .await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn an_endpoint_is_paused_resumed_and_tested_and_shown_as_it_is() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.result("u1", "2").await;
    let mut visitor = Visitor::signed_in(&relay).await;
    let list = visitor.page("/endpoints").await;
    list.shows("<span class=\"tag good\">up</span>");
    list.shows("100.0 %");
    let paused = visitor
        .submits("/endpoints", "/endpoints/ledger/pause", &[])
        .await;
    paused.shows("ledger is paused");
    paused.shows("<span class=\"tag warn\">paused</span>");
    relay.advance(secs(30));
    relay.result("u2", "2").await;
    relay.advance(secs(60));
    assert_eq!(sink.count(), 1);
    let held = visitor.page("/endpoints/ledger").await;
    held.shows("<dt>Waiting</dt><dd>1</dd>");
    held.shows("<dt>Lag</dt><dd>held</dd>");
    visitor
        .submits("/endpoints/ledger", "/endpoints/ledger/test", &[])
        .await
        .shows("A test waits: ledger is paused");
    visitor
        .submits("/endpoints/ledger", "/endpoints/ledger/resume", &[])
        .await
        .shows("ledger is resumed");
    relay.settle().await;
    assert_eq!(sink.count(), 3);
    let test = visitor
        .submits("/endpoints/ledger", "/endpoints/ledger/test", &[])
        .await;
    test.shows("A test is on its way");
    relay.settle().await;
    assert_eq!(sink.requests()[3].kind(), "relay.test");
    sink.answers(Reply::status(500));
    relay.result("u3", "2").await;
    visitor.page("/endpoints").await.shows("80.0 %");
    assert_eq!(visitor.get("/endpoints/nobody").await.status, 404);
}

#[tokio::test]
async fn events_are_listed_filtered_and_paged() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .vexora("rate_limit = \"off\"")
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    for number in 0..51 {
        relay.says(
            &format!("u{number}"),
            if number == 7 { "3" } else { "2" },
            None,
        );
        relay.post_callback(&format!("u{number}"), "2").await;
    }
    relay.settle().await;
    let mut visitor = Visitor::signed_in(&relay).await;
    let first = visitor.page("/events").await;
    assert_eq!(first.body.matches("aria-label=\"Deliveries of").count(), 50);
    first.shows("Next page");
    first.does_not_show("First page");
    let (_, rest) = first.body.split_once("href=\"/events?cursor=").unwrap();
    let cursor = rest.split('"').next().unwrap();
    let second = visitor.page(&format!("/events?cursor={cursor}")).await;
    assert_eq!(second.body.matches("aria-label=\"Deliveries of").count(), 1);
    second.shows("First page");
    second.does_not_show("Next page");
    let rejected = visitor
        .page("/events?type=kyc.rejected&user=&since=&until=")
        .await;
    assert_eq!(
        rejected.body.matches("aria-label=\"Deliveries of").count(),
        1
    );
    rejected.shows("user=u7");
    visitor.page("/events?user=u9").await.shows("user=u9");
    visitor
        .page("/events?until=2020-01-01T00:00")
        .await
        .shows("No events.");
    assert_eq!(visitor.get("/events?since=yesterday").await.status, 400);
}

#[tokio::test]
async fn an_unrecognized_callback_is_shown_as_it_came_and_read_again() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    let path = format!("/callback/{MERCHANT}/{TOKEN}");
    assert_eq!(post(relay.address(), &path, b"{\"what\": 1}").await.0, 200);
    relay.result("u1", "2").await;
    let mut visitor = Visitor::signed_in(&relay).await;
    let list = visitor.page("/unrecognized").await;
    assert_eq!(list.body.matches("aria-label=\"Open cb_").count(), 1);
    let (_, rest) = list.body.split_once("href=\"/callbacks/").unwrap();
    let one = format!("/callbacks/{}", rest.split('"').next().unwrap());
    visitor.page(&one).await.shows("{&quot;what&quot;: 1}");
    let again = visitor
        .submits(&one, &format!("{one}/reprocess"), &[])
        .await;
    again.shows("No user id is found in it");
    let known = relay.story("u1").await.callbacks[0].id;
    let (one, before) = (format!("/callbacks/{known}"), relay.queries("u1"));
    let again = visitor
        .submits(&one, &format!("{one}/reprocess"), &[])
        .await;
    again.shows("about whom Vexora is asked now");
    relay.settle().await;
    assert_eq!(relay.queries("u1"), before + 1);
}
