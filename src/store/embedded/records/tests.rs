//! Every record survives its way to disk and back, and no bytes at all make reading panic.

use std::fmt::Debug;
use std::time::Duration;

use proptest::prelude::*;

use crate::domain::{
    AbandonReason, Answer, Application, ApplicationState, Arrival, Attempt, Breaker, Callback,
    CallbackId, Delivery, DeliveryState, Event, EventContent, EventId, FailureClass, Health, Heard,
    LastVerdict, OperationalEvent, Outcome, Pause, PauseReason, QueryFailure, ResultEvent, Resumed,
    SignCheck, Source, Status, Timestamp, Trust, UserState, Verdict, Verification,
    VerificationState, VerifyPhase,
};
use crate::store::QueryRecord;
use crate::store::embedded::codec::{self, Record};
use crate::store::embedded::fanout::lists::List;
use crate::store::embedded::fanout::{Part, Rest, Target};

fn survives<R: Record + Clone + PartialEq + Debug>(record: R) -> Result<(), TestCaseError> {
    let bytes = codec::encode(b"key", record.clone()).expect("encodes");
    let back: R = codec::decode(b"key", &bytes).expect("decodes");
    prop_assert_eq!(back, record);
    let cut = bytes.get(..bytes.len() - 1).unwrap_or_default();
    prop_assert!(
        codec::decode::<R>(b"key", cut).is_err(),
        "a cut record was read"
    );
    let mut long = bytes.to_vec();
    long.push(0);
    prop_assert!(
        codec::decode::<R>(b"key", &long).is_err(),
        "a record with a tail was read"
    );
    Ok(())
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

fn took() -> impl Strategy<Value = Duration> {
    (0u64..1 << 50).prop_map(Duration::from_micros)
}

fn user() -> impl Strategy<Value = crate::domain::UserId> {
    "[^\\p{Cc}]{1,128}".prop_map(|text| text.parse().expect("a user id"))
}

fn merchant() -> impl Strategy<Value = crate::domain::MerchantNo> {
    "[0-9]{10}".prop_map(|text| text.parse().expect("a merchant number"))
}

fn endpoint() -> impl Strategy<Value = crate::domain::EndpointName> {
    "[a-z0-9-]{1,64}".prop_map(|text| text.parse().expect("a name"))
}

fn event_id() -> impl Strategy<Value = EventId> {
    any::<[u8; 16]>().prop_map(EventId::from_bytes)
}

fn verdict() -> impl Strategy<Value = Verdict> {
    ("[0-9]{1,3}", proptest::option::of("\\PC{0,40}"))
        .prop_map(|(code, reason)| Verdict::new(Status::parse(&code).expect("a status"), reason))
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::Callback),
        Just(Source::Reconcile),
        Just(Source::Operator)
    ]
}

fn trust() -> impl Strategy<Value = Trust> {
    prop_oneof![
        Just(Trust::Signed),
        Just(Trust::Token),
        Just(Trust::Watch),
        Just(Trust::Open)
    ]
}

fn class() -> impl Strategy<Value = FailureClass> {
    prop_oneof![
        Just(FailureClass::Connect),
        Just(FailureClass::Dns),
        Just(FailureClass::Tls),
        Just(FailureClass::Timeout),
        Just(FailureClass::Reset),
        Just(FailureClass::BodyMismatch),
        Just(FailureClass::Status),
        Just(FailureClass::Interrupted),
    ]
}

fn reason() -> impl Strategy<Value = AbandonReason> {
    prop_oneof![
        Just(AbandonReason::Exhausted),
        Just(AbandonReason::TooOld),
        Just(AbandonReason::Discarded)
    ]
}

fn failure() -> impl Strategy<Value = QueryFailure> {
    prop_oneof![
        Just(QueryFailure::Interrupted),
        Just(QueryFailure::Connect),
        Just(QueryFailure::Timeout),
        any::<u16>().prop_map(QueryFailure::Http),
        Just(QueryFailure::NotJson),
        "\\PC{0,32}".prop_map(QueryFailure::Refused),
        Just(QueryFailure::Unreadable),
    ]
}

fn news() -> impl Strategy<Value = OperationalEvent> {
    prop_oneof![
        (
            endpoint(),
            event_id(),
            any::<u32>(),
            reason(),
            proptest::option::of(class())
        )
            .prop_map(|(endpoint, event, attempts, reason, last_failure)| {
                OperationalEvent::DeliveryAbandoned {
                    endpoint,
                    event,
                    attempts,
                    reason,
                    last_failure,
                }
            }),
        (merchant(), user(), time(), any::<u32>()).prop_map(|(merchant, user, since, tries)| {
            OperationalEvent::VerificationStuck {
                merchant,
                user,
                since,
                tries,
            }
        }),
        (merchant(), any::<[u8; 16]>()).prop_map(|(merchant, id)| {
            let callback = CallbackId::from_bytes(id);
            OperationalEvent::CallbackUnrecognized { merchant, callback }
        }),
        (endpoint(), time())
            .prop_map(|(endpoint, since)| OperationalEvent::EndpointDown { endpoint, since }),
        (endpoint(), time())
            .prop_map(|(endpoint, since)| OperationalEvent::EndpointRecovered { endpoint, since }),
        ("\\PC{0,40}", time())
            .prop_map(|(address, since)| OperationalEvent::ProviderDown { address, since }),
        ("\\PC{0,40}", time())
            .prop_map(|(address, since)| OperationalEvent::ProviderRecovered { address, since }),
        endpoint().prop_map(|endpoint| OperationalEvent::Test { endpoint }),
    ]
}

proptest! {
    #[test]
    fn a_callback_survives(
        id: [u8; 16], merchant in merchant(), user in proptest::option::of(user()),
        claim in proptest::option::of("\\PC{0,64}"), token: bool,
        sign in prop_oneof![Just(SignCheck::Valid), Just(SignCheck::Invalid), Just(SignCheck::Missing)],
        body in proptest::collection::vec(any::<u8>(), 0..200),
        content_type in proptest::option::of("\\PC{0,40}"), query in proptest::option::of("\\PC{0,40}"),
        peer in proptest::option::of(any::<std::net::IpAddr>()), at in time(),
    ) {
        let arrival = Arrival { body, content_type, query, peer, at };
        let id = CallbackId::from_bytes(id);
        survives(Callback { id, merchant, user, claim, sign, token, arrival })?;
    }

    #[test]
    fn a_verification_survives(
        source in source(), since in time(), queries: u32, tries: u32, due in time(),
        trust in trust(),
        stuck in proptest::option::of(time()), leased: bool, again in proptest::option::of(trust()),
    ) {
        let phase = stuck.map_or(VerifyPhase::Seeking { tries }, |at| VerifyPhase::Stuck { at });
        let state = if leased {
            VerificationState::Querying { until: due, again }
        } else {
            VerificationState::Waiting { due }
        };
        let fresh = Verification::new(source, trust, since);
        survives(Verification { queries, phase, state, ..fresh })?;
    }

    #[test]
    fn a_user_survives(
        sequence: u64, waited: bool, last in proptest::option::of((verdict(), time())),
        application in proptest::option::of((time(), any::<bool>(), any::<(bool, bool, bool)>())),
    ) {
        let last = last.map(|(verdict, at)| LastVerdict { verdict, at });
        let application = application.map(|(at, known, (waiting, approved, rejected))| Application {
            heard: Heard { waiting, approved, rejected },
            at,
            state: if known { ApplicationState::Accepted } else { ApplicationState::Unknown },
        });
        survives(UserState { sequence, last, waited, application })?;
    }

    #[test]
    fn a_query_survives(at in time(), took in took(), answer in prop_oneof![
        verdict().prop_map(Answer::Verdict), failure().prop_map(Answer::Failed)
    ]) {
        survives(QueryRecord { at, took, answer })?;
    }

    #[test]
    fn an_event_survives(id in event_id(), at in time(), content in prop_oneof![
        (merchant(), user(), verdict(), any::<u64>(), source()).prop_map(
            |(merchant, user, verdict, sequence, source)| EventContent::Result(ResultEvent {
                merchant, user, verdict, sequence, source
            })
        ),
        news().prop_map(EventContent::Operational),
    ]) {
        survives(Event { id, at, content })?;
    }

    #[test]
    fn a_delivery_survives(
        endpoint in endpoint(), event in event_id(), line in proptest::option::of((merchant(), user())),
        sequence: u64, is_last: bool, created in time(), since in time(), attempts: u32, spent: u32, replay: bool,
        last_failure in proptest::option::of(class()),
        state in prop_oneof![
            time().prop_map(|due| DeliveryState::Waiting { due }),
            time().prop_map(|until| DeliveryState::Delivering { until }),
            time().prop_map(|at| DeliveryState::Delivered { at }),
            (time(), reason()).prop_map(|(at, reason)| DeliveryState::Abandoned { at, reason }),
        ],
    ) {
        survives(Delivery {
            endpoint, event, line, sequence, is_last, created, since, attempts, spent, replay, last_failure, state
        })?;
    }

    #[test]
    fn a_part_of_a_fan_out_survives(targets in proptest::collection::vec((endpoint(), any::<bool>()), 0..70)) {
        let target = |(endpoint, ordered)| Target { endpoint, ordered };
        let targets: Vec<Target> = targets.into_iter().map(target).collect();
        survives(Part::Named(targets.clone()))?;
        survives(List { targets })?;
    }

    #[test]
    fn what_is_left_of_a_list_survives(list: [u8; 32], from: u32, told in proptest::collection::vec(any::<u32>(), 0..40)) {
        survives(Part::Of(Rest { list, from, told }))?;
    }

    #[test]
    fn an_attempt_survives(
        number: u32, at in time(), took in took(), failure in proptest::option::of(class()),
        status in proptest::option::of(any::<u16>()), retry_after in proptest::option::of(0u64..1 << 50),
        body in proptest::collection::vec(any::<u8>(), 0..100), detail in proptest::option::of("\\PC{0,40}"),
    ) {
        let retry_after = retry_after.map(Duration::from_millis);
        let outcome = Outcome { failure, status, retry_after, body, detail };
        survives(Attempt { number, at, took, outcome })?;
    }

    #[test]
    fn an_endpoints_health_survives(
        breaker in prop_oneof![
            Just(Breaker::Fine),
            (1u32..5).prop_map(|failures| Breaker::Shaky { failures }),
            (time(), 0u64..1 << 40, time()).prop_map(|(since, wait, probe_at)| Breaker::Open {
                since, wait: Duration::from_millis(wait), probe_at
            }),
        ],
        paused in proptest::option::of((time(), any::<bool>())),
        resumed in proptest::option::of(proptest::option::of(time())),
        not_before in proptest::option::of(time()),
    ) {
        let paused = paused.map(|(at, gone)| Pause {
            at, reason: if gone { PauseReason::Gone } else { PauseReason::Operator }
        });
        let resumed = resumed.map(|down_since| Resumed { down_since });
        survives(Health { breaker, paused, resumed, not_before })?;
    }

    #[test]
    fn no_bytes_make_reading_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), plausible: bool) {
        if plausible && let Some(version) = bytes.first_mut() {
            *version = 1 + *version % 2;
        }
        let _any = codec::decode::<Callback>(b"", &bytes);
        let _any = codec::decode::<Verification>(b"", &bytes);
        let _any = codec::decode::<UserState>(b"", &bytes);
        let _any = codec::decode::<QueryRecord>(b"", &bytes);
        let _any = codec::decode::<Event>(b"", &bytes);
        let _any = codec::decode::<Delivery>(b"", &bytes);
        let _any = codec::decode::<Part>(b"", &bytes);
        let _any = codec::decode::<List>(b"", &bytes);
        let _any = codec::decode::<Attempt>(b"", &bytes);
        let _any = codec::decode::<Health>(b"", &bytes);
    }
}

/// Down since 3 s, paused by 410 since 9 s, in the bytes that the first version of the record had.
#[test]
fn an_endpoints_health_of_the_first_version_is_read() {
    let bytes = [
        1, 0, 1, 0xb8, 0x17, 0x88, 0x27, 0xc0, 0x3e, 1, 0xa8, 0x46, 1,
    ];
    let health: Health = codec::decode(b"ledger", &bytes).expect("decodes");
    let at = Timestamp::from_millis;
    assert_eq!(
        health,
        Health {
            breaker: Breaker::Open {
                since: at(3000),
                wait: Duration::from_secs(5),
                probe_at: at(8000),
            },
            paused: Some(Pause {
                at: at(9000),
                reason: PauseReason::Gone
            }),
            ..Health::default()
        }
    );
    let later: Result<Health, _> = codec::decode(b"ledger", &[3, 0, 0, 0]);
    assert!(later.is_err_and(|error| error.to_string().contains("version 3 is not known")));
}
