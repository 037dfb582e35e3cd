//! Who gets a place, and who waits for one.

use futures_util::FutureExt;

use super::{Committer, Kind, Message, PLACES, Waiting};
use crate::store::StoreError;

/// Sends a callback's use case and waits no longer than for a place.
fn call(committer: &Committer) -> Option<Result<(), StoreError>> {
    committer.submit_callback(|_| Ok(())).now_or_never()
}

/// Likewise whatever else there is to do.
fn work(committer: &Committer) -> Option<Result<(), StoreError>> {
    committer.submit_loose(|_| Ok(())).now_or_never()
}

fn all(waiting: &mut Waiting) -> Vec<&'static str> {
    let each = std::iter::from_fn(|| waiting.ready());
    each.map(|message| match message {
        Message::Run(_, Kind::Callback) => "callback",
        Message::Run(_, Kind::Synced) => "synced",
        Message::Run(_, Kind::Loose) => "loose",
        Message::Close(_) => "close",
    })
    .collect()
}

#[test]
fn no_callback_is_refused_for_what_else_there_is_to_do() {
    let (committer, mut waiting) = Committer::new();
    for _ in 0..=PLACES {
        assert!(work(&committer).is_none());
    }
    for _ in 0..PLACES {
        assert!(call(&committer).is_none());
    }
    // The one other that was one too many has not come in.
    assert_eq!(all(&mut waiting).len(), 2 * PLACES);
}

#[test]
fn callbacks_are_refused_beyond_their_places_until_one_had_its_turn() {
    let (committer, mut waiting) = Committer::new();
    for _ in 0..PLACES {
        assert!(call(&committer).is_none());
    }
    let refused = call(&committer);
    assert!(
        matches!(refused, Some(Err(StoreError::Overloaded))),
        "{refused:?}"
    );
    assert!(work(&committer).is_none());
    assert!(waiting.ready().is_some());
    assert!(call(&committer).is_none());
}

#[test]
fn whatever_else_is_one_too_many_waits_for_a_place() {
    let (committer, mut waiting) = Committer::new();
    for _ in 0..PLACES {
        assert!(work(&committer).is_none());
    }
    let mut another = Box::pin(committer.submit(|_| Ok(())));
    assert!(another.as_mut().now_or_never().is_none());
    assert_eq!(all(&mut waiting).len(), PLACES);
    assert!(another.as_mut().now_or_never().is_none());
    assert_eq!(all(&mut waiting), ["synced"]);
    // Nobody is left who would do it.
    let told = another.as_mut().now_or_never();
    assert!(matches!(told, Some(Err(StoreError::Stopping))), "{told:?}");
}

#[test]
fn all_have_their_turn_as_they_came() {
    let (committer, mut waiting) = Committer::new();
    assert!(work(&committer).is_none());
    assert!(call(&committer).is_none());
    assert!(committer.close().now_or_never().is_none());
    assert!(call(&committer).is_none());
    assert_eq!(
        all(&mut waiting),
        ["loose", "callback", "close", "callback"]
    );
}

#[test]
fn nobody_waits_for_a_place_where_nothing_is_taken_any_more() {
    let (committer, mut waiting) = Committer::new();
    for _ in 0..PLACES {
        assert!(work(&committer).is_none());
    }
    waiting.close();
    assert_eq!(all(&mut waiting).len(), PLACES);
    for told in [work(&committer), call(&committer)] {
        assert!(matches!(told, Some(Err(StoreError::Stopping))), "{told:?}");
    }
}
