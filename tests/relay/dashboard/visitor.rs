//! Somebody with a browser: keeps cookies, follows nothing by itself, sends the forms of the page it looks at.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::kit::{Relay, request};

/// An answer.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Seen {
    /// A header's value; empty: there is none.
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().skip(1);
        let mut pairs = lines.filter_map(|line| line.split_once(": "));
        let found = pairs.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    pub fn cookies(&self) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let set = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        set.map(|(_, value)| value).collect()
    }

    /// The value of the first hidden field of this name.
    pub fn hidden(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&start).unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    pub fn shows(&self, what: &str) {
        assert!(self.body.contains(what), "no {what:?} in\n{}", self.body);
    }

    pub fn does_not_show(&self, what: &str) {
        assert!(!self.body.contains(what), "{what:?} in\n{}", self.body);
    }
}

pub struct Visitor {
    to: SocketAddr,
    token: String,
    pub cookies: BTreeMap<String, String>,
    /// More lines for the head of each request.
    pub extra: String,
}

impl Visitor {
    pub fn of(relay: &Relay) -> Self {
        let url = relay.admin_url();
        Self {
            to: url.strip_prefix("http://").unwrap().parse().unwrap(),
            token: relay.admin_token(),
            cookies: BTreeMap::new(),
            extra: String::new(),
        }
    }

    /// One that has signed in.
    pub async fn signed_in(relay: &Relay) -> Self {
        let mut visitor = Self::of(relay);
        let token = visitor.token.clone();
        let answer = visitor.signs_in(&token).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        visitor
    }

    pub async fn signs_in(&mut self, token: &str) -> Seen {
        let form = self.get("/sign-in").await;
        let ticket = form.hidden("ticket");
        self.post("/sign-in", &[("ticket", &ticket), ("token", token)])
            .await
    }

    async fn ask(&mut self, line: &str, kind: &str, body: &[u8]) -> Seen {
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let cookies = pairs.collect::<Vec<_>>().join("; ");
        let head = format!(
            "{line} HTTP/1.1\r\ncookie: {cookies}\r\n{kind}{}",
            self.extra
        );
        let (head, body) = request(self.to, &head, body).await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let seen = Seen { status, head, body };
        for cookie in seen.cookies() {
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        seen
    }

    pub async fn get(&mut self, path: &str) -> Seen {
        self.ask(&format!("GET {path}"), "", b"").await
    }

    /// A page that must be there.
    pub async fn page(&mut self, path: &str) -> Seen {
        let seen = self.get(path).await;
        assert_eq!(seen.status, 200, "{path}: {seen:?}");
        seen
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        self.ask(&format!("POST {path}"), kind, body.as_bytes())
            .await
    }

    /// Sends a form as a page shows it, and looks at the page that it leads to.
    pub async fn submits(&mut self, from: &str, action: &str, fields: &[(&str, &str)]) -> Seen {
        let page = self.page(from).await;
        page.shows(&format!("action=\"{}\"", action.replace('&', "&amp;")));
        let csrf = page.hidden("csrf");
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend_from_slice(fields);
        let answer = self.post(action, &all).await;
        assert_eq!(answer.status, 303, "{action}: {answer:?}");
        let to = answer.header("location").to_owned();
        self.page(&to).await
    }
}
