//! Headers of a request: what stays the same is made once, and each request takes a copy.

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};

/// Who we are, in `User-Agent` (RFC 9110 §10.1.5).
const US: HeaderValue =
    HeaderValue::from_static(concat!("vexora-relay/", env!("CARGO_PKG_VERSION")));

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Headers of a request, `User-Agent` among them. Setting one that no header can hold makes the request fail, not the
/// process.
#[derive(Clone, Debug)]
pub struct Headers(Option<HeaderMap>);

impl Default for Headers {
    fn default() -> Self {
        Self(Some(HeaderMap::from_iter([(USER_AGENT, US)])))
    }
}

impl Headers {
    /// For a body that is JSON.
    #[must_use]
    pub fn json() -> Self {
        Self::default().with(&CONTENT_TYPE, JSON)
    }

    /// For a body of another kind.
    #[must_use]
    pub fn of_kind(kind: String) -> Self {
        Self::default().with(&CONTENT_TYPE, kind)
    }

    /// The answer is to be JSON.
    #[must_use]
    pub fn accepting_json(self) -> Self {
        self.with(&ACCEPT, JSON)
    }

    /// With a token (RFC 6750 §2.1).
    #[must_use]
    pub fn bearing(self, token: &str) -> Self {
        self.with_secret(&AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// With one more, in the place of any of that name.
    #[must_use]
    pub fn with(self, name: &HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        let value = value.try_into().ok();
        Self(self.0.zip(value).map(|(mut headers, value)| {
            headers.insert(name, value);
            headers
        }))
    }

    /// With one whose value is nobody's to see: it is in no debug output and in no table of header compression.
    #[must_use]
    pub fn with_secret(self, name: &HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).map(|mut value| {
            value.set_sensitive(true);
            value
        });
        value.map_or(Self(None), |value| self.with(name, value))
    }

    /// With one of a name that was written elsewhere.
    #[must_use]
    pub fn with_own(self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name);
        name.map_or(Self(None), |name| self.with_secret(&name, value))
    }

    /// All of them; `None`: some could not be set.
    pub(super) fn valid(self) -> Option<HeaderMap> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_header_can_hold_makes_all_of_them_invalid() {
        let good = Headers::json().with_own("x-team", "payments");
        assert_eq!(good.valid().map(|map| map.len()), Some(3));
        let wrong = [
            Headers::json().with_own("x team", "payments"),
            Headers::json().with_own("x-team", "pay\nments"),
            Headers::json().with(&ACCEPT, "a\u{0}"),
            Headers::default().bearing("a\nb"),
        ];
        for headers in wrong {
            assert!(headers.with(&ACCEPT, "text/plain").valid().is_none());
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", Headers::default().bearing("hunter2"));
        assert!(shown.contains("authorization") && !shown.contains("hunter2"));
    }
}
