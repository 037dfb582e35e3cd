//! The dashboard's pages over a full store, as a browser that has signed in asks for them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::load::{Times, user};
use super::super::machine::{heading, ms, row};
use super::super::process::{ADMIN_TOKEN, Relay};
use super::super::{MERCHANT, Wanted};

/// Times each page, on from page to page where there is a way on.
pub async fn run(wanted: &Wanted, relay: &Relay, filled: u64) -> anyhow::Result<()> {
    let visitor = Visitor::signed_in(relay.admin).await?;
    let somebody = user(filled / 2);
    let pages = [
        ("Now", "/".to_owned()),
        ("Users", "/users".to_owned()),
        ("Users, searched", format!("/users?prefix={}", &somebody)),
        (
            "Users, by what many begin with",
            format!("/users?prefix={}", user(1)),
        ),
        (
            "A user's story",
            format!("/user?merchant={MERCHANT}&user={somebody}"),
        ),
        ("Events", "/events".to_owned()),
        (
            "Events of a type that is seldom",
            "/events?type=kyc.rejected".to_owned(),
        ),
        ("Events of a user", format!("/events?user={somebody}")),
        ("Endpoints", "/endpoints".to_owned()),
        ("An endpoint", "/endpoints/dead".to_owned()),
        ("Abandoned", "/abandoned".to_owned()),
        ("Unrecognized", "/unrecognized".to_owned()),
    ];
    heading(
        "Pages of the dashboard, signed in",
        &["page", "times", "KiB", "p50", "p99", "slowest"],
    );
    for (name, first) in pages {
        let (began, mut times, mut bytes) = (Instant::now(), Vec::new(), 0);
        let mut path = first.clone();
        while began.elapsed() < wanted.length() {
            let (took, body) = visitor.page(&path).await?;
            times.push(took);
            bytes += body.len();
            path = way_on(&body).unwrap_or_else(|| first.clone());
        }
        let times = Times::new(times);
        let each = bytes as f64 / 1024.0 / times.count().max(1) as f64;
        row(&[
            name.to_owned(),
            times.count().to_string(),
            format!("{each:.1}"),
            ms(times.percentile(50)),
            ms(times.percentile(99)),
            ms(times.percentile(100)),
        ]);
    }
    Ok(())
}

/// Where the link to older things leads.
fn way_on(body: &str) -> Option<String> {
    let (before, _) = body.split_once("rel=\"next\"")?;
    let (_, link) = before.rsplit_once("href=\"")?;
    Some(link.split('"').next()?.replace("&amp;", "&"))
}

struct Visitor {
    to: SocketAddr,
    cookies: String,
}

impl Visitor {
    async fn signed_in(to: SocketAddr) -> anyhow::Result<Self> {
        let (_, form) = exchange(to, "GET", "/sign-in", "", "").await?;
        let ticket = between(&form, "name=\"ticket\" value=\"", '"').context("a ticket")?;
        let cookies = cookies(&form);
        let body = format!("ticket={ticket}&token={ADMIN_TOKEN}");
        let (_, answer) = exchange(to, "POST", "/sign-in", &cookies, &body).await?;
        ensure!(answer.starts_with("HTTP/1.1 303 "), "not signed in");
        let cookies = self::cookies(&answer);
        Ok(Self { to, cookies })
    }

    async fn page(&self, path: &str) -> anyhow::Result<(Duration, String)> {
        let (took, answer) = exchange(self.to, "GET", path, &self.cookies, "").await?;
        ensure!(
            answer.starts_with("HTTP/1.1 200 "),
            "{path} is answered with {:?}",
            answer.lines().next()
        );
        Ok((took, answer))
    }
}

/// What stands between a text and a letter.
fn between(text: &str, before: &str, after: char) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0.to_owned())
}

/// The cookies that an answer sets and does not take away, as they are sent back.
fn cookies(answer: &str) -> String {
    let lines = answer.lines().take_while(|line| !line.is_empty());
    let set = lines.filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_set = name.eq_ignore_ascii_case("set-cookie") && !value.contains("Max-Age=0");
        is_set.then(|| value.split(';').next())?
    });
    set.collect::<Vec<_>>().join("; ")
}

/// One request on a connection of its own, and how long it took from the connection on.
pub async fn exchange(
    to: SocketAddr,
    method: &str,
    path: &str,
    cookies: &str,
    body: &str,
) -> anyhow::Result<(Duration, String)> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nOrigin: http://{to}\r\nConnection: close\r\nCookie: {cookies}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((began.elapsed(), answer))
}
