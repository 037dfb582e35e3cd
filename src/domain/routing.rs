//! Which endpoint hears of what.

use std::sync::Arc;

use super::{EndpointName, Event, EventContent, EventKind, MerchantNo};

/// Which kinds an endpoint subscribes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EventFilter(
    /// A bit for each.
    u16,
);

const fn bit(kind: EventKind) -> u16 {
    1 << kind as u16
}

impl std::fmt::Debug for EventFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wanted = EventKind::ALL.into_iter().filter(|kind| self.wants(*kind));
        f.debug_set().entries(wanted).finish()
    }
}

impl EventFilter {
    /// Reads patterns: a kind's name, a family (`kyc.*`, `relay.*`, `relay.endpoint.*`) or `*`.
    ///
    /// # Errors
    /// The index of the first pattern that names no kind at all.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, usize> {
        let mut kinds = 0;
        for (index, pattern) in patterns.iter().enumerate() {
            let matched = EventKind::ALL
                .into_iter()
                .filter(|kind| matches(pattern.as_ref(), kind.as_str()))
                .fold(0, |kinds, kind| kinds | bit(kind));
            if matched == 0 {
                return Err(index);
            }
            kinds |= matched;
        }
        Ok(Self(kinds))
    }

    /// What an endpoint hears that does not say: the final results.
    #[must_use]
    pub const fn final_results() -> Self {
        Self(bit(EventKind::KycApproved) | bit(EventKind::KycRejected))
    }

    /// Whether this kind is subscribed to.
    #[must_use]
    pub const fn wants(self, kind: EventKind) -> bool {
        self.0 & bit(kind) != 0
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(family) => family.ends_with('.') && name.starts_with(family),
        None => pattern == name,
    }
}

/// One endpoint's subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The endpoint.
    pub endpoint: EndpointName,
    /// The kinds it wants.
    pub events: EventFilter,
    /// The merchants it wants; empty: all.
    pub merchants: Vec<MerchantNo>,
    /// Whether a user's results go to it one after the other.
    pub ordered: bool,
}

impl Route {
    fn wants_of(&self, kind: EventKind, merchant: Option<&MerchantNo>) -> bool {
        // News that concern no merchant (an endpoint is down) go to whoever subscribes to them.
        let of_merchant =
            merchant.is_none_or(|m| self.merchants.is_empty() || self.merchants.contains(m));
        of_merchant && self.events.wants(kind)
    }
}

/// All subscriptions, as configured at this moment.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    routes: Vec<Route>,
    identity: RoutingIdentity,
}

/// Tells one set of subscriptions from another without reading them: those that have the same one are the same. The same
/// subscriptions, read again, have another one.
#[derive(Clone, Debug, Default)]
pub struct RoutingIdentity(Arc<()>);

impl PartialEq for RoutingIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for RoutingIdentity {}

impl Routing {
    /// The subscriptions in the order of the file.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Self {
        Self {
            routes,
            identity: RoutingIdentity::default(),
        }
    }

    /// What tells these from others.
    #[must_use]
    pub const fn identity(&self) -> &RoutingIdentity {
        &self.identity
    }

    /// The endpoints, in the order of the file.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointName> {
        self.routes.iter().map(|route| &route.endpoint)
    }

    /// Whether there is such an endpoint.
    #[must_use]
    pub fn knows(&self, endpoint: &EndpointName) -> bool {
        self.endpoints().any(|known| known == endpoint)
    }

    /// Whether anyone subscribes to this kind of this merchant.
    #[must_use]
    pub fn wanted(&self, kind: EventKind, merchant: Option<&MerchantNo>) -> bool {
        self.routes
            .iter()
            .any(|route| route.wants_of(kind, merchant))
    }

    /// Who is to hear of `event`. An endpoint does not hear of its own failure, and a test only reaches the
    /// endpoint under test.
    pub fn targets<'a>(&'a self, event: &'a Event) -> impl Iterator<Item = &'a Route> {
        self.routes
            .iter()
            .filter(move |route| match &event.content {
                EventContent::Operational(super::OperationalEvent::Test { endpoint }) => {
                    route.endpoint == *endpoint
                }
                EventContent::Operational(news)
                    if news.about_endpoint() == Some(&route.endpoint) =>
                {
                    false
                }
                _ => route.wants_of(event.kind(), event.merchant()),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_the_star_match_whole_words_only() {
        let all = EventFilter::parse(&["*"]).expect("valid");
        assert!(EventKind::ALL.into_iter().all(|kind| all.wants(kind)));
        let kyc = EventFilter::parse(&["kyc.*"]).expect("valid");
        assert!(kyc.wants(EventKind::KycUnknown) && !kyc.wants(EventKind::Test));
        assert_eq!(EventFilter::parse(&["kyc.approved", "kyc.approve"]), Err(1));
        assert_eq!(EventFilter::parse(&["ky*"]), Err(0));
    }
}
