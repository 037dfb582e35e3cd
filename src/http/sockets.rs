//! Opens the sockets that a listener listens on.
//!
//! Promise: a socket file is removed only when it is a socket and nobody answers on it; nothing else is ever
//! removed. Who may connect to a Unix socket is decided by its mode, owner and directory.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::TcpSocket;

use crate::config::settings::Listen;

use super::tls::TlsError;

/// Connections that the kernel keeps for us while both workers are busy. As many as one flood from a few hundred
/// clients; the kernel's own `somaxconn` (4096) is above it.
const BACKLOG: u32 = 1024;

/// Owner and group: the proxy's user is put into our group.
const SOCKET_MODE: u32 = 0o660;

/// A socket that is open: ours, or one that systemd opened for us.
#[derive(Debug)]
pub enum Opened {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixListener),
}

/// Why a listener cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, not ours, or privileged.
    #[error("cannot listen on {address}")]
    Tcp {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket's path cannot be used.
    #[error("cannot listen on unix:{}", path.display())]
    Unix {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else is there.
    #[error("cannot listen on unix:{}: there is a file of this name, and it is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Somebody answers there.
    #[error("cannot listen on unix:{}: another process listens there", .0.display())]
    InUse(PathBuf),
    /// TLS over a Unix socket is not offered: who sits behind it has a proxy that does TLS.
    #[error("server.tls is for TCP; a Unix socket is served without")]
    TlsOverUnix,
    /// The TLS files are not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The TLS library refuses its settings.
    #[error("TLS cannot be set up")]
    TlsSetup(#[from] rustls::Error),
    /// The socket that was handed to us is not usable.
    #[error("the socket that was passed in cannot be used")]
    Passed(#[source] io::Error),
}

impl Opened {
    /// Where it listens.
    ///
    /// # Errors
    /// The socket is not usable.
    pub fn local_addr(&self) -> Result<Listen, BindError> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Listen::Tcp),
            Self::Unix(socket) => socket.local_addr().map(|address| {
                Listen::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned())
            }),
        }
        .map_err(BindError::Passed)
    }
}

/// Opens a socket. It needs a runtime, as the backlog can be chosen only through it.
pub(super) async fn open(listen: &Listen) -> Result<Opened, BindError> {
    match listen {
        Listen::Tcp(address) => open_tcp(*address).map_err(|source| BindError::Tcp {
            address: *address,
            source,
        }),
        Listen::Unix(path) => open_unix(path),
    }
}

fn open_tcp(address: SocketAddr) -> io::Result<Opened> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restart must not wait for the connections of the process before it to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(Opened::Tcp(socket.listen(BACKLOG)?.into_std()?))
}

fn open_unix(path: &Path) -> Result<Opened, BindError> {
    remove_stale(path)?;
    let unusable = |source| BindError::Unix {
        path: path.to_owned(),
        source,
    };
    let socket = std::os::unix::net::UnixListener::bind(path).map_err(unusable)?;
    let mode = std::fs::Permissions::from_mode(SOCKET_MODE);
    std::fs::set_permissions(path, mode).map_err(unusable)?;
    Ok(Opened::Unix(socket))
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let unusable = |source| BindError::Unix {
        path: path.to_owned(),
        source,
    };
    // Not followed: a link to a socket is not ours to remove.
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(error)),
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_somebody) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(unusable)
        }
        Err(error) => Err(unusable(error)),
    }
}
