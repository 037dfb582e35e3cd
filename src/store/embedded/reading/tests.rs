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
    let result = |sequence: u64| Event {
        id: EventId::new(at, u128::from(sequence)),
        at,
        content: EventContent::Result(ResultEvent {
            merchant: merchant.clone(),
            user: user.clone(),
            verdict: Verdict::new(Status::parse("2").unwrap(), None),
            sequence,
            source: Source::Callback,
        }),
    };
    let place = |sequence| keys::event_of_user(&merchant, &user, sequence);
    let run = |change: &dyn Fn(&mut Txn<'_>)| {
        let mut txn = Txn::new(&engine, Room::ANY);
        change(&mut txn);
        let (changes, _) = txn.finish();
        engine.apply(changes, engine.sequence() + 1).unwrap();
    };
    let come = |txn: &mut Txn<'_>, sequence| {
        let event = result(sequence);
        let id = event.id.to_bytes();
        txn.put(&id, event).unwrap();
        txn.put_raw(Tree::EventsByUser, place(sequence), &id);
    };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                story(&engine, &merchant, &user).unwrap();
            }
        });
        // Each is another one: what has gone never comes back.
        for sequence in 1..=3000 {
            run(&|txn| come(txn, sequence));
            run(&|txn| {
                txn.delete(Tree::Events, &result(sequence).id.to_bytes());
                txn.delete(Tree::EventsByUser, place(sequence));
            });
        }
        ended.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    // What is gone without its entry in the index is damage all the same.
    run(&|txn| come(txn, 3001));
    run(&|txn| txn.delete(Tree::Events, &result(3001).id.to_bytes()));
    assert!(matches!(
        story(&engine, &merchant, &user),
        Err(StoreError::Damaged { .. })
    ));
}
