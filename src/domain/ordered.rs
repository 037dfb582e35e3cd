//! What people and programs ordered about a user: told in the user's story, and nothing hangs on it.

/// One order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// An application was sent, and nobody knows yet whether Vexora has it.
    Applied,
    /// An application was sent, and Vexora has it.
    Accepted,
    /// An application came to nothing: Vexora declined it, or it was not sent after all.
    Declined,
    /// To be asked about until the result is final.
    Watched,
    /// To be asked about at once.
    Verified,
}

impl Ordered {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Applied,
        Self::Accepted,
        Self::Declined,
        Self::Watched,
        Self::Verified,
    ];

    /// `application`, `watch` or `verify`.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Applied | Self::Accepted | Self::Declined => "application",
            Self::Watched => "watch",
            Self::Verified => "verify",
        }
    }

    /// What came of an application: `accepted`, `declined`, or `unknown`.
    #[must_use]
    pub const fn fate(self) -> Option<&'static str> {
        match self {
            Self::Applied => Some("unknown"),
            Self::Accepted => Some("accepted"),
            Self::Declined => Some("declined"),
            Self::Watched | Self::Verified => None,
        }
    }
}
