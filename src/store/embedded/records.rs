//! The shapes on disk, version 1, apart from the domain's types: those may change, these are read for ever.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::codec::Record;
use super::keys::Tree;
use crate::domain::{
    AbandonReason, Answer, Application, ApplicationState, Arrival, Attempt, Callback, CallbackId,
    Delivery, DeliveryState, Event, EventContent, EventId, FailureClass, LastVerdict,
    OperationalEvent, Outcome, QueryFailure, ResultEvent, SignCheck, Source, Status, Timestamp,
    Trust, UserState, Verdict, Verification, VerificationState, VerifyPhase,
};
use crate::store::QueryRecord;

/// Enums are stored by number; the number is the variant's place here and never changes.
macro_rules! numbered {
    ($to:ident, $from:ident, $type:ty, [$($variant:path),+ $(,)?]) => {
        fn $to(value: $type) -> u8 {
            let all = [$($variant),+];
            all.iter().position(|one| *one == value).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
        }
        fn $from(number: u8) -> Result<$type, String> {
            let all = [$($variant),+];
            all.get(usize::from(number)).copied().ok_or_else(|| format!(concat!(stringify!($type), " {} is not known"), number))
        }
    };
}

numbered!(
    sign_number,
    sign_of,
    SignCheck,
    [SignCheck::Valid, SignCheck::Invalid, SignCheck::Missing]
);
numbered!(
    trust_number,
    trust_of,
    Trust,
    [Trust::Signed, Trust::Token, Trust::Watch, Trust::Open]
);
numbered!(
    source_number,
    source_of,
    Source,
    [Source::Callback, Source::Reconcile, Source::Operator]
);
numbered!(
    class_number,
    class_of,
    FailureClass,
    [
        FailureClass::Connect,
        FailureClass::Dns,
        FailureClass::Tls,
        FailureClass::Timeout,
        FailureClass::Reset,
        FailureClass::BodyMismatch,
        FailureClass::Status,
        FailureClass::Interrupted,
    ]
);
numbered!(
    reason_number,
    reason_of,
    AbandonReason,
    [
        AbandonReason::Exhausted,
        AbandonReason::TooOld,
        AbandonReason::Discarded
    ]
);

const fn millis(at: Timestamp) -> u64 {
    at.as_millis()
}

fn span(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn parsed<T: std::str::FromStr<Err = crate::domain::InvalidId>>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|error: crate::domain::InvalidId| error.to_string())
}

#[derive(Serialize, Deserialize)]
pub(super) struct CallbackV1 {
    id: [u8; 16],
    merchant: String,
    user: Option<String>,
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
            merchant: self.merchant.to_string(),
            user: self.user.map(|user| user.to_string()),
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
            merchant: parsed(&stored.merchant)?,
            user: stored.user.as_deref().map(parsed).transpose()?,
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

#[derive(Serialize, Deserialize)]
pub(super) struct VerificationV1 {
    source: u8,
    trust: u8,
    since: u64,
    queries: u32,
    tries: u32,
    stuck_at: Option<u64>,
    due: u64,
    leased: bool,
    again: bool,
}

impl Record for Verification {
    const TREE: Tree = Tree::Verifications;
    const VERSION: u8 = 1;
    type Stored = VerificationV1;

    fn into_stored(self) -> VerificationV1 {
        let (tries, stuck_at) = match self.phase {
            VerifyPhase::Seeking { tries } => (tries, None),
            VerifyPhase::Stuck { at } => (0, Some(millis(at))),
        };
        let (leased, again) = match self.state {
            VerificationState::Waiting { .. } => (false, false),
            VerificationState::Querying { again, .. } => (true, again),
        };
        VerificationV1 {
            source: source_number(self.source),
            trust: trust_number(self.trust),
            since: millis(self.since),
            queries: self.queries,
            tries,
            stuck_at,
            due: millis(self.due()),
            leased,
            again,
        }
    }

    fn from_stored(stored: VerificationV1) -> Result<Self, String> {
        let due = Timestamp::from_millis(stored.due);
        let tries = stored.tries;
        Ok(Self {
            source: source_of(stored.source)?,
            trust: trust_of(stored.trust)?,
            since: Timestamp::from_millis(stored.since),
            queries: stored.queries,
            phase: stored
                .stuck_at
                .map_or(VerifyPhase::Seeking { tries }, |at| VerifyPhase::Stuck {
                    at: Timestamp::from_millis(at),
                }),
            state: if stored.leased {
                VerificationState::Querying {
                    until: due,
                    again: stored.again,
                }
            } else {
                VerificationState::Waiting { due }
            },
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct VerdictV1 {
    status: String,
    reason: Option<String>,
}

impl VerdictV1 {
    fn of(verdict: &Verdict) -> Self {
        Self {
            status: verdict.status().code().to_owned(),
            reason: verdict.reason().map(str::to_owned),
        }
    }

    fn read(self) -> Result<Verdict, String> {
        let status = Status::parse(&self.status).map_err(|error| error.to_string())?;
        Ok(Verdict::new(status, self.reason))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct UserV1 {
    sequence: u64,
    last: Option<(VerdictV1, u64)>,
    waited: bool,
    /// When it was sent, and whether the provider is known to have it.
    application: Option<(u64, bool)>,
}

impl Record for UserState {
    const TREE: Tree = Tree::Users;
    const VERSION: u8 = 1;
    type Stored = UserV1;

    fn into_stored(self) -> UserV1 {
        UserV1 {
            sequence: self.sequence,
            last: self
                .last
                .map(|last| (VerdictV1::of(&last.verdict), millis(last.at))),
            waited: self.waited,
            application: self
                .application
                .map(|sent| (millis(sent.at), sent.state == ApplicationState::Accepted)),
        }
    }

    fn from_stored(stored: UserV1) -> Result<Self, String> {
        let last = stored.last.map(|(verdict, at)| {
            Ok::<_, String>(LastVerdict {
                verdict: verdict.read()?,
                at: Timestamp::from_millis(at),
            })
        });
        Ok(Self {
            sequence: stored.sequence,
            last: last.transpose()?,
            waited: stored.waited,
            application: stored.application.map(|(at, accepted)| Application {
                at: Timestamp::from_millis(at),
                state: if accepted {
                    ApplicationState::Accepted
                } else {
                    ApplicationState::Unknown
                },
            }),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum AnswerV1 {
    Verdict(VerdictV1),
    Interrupted,
    Connect,
    Timeout,
    Http(u16),
    NotJson,
    Refused(String),
    Unreadable,
}

#[derive(Serialize, Deserialize)]
pub(super) struct QueryV1 {
    at: u64,
    took_us: u64,
    answer: AnswerV1,
}

impl Record for QueryRecord {
    const TREE: Tree = Tree::Queries;
    const VERSION: u8 = 1;
    type Stored = QueryV1;

    fn into_stored(self) -> QueryV1 {
        let answer = match self.answer {
            Answer::Verdict(verdict) => AnswerV1::Verdict(VerdictV1::of(&verdict)),
            Answer::Failed(failure) => match failure {
                QueryFailure::Interrupted => AnswerV1::Interrupted,
                QueryFailure::Connect => AnswerV1::Connect,
                QueryFailure::Timeout => AnswerV1::Timeout,
                QueryFailure::Http(status) => AnswerV1::Http(status),
                QueryFailure::NotJson => AnswerV1::NotJson,
                QueryFailure::Refused(code) => AnswerV1::Refused(code),
                QueryFailure::Unreadable => AnswerV1::Unreadable,
            },
        };
        QueryV1 {
            at: millis(self.at),
            took_us: span(self.took),
            answer,
        }
    }

    fn from_stored(stored: QueryV1) -> Result<Self, String> {
        let failed = |failure| Ok(Answer::Failed(failure));
        let answer = match stored.answer {
            AnswerV1::Verdict(verdict) => Ok(Answer::Verdict(verdict.read()?)),
            AnswerV1::Interrupted => failed(QueryFailure::Interrupted),
            AnswerV1::Connect => failed(QueryFailure::Connect),
            AnswerV1::Timeout => failed(QueryFailure::Timeout),
            AnswerV1::Http(status) => failed(QueryFailure::Http(status)),
            AnswerV1::NotJson => failed(QueryFailure::NotJson),
            AnswerV1::Refused(code) => failed(QueryFailure::Refused(code)),
            AnswerV1::Unreadable => failed(QueryFailure::Unreadable),
        };
        Ok(Self {
            at: Timestamp::from_millis(stored.at),
            took: Duration::from_micros(stored.took_us),
            answer: answer.map_err(|never: String| never)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum ContentV1 {
    Result {
        merchant: String,
        user: String,
        verdict: VerdictV1,
        sequence: u64,
        source: u8,
    },
    DeliveryAbandoned {
        endpoint: String,
        event: [u8; 16],
        attempts: u32,
        reason: u8,
        last_failure: Option<u8>,
    },
    VerificationStuck {
        merchant: String,
        user: String,
        since: u64,
        tries: u32,
    },
    CallbackUnrecognized {
        merchant: String,
        callback: [u8; 16],
    },
    EndpointDown {
        endpoint: String,
        since: u64,
    },
    EndpointRecovered {
        endpoint: String,
        since: u64,
    },
    Test {
        endpoint: String,
    },
    ProviderDown {
        address: String,
        since: u64,
    },
    ProviderRecovered {
        address: String,
        since: u64,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct EventV1 {
    id: [u8; 16],
    at: u64,
    content: ContentV1,
}

fn store_news(news: OperationalEvent) -> ContentV1 {
    match news {
        OperationalEvent::DeliveryAbandoned {
            endpoint,
            event,
            attempts,
            reason,
            last_failure,
        } => ContentV1::DeliveryAbandoned {
            endpoint: endpoint.to_string(),
            event: event.to_bytes(),
            attempts,
            reason: reason_number(reason),
            last_failure: last_failure.map(class_number),
        },
        OperationalEvent::VerificationStuck {
            merchant,
            user,
            since,
            tries,
        } => ContentV1::VerificationStuck {
            merchant: merchant.to_string(),
            user: user.to_string(),
            since: millis(since),
            tries,
        },
        OperationalEvent::CallbackUnrecognized { merchant, callback } => {
            ContentV1::CallbackUnrecognized {
                merchant: merchant.to_string(),
                callback: callback.to_bytes(),
            }
        }
        OperationalEvent::EndpointDown { endpoint, since } => ContentV1::EndpointDown {
            endpoint: endpoint.to_string(),
            since: millis(since),
        },
        OperationalEvent::EndpointRecovered { endpoint, since } => ContentV1::EndpointRecovered {
            endpoint: endpoint.to_string(),
            since: millis(since),
        },
        OperationalEvent::ProviderDown { address, since } => ContentV1::ProviderDown {
            address,
            since: millis(since),
        },
        OperationalEvent::ProviderRecovered { address, since } => ContentV1::ProviderRecovered {
            address,
            since: millis(since),
        },
        OperationalEvent::Test { endpoint } => ContentV1::Test {
            endpoint: endpoint.to_string(),
        },
    }
}

impl Record for Event {
    const TREE: Tree = Tree::Events;
    const VERSION: u8 = 1;
    type Stored = EventV1;

    fn into_stored(self) -> EventV1 {
        let content = match self.content {
            EventContent::Result(result) => ContentV1::Result {
                merchant: result.merchant.to_string(),
                user: result.user.to_string(),
                verdict: VerdictV1::of(&result.verdict),
                sequence: result.sequence,
                source: source_number(result.source),
            },
            EventContent::Operational(news) => store_news(news),
        };
        EventV1 {
            id: self.id.to_bytes(),
            at: millis(self.at),
            content,
        }
    }

    fn from_stored(stored: EventV1) -> Result<Self, String> {
        let news = |news| EventContent::Operational(news);
        let content = match stored.content {
            ContentV1::Result {
                merchant,
                user,
                verdict,
                sequence,
                source,
            } => EventContent::Result(ResultEvent {
                merchant: parsed(&merchant)?,
                user: parsed(&user)?,
                verdict: verdict.read()?,
                sequence,
                source: source_of(source)?,
            }),
            ContentV1::DeliveryAbandoned {
                endpoint,
                event,
                attempts,
                reason,
                last_failure,
            } => news(OperationalEvent::DeliveryAbandoned {
                endpoint: parsed(&endpoint)?,
                event: EventId::from_bytes(event),
                attempts,
                reason: reason_of(reason)?,
                last_failure: last_failure.map(class_of).transpose()?,
            }),
            ContentV1::VerificationStuck {
                merchant,
                user,
                since,
                tries,
            } => news(OperationalEvent::VerificationStuck {
                merchant: parsed(&merchant)?,
                user: parsed(&user)?,
                since: Timestamp::from_millis(since),
                tries,
            }),
            ContentV1::CallbackUnrecognized { merchant, callback } => {
                news(OperationalEvent::CallbackUnrecognized {
                    merchant: parsed(&merchant)?,
                    callback: CallbackId::from_bytes(callback),
                })
            }
            ContentV1::EndpointDown { endpoint, since } => news(OperationalEvent::EndpointDown {
                endpoint: parsed(&endpoint)?,
                since: Timestamp::from_millis(since),
            }),
            ContentV1::EndpointRecovered { endpoint, since } => {
                news(OperationalEvent::EndpointRecovered {
                    endpoint: parsed(&endpoint)?,
                    since: Timestamp::from_millis(since),
                })
            }
            ContentV1::ProviderDown { address, since } => news(OperationalEvent::ProviderDown {
                address,
                since: Timestamp::from_millis(since),
            }),
            ContentV1::ProviderRecovered { address, since } => {
                news(OperationalEvent::ProviderRecovered {
                    address,
                    since: Timestamp::from_millis(since),
                })
            }
            ContentV1::Test { endpoint } => news(OperationalEvent::Test {
                endpoint: parsed(&endpoint)?,
            }),
        };
        Ok(Self {
            id: EventId::from_bytes(stored.id),
            at: Timestamp::from_millis(stored.at),
            content,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum StateV1 {
    Waiting { due: u64 },
    Delivering { until: u64 },
    Delivered { at: u64 },
    Abandoned { at: u64, reason: u8 },
}

#[derive(Serialize, Deserialize)]
pub(super) struct DeliveryV1 {
    endpoint: String,
    event: [u8; 16],
    line: Option<(String, String)>,
    sequence: u64,
    created: u64,
    attempts: u32,
    last_failure: Option<u8>,
    state: StateV1,
}

impl Record for Delivery {
    const TREE: Tree = Tree::Deliveries;
    const VERSION: u8 = 1;
    type Stored = DeliveryV1;

    fn into_stored(self) -> DeliveryV1 {
        let state = match self.state {
            DeliveryState::Waiting { due } => StateV1::Waiting { due: millis(due) },
            DeliveryState::Delivering { until } => StateV1::Delivering {
                until: millis(until),
            },
            DeliveryState::Delivered { at } => StateV1::Delivered { at: millis(at) },
            DeliveryState::Abandoned { at, reason } => StateV1::Abandoned {
                at: millis(at),
                reason: reason_number(reason),
            },
        };
        DeliveryV1 {
            endpoint: self.endpoint.to_string(),
            event: self.event.to_bytes(),
            line: self
                .line
                .map(|(merchant, user)| (merchant.to_string(), user.to_string())),
            sequence: self.sequence,
            created: millis(self.created),
            attempts: self.attempts,
            last_failure: self.last_failure.map(class_number),
            state,
        }
    }

    fn from_stored(stored: DeliveryV1) -> Result<Self, String> {
        let line = stored
            .line
            .map(|(merchant, user)| Ok::<_, String>((parsed(&merchant)?, parsed(&user)?)));
        let state = match stored.state {
            StateV1::Waiting { due } => DeliveryState::Waiting {
                due: Timestamp::from_millis(due),
            },
            StateV1::Delivering { until } => DeliveryState::Delivering {
                until: Timestamp::from_millis(until),
            },
            StateV1::Delivered { at } => DeliveryState::Delivered {
                at: Timestamp::from_millis(at),
            },
            StateV1::Abandoned { at, reason } => DeliveryState::Abandoned {
                at: Timestamp::from_millis(at),
                reason: reason_of(reason)?,
            },
        };
        Ok(Self {
            endpoint: parsed(&stored.endpoint)?,
            event: EventId::from_bytes(stored.event),
            line: line.transpose()?,
            sequence: stored.sequence,
            created: Timestamp::from_millis(stored.created),
            attempts: stored.attempts,
            last_failure: stored.last_failure.map(class_of).transpose()?,
            state,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct AttemptV1 {
    number: u32,
    at: u64,
    took_us: u64,
    failure: Option<u8>,
    status: Option<u16>,
    retry_after_ms: Option<u64>,
    body: Vec<u8>,
    detail: Option<String>,
}

impl Record for Attempt {
    const TREE: Tree = Tree::Attempts;
    const VERSION: u8 = 1;
    type Stored = AttemptV1;

    fn into_stored(self) -> AttemptV1 {
        AttemptV1 {
            number: self.number,
            at: millis(self.at),
            took_us: span(self.took),
            failure: self.outcome.failure.map(class_number),
            status: self.outcome.status,
            retry_after_ms: self
                .outcome
                .retry_after
                .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            body: self.outcome.body,
            detail: self.outcome.detail,
        }
    }

    fn from_stored(stored: AttemptV1) -> Result<Self, String> {
        Ok(Self {
            number: stored.number,
            at: Timestamp::from_millis(stored.at),
            took: Duration::from_micros(stored.took_us),
            outcome: Outcome {
                failure: stored.failure.map(class_of).transpose()?,
                status: stored.status,
                retry_after: stored.retry_after_ms.map(Duration::from_millis),
                body: stored.body,
                detail: stored.detail,
            },
        })
    }
}
