//! Names as they are stored: their text.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

use crate::domain::{EndpointName, InvalidId, MerchantNo, UserId};

/// A name that is stored as text.
pub(super) trait Text: FromStr<Err = InvalidId> {
    fn text(&self) -> &str;
}

impl Text for MerchantNo {
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl Text for UserId {
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl Text for EndpointName {
    fn text(&self) -> &str {
        self.as_str()
    }
}

/// A name in a record, or why its text is none: only the record's reader says so in words.
#[derive(Debug)]
pub(crate) struct Name<T>(Result<T, InvalidId>);

impl<T> Name<T> {
    pub(super) const fn of(name: T) -> Self {
        Self(Ok(name))
    }

    /// # Errors
    /// What was expected.
    pub(super) fn read(self) -> Result<T, String> {
        self.0.map_err(|error| error.to_string())
    }
}

impl<T: Text> Serialize for Name<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(name) => serializer.serialize_str(name.text()),
            Err(error) => Err(S::Error::custom(error)),
        }
    }
}

impl<'de, T: Text> Deserialize<'de> for Name<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextOf(PhantomData)).map(Self)
    }
}

/// Reads a text without keeping it.
struct TextOf<T>(PhantomData<T>);

impl<T: Text> Visitor<'_> for TextOf<T> {
    type Value = Result<T, InvalidId>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.parse())
    }
}
