//! TLS for outgoing requests: rustls with *ring*, the system's roots or the operator's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::ClientSettings;

/// What is wrong with a certificate or key file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read, or is not PEM.
    #[error("{} is not a readable PEM file", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// It is PEM without what is needed.
    #[error("{} holds no certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// rustls does not take it.
    #[error("{} is not usable", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The cryptography of all TLS here: pure enough to build anywhere with a C compiler.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates of a PEM file.
///
/// # Errors
/// Not readable, not PEM, or none in it.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Pem {
        path: path.to_owned(),
        source,
    };
    let found = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if found.is_empty() {
        Err(TlsError::Empty {
            path: path.to_owned(),
        })
    } else {
        Ok(found)
    }
}

/// The first private key of a PEM file.
///
/// # Errors
/// Not readable, not PEM, or none in it.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::Pem {
        path: path.to_owned(),
        source,
    })
}

/// What clients without a CA of their own trust: the machine's list; where it has none, Mozilla's, compiled in.
#[derive(Clone, Debug)]
pub struct PublicRoots(Arc<RootCertStore>);

impl PublicRoots {
    /// Reads the machine's list: some 150 certificates, so once, and shared by all clients.
    #[must_use]
    pub fn load() -> Self {
        let mut roots = RootCertStore::empty();
        let (_taken, _unparsable) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self(Arc::new(roots))
    }
}

pub(super) fn client_config(
    settings: &ClientSettings,
    public: &PublicRoots,
) -> Result<ClientConfig, TlsError> {
    let roots = match &settings.ca {
        Some(path) => Arc::new(own_roots(path)?),
        None => Arc::clone(&public.0),
    };
    let unusable = |path: &Path, source| TlsError::Unusable {
        path: path.to_owned(),
        source,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| unusable(Path::new("TLS"), source))?
        .with_root_certificates(roots);
    let mut config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|source| unusable(key, source))?,
    };
    // The client leaves this to whoever hands it a TLS configuration.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn own_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Unusable {
                path: path.to_owned(),
                source,
            })?;
    }
    Ok(roots)
}
