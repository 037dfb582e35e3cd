//! A store that holds much: a page shows and looks at no more for it.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use vexora_relay::domain::{EventFilter, EventId, Route, Routing};

use super::visitor::Visitor;
use crate::kit::{Setup, Sink};

const EVENTS: u128 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_over_twenty_thousand_events_reads_a_bounded_number_of_them() {
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    relay.result("u1", "2").await;
    let (store, now) = (relay.store(), relay.now());
    let name = "ledger".parse().unwrap();
    store.pause(&name, now).await.unwrap();
    let routing = Arc::new(Routing::new(vec![Route {
        endpoint: name.clone(),
        events: EventFilter::final_results(),
        merchants: Vec::new(),
        ordered: true,
    }]));
    // The oldest is the one result; all that came after it are tests.
    let later = now.plus(crate::kit::secs(1));
    iter(0..EVENTS)
        .for_each_concurrent(400, |number| {
            let (event, routing) = (EventId::new(later, number), Arc::clone(&routing));
            let (store, name) = (&store, &name);
            async move {
                assert!(store.test(name, event, later, routing).await.unwrap());
            }
        })
        .await;
    let mut visitor = Visitor::signed_in(&relay).await;
    for path in [
        "/",
        "/users",
        "/events",
        "/endpoints",
        "/endpoints/ledger",
        "/abandoned",
    ] {
        let page = visitor.page(path).await;
        assert!(
            page.body.len() < 100_000,
            "{path}: {} bytes",
            page.body.len()
        );
    }
    let events = visitor.page("/events").await;
    assert_eq!(
        events.body.matches("aria-label=\"Deliveries of").count(),
        50
    );
    // What is asked for is beneath twenty thousand others: were they all looked at for one page, it would be on the first.
    let mut page = visitor.page("/events?type=kyc.approved").await;
    page.does_not_show("user=u1");
    page.shows("Nothing that fits so far; there is more to look through.");
    let mut pages = 1;
    while !page.body.contains("user=u1") {
        let (_, rest) = page
            .body
            .split_once("rel=\"next\"")
            .map(|(before, _)| before.rsplit_once("href=\"").unwrap())
            .expect("a way on");
        let next = rest.split('"').next().unwrap().replace("&amp;", "&");
        page = visitor.page(&next).await;
        pages += 1;
        assert!(pages < 50, "it is found");
    }
    assert!(pages > 5, "found on page {pages}");
}
