//! Who is signed in: in memory, so that a restart signs everybody out.
//!
//! Promise: a session ends when it is signed out of, and after [`LASTS`]; there are never more than [`MOST`]; of its id
//! only a digest is kept, so that nothing that reads this memory can take a session over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::clock::Entropy;
use crate::domain::{Secret, Timestamp};

/// How long a session lasts, whether it is used or not (contract §7).
pub(super) const LASTS: Duration = Duration::from_secs(12 * 3600);

/// Operators are few; whoever signs in once more ends the session that is the oldest.
pub(super) const MOST: usize = 64;

/// Names a session.
pub(super) type Key = [u8; 32];

/// What is said on the next page that is shown.
#[derive(Clone, Debug)]
pub(super) struct Flash {
    pub(super) good: bool,
    pub(super) text: String,
}

struct Session {
    began: Timestamp,
    /// Must come with every form.
    csrf: Secret,
    flash: Option<Flash>,
}

/// All sessions.
#[derive(Default)]
pub(in crate::http::admin) struct Sessions(Mutex<HashMap<Key, Session>>);

fn key(id: &str) -> Key {
    Sha256::digest(id).into()
}

/// 128 random bits, as text.
pub(super) fn fresh(entropy: &dyn Entropy) -> String {
    format!("{:032x}", entropy.bits())
}

impl Sessions {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has signed in. Returns the session's id, for its cookie alone.
    pub(super) fn open(&self, now: Timestamp, entropy: &dyn Entropy) -> String {
        let id = fresh(entropy);
        let session = Session {
            began: now,
            csrf: Secret::new(&fresh(entropy)),
            flash: None,
        };
        let mut all = self.all();
        all.retain(|_, one| now.since(one.began) < LASTS);
        while all.len() >= MOST {
            let oldest = all.iter().min_by_key(|(_, one)| one.began);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                break;
            };
            all.remove(&oldest);
        }
        all.insert(key(&id), session);
        id
    }

    /// The session of this id, with what its forms must carry; `None`: there is none, or it has ended.
    pub(super) fn find(&self, id: &str, now: Timestamp) -> Option<(Key, Secret)> {
        let key = key(id);
        let mut all = self.all();
        let found = all.get(&key)?;
        if now.since(found.began) >= LASTS {
            all.remove(&key);
            return None;
        }
        Some((key, found.csrf.clone()))
    }

    /// Ends a session.
    pub(super) fn close(&self, key: &Key) {
        self.all().remove(key);
    }

    /// Has something said on the next page.
    pub(super) fn tell(&self, key: &Key, flash: Flash) {
        if let Some(session) = self.all().get_mut(key) {
            session.flash = Some(flash);
        }
    }

    /// What is to be said; once.
    pub(super) fn told(&self, key: &Key) -> Option<Flash> {
        self.all().get_mut(key)?.flash.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(1_760_000_000_000 + secs * 1000)
    }

    #[test]
    fn a_session_lasts_twelve_hours_used_or_not_and_one_that_is_closed_is_gone() {
        let (sessions, entropy) = (Sessions::default(), SeededEntropy::new(1));
        let id = sessions.open(at(0), &entropy);
        assert!(sessions.find(&id, at(12 * 3600 - 1)).is_some());
        assert!(sessions.find(&id, at(12 * 3600)).is_none());
        assert!(sessions.find(&id, at(1)).is_none(), "forgotten");
        let id = sessions.open(at(0), &entropy);
        let (key, _) = sessions.find(&id, at(0)).expect("open");
        sessions.close(&key);
        assert!(sessions.find(&id, at(0)).is_none());
    }

    #[test]
    fn there_are_no_more_than_so_many_and_the_oldest_goes() {
        let (sessions, entropy) = (Sessions::default(), SeededEntropy::new(1));
        let ids: Vec<String> = (0..=MOST as u64)
            .map(|secs| sessions.open(at(secs), &entropy))
            .collect();
        assert_eq!(sessions.all().len(), MOST);
        assert!(sessions.find(&ids[0], at(100)).is_none());
        assert!(sessions.find(&ids[1], at(100)).is_some());
    }
}
