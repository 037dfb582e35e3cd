//! Secret texts that do not show themselves.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

/// A secret text. `Debug` is redacted, there is no `Display`; whoever needs the text says [`Secret::expose`].
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text itself, for the one place that signs or sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the secret, in time that depends on the lengths only.
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Secrets in rotation: never empty; the first signs, all are accepted.
#[derive(Clone, Debug)]
pub struct Secrets {
    first: Secret,
    rest: Vec<Secret>,
}

impl Secrets {
    /// One secret, and those that are still accepted beside it.
    #[must_use]
    pub const fn new(first: Secret, rest: Vec<Secret>) -> Self {
        Self { first, rest }
    }

    /// `None` for an empty list.
    #[must_use]
    pub fn from_list(list: Vec<Secret>) -> Option<Self> {
        let mut list = list.into_iter();
        let first = list.next()?;
        Some(Self {
            first,
            rest: list.collect(),
        })
    }

    /// The secret that signs.
    #[must_use]
    pub const fn signing(&self) -> &Secret {
        &self.first
    }

    /// All that are accepted, the signing one first.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// Whether `given` is any of them. Looks at each, so that time does not tell which.
    #[must_use]
    pub fn any_matches(&self, given: &[u8]) -> bool {
        self.all()
            .fold(false, |found, secret| secret.matches(given) | found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
        assert!(!format!("{:?}", Secrets::new(Secret::new("hunter2"), vec![])).contains("hunter2"));
    }

    #[test]
    fn each_secret_in_rotation_is_accepted_and_no_other() {
        let both =
            Secrets::from_list(vec![Secret::new("new"), Secret::new("old")]).expect("not empty");
        assert!(both.any_matches(b"new") && both.any_matches(b"old"));
        assert!(!both.any_matches(b"") && !both.any_matches(b"newold") && !both.any_matches(b"ne"));
        assert_eq!(both.signing().expose(), "new");
        assert!(Secrets::from_list(vec![]).is_none());
    }
}
