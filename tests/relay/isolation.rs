//! Promise 6: a dead, slow or hostile endpoint delays nobody else, and takes no more memory than it was given.

use crate::failures::certificate;
use crate::kit::{Reply, Setup, Sink};

const USERS: usize = 40;

/// Endpoints at which nobody listens.
const DEAD: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_endpoints_of_every_kind_delay_nobody_else() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n".to_vec();
    let whole_head = [head.clone(), b"\r\n".to_vec()].concat();
    let bad = [
        ("silent", Reply::Stalls(vec![])),
        ("half-a-head", Reply::Stalls(head.clone())),
        ("trickling-head", Reply::Trickles(head)),
        ("trickling-body", Reply::Trickles(whole_head.clone())),
        ("endless", Reply::Endless(whole_head)),
        ("resetting", Reply::Raw(vec![])),
        ("nonsense", Reply::Raw(vec![0xff; 64 * 1024])),
    ];
    let healthy = Sink::start().await;
    // Longer than the test: whoever hangs does so to its end.
    let lines = "timeout = \"5m\"\nexpect_body = \"OK\"";
    let mut setup = Setup::new()
        .vexora("rate_limit = \"off\"")
        .with_workers_running();
    let mut sinks = Vec::new();
    for (name, reply) in bad {
        let sink = Sink::start().await;
        sink.answers(reply);
        setup = setup.endpoint(name, &sink.url(), lines);
        sinks.push((name, sink));
    }
    let (_, tls) = certificate("127.0.0.1", 2200);
    let untrusted = Sink::with_tls(tls).await;
    setup = setup.endpoint("untrusted", &untrusted.url(), lines);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}/hooks", nobody.local_addr().unwrap());
    drop(nobody);
    for number in 0..DEAD {
        setup = setup.endpoint(&format!("dead-{number}"), &closed, "");
    }
    // Last in the file: it is behind all the others wherever there is an order.
    let relay = setup.endpoint("healthy", &healthy.url(), "").start().await;

    for number in 0..USERS {
        let id = format!("u{number}");
        relay.says(&id, "2", None);
        relay.post_callback(&id, "2").await;
    }
    healthy.has_received(USERS).await;
    // Those of whoever is down may be made a moment later.
    let everybody = sinks.len() + 1 + DEAD + 1;
    let made = async || {
        for number in 0..USERS {
            let story = relay.story(&format!("u{number}")).await;
            let (_, deliveries) = story.events.last().expect("an event");
            if deliveries.len() < everybody {
                return false;
            }
        }
        true
    };
    relay
        .is("everybody has a delivery of each result", made)
        .await;

    for (name, sink) in &sinks {
        if ["silent", "half-a-head", "trickling-head", "trickling-body"].contains(name) {
            sink.has_received(8).await;
            assert_eq!(sink.count(), 8, "{name}: its own concurrency, and no more");
        }
    }
    let down = async || {
        let name = "endless".parse().unwrap();
        relay.store().health(&name).await.unwrap().holds()
    };
    relay.is("endless bodies are cut off", down).await;
    let mut kept = 0;
    for number in 0..USERS {
        let (_, attempts) = relay.delivery(&format!("u{number}"), "endless").await;
        for attempt in attempts {
            assert_eq!(attempt.outcome.body.len(), 4096);
            kept += 1;
        }
    }
    assert!(kept >= 5, "{kept}");
    assert_eq!(untrusted.count(), 0);
}
