//! Lists of what the store holds, page by page, for the operators' API, the command line and the dashboard.
//!
//! Promise: a page is bounded in what it returns and in what it looks at. A filter that seldom matches gives a short
//! page, maybe an empty one, with a cursor to go on from; never a walk over a million records. Newest first, where
//! nothing else is said.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{StoreError, Told, unsupported};
use crate::domain::{
    Callback, CallbackId, Delivery, EndpointName, Event, EventId, EventKind, InvalidId, MerchantNo,
    SignCheck, Timestamp, UserId, UserState, Verification,
};

/// Where the next page begins. It means something only to the list that gave it, asked with the same filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub(crate) Vec<u8>);

impl Cursor {
    /// No cursor of ours is longer: the longest names a merchant and a user of 128 characters of four bytes.
    const MAX_TEXT: usize = 1024;
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl FromStr for Cursor {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const WRONG: InvalidId =
            InvalidId("expected the `next` of the page before, as it was given");
        if text.len() > Self::MAX_TEXT {
            return Err(WRONG);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
        bytes.map(Self).map_err(|_not_base64| WRONG)
    }
}

/// What every list is narrowed by. Left out: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Of this merchant.
    pub merchant: Option<MerchantNo>,
    /// Of this user.
    pub user: Option<UserId>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

/// Which part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOf {
    /// At most so many.
    pub limit: usize,
    /// Where the page before ended; `None`: the first page.
    pub cursor: Option<Cursor>,
}

impl PageOf {
    /// The first page of so many.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self {
            limit,
            cursor: None,
        }
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it; maybe nothing, though there is a next page.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<Cursor>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }
}

/// How a callback was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallbackState {
    /// Its user is known.
    Accepted,
    /// No user id was found in it.
    Unrecognized,
    /// Its sign checked so.
    Sign(SignCheck),
}

impl CallbackState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Accepted,
        Self::Unrecognized,
        Self::Sign(SignCheck::Valid),
        Self::Sign(SignCheck::Invalid),
        Self::Sign(SignCheck::Missing),
    ];

    /// `accepted`, `unrecognized`, `valid`, `invalid` or `missing`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unrecognized => "unrecognized",
            Self::Sign(sign) => sign.as_str(),
        }
    }

    /// Whether this callback is one of them.
    #[must_use]
    pub fn takes(self, callback: &Callback) -> bool {
        match self {
            Self::Accepted => callback.user.is_some(),
            Self::Unrecognized => callback.user.is_none(),
            Self::Sign(sign) => callback.sign == sign,
        }
    }
}

/// Which deliveries, by how they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryStand {
    /// To be sent, now or later.
    Waiting,
    /// Waiting, at an endpoint that is down or paused.
    Held,
    /// An attempt is out.
    Delivering,
    /// The endpoint has heard.
    Delivered,
    /// Given up, whoever did it.
    Abandoned,
    /// Given up by the relay and not discarded by anybody since: needs someone.
    GivenUp,
    /// Given up by an operator.
    Discarded,
}

impl DeliveryStand {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Held,
        Self::Delivering,
        Self::Delivered,
        Self::Abandoned,
        Self::GivenUp,
        Self::Discarded,
    ];

    /// `waiting`, `held`, `delivering`, `delivered`, `abandoned`, `given_up` or `discarded`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Delivering => "delivering",
            Self::Delivered => "delivered",
            Self::Abandoned => "abandoned",
            Self::GivenUp => "given_up",
            Self::Discarded => "discarded",
        }
    }
}

/// Which deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Whose, and when their event was made.
    pub scope: Scope,
    /// To this endpoint.
    pub endpoint: Option<EndpointName>,
    /// Standing so.
    pub stand: Option<DeliveryStand>,
}

/// A delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDelivery {
    /// The delivery.
    pub delivery: Delivery,
    /// What it tells.
    pub event: Event,
    /// It waits for its endpoint, which is down or paused.
    pub held: bool,
}

/// A verification in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVerification {
    /// The merchant.
    pub merchant: MerchantNo,
    /// The user.
    pub user: UserId,
    /// How far it is.
    pub verification: Verification,
}

/// A user that was searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// The merchant.
    pub merchant: MerchantNo,
    /// The user.
    pub user: UserId,
    /// The results so far, if there are any.
    pub state: Option<UserState>,
    /// The verification under way, if there is one.
    pub verification: Option<Verification>,
}

/// How much there is, from counts that are kept: cheap however much it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Verifications under way, the stuck ones among them.
    pub verifications: u64,
    /// Verifications that were given up on.
    pub stuck: u64,
    /// Callbacks kept in which no user id was found.
    pub unrecognized: u64,
    /// By endpoint, in order of name; those without anything unsettled are left out.
    pub endpoints: Vec<(EndpointName, EndpointTally)>,
}

/// What is unsettled at one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointTally {
    /// Deliveries waiting or under way.
    pub pending: u64,
    /// Deliveries given up by the relay and not discarded since: they need someone.
    pub given_up: u64,
    /// Deliveries given up by an operator.
    pub discarded: u64,
}

/// The lists of a store. One without lists says so with an error.
#[async_trait]
pub trait Lists: Send + Sync {
    /// Callbacks, newest first.
    ///
    /// # Errors
    /// The store failed, or the cursor is not one of this list.
    async fn callbacks(
        &self,
        scope: Scope,
        state: Option<CallbackState>,
        page: PageOf,
    ) -> Result<Page<Callback>, StoreError> {
        let _none = (scope, state, page);
        Err(unsupported())
    }

    /// Events, newest first.
    ///
    /// # Errors
    /// Likewise.
    async fn events(
        &self,
        scope: Scope,
        kinds: Vec<EventKind>,
        page: PageOf,
    ) -> Result<Page<Event>, StoreError> {
        let _none = (scope, kinds, page);
        Err(unsupported())
    }

    /// Deliveries, those of the newest event first.
    ///
    /// # Errors
    /// Likewise.
    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageOf,
    ) -> Result<Page<ListedDelivery>, StoreError> {
        let _none = (filter, page);
        Err(unsupported())
    }

    /// Verifications under way, in order of merchant and user; the stuck ones alone: the latest stuck first. `since`
    /// and `until` are about when they began, or became stuck.
    ///
    /// # Errors
    /// Likewise.
    async fn verifications(
        &self,
        scope: Scope,
        only_stuck: bool,
        page: PageOf,
    ) -> Result<Page<ListedVerification>, StoreError> {
        let _none = (scope, only_stuck, page);
        Err(unsupported())
    }

    /// Users of whom anything is known or asked and whose id begins with `prefix`, in order of merchant and user.
    ///
    /// # Errors
    /// Likewise.
    async fn users(
        &self,
        merchant: Option<MerchantNo>,
        prefix: String,
        page: PageOf,
    ) -> Result<Page<FoundUser>, StoreError> {
        let _none = (merchant, prefix, page);
        Err(unsupported())
    }

    /// One callback.
    ///
    /// # Errors
    /// The store failed, or a record is damaged.
    async fn callback(&self, id: CallbackId) -> Result<Option<Callback>, StoreError> {
        let _none = id;
        Err(unsupported())
    }

    /// One event with its deliveries and their attempts.
    ///
    /// # Errors
    /// The store failed, or a record is damaged.
    async fn event(&self, id: EventId) -> Result<Option<(Event, Vec<Told>)>, StoreError> {
        let _none = id;
        Err(unsupported())
    }

    /// How much there is of what somebody may have to look after.
    ///
    /// # Errors
    /// The store failed.
    async fn tallies(&self) -> Result<Tallies, StoreError> {
        Err(unsupported())
    }
}
