//! The listener's own certificate, exchangeable while connections are open.
//!
//! Promise: files that cannot serve are refused with the reason and the file's name, before anything is changed; the
//! key's content is never shown.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::expiry;
use crate::config::settings::TlsFiles;
use crate::domain::Timestamp;

/// Why the TLS files cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: the file cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not valid PEM.
    #[error("{}: not valid PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// A file lacks what it is for.
    #[error("{}: holds no {what}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// The key is not the certificate's.
    #[error("{}: the private key does not belong to the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A key or certificate of a kind that we do not serve.
    #[error("{}: the certificate or its private key cannot be used", cert.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// The certificate that new connections are met with.
pub(super) struct Certificate(ArcSwap<CertifiedKey>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificate {
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self(ArcSwap::from_pointee(read(files)?)))
    }

    /// When it expires.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        let current = self.0.load();
        current
            .cert
            .first()
            .and_then(|leaf| expiry::not_after(leaf))
    }

    pub(super) fn reload(&self, files: &TlsFiles) -> Result<(), TlsError> {
        self.0.store(Arc::new(read(files)?));
        Ok(())
    }
}

/// A server that shows this certificate, to clients of TLS 1.2 and 1.3.
pub(super) fn server_config(certificate: Arc<Certificate>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    Ok(config)
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let chain = sections(&files.cert)?;
    if chain.is_empty() {
        return Err(missing(&files.cert, "certificate"));
    }
    let key: Option<PrivateKeyDer<'static>> = sections(&files.key)?.into_iter().next();
    let key = key.ok_or_else(|| missing(&files.key, "private key"))?;
    let provider = rustls::crypto::ring::default_provider();
    let chain: Vec<CertificateDer<'static>> = chain;
    CertifiedKey::from_der(chain, key, &provider).map_err(|source| match source {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch {
            cert: files.cert.clone(),
            key: files.key.clone(),
        },
        source => TlsError::Unusable {
            cert: files.cert.clone(),
            source,
        },
    })
}

fn missing(path: &std::path::Path, what: &'static str) -> TlsError {
    TlsError::Missing {
        path: path.to_owned(),
        what,
    }
}

fn sections<T: PemObject>(path: &PathBuf) -> Result<Vec<T>, TlsError> {
    let text = std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.clone(),
        source,
    })?;
    T::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem {
            path: path.clone(),
            source,
        })
}
