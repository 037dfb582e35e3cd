//! The first stage: takes a callback and makes it durable.
//!
//! Promise: [`Receiver::take`] returns `Ok` only after the store has said that the callback survives a power cut. It
//! reads a callback only as far as needed to know for whom to ring; it believes nothing in it, asks nobody, and
//! knows nothing of HTTP. Logs carry ids and counts; the user's id at debug level only, the body, the token, the
//! sign and secrets never.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tracing::{debug, error, info};

use crate::clock::{Clock, Entropy};
use crate::domain::{
    Arrival, Callback, CallbackId, MerchantNo, Routing, Secrets, SignCheck, Timestamp, Trust,
};
use crate::signing::vexora;
use crate::store::{Store, StoreError};

pub mod body;
mod fields;
mod multipart;

/// A merchant as its callbacks are concerned.
#[derive(Clone, Debug)]
pub struct ReceiveMerchant {
    /// Its number, in the path.
    pub merchant: MerchantNo,
    /// Its app secrets: any may have signed.
    pub app_secret: Secrets,
    /// In the path, when there is one.
    pub token: Option<Secrets>,
}

/// What a reload may change.
#[derive(Clone, Debug)]
pub struct ReceiveSettings {
    /// All merchants.
    pub merchants: Vec<ReceiveMerchant>,
    /// Whether a callback with a missing or wrong sign is refused, instead of kept and trusted less.
    pub refuse_bad_sign: bool,
}

/// A path that has been found to be a merchant's.
#[derive(Clone)]
pub struct Door(Arc<ReceiveSettings>, ReceiveMerchant);

impl Door {
    /// The merchant whose path it is.
    #[must_use]
    pub const fn merchant(&self) -> &MerchantNo {
        &self.1.merchant
    }

    /// Whether whoever came here knows the merchant's token.
    #[must_use]
    pub const fn token(&self) -> bool {
        self.1.token.is_some()
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({}, token: {})", self.merchant(), self.token())
    }
}

/// A callback that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its id.
    pub id: CallbackId,
    /// How far its sender is trusted.
    pub trust: Trust,
    /// Whether a user id was found in it.
    pub recognized: bool,
    /// How its sign checked.
    pub sign: SignCheck,
}

/// Why a callback was not taken. Nothing was kept that would later count as accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The sign is missing or wrong, and `verify.on_bad_sign` is `"refuse"`.
    #[error("the sign is {}", .0.as_str())]
    BadSign(SignCheck),
    /// The store could not make it durable.
    #[error("the callback could not be made durable")]
    NotDurable(#[from] StoreError),
}

/// Takes callbacks.
pub struct Receiver {
    settings: ArcSwap<ReceiveSettings>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    routing: Arc<ArcSwap<Routing>>,
    /// The id of the latest callback: ids follow the order of arrival even within one millisecond.
    latest: Mutex<Option<CallbackId>>,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

impl Receiver {
    /// A receiver in front of a store.
    #[must_use]
    pub fn new(
        settings: ReceiveSettings,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        routing: Arc<ArcSwap<Routing>>,
    ) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            store,
            clock,
            entropy,
            routing,
            latest: Mutex::new(None),
        }
    }

    fn next_id(&self, now: Timestamp) -> CallbackId {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = self.entropy.callback_id(now);
        // Only within the same millisecond: a clock that was set back begins anew.
        let same = latest.filter(|latest| latest.made_at() == fresh.made_at());
        let id = same.map_or(fresh, |latest| fresh.max(latest.successor()));
        *latest = Some(id);
        id
    }

    /// Callbacks that come from now on meet these settings.
    pub fn reload(&self, settings: ReceiveSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// Whose path this is: `/callback/{merchant}/{token}` with what stands in it. Without a merchant's number it is
    /// the only merchant's, if there is only one.
    ///
    /// Looks at every merchant and every token whatever it finds, so that time tells neither which merchant fits nor
    /// how much of a token does.
    #[must_use]
    pub fn door(&self, merchant: Option<&str>, token: Option<&str>) -> Option<Door> {
        let settings = self.settings.load_full();
        let only = Choice::from(u8::from(settings.merchants.len() == 1));
        let mut found = Choice::from(0);
        let mut at = u64::MAX;
        for (index, door) in (0u64..).zip(&settings.merchants) {
            let number = merchant.map_or(only, |given| {
                door.merchant.as_bytes().ct_eq(given.as_bytes())
            });
            // A path without a token has no room for one: a merchant's number cannot be left out before it.
            let secret = match &door.token {
                Some(secrets) => {
                    let fits = secrets.any_matches(token.unwrap_or_default().as_bytes());
                    Choice::from(u8::from(fits)) & Choice::from(u8::from(token.is_some()))
                }
                None => Choice::from(u8::from(token.is_none())),
            };
            let fits = number & secret;
            at.conditional_assign(&index, fits);
            found |= fits;
        }
        let index = usize::try_from(at).ok().filter(|_| bool::from(found))?;
        let door = settings.merchants.get(index)?.clone();
        Some(Door(settings, door))
    }

    /// Takes a callback that came to a merchant's path; `request` names it in the log, for whoever sent it.
    ///
    /// # Errors
    /// It was not taken: the sender is to try again, or is not believed.
    pub async fn take(
        &self,
        door: &Door,
        arrival: Arrival,
        request: &str,
    ) -> Result<Taken, Refusal> {
        let reading = body::read(&arrival.body, arrival.query.as_deref());
        let sign = vexora::check(&reading.params, &door.1.app_secret);
        if door.0.refuse_bad_sign && sign != SignCheck::Valid {
            info!(
                request, merchant = %door.merchant(), sign = sign.as_str(), token = door.token(),
                outcome = "bad_sign", "callback refused for its sign"
            );
            return Err(Refusal::BadSign(sign));
        }
        let (now, bytes) = (arrival.at, arrival.body.len());
        let callback = Callback {
            id: self.next_id(now),
            merchant: door.merchant().clone(),
            user: reading.user,
            claim: reading.claim,
            sign,
            token: door.token(),
            arrival,
        };
        let taken = Taken {
            id: callback.id,
            trust: callback.trust(),
            recognized: callback.user.is_some(),
            sign,
        };
        if let Some(user) = &callback.user {
            debug!(request, callback = %taken.id, %user, "callback is about a user");
        }
        let fresh = self.entropy.event_id(now);
        let routing = self.routing.load_full();
        if let Err(error) = self.store.accept(callback, fresh, routing).await {
            let cause: &dyn std::error::Error = &error;
            error!(request, callback = %taken.id, merchant = %door.merchant(), outcome = "not_durable", error = cause, "callback not accepted: it could not be made durable");
            return Err(error.into());
        }
        let took_ms = u64::try_from(self.clock.now().since(now).as_millis()).unwrap_or(u64::MAX);
        info!(
            request, callback = %taken.id, merchant = %door.merchant(), sign = sign.as_str(), token = door.token(),
            outcome = if taken.recognized { "accepted" } else { "unrecognized" }, bytes, took_ms,
            "callback accepted"
        );
        Ok(taken)
    }
}
