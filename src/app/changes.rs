//! What another configuration changes about endpoints and merchants: whom by name, and what by key.
//!
//! Promise: what stands at a key is never part of it, so that it may be logged. Certificate files are compared by their
//! paths, secrets by what they are.

use std::collections::BTreeMap;

use crate::config::settings::{EndpointSettings, MerchantSettings, TransportSettings};
use crate::domain::{DeliveryPolicy, Secret, Secrets};
use crate::signing::webhook::WebhookKey;

/// What came, what is not as it was, and what went, each in order of name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// It was not there before.
    pub added: Vec<String>,
    /// It was there before, and differs by these keys.
    pub changed: Vec<(String, Vec<&'static str>)>,
    /// It is there no more.
    pub removed: Vec<String>,
}

impl Changes {
    /// Of endpoints.
    pub(super) fn of_endpoints(before: &[EndpointSettings], after: &[EndpointSettings]) -> Self {
        Self::between(before, after, |one| one.name.as_str(), endpoint_keys)
    }

    /// Of merchants.
    pub(super) fn of_merchants(before: &[MerchantSettings], after: &[MerchantSettings]) -> Self {
        Self::between(before, after, |one| one.merchant_no.as_str(), merchant_keys)
    }

    fn between<T>(
        before: &[T],
        after: &[T],
        name: impl Fn(&T) -> &str,
        differing: impl Fn(&T, &T) -> Vec<&'static str>,
    ) -> Self {
        let by_name = |all: &'_ [T]| -> BTreeMap<String, usize> {
            let named = all.iter().enumerate();
            named.map(|(at, one)| (name(one).to_owned(), at)).collect()
        };
        let (old, new) = (by_name(before), by_name(after));
        let missing_in = |some: &BTreeMap<String, usize>, others: &BTreeMap<String, usize>| {
            let missing = some.keys().filter(|name| !others.contains_key(*name));
            missing.cloned().collect()
        };
        let stayed = new.iter().filter_map(|(name, at)| {
            let (was, is) = (before.get(*old.get(name)?)?, after.get(*at)?);
            Some((name.clone(), differing(was, is)))
        });
        Self {
            added: missing_in(&new, &old),
            changed: stayed.filter(|(_, keys)| !keys.is_empty()).collect(),
            removed: missing_in(&old, &new),
        }
    }
}

/// The keys that differ.
fn differing(keys: impl IntoIterator<Item = (&'static str, bool)>) -> Vec<&'static str> {
    let keys = keys.into_iter();
    keys.filter_map(|(key, differs)| differs.then_some(key))
        .collect()
}

fn endpoint_keys(was: &EndpointSettings, is: &EndpointSettings) -> Vec<&'static str> {
    // Taken apart, so that a key that comes later is not forgotten here.
    let EndpointSettings {
        name: _,
        url,
        keys,
        events,
        merchants,
        headers,
        transport,
        expect_body,
        timeout,
        policy,
        concurrency,
        rate_limit,
        ordered,
        format,
    } = was;
    let TransportSettings {
        ca,
        client_identity,
        proxy,
        public_only,
    } = transport;
    let DeliveryPolicy {
        retry,
        jitter,
        give_up_after,
    } = policy;
    differing([
        ("url", *url != is.url),
        ("secret", !same_keys(keys, &is.keys)),
        ("events", *events != is.events),
        ("merchants", *merchants != is.merchants),
        ("headers", !same_headers(headers, &is.headers)),
        ("ca", *ca != is.transport.ca),
        (
            "client_cert",
            *client_identity != is.transport.client_identity,
        ),
        ("proxy", *proxy != is.transport.proxy),
        ("allow_private", *public_only != is.transport.public_only),
        ("expect_body", *expect_body != is.expect_body),
        ("timeout", *timeout != is.timeout),
        ("retry", *retry != is.policy.retry),
        ("jitter", *jitter != is.policy.jitter),
        ("give_up_after", *give_up_after != is.policy.give_up_after),
        ("concurrency", *concurrency != is.concurrency),
        ("rate_limit", *rate_limit != is.rate_limit),
        ("ordering", *ordered != is.ordered),
        ("format", *format != is.format),
    ])
}

fn merchant_keys(was: &MerchantSettings, is: &MerchantSettings) -> Vec<&'static str> {
    let MerchantSettings {
        merchant_no: _,
        app_secret,
        callback_token,
        base_url,
    } = was;
    let same_token = match (callback_token, &is.callback_token) {
        (Some(was), Some(is)) => same_secrets(was, is),
        (None, None) => true,
        _ => false,
    };
    differing([
        ("app_secret", !same_secrets(app_secret, &is.app_secret)),
        ("callback_token", !same_token),
        ("base_url", *base_url != is.base_url),
    ])
}

fn same_secrets(some: &Secrets, others: &Secrets) -> bool {
    some.all()
        .map(Secret::expose)
        .eq(others.all().map(Secret::expose))
}

/// Keys do not show themselves: those that sign alike are the same.
fn same_keys(some: &[WebhookKey], others: &[WebhookKey]) -> bool {
    let signed = |key: &WebhookKey| key.sign("", 0, b"");
    some.iter().map(signed).eq(others.iter().map(signed))
}

fn same_headers(some: &[(String, Secret)], others: &[(String, Secret)]) -> bool {
    let shown = |(name, value): &'_ (String, Secret)| (name.clone(), value.expose().to_owned());
    some.iter().map(shown).eq(others.iter().map(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_went_and_changed_is_told_in_order_of_name() {
        let before = [("d", 1), ("b", 1), ("c", 1), ("a", 1)];
        let after = [("e", 1), ("c", 2), ("b", 1), ("a", 3), ("aa", 1)];
        let found = Changes::between(
            &before,
            &after,
            |(name, _)| name,
            |was, is| differing([("number", was.1 != is.1), ("never", false)]),
        );
        let expected = Changes {
            added: vec!["aa".into(), "e".into()],
            changed: vec![("a".into(), vec!["number"]), ("c".into(), vec!["number"])],
            removed: vec!["d".into()],
        };
        assert_eq!(found, expected);
    }
}
