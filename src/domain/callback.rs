//! One inbound request: kept byte for byte, believed in nothing but that somebody rang.

use std::fmt;
use std::net::IpAddr;

use super::{CallbackId, MerchantNo, Timestamp, UserId};

/// How the `sign` of a callback checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignCheck {
    /// It is the MD5 of the parameters with one of the merchant's app secrets.
    Valid,
    /// It is there, and it is not.
    Invalid,
    /// There is none, or there are no parameters to check it over.
    Missing,
}

impl SignCheck {
    /// `valid`, `invalid` or `missing`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Missing => "missing",
        }
    }
}

/// How far a doorbell is trusted: decides who is asked about first, never what is believed. Ordered, the most
/// trusted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// The sign is valid.
    Signed,
    /// The merchant's secret token was in the path.
    Token,
    /// Nobody rang: we ask on our own account.
    Watch,
    /// Neither token nor valid sign: anybody could have sent it.
    Open,
}

impl Trust {
    /// What a callback's sign and path say of it.
    #[must_use]
    pub const fn of_callback(sign: SignCheck, token: bool) -> Self {
        match (sign, token) {
            (SignCheck::Valid, _) => Self::Signed,
            (_, true) => Self::Token,
            (_, false) => Self::Open,
        }
    }
}

/// What a request carried, byte for byte, and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The body as it came.
    pub body: Vec<u8>,
    /// The `Content-Type` header as it came.
    pub content_type: Option<String>,
    /// The query string as it came, without the `?`.
    pub query: Option<String>,
    /// The client's address, `None` over a Unix socket without a proxy's word.
    pub peer: Option<IpAddr>,
    /// When the whole of it was here.
    pub at: Timestamp,
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arrival({} bytes at {})", self.body.len(), self.at)
    }
}

/// An accepted callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Its id, made by us.
    pub id: CallbackId,
    /// The merchant whose path it came on.
    pub merchant: MerchantNo,
    /// Whom it speaks of; `None`: *unrecognized*.
    pub user: Option<UserId>,
    /// The status it claims, as it came, at most 64 bytes. A claim, never a verdict.
    pub claim: Option<String>,
    /// How its sign checked.
    pub sign: SignCheck,
    /// Whether the merchant's token was in its path.
    pub token: bool,
    /// The request itself.
    pub arrival: Arrival,
}

impl Callback {
    /// How far it is trusted.
    #[must_use]
    pub const fn trust(&self) -> Trust {
        Trust::of_callback(self.sign, self.token)
    }
}
