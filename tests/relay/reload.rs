//! Contract §3: another configuration while the relay runs; what is under way ends under the old one.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::kit::{
    APP_SECRET, MERCHANT, Reply, SECOND_APP_SECRET, SECOND_MERCHANT, Setup, Sink, post,
};

fn merchant(number: &str, secret: &str) -> String {
    format!("[[merchant]]\nmerchant_no = \"{number}\"\napp_secret = \"{secret}\"\n")
}

#[tokio::test]
async fn merchants_come_and_go() {
    let sink = Sink::start().await;
    let with = |merchants: &str| {
        Setup::new()
            .merchants(merchants)
            .endpoint("ledger", &sink.url(), "")
    };
    let first = merchant(MERCHANT, APP_SECRET);
    let both = first.clone() + &merchant(SECOND_MERCHANT, SECOND_APP_SECRET);
    let path = format!("/callback/{SECOND_MERCHANT}");
    let mut relay = with(&first).start().await;
    assert_eq!(post(relay.address(), &path, b"{}").await.0, 404);

    relay.reload(with(&both));
    relay.post_signed(&path, "u1", "2", SECOND_APP_SECRET).await;
    let second = crate::kit::second_merchant();
    let approved = vexora_relay::domain::Status::Approved;
    let user = crate::kit::user("u1");
    relay.sandbox.set_status(&second, &user, approved, None);
    relay.settle().await;
    assert_eq!(sink.only().json()["data"]["merchantNo"], SECOND_MERCHANT);

    relay.reload(with(&first));
    assert_eq!(post(relay.address(), &path, b"{}").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_is_out_ends_where_it_began_and_the_next_goes_elsewhere() {
    let (old, new) = (Sink::start().await, Sink::start().await);
    for lines in ["", "concurrency = 3", "rate_limit = \"1000/s\""] {
        let leave = Arc::new(Semaphore::new(0));
        old.answers(Reply::Held(Arc::clone(&leave), vec![]));
        let (before, after) = (old.count(), new.count());
        let mut relay = Setup::new()
            .endpoint("ledger", &old.url(), "timeout = \"60s\"")
            .with_workers_running()
            .start()
            .await;
        relay.says("u1", "2", None);
        relay.post_callback("u1", "2").await;
        old.has_received(before + 1).await;
        let lines = format!("timeout = \"60s\"\n{lines}");
        relay.reload(Setup::new().endpoint("ledger", &new.url(), &lines));
        relay.says("u2", "2", None);
        relay.post_callback("u2", "2").await;
        new.has_received(after + 1).await;
        leave.add_permits(1);
        relay
            .is("both heard", async || relay.pending("ledger").await == 0)
            .await;
        assert_eq!(old.count(), before + 1);
        assert_eq!(new.requests()[after].user(), "u2");
        assert_eq!(relay.outcomes("u1", "ledger").await, ["ok"]);
    }
}
