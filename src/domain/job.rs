//! What an operator orders of many deliveries at once: tell an endpoint again, retry what was given up, give up what
//! waits. A job is counted before it begins and worked off bit by bit.

use super::{
    AbandonReason, Delivery, DeliveryState, EndpointName, Event, EventId, EventKind, MerchantNo,
    Routing, Timestamp, UserId,
};

/// What is done with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// The endpoint is told again of what it may have missed, or of what was made before it was there.
    Replay,
    /// What was given up is tried again, what waits at once.
    Retry,
    /// What waits is given up; what was given up needs nobody any more.
    Discard,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Replay, Self::Retry, Self::Discard];

    /// `replay`, `retry` or `discard`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The standings it can be about.
    #[must_use]
    pub const fn standings(self) -> &'static [Standing] {
        match self {
            Self::Replay => &[Standing::Delivered, Standing::Abandoned, Standing::Missing],
            Self::Retry | Self::Discard => &[Standing::Abandoned, Standing::Waiting],
        }
    }

    /// The standings it is about when none is named.
    #[must_use]
    pub const fn usual_standings(self) -> &'static [Standing] {
        match self {
            Self::Replay => self.standings(),
            Self::Retry => &[Standing::Abandoned],
            Self::Discard => &[Standing::Waiting],
        }
    }
}

/// How an event stands at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is to be told.
    Waiting,
    /// It was told.
    Delivered,
    /// It was given up.
    Abandoned,
    /// It was never meant for it: the endpoint came later.
    Missing,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Waiting,
        Self::Delivered,
        Self::Abandoned,
        Self::Missing,
    ];

    /// `waiting`, `delivered`, `abandoned` or `missing`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Abandoned => "abandoned",
            Self::Missing => "missing",
        }
    }

    /// The standing of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// How it stands; `None` while an attempt is out: what comes of that is not for us to say.
    #[must_use]
    pub fn of(delivery: Option<&Delivery>) -> Option<Self> {
        match delivery.map(|delivery| delivery.state) {
            None => Some(Self::Missing),
            Some(DeliveryState::Delivered { .. }) => Some(Self::Delivered),
            Some(DeliveryState::Abandoned { .. }) => Some(Self::Abandoned),
            Some(DeliveryState::Waiting { .. }) => Some(Self::Waiting),
            Some(DeliveryState::Delivering { .. }) => None,
        }
    }
}

/// What is to be done, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOrder {
    /// What.
    pub kind: JobKind,
    /// At which endpoint.
    pub endpoint: EndpointName,
    /// Of events made from then on.
    pub since: Timestamp,
    /// Of events made before then.
    pub until: Timestamp,
    /// Of events of these types; empty: whatever they are.
    pub types: Vec<EventKind>,
    /// Standing so; empty: as is usual for this kind of job.
    pub states: Vec<Standing>,
}

impl JobOrder {
    /// The standings it is about.
    #[must_use]
    pub fn standings(&self) -> &[Standing] {
        if self.states.is_empty() {
            self.kind.usual_standings()
        } else {
            &self.states
        }
    }

    /// Whether it is about this event, which stands so at the endpoint. An endpoint is never told again what it does
    /// not subscribe to; for the others, what it subscribes to by now does not matter.
    #[must_use]
    pub fn wants(&self, event: &Event, delivery: Option<&Delivery>, routing: &Routing) -> bool {
        let in_time = self.since <= event.at && event.at < self.until;
        let of_type = self.types.is_empty() || self.types.contains(&event.kind());
        let so = Standing::of(delivery).is_some_and(|one| {
            self.standings().contains(&one) && self.kind.standings().contains(&one)
        });
        in_time
            && of_type
            && so
            && match self.kind {
                JobKind::Replay => {
                    event.kind() != EventKind::Test
                        && routing
                            .targets(event)
                            .any(|route| route.endpoint == self.endpoint)
                }
                JobKind::Retry => true,
                JobKind::Discard => !delivery.is_some_and(is_discarded),
            }
    }
}

const fn is_discarded(delivery: &Delivery) -> bool {
    matches!(
        delivery.state,
        DeliveryState::Abandoned {
            reason: AbandonReason::Discarded,
            ..
        }
    )
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobProgress {
    /// It goes on after this event; `None`: from the beginning.
    Running {
        /// The last event looked at.
        after: Option<EventId>,
    },
    /// All of it was done.
    Done {
        /// When.
        at: Timestamp,
    },
    /// An operator ended it; what was done by then stays done.
    Cancelled {
        /// When.
        at: Timestamp,
    },
}

impl JobProgress {
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

    /// When it ended, if it has.
    #[must_use]
    pub const fn ended(&self) -> Option<Timestamp> {
        match self {
            Self::Running { .. } => None,
            Self::Done { at } | Self::Cancelled { at } => Some(*at),
        }
    }
}

/// A job: ordered, counted, and worked off bit by bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// What was ordered.
    pub order: JobOrder,
    /// When.
    pub ordered: Timestamp,
    /// Deliveries found by counting before.
    pub total: u64,
    /// Deliveries dealt with so far.
    pub done: u64,
    /// How far it is.
    pub progress: JobProgress,
}

impl Delivery {
    /// It is told again, from the start of its schedule; `line` is where it stands now, if it does.
    #[must_use]
    pub fn replayed(self, now: Timestamp, line: Option<(MerchantNo, UserId)>) -> Self {
        Self {
            line,
            is_last: false,
            since: now,
            spent: 0,
            replay: true,
            state: DeliveryState::Waiting { due: now },
            ..self
        }
    }
}
