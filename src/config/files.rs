//! The files that a configuration points at: read once at load, so that a typing error is found then and not when
//! the first webhook is due.
//!
//! Promise: reading is bounded, and a file that others can read is warned of when it holds a secret.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::problems::{Fault, shown};
use super::reader::{Node, Section};
use super::settings::TlsFiles;

/// The largest PEM file, in bytes: the bundle of every public CA is a quarter of it.
const LARGEST_PEM: u64 = 1024 * 1024;

/// What is expected inside a PEM file.
#[derive(Clone, Copy)]
pub(super) enum Pem {
    /// One or more certificates.
    Certificate,
    /// A private key.
    Key,
}

/// Why a file could not be read.
pub(super) enum Unread {
    Io(io::Error),
    Directory,
    TooLarge(u64),
}

impl Unread {
    /// Whether there is no such file.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// As a problem of the key that names the file.
    pub(super) fn fault(&self, path: &Path, expected: &str) -> Fault {
        let path = shown(&path.to_string_lossy());
        match self {
            Self::Directory => Fault::new(format!("{path} is a directory"), expected),
            Self::TooLarge(limit) => Fault::new(
                format!("{path} is larger than {} KiB", limit / 1024),
                expected,
            ),
            Self::Io(error) => {
                let fault = Fault::new(format!("cannot read {path} ({error})"), expected);
                match error.kind() {
                    io::ErrorKind::NotFound => fault
                        .hint("a relative path starts at the directory of the configuration file"),
                    io::ErrorKind::PermissionDenied => {
                        fault.hint("the user that the service runs as must be able to read it")
                    }
                    _ => fault,
                }
            }
        }
    }
}

/// A file's content and whether everybody on this machine can read it.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) open_to_all: bool,
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Content, Unread> {
    let file = File::open(path).map_err(Unread::Io)?;
    let metadata = file.metadata().map_err(Unread::Io)?;
    if metadata.is_dir() {
        return Err(Unread::Directory);
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large from one that just fits, whatever its metadata say.
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(Unread::Io)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        return Err(Unread::TooLarge(limit));
    }
    Ok(Content {
        bytes,
        open_to_all: metadata.permissions().mode() & 0o004 != 0,
    })
}

/// A PEM file with the right thing in it.
pub(super) fn pem(node: &Node<'_>, kind: Pem) -> Option<PathBuf> {
    let (expected, block) = match kind {
        Pem::Certificate => (
            "a PEM file with a certificate",
            "-----BEGIN CERTIFICATE-----",
        ),
        Pem::Key => ("a PEM file with a private key", "PRIVATE KEY-----"),
    };
    let path = node.text(expected, |text| match text {
        "" => Err(Fault::new("is empty", expected)),
        _ => Ok(node.reading().resolve(text)),
    })?;
    let content =
        node.checked(read(&path, LARGEST_PEM).map_err(|unread| unread.fault(&path, expected)))?;
    if !String::from_utf8_lossy(&content.bytes).contains(block) {
        let found = format!("{} has none", shown(&path.to_string_lossy()));
        node.fault(Fault::new(found, expected));
        return None;
    }
    if content.open_to_all && matches!(kind, Pem::Key) {
        node.warn("the private key can be read by everybody on this machine; chmod o= it");
    }
    Some(path)
}

/// Certificate and key, under these names in this table: both or none.
pub(super) fn identity(
    section: &Section<'_>,
    cert: &'static str,
    key: &'static str,
) -> Option<TlsFiles> {
    let nodes = (section.get(cert), section.get(key));
    let missing = |node: &Node<'_>, present, absent| {
        let expected = format!("a file: {present} is given, and they go together");
        section.fault_beside(node, absent, Fault::new("is missing", expected));
    };
    match &nodes {
        (Some(node), None) => missing(node, cert, key),
        (None, Some(node)) => missing(node, key, cert),
        _ => {}
    }
    // Both are looked at before either may end it: every problem at once.
    let cert = nodes.0.and_then(|node| pem(&node, Pem::Certificate));
    let key = nodes.1.and_then(|node| pem(&node, Pem::Key));
    Some(TlsFiles {
        cert: cert?,
        key: key?,
    })
}
