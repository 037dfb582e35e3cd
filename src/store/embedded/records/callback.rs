//! A callback on disk: byte for byte as it came, and how its sign checked.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::names::Name;
use super::numbers::{millis, sign_number, sign_of};
use crate::domain::{Arrival, Callback, CallbackId, MerchantNo, Timestamp, UserId};
use crate::store::embedded::codec::Record;
use crate::store::embedded::keys::Tree;

#[derive(Serialize, Deserialize)]
pub(crate) struct CallbackV1 {
    id: [u8; 16],
    merchant: Name<MerchantNo>,
    user: Option<Name<UserId>>,
    claim: Option<String>,
    sign: u8,
    token: bool,
    body: Vec<u8>,
    content_type: Option<String>,
    query: Option<String>,
    peer: Option<IpAddr>,
    at: u64,
}

impl Record for Callback {
    const TREE: Tree = Tree::Callbacks;
    const VERSION: u8 = 1;
    type Stored = CallbackV1;

    fn into_stored(self) -> CallbackV1 {
        CallbackV1 {
            id: self.id.to_bytes(),
            merchant: Name::of(self.merchant),
            user: self.user.map(Name::of),
            claim: self.claim,
            sign: sign_number(self.sign),
            token: self.token,
            body: self.arrival.body,
            content_type: self.arrival.content_type,
            query: self.arrival.query,
            peer: self.arrival.peer,
            at: millis(self.arrival.at),
        }
    }

    fn from_stored(stored: CallbackV1) -> Result<Self, String> {
        Ok(Self {
            id: CallbackId::from_bytes(stored.id),
            merchant: stored.merchant.read()?,
            user: stored.user.map(Name::read).transpose()?,
            claim: stored.claim,
            sign: sign_of(stored.sign)?,
            token: stored.token,
            arrival: Arrival {
                body: stored.body,
                content_type: stored.content_type,
                query: stored.query,
                peer: stored.peer,
                at: Timestamp::from_millis(stored.at),
            },
        })
    }
}
