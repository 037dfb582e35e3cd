//! The dashboard in a real browser: what an operator does on a bad day, with and without JavaScript, light and dark, on a
//! desk and on a phone. A page that breaks its own policy complains in the console, and fails the test.

use serde_json::json;

use super::webdriver::{Browser, browser};
use crate::kit::{MERCHANT, Relay, Reply, Setup, Sink, TOKEN, post, secs};

/// A day on which some things went well and some did not.
async fn a_bad_day() -> (Relay, Sink, Sink) {
    let (ledger, audit) = (Sink::start().await, Sink::start().await);
    let relay = Setup::new()
        .endpoint("ledger", &ledger.url(), "retry = [\"1s\"]")
        .endpoint("audit-archive", &audit.url(), "events = [\"*\"]")
        .start()
        .await;
    for minute in 0..45u64 {
        for number in 0..minute % 5 {
            let (id, status) = (
                format!("jp_user_1{minute:02}{number}"),
                if number == 3 { "3" } else { "2" },
            );
            let reason = (status == "3").then_some("document expired");
            relay.says(&id, status, reason);
            relay.post_callback(&id, status).await;
        }
        relay.settle().await;
        relay.advance(secs(60));
        relay.end_minute().await;
    }
    ledger.answers(Reply::status(503));
    relay.says(
        "jp_user_100008",
        "3",
        Some("The name on the document is not the name of the application"),
    );
    relay.post_callback("jp_user_100008", "3").await;
    relay.settle().await;
    relay.try_next("jp_user_100008", "ledger").await;
    let path = format!("/callback/{MERCHANT}/{TOKEN}");
    let body = b"{\"what\": \"<script>alert(1)</script>\", \"note\": \"no user id in it\"}";
    assert_eq!(post(relay.address(), &path, body).await.0, 200);
    relay.says("jp_user_waits", "1", None);
    relay.post_callback("jp_user_waits", "1").await;
    relay.settle().await;
    ledger.answers(Reply::status(200));
    (relay, ledger, audit)
}

/// As long as an id may be, and a reason and a body without a place to break a line; with what would change the page if
/// it were more than text.
const HOSTILE: &str = "\"><img/src=x>\u{202e}\u{200b}WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW";

/// Strangers send what fits nowhere.
async fn hostility(relay: &Relay, ledger: &Sink) {
    let reason = format!("<script>alert(1)</script>{}", "W".repeat(2000));
    ledger.answers(Reply::body(&"<b>W".repeat(500)));
    relay.says(HOSTILE, "3", Some(&reason));
    relay.post_callback(HOSTILE, "3").await;
    relay.settle().await;
    let path = format!("/callback/{MERCHANT}/{TOKEN}?{}", "w".repeat(500));
    let body = "<".repeat(5000);
    assert_eq!(post(relay.address(), &path, body.as_bytes()).await.0, 200);
}

async fn signs_in(browser: &Browser, relay: &Relay) {
    browser.go(&relay.admin_url()).await;
    browser.sees("Sign in with the admin token").await;
    browser
        .types("input[name=token]", &relay.admin_token())
        .await;
    browser.follow("button.main").await;
    browser.sees("Needs someone").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_finds_a_user_retries_what_was_abandoned_pauses_and_resumes() {
    let Some(browser) = browser(true).await else {
        return;
    };
    let (relay, ledger, _audit) = a_bad_day().await;
    browser.go(&format!("{}/users", relay.admin_url())).await;
    browser.types("input[name=token]", "wrong").await;
    browser.follow("button.main").await;
    browser.sees("That is not the admin token.").await;
    // A form refused with 403 is said in the console, and is no complaint about the page.
    assert_eq!(browser.complaints().await.len(), 1);
    signs_in(&browser, &relay).await;
    browser.sees("1 delivery was given up for ledger").await;

    browser.follow("nav a[href='/users']").await;
    browser.types("input[name=prefix]", "jp_user_1000").await;
    browser.follow("form[role=search] button").await;
    browser.sees("jp_user_100008").await;
    browser.follow("td a").await;
    browser.sees("Timeline").await;
    browser.sees("The name on the document").await;

    browser.follow("nav a[href='/abandoned']").await;
    browser
        .follow("button[aria-label^='Retry the delivery']")
        .await;
    browser.sees("is tried again now").await;
    browser.sees("Nothing is abandoned.").await;
    let before = ledger.count();
    relay.settle().await;
    assert_eq!(ledger.count(), before + 1);

    browser.follow("nav a[href='/endpoints']").await;
    browser.follow("button[aria-label='Pause ledger']").await;
    browser.sees("ledger is paused").await;
    browser.follow("button[aria-label='Resume ledger']").await;
    browser.sees("ledger is resumed").await;

    browser.follow("form[action='/sign-out'] button").await;
    browser.sees("Sign in with the admin token").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_works_without_javascript() {
    let Some(browser) = browser(false).await else {
        return;
    };
    let (relay, _ledger, _audit) = a_bad_day().await;
    signs_in(&browser, &relay).await;
    assert!(
        !browser.text().await.contains("Pause refreshing"),
        "scripts are off"
    );
    browser.follow("nav a[href='/abandoned']").await;
    browser
        .follow("button[aria-label^='Discard the delivery']")
        .await;
    browser.sees("is discarded").await;
    browser.follow("nav a[href='/endpoints']").await;
    browser.follow("button[aria-label='Pause ledger']").await;
    browser.sees("ledger is paused").await;
    browser.follow("button[aria-label='Resume ledger']").await;
    browser.sees("ledger is resumed").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_now_refreshes_itself_while_somebody_looks_until_told_not_to() {
    let Some(browser) = browser(true).await else {
        return;
    };
    let sink = Sink::start().await;
    let relay = Setup::new()
        .endpoint("ledger", &sink.url(), "")
        .start()
        .await;
    // Ten seconds are a tenth of one here.
    let hurried = "const real = window.setInterval; window.setInterval = (what, wait) => real(what, wait / 100);";
    let hurried = json!({"source": hurried});
    browser
        .devtools("Page.addScriptToEvaluateOnNewDocument", hurried)
        .await;
    browser.go(&relay.admin_url()).await;
    browser
        .types("input[name=token]", &relay.admin_token())
        .await;
    browser.follow("button.main").await;
    browser.sees("Nothing needs you").await;
    relay
        .admin("POST", "/endpoints/ledger/pause", &json!({}))
        .await;
    browser.sees("Endpoint ledger is paused").await;
    browser.sees("Refreshed every 10 s.").await;
    browser.click("#refreshed + button").await;
    browser.sees("Refresh every 10 s").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_a_desk_and_a_phone_in_light_and_dark_and_is_walked_by_keyboard() {
    let Some(browser) = browser(true).await else {
        return;
    };
    let (relay, ledger, _audit) = a_bad_day().await;
    hostility(&relay, &ledger).await;
    let base = relay.admin_url();
    browser.go(&base).await;
    browser.looks("light", 360, 740).await;
    browser.picture("sign-in-phone-light").await;
    signs_in(&browser, &relay).await;
    let event = relay.events("jp_user_100008").await[0].id;
    let unrecognized = relay.store().unrecognized(2).await.unwrap();
    let [hostile, unrecognized] = [unrecognized[0].id, unrecognized[1].id];
    let user = format!("/user?merchant={MERCHANT}&user=jp_user_100008");
    let stranger = url::form_urlencoded::Serializer::new(String::from("/user?"))
        .extend_pairs([("merchant", MERCHANT), ("user", HOSTILE)])
        .finish();
    let told = relay.events(HOSTILE).await[0].id;
    let pages = [
        ("now", "/".to_owned()),
        ("users", "/users".to_owned()),
        ("user", user),
        ("events", "/events".to_owned()),
        ("event", format!("/events/{event}")),
        ("endpoints", "/endpoints".to_owned()),
        ("endpoint", "/endpoints/ledger".to_owned()),
        (
            "confirm",
            "/endpoints/ledger/bulk?kind=retry&state=abandoned".to_owned(),
        ),
        ("abandoned", "/abandoned".to_owned()),
        ("unrecognized", "/unrecognized".to_owned()),
        ("callback", format!("/callbacks/{unrecognized}")),
        ("hostile-user", stranger),
        ("hostile-event", format!("/events/{told}")),
        ("hostile-callback", format!("/callbacks/{hostile}")),
    ];
    for (name, path) in &pages {
        for (size, width, height) in [("desk", 1280, 900), ("phone", 360, 740)] {
            for scheme in ["light", "dark"] {
                browser.looks(scheme, width, height).await;
                browser.go(&format!("{base}{path}")).await;
                let wide = browser
                    .value("[document.documentElement.scrollWidth <= document.documentElement.clientWidth, innerWidth]")
                    .await;
                assert_eq!(
                    wide,
                    json!([true, width]),
                    "{path} scrolls sideways on a {size}"
                );
                // Higher than a line of text is.
                let broken = "[...document.querySelectorAll('td[data-label=Merchant]')].filter(e => { \
                     const text = document.createRange(); text.selectNodeContents(e); \
                     return text.getBoundingClientRect().height > 30 }).length";
                assert_eq!(
                    browser.value(broken).await,
                    json!(0),
                    "{path}: a number in two lines"
                );
                browser.picture(&format!("{name}-{size}-{scheme}")).await;
            }
        }
        // Whatever can be clicked has a name, and whatever is filled in has a label.
        let nameless = "[...document.querySelectorAll('a, button')].filter(e => !(e.innerText.trim() || e.ariaLabel)).length \
             + [...document.querySelectorAll('input:not([type=hidden]), select')].filter(e => !e.labels.length).length";
        assert_eq!(browser.value(nameless).await, json!(0), "{path}");
        assert_eq!(
            browser
                .value("document.querySelectorAll('h1').length")
                .await,
            json!(1),
            "{path}"
        );
    }
    browser.looks("light", 1280, 900).await;
    browser.go(&base).await;
    browser.presses("\u{E004}").await;
    assert_eq!(
        browser.value("document.activeElement.className").await,
        json!("skip")
    );
    assert_eq!(
        browser
            .value("document.activeElement.getBoundingClientRect().left >= 0")
            .await,
        json!(true)
    );
    let outline = browser
        .value("getComputedStyle(document.activeElement).outlineStyle")
        .await;
    assert_eq!(outline, json!("solid"), "the focus is seen");
    browser.presses("\u{E007}").await;
    assert_eq!(browser.value("location.hash").await, json!("#main"));
    browser.presses("\u{E004}").await;
    let inside = "document.getElementById('main').contains(document.activeElement)";
    assert_eq!(browser.value(inside).await, json!(true), "past the tabs");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}
