//! On opening: giving back what a process that is gone had claimed, and making the indexes that an older version did not
//! keep.

use super::codec::damaged;
use super::engine::{Changes, Engine};
use super::keys::{self, Tree};
use super::txn::{Room, Txn};
use super::{delivering, listing, settling, tallies};
use crate::domain::{Delivery, DeliveryState, Timestamp, Verification, VerifyLane};
use crate::store::StoreError;

/// We hold the lock, so nobody else holds a lease: what was claimed when the last process ended is due now.
pub(super) fn release(engine: &Engine, now: Timestamp) -> Result<(Changes, usize), StoreError> {
    let mut txn = Txn::new(
        engine,
        Room {
            free: u64::MAX,
            min_free: u64::MAX,
        },
    );
    tallies::build(&mut txn, engine)?;
    let mut released = 0;
    for entry in engine.prefix(Tree::VerifyDue, &[])? {
        let (key, _) = entry?;
        if !keys::verify_due_is_leased(&key) {
            continue;
        }
        release_verification(&mut txn, &key, now)?;
        released += 1;
    }
    for endpoint in listing::endpoints(engine, Tree::DeliveryDue)? {
        for entry in engine.prefix(
            Tree::DeliveryDue,
            &keys::delivery_due_prefix(&endpoint, true),
        )? {
            let (key, _) = entry?;
            let (_, event) = keys::parse_delivery_due(&key)
                .ok_or_else(|| damaged(Tree::DeliveryDue, &key, "not a due time and an event"))?;
            let before: Option<Delivery> = txn.get(&keys::delivery(event, &endpoint))?;
            let Some(before) = before.filter(Delivery::is_pending) else {
                continue;
            };
            delivering::record_interrupted(&mut txn, &before, now)?;
            let after = Delivery {
                state: DeliveryState::Waiting { due: now },
                ..before.clone()
            };
            settling::move_place(&mut txn, &before, &after)?;
            released += 1;
        }
    }
    let (changes, _nobody_listens_yet) = txn.finish();
    Ok((changes, released))
}

fn release_verification(txn: &mut Txn<'_>, key: &[u8], now: Timestamp) -> Result<(), StoreError> {
    let merchant = key
        .get(..10)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| damaged(Tree::VerifyDue, key, "no merchant"))?;
    let lane = if key.get(10) == Some(&0) {
        VerifyLane::Main
    } else {
        VerifyLane::Open
    };
    let prefix = keys::verify_leased_prefix(&merchant, lane);
    let (_, user) = keys::parse_verify_due(&prefix, key)
        .ok_or_else(|| damaged(Tree::VerifyDue, key, "not a due time and a user"))?;
    let before: Option<Verification> = txn.get(&keys::user(&merchant, &user))?;
    let Some(before) = before else { return Ok(()) };
    let after = before.clone().released(now);
    super::accepting::replace(txn, &merchant, &user, Some(&before), Some(after))
}
