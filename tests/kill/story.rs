//! What the relay tells of a user, over the admin API, checked against what the clients know and what it told before.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::net::TcpStream;

use serde_json::Value;

use super::MERCHANT;
use super::clients::{Clients, Told, ask};
use super::relay::Ready;

/// Whoever knows what must be in a story.
pub trait Knows {
    fn of(&self, user: &str) -> Told;
}

impl Knows for Clients {
    fn of(&self, user: &str) -> Told {
        self.told(user)
    }
}

impl Knows for Told {
    fn of(&self, _user: &str) -> Told {
        self.clone()
    }
}

/// Attempts as counted so far, over all starts: by event.
#[derive(Default)]
pub struct Ledger {
    attempts: BTreeMap<String, u64>,
}

impl Ledger {
    /// Asks for a user's story and checks it; the story.
    pub fn check(&mut self, at: &Ready, token: &str, user: &str, knows: &impl Knows) -> Value {
        // Known before the story was asked for: all of it must be in there.
        let told = knows.of(user);
        let story = story(at, token, user);
        let kept: BTreeSet<&str> = entries(&story, "callback")
            .filter_map(|callback| callback["claim"].as_str())
            .collect();
        for claim in &told.acknowledged {
            assert!(
                kept.contains(claim.as_str()),
                "{user}: {claim} was acknowledged and is gone"
            );
        }
        let mut sequences = BTreeSet::new();
        for event in entries(&story, "event") {
            let sequence = event["sequence"].as_u64().expect("a number");
            assert!(
                sequences.insert(sequence),
                "{user}: sequence {sequence} twice"
            );
        }
        let made = sequences.len() as u64;
        assert!(
            sequences.iter().copied().eq(1..=made),
            "{user}: {sequences:?}"
        );
        // Under load a story is read in parts, the user's own record last.
        let until = story["sequence"].as_u64();
        assert!(until >= Some(made), "{user}: {made} events of {until:?}");
        for delivery in story["deliveries"].as_array().expect("a list") {
            let id = delivery["event"].as_str().expect("an id");
            let counted = delivery["attempts"].as_u64().expect("a number");
            let before = self.attempts.insert(id.to_owned(), counted);
            assert!(
                before.is_none_or(|before| before <= counted),
                "{user}: from {before:?} to {counted}"
            );
            let numbers: Vec<u64> = entries(&story, "attempt")
                .filter(|attempt| attempt["event"] == id)
                .map(|attempt| attempt["attempt"].as_u64().expect("a number"))
                .collect();
            assert!(
                numbers.is_sorted_by(|a, b| a < b),
                "{user}: attempts {numbers:?}"
            );
            assert!(
                numbers.last().is_none_or(|last| *last <= counted),
                "{user}: {numbers:?}"
            );
        }
        story
    }
}

/// How many events are in a story.
pub fn events(story: &Value) -> usize {
    entries(story, "event").count()
}

fn entries<'a>(story: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let timeline = story["timeline"].as_array().expect("a list");
    timeline.iter().filter(move |entry| entry["kind"] == kind)
}

fn story(at: &Ready, token: &str, user: &str) -> Value {
    let stream = TcpStream::connect(at.admin).expect("the admin listener serves");
    let path = format!("/api/v1/users/{MERCHANT}/{user}");
    let headers = format!("Authorization: Bearer {token}\r\n");
    let asked = ask(&mut BufReader::new(stream), "GET", &path, &headers, "");
    let (status, body) = asked.expect("an answer");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}
