//! Reading beside deletion.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::domain::{EventContent, ResultEvent, Source, Status, Timestamp, Verdict};
use crate::store::embedded::txn::{Room, Txn};

#[test]
fn a_story_is_read_while_results_go_by_their_age() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::made_in(directory.path());
    let (merchant, user): (MerchantNo, UserId) =
        ("1027749636".parse().unwrap(), "taro".parse().unwrap());
    let at = Timestamp::from_millis(1_760_000_000_000);
    let event = Event {
        id: EventId::new(at, 1),
        at,
        content: EventContent::Result(ResultEvent {
            merchant: merchant.clone(),
            user: user.clone(),
            verdict: Verdict::new(Status::parse("2").unwrap(), None),
            sequence: 1,
            source: Source::Callback,
        }),
    };
    let (key, place) = (
        event.id.to_bytes(),
        keys::event_of_user(&merchant, &user, 1),
    );
    let run = |change: &dyn Fn(&mut Txn<'_>)| {
        let mut txn = Txn::new(&engine, Room::ANY);
        change(&mut txn);
        let (changes, _) = txn.finish();
        engine.apply(changes, engine.sequence() + 1).unwrap();
    };
    let come = |txn: &mut Txn<'_>| {
        txn.put(key.to_vec(), event.clone()).unwrap();
        txn.put_raw(Tree::EventsByUser, place.clone(), key.to_vec());
    };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                assert!(story(&engine, &merchant, &user).unwrap().events.len() <= 1);
            }
        });
        for _ in 0..3000 {
            run(&come);
            run(&|txn| {
                txn.delete(Tree::Events, key.to_vec());
                txn.delete(Tree::EventsByUser, place.clone());
            });
        }
        ended.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    // What is gone without its entry in the index is damage all the same.
    run(&come);
    run(&|txn| txn.delete(Tree::Events, key.to_vec()));
    assert!(matches!(
        story(&engine, &merchant, &user),
        Err(StoreError::Damaged { .. })
    ));
}
