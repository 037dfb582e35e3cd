//! An event on disk: a verified result, or news of the relay itself.

use serde::{Deserialize, Serialize};

use super::names::Name;
use super::numbers::{
    class_number, class_of, millis, reason_number, reason_of, source_number, source_of,
};
use super::verification::VerdictV1;
use crate::domain::{
    CallbackId, EndpointName, Event, EventContent, EventId, MerchantNo, OperationalEvent,
    ResultEvent, Timestamp, UserId,
};
use crate::store::embedded::codec::Record;
use crate::store::embedded::keys::Tree;

#[derive(Serialize, Deserialize)]
pub(crate) enum ContentV1 {
    Result {
        merchant: Name<MerchantNo>,
        user: Name<UserId>,
        verdict: VerdictV1,
        sequence: u64,
        source: u8,
    },
    DeliveryAbandoned {
        endpoint: Name<EndpointName>,
        event: [u8; 16],
        attempts: u32,
        reason: u8,
        last_failure: Option<u8>,
    },
    VerificationStuck {
        merchant: Name<MerchantNo>,
        user: Name<UserId>,
        since: u64,
        tries: u32,
    },
    CallbackUnrecognized {
        merchant: Name<MerchantNo>,
        callback: [u8; 16],
    },
    EndpointDown {
        endpoint: Name<EndpointName>,
        since: u64,
    },
    EndpointRecovered {
        endpoint: Name<EndpointName>,
        since: u64,
    },
    Test {
        endpoint: Name<EndpointName>,
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
pub(crate) struct EventV1 {
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
            endpoint: Name::of(endpoint),
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
            merchant: Name::of(merchant),
            user: Name::of(user),
            since: millis(since),
            tries,
        },
        OperationalEvent::CallbackUnrecognized { merchant, callback } => {
            ContentV1::CallbackUnrecognized {
                merchant: Name::of(merchant),
                callback: callback.to_bytes(),
            }
        }
        OperationalEvent::EndpointDown { endpoint, since } => ContentV1::EndpointDown {
            endpoint: Name::of(endpoint),
            since: millis(since),
        },
        OperationalEvent::EndpointRecovered { endpoint, since } => ContentV1::EndpointRecovered {
            endpoint: Name::of(endpoint),
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
            endpoint: Name::of(endpoint),
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
                merchant: Name::of(result.merchant),
                user: Name::of(result.user),
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
                merchant: merchant.read()?,
                user: user.read()?,
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
                endpoint: endpoint.read()?,
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
                merchant: merchant.read()?,
                user: user.read()?,
                since: Timestamp::from_millis(since),
                tries,
            }),
            ContentV1::CallbackUnrecognized { merchant, callback } => {
                news(OperationalEvent::CallbackUnrecognized {
                    merchant: merchant.read()?,
                    callback: CallbackId::from_bytes(callback),
                })
            }
            ContentV1::EndpointDown { endpoint, since } => news(OperationalEvent::EndpointDown {
                endpoint: endpoint.read()?,
                since: Timestamp::from_millis(since),
            }),
            ContentV1::EndpointRecovered { endpoint, since } => {
                news(OperationalEvent::EndpointRecovered {
                    endpoint: endpoint.read()?,
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
                endpoint: endpoint.read()?,
            }),
        };
        Ok(Self {
            id: EventId::from_bytes(stored.id),
            at: Timestamp::from_millis(stored.at),
            content,
        })
    }
}
