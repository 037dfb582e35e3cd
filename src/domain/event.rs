//! Events: what receivers are told. Immutable once made.

use super::{
    AbandonReason, CallbackId, EndpointName, EventId, FailureClass, MerchantNo, Status, Timestamp,
    UserId, Verdict,
};

/// What made us ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A callback.
    Callback,
    /// The watch over users known to be waiting.
    Reconcile,
    /// An operator.
    Operator,
}

impl Source {
    /// `callback`, `reconcile` or `operator`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Callback => "callback",
            Self::Reconcile => "reconcile",
            Self::Operator => "operator",
        }
    }
}

/// The `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// Status 0.
    KycPending,
    /// Status 1.
    KycUnderReview,
    /// Status 2.
    KycApproved,
    /// Status 3.
    KycRejected,
    /// A status nobody published.
    KycUnknown,
    /// An endpoint failed five times in a row.
    EndpointDown,
    /// An endpoint that was down answered again.
    EndpointRecovered,
    /// A delivery is given up.
    DeliveryAbandoned,
    /// A verification is given up; the user is still asked about daily.
    VerificationStuck,
    /// A callback without a user id.
    CallbackUnrecognized,
    /// The provider as a whole does not answer.
    ProviderDown,
    /// The provider answers again.
    ProviderRecovered,
    /// An operator's test.
    Test,
}

impl EventKind {
    /// Every kind there is.
    pub const ALL: [Self; 13] = [
        Self::KycPending,
        Self::KycUnderReview,
        Self::KycApproved,
        Self::KycRejected,
        Self::KycUnknown,
        Self::EndpointDown,
        Self::EndpointRecovered,
        Self::DeliveryAbandoned,
        Self::VerificationStuck,
        Self::CallbackUnrecognized,
        Self::ProviderDown,
        Self::ProviderRecovered,
        Self::Test,
    ];

    /// The name on the wire, e.g. `kyc.approved`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KycPending => "kyc.pending",
            Self::KycUnderReview => "kyc.under_review",
            Self::KycApproved => "kyc.approved",
            Self::KycRejected => "kyc.rejected",
            Self::KycUnknown => "kyc.unknown",
            Self::EndpointDown => "relay.endpoint.down",
            Self::EndpointRecovered => "relay.endpoint.recovered",
            Self::DeliveryAbandoned => "relay.delivery.abandoned",
            Self::VerificationStuck => "relay.verification.stuck",
            Self::CallbackUnrecognized => "relay.callback.unrecognized",
            Self::ProviderDown => "relay.provider.down",
            Self::ProviderRecovered => "relay.provider.recovered",
            Self::Test => "relay.test",
        }
    }

    /// The kind with this name on the wire.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind that a verdict with this status makes.
    #[must_use]
    pub const fn of_status(status: &Status) -> Self {
        match status {
            Status::Pending => Self::KycPending,
            Status::UnderReview => Self::KycUnderReview,
            Status::Approved => Self::KycApproved,
            Status::Rejected => Self::KycRejected,
            Status::Unknown(_) => Self::KycUnknown,
        }
    }
}

/// A verified result of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultEvent {
    /// The merchant.
    pub merchant: MerchantNo,
    /// The user.
    pub user: UserId,
    /// What the query said.
    pub verdict: Verdict,
    /// Counts the user's events from 1.
    pub sequence: u64,
    /// What made us ask.
    pub source: Source,
}

/// Something about the relay itself that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationalEvent {
    /// A delivery is given up.
    DeliveryAbandoned {
        /// The endpoint that did not hear.
        endpoint: EndpointName,
        /// The event it did not hear of.
        event: EventId,
        /// Attempts made.
        attempts: u32,
        /// Why.
        reason: AbandonReason,
        /// The class of the last failure, if there was an attempt.
        last_failure: Option<FailureClass>,
    },
    /// A verification is given up.
    VerificationStuck {
        /// The merchant.
        merchant: MerchantNo,
        /// The user.
        user: UserId,
        /// Since when we have asked.
        since: Timestamp,
        /// Queries sent since then.
        tries: u32,
    },
    /// A callback without a user id.
    CallbackUnrecognized {
        /// The merchant whose path it came on.
        merchant: MerchantNo,
        /// The callback.
        callback: CallbackId,
    },
    /// An endpoint failed too often in a row.
    EndpointDown {
        /// The endpoint.
        endpoint: EndpointName,
        /// Since when.
        since: Timestamp,
    },
    /// An endpoint that was down answered again.
    EndpointRecovered {
        /// The endpoint.
        endpoint: EndpointName,
        /// Since when it had been down.
        since: Timestamp,
    },
    /// The provider as a whole does not answer.
    ProviderDown {
        /// Its address.
        address: String,
        /// Since when.
        since: Timestamp,
    },
    /// The provider answers again.
    ProviderRecovered {
        /// Its address.
        address: String,
        /// Since when it had not answered.
        since: Timestamp,
    },
    /// An operator's test of one endpoint.
    Test {
        /// The endpoint.
        endpoint: EndpointName,
    },
}

impl OperationalEvent {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::DeliveryAbandoned { .. } => EventKind::DeliveryAbandoned,
            Self::VerificationStuck { .. } => EventKind::VerificationStuck,
            Self::CallbackUnrecognized { .. } => EventKind::CallbackUnrecognized,
            Self::EndpointDown { .. } => EventKind::EndpointDown,
            Self::EndpointRecovered { .. } => EventKind::EndpointRecovered,
            Self::ProviderDown { .. } => EventKind::ProviderDown,
            Self::ProviderRecovered { .. } => EventKind::ProviderRecovered,
            Self::Test { .. } => EventKind::Test,
        }
    }

    /// The merchant it concerns, if it concerns one.
    #[must_use]
    pub const fn merchant(&self) -> Option<&MerchantNo> {
        match self {
            Self::VerificationStuck { merchant, .. }
            | Self::CallbackUnrecognized { merchant, .. } => Some(merchant),
            _ => None,
        }
    }

    /// The endpoint it is about. That one is not told: it is the one that does not hear.
    #[must_use]
    pub const fn about_endpoint(&self) -> Option<&EndpointName> {
        match self {
            Self::DeliveryAbandoned { endpoint, .. }
            | Self::EndpointDown { endpoint, .. }
            | Self::EndpointRecovered { endpoint, .. } => Some(endpoint),
            _ => None,
        }
    }
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventContent {
    /// A user's verified result.
    Result(ResultEvent),
    /// News of the relay itself.
    Operational(OperationalEvent),
}

/// An event: an id for ever, the instant it was made, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The `webhook-id` of each of its deliveries.
    pub id: EventId,
    /// The envelope's `timestamp`.
    pub at: Timestamp,
    /// What it says.
    pub content: EventContent,
}

impl Event {
    /// Its `type`.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match &self.content {
            EventContent::Result(result) => EventKind::of_status(result.verdict.status()),
            EventContent::Operational(news) => news.kind(),
        }
    }

    /// The merchant whose user's result it is; `None` for news of the relay itself.
    #[must_use]
    pub const fn merchant_of_result(&self) -> Option<&MerchantNo> {
        match &self.content {
            EventContent::Result(result) => Some(&result.merchant),
            EventContent::Operational(_) => None,
        }
    }

    /// The merchant it concerns, if it concerns one.
    #[must_use]
    pub const fn merchant(&self) -> Option<&MerchantNo> {
        match &self.content {
            EventContent::Result(result) => Some(&result.merchant),
            EventContent::Operational(news) => news.merchant(),
        }
    }
}
