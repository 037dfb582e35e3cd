//! `[delivery]` and `[[endpoint]]`: who is told what, how often, and how it is signed.
//!
//! Each key of `[delivery]` may stand in an endpoint too: [`Delivery::read`] reads both, the one with the built-in
//! defaults, the other with what the first gave.

use std::time::Duration;

use reqwest::header::HeaderName;

use super::addresses::{UrlRules, http_url};
use super::merchants::merchant_no;
use super::problems::Fault;
use super::reader::{Node, Section};
use super::secrets::{self, Plain};
use super::settings::{EndpointSettings, PayloadFormat, Rate};
use super::spelling::nearest;
use super::transport::transport;
use super::values::{
    DAY, HOUR, LEAST_TIMEOUT, MILLI, MINUTE, SECOND, choice, count, duration, jitter, rate,
    schedule,
};
use crate::domain::{
    DeliveryPolicy, EndpointName, EventFilter, EventKind, Jitter, MerchantNo, Schedule,
    ScheduleError, Secret,
};
use crate::signing::webhook::WebhookKey;

/// As much of an answer as is kept, in bytes: a longer text could never be found in it.
const LONGEST_EXPECTED_BODY: usize = 4096;

/// Headers that are ours to set, or that steer the connection.
const OUR_HEADERS: [&str; 12] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "user-agent",
];

/// Parts of header names that tell that the value is a secret.
const SECRET_HEADERS: [&str; 7] = [
    "auth",
    "cookie",
    "token",
    "key",
    "secret",
    "password",
    "signature",
];

/// The keys that `[delivery]` and an endpoint have in common.
#[derive(Clone)]
pub(super) struct Delivery {
    timeout: Duration,
    policy: DeliveryPolicy,
    concurrency: usize,
    rate_limit: Option<Rate>,
    ordered: bool,
    format: PayloadFormat,
}

impl Delivery {
    /// `[delivery]` itself; fails only if the built-in schedule were not one.
    pub(super) fn defaults(section: Section<'_>) -> Result<Self, ScheduleError> {
        let retry = vec![
            5 * SECOND,
            MINUTE,
            5 * MINUTE,
            30 * MINUTE,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            14 * HOUR,
            20 * HOUR,
            24 * HOUR,
        ];
        let built_in = Self {
            timeout: 20 * SECOND,
            policy: DeliveryPolicy {
                retry: Schedule::new(retry)?,
                jitter: Jitter::new(0.2)?,
                give_up_after: 7 * DAY,
            },
            concurrency: 8,
            rate_limit: None,
            ordered: true,
            format: PayloadFormat::Standard,
        };
        let delivery = built_in.read(&section);
        section.finish();
        Ok(delivery)
    }

    /// What the section says, and of the rest what `self` says.
    fn read(&self, section: &Section<'_>) -> Self {
        let formats = [
            ("standard", PayloadFormat::Standard),
            ("vexora", PayloadFormat::Vexora),
        ];
        let default = self.clone();
        Self {
            timeout: section.or("timeout", default.timeout, |node| {
                duration(node, LEAST_TIMEOUT, 5 * MINUTE)
            }),
            policy: DeliveryPolicy {
                retry: section.or("retry", default.policy.retry, schedule),
                jitter: section.or("jitter", default.policy.jitter, jitter),
                give_up_after: section.or("give_up_after", default.policy.give_up_after, |node| {
                    duration(node, MILLI, 365 * DAY)
                }),
            },
            concurrency: section.or("concurrency", default.concurrency, |node| count(node, 1000)),
            rate_limit: section.or("rate_limit", default.rate_limit, rate),
            ordered: section.or("ordering", default.ordered, |node| {
                choice(node, &[("per-user", true), ("none", false)])
            }),
            format: section.or("format", default.format, |node| choice(node, &formats)),
        }
    }
}

/// All endpoints: no name twice.
pub(super) fn endpoints(
    root: &Section<'_>,
    defaults: &Delivery,
    merchants: &[MerchantNo],
) -> Vec<EndpointSettings> {
    let mut seen: Vec<(EndpointName, Option<usize>)> = Vec::new();
    let mut endpoints = Vec::new();
    for section in root.sections("endpoint", "name") {
        endpoints.extend(endpoint(section, defaults, merchants, &mut seen));
    }
    endpoints
}

fn endpoint(
    section: Section<'_>,
    defaults: &Delivery,
    merchants: &[MerchantNo],
    seen: &mut Vec<(EndpointName, Option<usize>)>,
) -> Option<EndpointSettings> {
    let name = name(&section, seen);
    // Read before the URL that it decides about, wherever it stands in the file.
    let allow_http = section.or("allow_http", false, Node::boolean);
    let rules = UrlRules {
        plain_http: allow_http,
        query: true,
        hint: "plain http is allowed to loopback only, unless allow_http = true",
    };
    let missing = Fault::new("is missing", "an https URL");
    let url = section.required("url", missing, |node| http_url(node, rules));
    let delivery = defaults.read(&section);
    let keys = keys(&section, delivery.format);
    let events = section.or("events", EventFilter::final_results(), |node| {
        let events = events(node)?;
        if delivery.format == PayloadFormat::Vexora {
            results_only(node, &events);
        }
        Some(events)
    });
    let of_merchants = section.or("merchants", Vec::new(), |node| {
        node.list("a list of merchant numbers", |item| known(item, merchants))
    });
    let headers = section.or("headers", Vec::new(), headers);
    let transport = transport(&section);
    let expect_body = section.optional("expect_body", expected_body);
    section.finish();
    Some(EndpointSettings {
        name: name?,
        url: url?,
        keys: keys?,
        events,
        merchants: of_merchants,
        headers,
        transport,
        expect_body,
        timeout: delivery.timeout,
        policy: delivery.policy,
        concurrency: delivery.concurrency,
        rate_limit: delivery.rate_limit,
        ordered: delivery.ordered,
        format: delivery.format,
    })
}

fn name(
    section: &Section<'_>,
    seen: &mut Vec<(EndpointName, Option<usize>)>,
) -> Option<EndpointName> {
    let expected = "1 to 64 characters of a-z, 0-9 and -";
    section.required("name", Fault::new("is missing", expected), |node| {
        let name: EndpointName = node.text(expected, |text| {
            text.parse().map_err(|_invalid| Fault::text(text, expected))
        })?;
        match seen.iter().find(|(other, _)| *other == name) {
            Some((_, line)) => {
                let at = line.map_or_else(String::new, |line| format!(" in line {line}"));
                let found = format!("is that of another endpoint{at}");
                node.fault(Fault::new(found, "a name of its own"));
            }
            None => seen.push((name.clone(), node.line())),
        }
        Some(name)
    })
}

fn keys(section: &Section<'_>, format: PayloadFormat) -> Option<Vec<WebhookKey>> {
    let parse = |_: &Node<'_>, secret: &Secret| {
        WebhookKey::parse(secret).map_err(|error| {
            Fault::new(
                format!("is no signing secret: {error}"),
                "whsec_ or whsk_ and base 64",
            )
            .hint("`vexora-relay secret` makes one; the receiver must know it too")
        })
    };
    let Some(node) = section.get("secret") else {
        if format == PayloadFormat::Vexora {
            return Some(Vec::new());
        }
        section.fault("secret", secrets::missing());
        return None;
    };
    secrets::rotation(&node, parse)
}

fn events(node: &Node<'_>) -> Option<EventFilter> {
    let expected = "a list of event types, at least one";
    let patterns = node.list(expected, |item| item.text("an event type", event))?;
    if patterns.is_empty() {
        node.fault(Fault::new("is an empty list", expected).hint(
            "leave the key out for the final results; `pause` holds an endpoint's deliveries back",
        ));
        return None;
    }
    EventFilter::parse(&patterns).ok()
}

/// `format = "vexora"` has words for results and for nothing else.
fn results_only(node: &Node<'_>, events: &EventFilter) {
    let mut kinds = EventKind::ALL.into_iter();
    let other = kinds.find(|kind| kind.as_str().starts_with("relay.") && events.wants(*kind));
    if let Some(other) = other {
        let found = format!(
            "asks for {}, which format \"vexora\" cannot say",
            other.as_str()
        );
        let hint = "give the relay's own news an endpoint with format = \"standard\"";
        node.fault(Fault::new(found, "results only, such as \"kyc.*\"").hint(hint));
    }
}

fn event(pattern: &str) -> Result<&str, Fault> {
    EventFilter::parse(&[pattern])
        .map(|_| pattern)
        .map_err(|_index| {
            let kinds: Vec<&str> = EventKind::ALL.into_iter().map(EventKind::as_str).collect();
            let meant = nearest(pattern, &kinds)
                .map_or_else(String::new, |kind| format!("did you mean {kind:?}? "));
            Fault::text(
                pattern,
                "an event type, a family such as \"kyc.*\", or \"*\"",
            )
            .hint(format!("{meant}there are {}", kinds.join(", ")))
        })
}

fn known(node: &Node<'_>, merchants: &[MerchantNo]) -> Option<MerchantNo> {
    let number = merchant_no(node)?;
    if !merchants.contains(&number) {
        node.fault(Fault::text(
            number.as_str(),
            "the merchant_no of a [[merchant]]",
        ));
        return None;
    }
    Some(number)
}

fn headers(node: &Node<'_>) -> Option<Vec<(String, Secret)>> {
    let section = node.section("a table of header names and values")?;
    let mut headers: Vec<(String, Secret)> = Vec::new();
    for (written, value) in section.entries() {
        let name = value.checked(header_name(written));
        let lower = written.to_ascii_lowercase();
        let plain = if SECRET_HEADERS.iter().any(|part| lower.contains(part)) {
            Plain::Warned
        } else {
            Plain::Fine
        };
        let secret = secrets::secret(&value, plain).and_then(|secret| {
            // Stricter than HTTP: what is beyond ASCII reaches receivers in no encoding they could rely on.
            let valid = secret
                .expose()
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~'));
            let found = format!("{} bytes, some of them not ASCII", secret.expose().len());
            value.checked(
                valid
                    .then_some(secret)
                    .ok_or_else(|| Fault::new(found, "a value of visible ASCII characters")),
            )
        });
        let (Some(name), Some(secret)) = (name, secret) else {
            continue;
        };
        if headers.iter().any(|(other, _)| *other == name) {
            let fault = Fault::new("is there twice", "each header once");
            value.fault(fault.hint("capitals make no difference"));
        }
        headers.push((name, secret));
    }
    Some(headers)
}

fn header_name(written: &str) -> Result<String, Fault> {
    let name = HeaderName::from_bytes(written.as_bytes())
        .map_err(|_invalid| Fault::new("is no HTTP header name", "letters, digits and -"))?;
    let name = name.as_str();
    let ours = OUR_HEADERS.contains(&name)
        || ["webhook-", "relay-", "proxy-"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    if ours {
        return Err(Fault::new(
            "is a header that is the relay's or the connection's own",
            "another header",
        ));
    }
    Ok(name.to_owned())
}

fn expected_body(node: &Node<'_>) -> Option<String> {
    let expected = format!("a text of 1 to {LONGEST_EXPECTED_BODY} bytes");
    node.text(&expected, |text| match text {
        "" => Err(Fault::new("is empty", expected.as_str())
            .hint("leave the key out when any body will do")),
        _ if text.len() > LONGEST_EXPECTED_BODY => Err(Fault::new(
            format!("has {} bytes", text.len()),
            expected.as_str(),
        )),
        _ => Ok(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_we_set_ourselves_are_refused_however_they_are_written() {
        for ours in ["Host", "CONTENT-TYPE", "webhook-id", "Relay-Attempt", "Te"] {
            assert!(header_name(ours).is_err(), "{ours}");
        }
        assert_eq!(header_name("X-Team").ok().as_deref(), Some("x-team"));
        for no_name in ["", "a b", "ü", "a\nb", "\"x\""] {
            assert!(header_name(no_name).is_err(), "{no_name}");
        }
    }

    #[test]
    fn every_kind_of_event_and_every_family_is_taken() {
        for kind in EventKind::ALL {
            assert!(event(kind.as_str()).is_ok());
        }
        for family in ["*", "kyc.*", "relay.*", "relay.endpoint.*"] {
            assert!(event(family).is_ok());
        }
        for none in ["", "kyc", "kyc*", "kyc.aproved", "*.*"] {
            assert!(event(none).is_err(), "{none}");
        }
    }
}
