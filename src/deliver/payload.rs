//! What a downstream receives: our envelope (contract §6), or what Vexora itself would have posted.

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::{
    Event, EventContent, OperationalEvent, ResultEvent, Secret, Status, Timestamp,
};
use crate::signing::vexora;

#[derive(Serialize)]
struct Envelope<'a, D> {
    r#type: &'a str,
    timestamp: String,
    data: D,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultData<'a> {
    merchant_no: &'a str,
    user_id: &'a str,
    authentication_status: &'a str,
    status: &'a str,
    fail_reason: Option<&'a str>,
    sequence: u64,
    source: &'a str,
}

/// The body of `format = "standard"`: the same bytes on every attempt and for every endpoint.
#[must_use]
pub fn standard_payload(event: &Event) -> Vec<u8> {
    let kind = event.kind().as_str();
    let timestamp = event.at.to_string();
    let bytes = match &event.content {
        EventContent::Result(result) => {
            let data = ResultData {
                merchant_no: result.merchant.as_str(),
                user_id: result.user.as_str(),
                authentication_status: result.verdict.status().code(),
                status: result.verdict.status().word(),
                fail_reason: result.verdict.reason(),
                sequence: result.sequence,
                source: result.source.as_str(),
            };
            to_json(&Envelope {
                r#type: kind,
                timestamp,
                data,
            })
        }
        EventContent::Operational(news) => to_json(&Envelope {
            r#type: kind,
            timestamp,
            data: news_data(news),
        }),
    };
    // Texts and numbers always serialize.
    bytes.unwrap_or_default()
}

/// Most bodies are shorter: no room is made twice.
const USUAL: usize = 384;

fn to_json(body: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut bytes, body)?;
    Ok(bytes)
}

fn news_data(news: &OperationalEvent) -> Value {
    match news {
        OperationalEvent::DeliveryAbandoned {
            endpoint,
            event,
            attempts,
            reason,
            last_failure,
        } => json!({
            "endpoint": endpoint.as_str(),
            "event": event.to_string(),
            "attempts": attempts,
            "reason": reason.as_str(),
            "lastFailure": last_failure.map(crate::domain::FailureClass::as_str),
        }),
        OperationalEvent::VerificationStuck {
            merchant,
            user,
            since,
            tries,
        } => json!({
            "merchantNo": merchant.as_str(),
            "userId": user.as_str(),
            "since": since.to_string(),
            "queries": tries,
        }),
        OperationalEvent::CallbackUnrecognized { merchant, callback } => json!({
            "merchantNo": merchant.as_str(),
            "callback": callback.to_string(),
        }),
        OperationalEvent::EndpointDown { endpoint, since }
        | OperationalEvent::EndpointRecovered { endpoint, since } => json!({
            "endpoint": endpoint.as_str(),
            "since": since.to_string(),
        }),
        OperationalEvent::ProviderDown { address, since }
        | OperationalEvent::ProviderRecovered { address, since } => json!({
            "provider": address,
            "since": since.to_string(),
        }),
        OperationalEvent::Test { endpoint } => json!({ "endpoint": endpoint.as_str() }),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VexoraCallback<'a> {
    user_id: &'a str,
    authentication_status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fail_reason: Option<&'a str>,
    timestamp: String,
    sign: String,
}

/// The body of `format = "vexora"`: the provider's own callback, stamped with this attempt's time and signed with the
/// merchant's secret. A reason goes along when the user is rejected.
#[must_use]
pub fn vexora_payload(result: &ResultEvent, secret: &Secret, now: Timestamp) -> Vec<u8> {
    let status = result.verdict.status();
    let fail_reason = result
        .verdict
        .reason()
        .filter(|_| *status == Status::Rejected);
    let timestamp = now.as_millis().to_string();
    let user_id = result.user.as_str();
    let mut params = vec![
        ("userId", user_id),
        ("authenticationStatus", status.code()),
        ("timestamp", timestamp.as_str()),
    ];
    params.extend(fail_reason.map(|reason| ("failReason", reason)));
    let sign = vexora::sign(params, secret);
    let callback = VexoraCallback {
        user_id,
        authentication_status: status.code(),
        fail_reason,
        timestamp,
        sign,
    };
    serde_json::to_vec(&callback).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, Source, Verdict};

    fn approved() -> Event {
        let at = Timestamp::from_millis(1_763_719_200_123);
        Event {
            id: EventId::new(at, 7),
            at,
            content: EventContent::Result(ResultEvent {
                merchant: "1027749636".parse().expect("valid"),
                user: "jp_user_100008".parse().expect("valid"),
                verdict: Verdict::new(Status::Approved, None),
                sequence: 2,
                source: Source::Callback,
            }),
        }
    }

    #[test]
    fn the_envelope_reads_as_the_contract_shows_it() {
        assert_eq!(
            String::from_utf8(standard_payload(&approved())).expect("text"),
            concat!(
                r#"{"type":"kyc.approved","timestamp":"2025-11-21T10:00:00.123Z","data":{"#,
                r#""merchantNo":"1027749636","userId":"jp_user_100008","authenticationStatus":"2","#,
                r#""status":"approved","failReason":null,"sequence":2,"source":"callback"}}"#
            )
        );
    }

    #[test]
    fn the_vexora_format_is_signed_over_what_it_carries() {
        let EventContent::Result(mut result) = approved().content else {
            panic!("a result")
        };
        let now = Timestamp::from_millis(1_732_988_442_913);
        let secret = Secret::new("s3cr3t");
        // printf %s 'authenticationStatus=2timestamp=1732988442913userId=jp_user_100008s3cr3t' | md5sum
        assert_eq!(
            String::from_utf8(vexora_payload(&result, &secret, now)).expect("text"),
            concat!(
                r#"{"userId":"jp_user_100008","authenticationStatus":"2","timestamp":"1732988442913","#,
                r#""sign":"59b05312e8028d8a66501f32c5a6cc00"}"#
            )
        );
        result.verdict = Verdict::new(Status::Rejected, Some("期限切れ".into()));
        let rejected = String::from_utf8(vexora_payload(&result, &secret, now)).expect("text");
        assert!(
            rejected.contains(r#""failReason":"期限切れ""#),
            "{rejected}"
        );
        result.verdict = Verdict::new(Status::Approved, Some("期限切れ".into()));
        let approved = String::from_utf8(vexora_payload(&result, &secret, now)).expect("text");
        assert!(!approved.contains("failReason"), "{approved}");
    }
}
