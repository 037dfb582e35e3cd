//! The admin token: the operator's own, or one made at the first start and kept beside the store.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::clock::Entropy;
use crate::domain::Secret;

/// The token in `<store.path>/admin-token`, made if there is none. Mode 0600: whoever runs the service reads it.
///
/// # Errors
/// The file can be neither read nor made, or is empty.
pub(super) fn kept(directory: &Path, entropy: &dyn Entropy) -> io::Result<Secret> {
    let path = directory.join("admin-token");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is empty; delete it to have a new token made",
        )),
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(directory, &path, entropy),
        Err(error) => Err(error),
    }
}

fn make(directory: &Path, path: &Path, entropy: &dyn Entropy) -> io::Result<Secret> {
    let token = format!("{:032x}{:032x}", entropy.bits(), entropy.bits());
    // Aside and renamed: a crash must not leave half a token behind.
    let aside = directory.join("admin-token.new");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(directory)?.sync_all()?;
    Ok(Secret::new(&token))
}
