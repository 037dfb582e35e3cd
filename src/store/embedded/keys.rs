//! Trees and their keys. Key order is what claims rely on, so every key is built here and nowhere else.
//!
//! A merchant number is ten bytes; user ids and endpoint names hold no zero byte, which therefore ends them.

mod key;

pub(super) use key::Key;

use crate::domain::{
    AbandonReason, CallbackId, DeliveryState, EndpointName, EventId, MerchantNo, Timestamp, Trust,
    UserId, Verification, VerificationState, VerifyLane, VerifyPhase,
};

macro_rules! trees {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)*) => {
        /// A tree of the store. The code names it in journals and backups: never reused, never changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub(super) enum Tree { $($(#[$doc])* $variant = $code,)* }

        impl Tree {
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What sled calls it.
            pub(super) const fn stored_name(self) -> &'static str {
                match self { $(Self::$variant => concat!($name, ".blocks"),)* }
            }

            pub(super) fn of_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

trees! {
    /// `schema` and the like.
    Meta = 0, "meta";
    /// callback id -> callback
    Callbacks = 1, "callbacks";
    /// merchant user 0 callback-id -> nothing
    CallbacksByUser = 2, "callbacks_by_user";
    /// merchant authenticated callback-id -> nothing
    Unrecognized = 3, "unrecognized";
    /// merchant user -> verification
    Verifications = 4, "verifications";
    /// merchant lane leased class due user -> nothing
    VerifyDue = 5, "verify_due";
    /// merchant user -> user state
    Users = 6, "users";
    /// merchant user 0 time queries -> query record
    Queries = 7, "queries";
    /// event id -> event
    Events = 8, "events";
    /// merchant user 0 sequence -> event id
    EventsByUser = 9, "events_by_user";
    /// event-id endpoint -> delivery
    Deliveries = 10, "deliveries";
    /// endpoint 0 leased due event-id -> nothing; of each line only the first
    DeliveryDue = 11, "delivery_due";
    /// endpoint 0 merchant user 0 sequence -> event id; what is pending, in order
    DeliveryLine = 12, "delivery_line";
    /// event-id endpoint 0 number -> attempt
    Attempts = 13, "attempts";
    /// endpoint -> health
    Endpoints = 14, "endpoints";
    /// number -> job
    Jobs = 15, "jobs";
    /// endpoint 0 standing event-id -> nothing; what is not delivered
    Unsettled = 16, "unsettled";
    /// time merchant user -> nothing; verifications that are stuck, by since when
    Stuck = 17, "stuck";
    /// event-id part -> endpoints whose delivery of it is still to be made
    FanOut = 18, "fan_out";
    /// digest -> endpoints that hear the same events
    FanOutLists = 19, "fan_out_lists";
}

/// Entries whose lease somebody holds, before those that wait.
const LEASED: u8 = 0;
const WAITING: u8 = 1;

pub(super) fn user(merchant: &MerchantNo, user: &UserId) -> Key {
    Key::of([merchant.as_bytes(), user.as_str().as_bytes()])
}

/// What every key of this user in a tree with a suffix begins with.
pub(super) fn user_prefix(merchant: &MerchantNo, user_id: &UserId) -> Key {
    user(merchant, user_id).and(&[0])
}

pub(super) fn callback_of_user(merchant: &MerchantNo, user: &UserId, callback: CallbackId) -> Key {
    user_prefix(merchant, user).and(&callback.to_bytes())
}

/// The least key of a user's callbacks from an instant on: an id begins with 48 bits of its time, in milliseconds.
pub(super) fn callbacks_from(merchant: &MerchantNo, user: &UserId, from: Timestamp) -> Key {
    callback_of_user(merchant, user, CallbackId::new(from, 0))
}

/// Those that carried a token are counted apart from those that anybody could have sent.
pub(super) fn unrecognized_prefix(merchant: &MerchantNo, token: bool) -> Key {
    Key::of([merchant.as_bytes(), &[u8::from(token)]])
}

pub(super) fn query(merchant: &MerchantNo, user: &UserId, at: Timestamp, queries: u32) -> Key {
    let key = user_prefix(merchant, user);
    key.and(&at.as_millis().to_be_bytes())
        .and(&queries.to_be_bytes())
}

/// When a query was answered, by its key.
pub(super) fn time_of_query(key: &[u8]) -> Option<Timestamp> {
    let (at, _) = key.last_chunk::<12>()?.split_first_chunk::<8>()?;
    Some(Timestamp::from_millis(u64::from_be_bytes(*at)))
}

/// Merchant and user that a query's key begins with.
pub(super) fn user_of_query(key: &[u8]) -> Option<&[u8]> {
    key.get(..key.len().checked_sub(13)?)
}

pub(super) fn event_of_user(merchant: &MerchantNo, user: &UserId, sequence: u64) -> Key {
    user_prefix(merchant, user).and(&sequence.to_be_bytes())
}

/// The entry of [`Tree::Meta`] that counts a merchant's verifications that anybody could have started.
pub(super) fn open_count(merchant: &MerchantNo) -> Key {
    Key::of([b"open:", merchant.as_bytes()])
}

/// The entry of [`Tree::Meta`] that holds a user's latest application of a batch: when it was sent, and the batch.
pub(super) fn batch(merchant: &MerchantNo, user_id: &UserId) -> Key {
    Key::of([b"batch:", &user(merchant, user_id)])
}

/// What the entries of [`Tree::Meta`] begin with that say what was ordered about a user.
pub(super) const ORDERS: &[u8] = b"orders:";

/// The entry of [`Tree::Meta`] that says what was ordered about the user whose keys begin so.
pub(super) fn orders(user: &[u8]) -> Key {
    Key::of([ORDERS, user])
}

/// What an entry of [`Tree::CallbacksByUser`] says of when its callback was recognized, if it was not at once.
pub(super) fn recognized(noted: &[u8]) -> Option<Timestamp> {
    let at = noted.first_chunk::<8>()?;
    Some(Timestamp::from_millis(u64::from_be_bytes(*at)))
}

/// Which part of [`Tree::Unsettled`] a delivery stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Standing {
    /// Waiting, or under way.
    Pending = 0,
    /// Given up by the relay: needs someone.
    GivenUp = 1,
    /// Given up by an operator.
    Discarded = 2,
}

impl Standing {
    /// Where a delivery in this state stands; `None`: nowhere, it was delivered.
    pub(super) const fn of(state: &DeliveryState) -> Option<Self> {
        match state {
            DeliveryState::Waiting { .. } | DeliveryState::Delivering { .. } => Some(Self::Pending),
            DeliveryState::Delivered { .. } => None,
            DeliveryState::Abandoned { reason, .. } => match reason {
                AbandonReason::Discarded => Some(Self::Discarded),
                AbandonReason::Exhausted | AbandonReason::TooOld => Some(Self::GivenUp),
            },
        }
    }
}

pub(super) fn unsettled_prefix(endpoint: &EndpointName, standing: Standing) -> Key {
    endpoint_prefix(endpoint).and(&[standing as u8])
}

pub(super) fn unsettled(endpoint: &EndpointName, standing: Standing, event: EventId) -> Key {
    unsettled_prefix(endpoint, standing).and(&event.to_bytes())
}

/// The place of a verification in [`Tree::Stuck`], if it is stuck.
pub(super) fn stuck(
    merchant: &MerchantNo,
    user_id: &UserId,
    verification: &Verification,
) -> Option<Key> {
    let VerifyPhase::Stuck { at } = verification.phase else {
        return None;
    };
    let at = at.as_millis().to_be_bytes();
    Some(Key::of([&at, &user(merchant, user_id)]))
}

/// Merchant and user of a key that is both, one after the other.
pub(super) fn parse_user(key: &[u8]) -> Option<(MerchantNo, UserId)> {
    let (merchant, user) = key.split_first_chunk::<10>()?;
    let merchant = std::str::from_utf8(merchant).ok()?.parse().ok()?;
    let user = std::str::from_utf8(user).ok()?.parse().ok()?;
    Some((merchant, user))
}

/// The last sixteen bytes of a key, as an id's.
pub(super) fn trailing_id(key: &[u8]) -> Option<[u8; 16]> {
    key.last_chunk::<16>().copied()
}

const fn lane_code(lane: VerifyLane) -> u8 {
    match lane {
        VerifyLane::Main => 0,
        VerifyLane::Open => 1,
    }
}

const fn class_code(trust: Trust) -> u8 {
    match trust {
        Trust::Signed => 0,
        Trust::Token => 1,
        Trust::Open => 2,
        Trust::Watch => 3,
    }
}

/// The classes of a lane, the most trusted first.
pub(super) const fn classes(lane: VerifyLane) -> &'static [Trust] {
    match lane {
        VerifyLane::Main => &[Trust::Signed, Trust::Token, Trust::Watch],
        VerifyLane::Open => &[Trust::Open],
    }
}

pub(super) fn verify_leased_prefix(merchant: &MerchantNo, lane: VerifyLane) -> Key {
    Key::of([merchant.as_bytes(), &[lane_code(lane), LEASED]])
}

pub(super) fn verify_class_prefix(merchant: &MerchantNo, lane: VerifyLane, class: Trust) -> Key {
    let place = [lane_code(lane), WAITING, class_code(class)];
    Key::of([merchant.as_bytes(), &place])
}

pub(super) fn verify_due(merchant: &MerchantNo, user: &UserId, verification: &Verification) -> Key {
    let lane = VerifyLane::of(verification.trust);
    let key = match verification.state {
        VerificationState::Querying { .. } => verify_leased_prefix(merchant, lane),
        VerificationState::Waiting { .. } => {
            verify_class_prefix(merchant, lane, verification.trust)
        }
    };
    key.and(&verification.due().as_millis().to_be_bytes())
        .and(user.as_str().as_bytes())
}

/// Due time and user of a key that begins with `prefix`.
pub(super) fn parse_verify_due(prefix: &[u8], key: &[u8]) -> Option<(Timestamp, UserId)> {
    let (due, user) = key.strip_prefix(prefix)?.split_first_chunk::<8>()?;
    let user = std::str::from_utf8(user).ok()?.parse().ok()?;
    Some((Timestamp::from_millis(u64::from_be_bytes(*due)), user))
}

/// Of a place in [`Tree::VerifyDue`] or [`Tree::DeliveryDue`]: the prefix of those that it stands among, and when it is due.
pub(super) fn queue_of(tree: Tree, place: &[u8]) -> Option<(&[u8], Timestamp)> {
    let (queue, rest) = match tree {
        Tree::VerifyDue => {
            place.split_at_checked(if verify_due_is_leased(place) { 12 } else { 13 })?
        }
        _ => place.split_at_checked(place.len().checked_sub(24)?)?,
    };
    let due = u64::from_be_bytes(*rest.first_chunk::<8>()?);
    Some((queue, Timestamp::from_millis(due)))
}

/// Whether an entry of [`Tree::VerifyDue`] is leased.
pub(super) fn verify_due_is_leased(key: &[u8]) -> bool {
    key.get(11) == Some(&LEASED)
}

pub(super) fn delivery(event: EventId, endpoint: &EndpointName) -> Key {
    Key::of([&event.to_bytes(), endpoint.as_str().as_bytes()])
}

pub(super) fn fan_out(event: EventId, part: u32) -> Key {
    Key::of([&event.to_bytes(), &part.to_be_bytes()])
}

/// What every key of this endpoint begins with, in the trees sorted by endpoint.
pub(super) fn endpoint_prefix(endpoint: &EndpointName) -> Key {
    Key::of([endpoint.as_str().as_bytes(), &[0]])
}

pub(super) fn delivery_due_prefix(endpoint: &EndpointName, leased: bool) -> Key {
    endpoint_prefix(endpoint).and(&[if leased { LEASED } else { WAITING }])
}

pub(super) fn delivery_due(
    endpoint: &EndpointName,
    leased: bool,
    due: Timestamp,
    event: EventId,
) -> Key {
    let key = delivery_due_prefix(endpoint, leased);
    key.and(&due.as_millis().to_be_bytes())
        .and(&event.to_bytes())
}

/// The first key of [`Tree::DeliveryDue`] that is due after `now`.
pub(super) fn delivery_due_until(endpoint: &EndpointName, leased: bool, now: Timestamp) -> Key {
    let after = now.as_millis().saturating_add(1);
    delivery_due_prefix(endpoint, leased).and(&after.to_be_bytes())
}

/// Due time and event of an entry of [`Tree::DeliveryDue`].
pub(super) fn parse_delivery_due(key: &[u8]) -> Option<(Timestamp, EventId)> {
    let tail = key.last_chunk::<24>()?;
    let (due, event) = tail.split_first_chunk::<8>()?;
    Some((
        Timestamp::from_millis(u64::from_be_bytes(*due)),
        EventId::from_bytes(event.try_into().ok()?),
    ))
}

/// The endpoint that a key of a tree sorted by endpoint begins with.
pub(super) fn parse_endpoint(key: &[u8]) -> Option<EndpointName> {
    let name = key.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(name).ok()?.parse().ok()
}

pub(super) fn line_prefix(endpoint: &EndpointName, merchant: &MerchantNo, user: &UserId) -> Key {
    endpoint_prefix(endpoint).and(&user_prefix(merchant, user))
}

pub(super) fn line(
    endpoint: &EndpointName,
    merchant: &MerchantNo,
    user: &UserId,
    sequence: u64,
) -> Key {
    line_prefix(endpoint, merchant, user).and(&sequence.to_be_bytes())
}

pub(super) fn attempt_prefix(event: EventId, endpoint: &EndpointName) -> Key {
    delivery(event, endpoint).and(&[0])
}

pub(super) fn attempt(event: EventId, endpoint: &EndpointName, number: u32) -> Key {
    attempt_prefix(event, endpoint).and(&number.to_be_bytes())
}

/// The least key after another one.
pub(super) fn after(key: &[u8]) -> Key {
    Key::of([key, &[0]])
}

/// The first key that does not begin with `prefix`.
pub(super) fn end_of(prefix: &[u8]) -> Option<Key> {
    Key::of([prefix]).end()
}
