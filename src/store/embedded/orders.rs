//! What was ordered about a user, the latest few: an entry of [`Tree::Meta`] that grows and is bounded.
//!
//! Nothing hangs on it but the story. It goes when the last of the user's queries from before has gone by its age.

use super::codec::damaged;
use super::engine::Engine;
use super::keys::{self, Tree};
use super::txn::Txn;
use crate::domain::{Ordered, Timestamp};
use crate::store::StoreError;

/// Orders kept of one user: more than a story needs, and 144 bytes.
const KEPT: usize = 16;

/// What it was, and when.
const ENTRY: usize = 9;

type Entry = [u8; ENTRY];

const fn number(ordered: Ordered) -> u8 {
    match ordered {
        Ordered::Applied => 0,
        Ordered::Accepted => 1,
        Ordered::Declined => 2,
        Ordered::Watched => 3,
        Ordered::Verified => 4,
    }
}

fn parsed(key: &[u8], entry: &Entry) -> Result<(Timestamp, Ordered), StoreError> {
    let [kind, millis @ ..] = *entry;
    let found = Ordered::ALL.into_iter().find(|one| number(*one) == kind);
    let ordered = found.ok_or_else(|| damaged(Tree::Meta, key, "not an order"))?;
    let at = Timestamp::from_millis(u64::from_be_bytes(millis));
    Ok((at, ordered))
}

fn entries<'a>(key: &[u8], bytes: &'a [u8]) -> Result<&'a [Entry], StoreError> {
    match bytes.as_chunks() {
        (entries, []) => Ok(entries),
        _ => Err(damaged(Tree::Meta, key, "not a list of orders")),
    }
}

/// What was ordered about the user whose keys begin with `user`, oldest first.
pub(super) fn of(engine: &Engine, user: &[u8]) -> Result<Vec<(Timestamp, Ordered)>, StoreError> {
    let key = keys::orders(user);
    let bytes = engine.get(Tree::Meta, &key)?;
    all(&key, bytes.as_deref().unwrap_or_default())
}

/// What the entry of this key says was ordered, oldest first.
pub(super) fn all(key: &[u8], bytes: &[u8]) -> Result<Vec<(Timestamp, Ordered)>, StoreError> {
    let entries = entries(key, bytes)?;
    entries.iter().map(|entry| parsed(key, entry)).collect()
}

/// Notes an order.
pub(super) fn note(
    txn: &mut Txn<'_>,
    user: &[u8],
    ordered: Ordered,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = keys::orders(user);
    let before = txn.get_raw(Tree::Meta, &key)?.unwrap_or_default();
    let known = entries(&key, &before)?;
    let surplus = (known.len() + 1).saturating_sub(KEPT);
    let mut after = known
        .iter()
        .skip(surplus)
        .flatten()
        .copied()
        .collect::<Vec<u8>>();
    after.push(number(ordered));
    after.extend_from_slice(&now.as_millis().to_be_bytes());
    txn.put_raw(Tree::Meta, key, after);
    Ok(())
}

/// What came of the latest application is known.
pub(super) fn settle(txn: &mut Txn<'_>, user: &[u8], fate: Ordered) -> Result<(), StoreError> {
    let key = keys::orders(user);
    let mut bytes = txn.get_raw(Tree::Meta, &key)?.unwrap_or_default();
    let applied = number(Ordered::Applied);
    let (known, _) = bytes.as_chunks_mut::<ENTRY>();
    let latest = known.iter_mut().rev().find(|[kind, ..]| *kind == applied);
    if let Some([kind, ..]) = latest {
        *kind = number(fate);
        txn.put_raw(Tree::Meta, key, bytes);
    }
    Ok(())
}

/// Lets go of what was ordered before then.
pub(super) fn forget(txn: &mut Txn<'_>, user: &[u8], before: Timestamp) -> Result<(), StoreError> {
    let key = keys::orders(user);
    let Some(bytes) = txn.get_raw(Tree::Meta, &key)? else {
        return Ok(());
    };
    let mut kept = Vec::new();
    for entry in entries(&key, &bytes)? {
        if parsed(&key, entry)?.0 >= before {
            kept.extend_from_slice(entry);
        }
    }
    if kept.is_empty() {
        txn.delete(Tree::Meta, key);
    } else if kept.len() < bytes.len() {
        txn.put_raw(Tree::Meta, key, kept);
    }
    Ok(())
}
