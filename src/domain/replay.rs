//! Telling an endpoint again what it may have missed, or what was made before it was there.

use super::{Delivery, DeliveryState, EndpointName, Event, EventId, EventKind, Routing, Timestamp};

/// How an event stands at the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayState {
    /// It was told.
    Delivered,
    /// It was given up.
    Abandoned,
    /// It was never meant for it: the endpoint came later.
    Missing,
}

impl ReplayState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Delivered, Self::Abandoned, Self::Missing];

    /// `delivered`, `abandoned` or `missing`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Abandoned => "abandoned",
            Self::Missing => "missing",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// How it stands; `None` while it is on its way: there is nothing to tell again.
    #[must_use]
    pub fn of(delivery: Option<&Delivery>) -> Option<Self> {
        match delivery.map(|delivery| delivery.state) {
            None => Some(Self::Missing),
            Some(DeliveryState::Delivered { .. }) => Some(Self::Delivered),
            Some(DeliveryState::Abandoned { .. }) => Some(Self::Abandoned),
            Some(DeliveryState::Waiting { .. } | DeliveryState::Delivering { .. }) => None,
        }
    }
}

/// What is to be told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayOrder {
    /// To whom.
    pub endpoint: EndpointName,
    /// Events made from then on.
    pub since: Timestamp,
    /// Events made before then.
    pub until: Timestamp,
    /// Of these kinds; empty: whatever the endpoint subscribes to.
    pub kinds: Vec<EventKind>,
    /// Standing so; empty: however they stand.
    pub states: Vec<ReplayState>,
}

impl ReplayOrder {
    /// Whether this event is to be told again. An endpoint is never told what it does not subscribe to.
    #[must_use]
    pub fn wants(&self, event: &Event, delivery: Option<&Delivery>, routing: &Routing) -> bool {
        let in_time = self.since <= event.at && event.at < self.until;
        let kind = event.kind();
        let of_kind =
            kind != EventKind::Test && (self.kinds.is_empty() || self.kinds.contains(&kind));
        let so = ReplayState::of(delivery)
            .is_some_and(|state| self.states.is_empty() || self.states.contains(&state));
        in_time
            && of_kind
            && so
            && routing
                .targets(event)
                .any(|route| route.endpoint == self.endpoint)
    }
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayProgress {
    /// It goes on after this event; `None`: from the beginning.
    Running {
        /// The last event looked at.
        after: Option<EventId>,
    },
    /// All of it was handed on.
    Done {
        /// When.
        at: Timestamp,
    },
    /// An operator ended it; what was handed on by then goes out.
    Cancelled {
        /// When.
        at: Timestamp,
    },
}

impl ReplayProgress {
    /// `running`, `done` or `cancelled`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Running { .. } => "running",
            Self::Done { .. } => "done",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// Whether there is more to do.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }
}

/// A replay: ordered, counted, and worked off bit by bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Its number.
    pub id: u64,
    /// What was ordered.
    pub order: ReplayOrder,
    /// When.
    pub ordered: Timestamp,
    /// Events found by counting before.
    pub total: u64,
    /// Events handed on so far.
    pub done: u64,
    /// How far it is.
    pub progress: ReplayProgress,
}

impl Delivery {
    /// It is told again, from the start of its schedule; `line` is where it stands now, if it does.
    #[must_use]
    pub fn replayed(
        self,
        now: Timestamp,
        line: Option<(super::MerchantNo, super::UserId)>,
    ) -> Self {
        Self {
            line,
            since: now,
            spent: 0,
            replay: true,
            state: DeliveryState::Waiting { due: now },
            ..self
        }
    }
}
