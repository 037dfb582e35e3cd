//! How connections live and end with clients that mean well.

use crate::listening::{callback_path, listening, post, request, server_settings, signed_body};

#[tokio::test]
async fn a_client_that_knows_a_secret_keeps_its_connection() {
    let relay = listening(server_settings()).await;
    let mut wire = relay.connect().await;
    for user in ["u1", "u2", "u3"] {
        wire.send(post(&callback_path(), "", &signed_body(user)))
            .await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (200, None));
    }
    assert_eq!(relay.store.accepted().len(), 3);
}

#[tokio::test]
async fn requests_sent_in_one_go_are_answered_in_order() {
    let relay = listening(server_settings()).await;
    let mut wire = relay.connect().await;
    let first = post(&callback_path(), "", &signed_body("u1"));
    let second = request("GET", &callback_path());
    let third = post(&callback_path(), "Transfer-Encoding: chunked\r\n", "")
        .replace("Content-Length: 0\r\n", "")
        + "2\r\n{}\r\n0\r\n\r\n";
    wire.send(first + &second + &third + &request("PUT", &callback_path()))
        .await;
    for status in [200, 200, 200, 405] {
        assert_eq!(wire.answer().await.status, status);
    }
    assert_eq!(relay.store.accepted().len(), 2);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let relay = listening(server_settings()).await;
    let mut wire = relay.connect().await;
    wire.send(post(&callback_path(), "Expect: 100-continue\r\n", "{}").trim_end_matches("{}"))
        .await;
    assert_eq!(wire.head_answer().await.status, 100);
    wire.send("{}").await;
    assert_eq!(wire.answer().await.status, 200);
}

#[tokio::test]
async fn an_offer_to_upgrade_is_passed_over() {
    let relay = listening(server_settings()).await;
    let java =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n";
    let answer = relay.ask(post(&callback_path(), java, "{}")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    assert_eq!(answer.header("upgrade"), None);
    // Not `upgrade`, which is what the server would repeat after the client.
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(relay.store.accepted().len(), 1);
}

#[tokio::test]
async fn http_1_0_is_served_and_its_connection_closed() {
    let relay = listening(server_settings()).await;
    let mut wire = relay.connect().await;
    wire.send(post(&callback_path(), "", "{}").replace("HTTP/1.1", "HTTP/1.0"))
        .await;
    assert_eq!(wire.answer().await.status, 200);
    assert_eq!(wire.rest().await, b"");
}

#[tokio::test]
async fn stopping_lets_a_callback_under_way_end_and_takes_no_new_ones() {
    let relay = listening(server_settings()).await;
    relay.store.stall();
    let mut under_way = relay.connect().await;
    under_way.send(post(&callback_path(), "", "{}")).await;
    relay.store.reached().await;
    let stopping = relay.handle.stop(true);
    let meanwhile = async {
        relay.store.resume();
        under_way.answer().await
    };
    let ((), answer) = tokio::join!(stopping, meanwhile);
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    relay.stopped().await;
    assert!(
        tokio::net::TcpStream::connect(relay.address())
            .await
            .is_err()
    );
}
