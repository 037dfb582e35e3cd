//! What the status query says of a user.

use std::fmt;

use super::InvalidId;

/// A user's authentication status, as the provider numbers it; one that we do not know is kept as it came and is
/// never mapped to one that we do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// `0`: pending certification.
    Pending,
    /// `1`: under review.
    UnderReview,
    /// `2`: approved.
    Approved,
    /// `3`: rejected.
    Rejected,
    /// Anything else, as it came.
    Unknown(String),
}

impl Status {
    /// The longest status taken, in bytes: published ones have one character.
    pub const MAX_BYTES: usize = 64;

    /// Reads the provider's text.
    ///
    /// # Errors
    /// Empty, longer than [`Status::MAX_BYTES`], or with control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        match text {
            "0" => Ok(Self::Pending),
            "1" => Ok(Self::UnderReview),
            "2" => Ok(Self::Approved),
            "3" => Ok(Self::Rejected),
            _ if text.is_empty()
                || text.len() > Self::MAX_BYTES
                || text.chars().any(char::is_control) =>
            {
                Err(InvalidId(
                    "a status is 1 to 64 bytes without control characters",
                ))
            }
            other => Ok(Self::Unknown(other.to_owned())),
        }
    }

    /// The provider's text: `0` to `3`, or what came.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Pending => "0",
            Self::UnderReview => "1",
            Self::Approved => "2",
            Self::Rejected => "3",
            Self::Unknown(text) => text,
        }
    }

    /// Our word for it: the `status` of a webhook's data.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::UnderReview => "under_review",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether the review is over. An unknown status is not final: we keep asking.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Approved | Self::Rejected)
    }

    /// Whether the user is seen waiting: `0` or `1`.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self, Self::Pending | Self::UnderReview)
    }
}

/// A status and, when the provider gives one, its reason. Two verdicts are the same when both are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Verdict {
    status: Status,
    reason: Option<String>,
}

impl Verdict {
    /// An empty reason is no reason.
    #[must_use]
    pub fn new(status: Status, reason: Option<String>) -> Self {
        Self {
            status,
            reason: reason.filter(|text| !text.is_empty()),
        }
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Why, mostly when rejected. Personal: to receivers and operators, never to a log.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verdict({}, …)", self.status.word())
    }
}

/// How a status query ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// HTTP 200, JSON, `code` `0000`, `success` true, a readable status.
    Verdict(Verdict),
    /// Anything else.
    Failed(QueryFailure),
}

/// Why a status query gave no verdict.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QueryFailure {
    /// The process ended while the query was out; what became of it is not known.
    Interrupted,
    /// No connection, or it broke.
    Connect,
    /// No whole answer in time.
    Timeout,
    /// An answer other than HTTP 200.
    Http(u16),
    /// HTTP 200, but no JSON object, or more than 64 KiB.
    NotJson,
    /// JSON, but the provider declined: its `code`, at most 32 characters.
    Refused(String),
    /// JSON that was accepted, but without a status that can be read.
    Unreadable,
}

impl QueryFailure {
    /// Whether it speaks of the provider as a whole, and not of this one user (opens the breaker).
    #[must_use]
    pub const fn is_provider_down(&self) -> bool {
        matches!(
            self,
            Self::Connect | Self::Timeout | Self::Http(_) | Self::NotJson
        )
    }

    /// A stable class for logs, metrics and stories.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Http(_) => "status",
            Self::NotJson => "not_json",
            Self::Refused(_) => "refused",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for QueryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("the relay ended while the query was out"),
            Self::Connect => f.write_str("no connection"),
            Self::Timeout => f.write_str("no whole answer in time"),
            Self::Http(status) => write!(f, "HTTP status {status}, expected 200"),
            Self::NotJson => f.write_str("the answer is not a JSON object of at most 64 KiB"),
            Self::Refused(code) => write!(f, "declined with code {code:?}"),
            Self::Unreadable => f.write_str("no readable authenticationStatus in the answer"),
        }
    }
}
