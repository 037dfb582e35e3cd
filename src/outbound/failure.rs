//! What went wrong with a request, as one of the stable classes of contract §6.

use std::error::Error;
use std::io;

use super::PrivateAddress;
use crate::domain::FailureClass;

/// A name that did not resolve.
#[derive(Debug, thiserror::Error)]
#[error("the name does not resolve")]
pub struct DnsFailure(#[source] pub io::Error);

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// The stable class.
    pub class: FailureClass,
    /// For people: no address, no secret.
    pub detail: String,
}

impl SendError {
    /// The receiver is a neighbour, and `allow_private` is false.
    pub(super) fn private() -> Self {
        Self {
            class: FailureClass::Connect,
            detail: PrivateAddress.to_string(),
        }
    }

    /// What was to go along is nothing that a header can hold.
    pub(super) fn header() -> Self {
        Self {
            class: FailureClass::Connect,
            detail: "not sent: a header holds what no header can".into(),
        }
    }

    /// Finds the class by the types in the chain of causes, never by their texts.
    #[must_use]
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self {
                class: FailureClass::Tls,
                detail: tls_detail(tls),
            };
        }
        if find::<PrivateAddress>(error).is_some() {
            return Self::private();
        }
        if find::<DnsFailure>(error).is_some() {
            return Self {
                class: FailureClass::Dns,
                detail: "the name does not resolve".into(),
            };
        }
        if error.is_timeout() {
            let detail = if error.is_connect() {
                "no connection in time"
            } else {
                "no whole answer in time"
            };
            return Self {
                class: FailureClass::Timeout,
                detail: detail.into(),
            };
        }
        let kind = find::<io::Error>(error).map(io::Error::kind);
        let why = kind.map_or_else(String::new, |kind| format!(": {kind}"));
        if error.is_connect() {
            return Self {
                class: FailureClass::Connect,
                detail: format!("no connection{why}"),
            };
        }
        Self {
            class: FailureClass::Reset,
            detail: format!("the connection broke{why}"),
        }
    }
}

/// The innermost cause of this type. `io::Error` hides what it wraps from `source`, so it is looked into.
fn find<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut found = None;
    let mut cause = error.source();
    while let Some(error) = cause {
        found = error.downcast_ref::<E>().or(found);
        cause = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    found
}

fn tls_detail(error: &rustls::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate};
    let what = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "the certificate has expired"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "the certificate is not valid yet"
            }
            Certificate::UnknownIssuer => "the certificate's issuer is not trusted",
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "the certificate is for another name"
            }
            Certificate::Revoked => "the certificate is revoked",
            _ => "the certificate is not acceptable",
        },
        rustls::Error::AlertReceived(alert) => match alert {
            Alert::CertificateRequired => "the other side wants a client certificate",
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied => "the other side refused the client certificate",
            _ => "the other side refused the TLS handshake",
        },
        _ => "the TLS handshake failed",
    };
    what.to_owned()
}
