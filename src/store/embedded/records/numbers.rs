//! Small values as they are stored: enums by number, times in milliseconds, spans in microseconds.

use std::time::Duration;

use crate::domain::{AbandonReason, FailureClass, SignCheck, Source, Timestamp, Trust};

/// Enums are stored by number; the number is the variant's place here and never changes.
macro_rules! numbered {
    ($to:ident, $from:ident, $type:ty, [$($variant:path),+ $(,)?]) => {
        pub(super) fn $to(value: $type) -> u8 {
            let all = [$($variant),+];
            all.iter().position(|one| *one == value).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
        }
        pub(super) fn $from(number: u8) -> Result<$type, String> {
            let all = [$($variant),+];
            all.get(usize::from(number)).copied().ok_or_else(|| format!(concat!(stringify!($type), " {} is not known"), number))
        }
    };
}

numbered!(
    sign_number,
    sign_of,
    SignCheck,
    [SignCheck::Valid, SignCheck::Invalid, SignCheck::Missing]
);
numbered!(
    trust_number,
    trust_of,
    Trust,
    [Trust::Signed, Trust::Token, Trust::Watch, Trust::Open]
);
numbered!(
    source_number,
    source_of,
    Source,
    [Source::Callback, Source::Reconcile, Source::Operator]
);
numbered!(
    class_number,
    class_of,
    FailureClass,
    [
        FailureClass::Connect,
        FailureClass::Dns,
        FailureClass::Tls,
        FailureClass::Timeout,
        FailureClass::Reset,
        FailureClass::BodyMismatch,
        FailureClass::Status,
        FailureClass::Interrupted,
    ]
);
numbered!(
    reason_number,
    reason_of,
    AbandonReason,
    [
        AbandonReason::Exhausted,
        AbandonReason::TooOld,
        AbandonReason::Discarded
    ]
);

pub(super) const fn millis(at: Timestamp) -> u64 {
    at.as_millis()
}

pub(super) fn span(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
