//! Connections counted by client, and closed when they have nothing to say.
//!
//! Promise: one client takes a small part of the places there are, so that a flood from one address keeps nobody else
//! out; and a connection on which no request comes is closed, whatever protocol it speaks (HTTP/2 pings included).
//! Proxies that are trusted carry many clients and are exempt from the count.

use std::any::Any;
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::rt::net::TcpStream;
use rustix::net::Shutdown;

use super::limit::network_of;

/// Connections of one client: a sixteenth of all. A provider that calls back from one address needs a handful.
const PER_CLIENT: usize = 256;

/// Who is connected, and how often.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<HashMap<IpAddr, usize>>);

/// How long a connection may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Before its first request.
    pub(super) first: Duration,
    /// After a request.
    pub(super) next: Duration,
}

/// A connection's place; given back when the connection ends.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    client: Option<IpAddr>,
    alive: Arc<Alive>,
}

/// When a connection last had a request, in milliseconds since it was made.
#[derive(Debug)]
struct Alive {
    made: Instant,
    last: AtomicU64,
    socket: OwnedFd,
}

impl Crowd {
    /// Takes in a connection. It is shut at once if its client has too many, and later if no request comes on it in
    /// time. `None` for sockets that are neither (Unix sockets: whoever may open the file is trusted).
    pub(super) fn take_in(
        self: &Arc<Self>,
        io: &dyn Any,
        patience: Patience,
        is_exempt: impl Fn(IpAddr) -> bool,
    ) -> Option<Place> {
        let plain = io.downcast_ref::<TcpStream>();
        let secured = || {
            io.downcast_ref::<TlsStream<TcpStream>>()
                .map(|tls| tls.get_ref().0)
        };
        let stream = plain.or_else(secured)?;
        let address = stream.peer_addr().ok()?.ip().to_canonical();
        let client = (!is_exempt(address)).then(|| network_of(address));
        let socket = stream.as_fd().try_clone_to_owned().ok()?;
        let alive = Arc::new(Alive::now(socket));
        let place = Place {
            crowd: Arc::clone(self),
            client,
            alive: Arc::clone(&alive),
        };
        if let Some(client) = client {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(client).or_default();
            *count += 1;
            if *count > PER_CLIENT {
                alive.shut();
                return Some(place);
            }
        }
        let watched = Arc::downgrade(&alive);
        #[allow(
            clippy::disallowed_methods,
            reason = "silence on a socket is real time, and ends with the connection"
        )]
        actix_web::rt::spawn(async move {
            let mut wait = patience.first;
            loop {
                actix_web::rt::time::sleep(wait).await;
                let Some(alive) = watched.upgrade() else {
                    return;
                };
                let Some(rest) = alive.may_be_silent_for(patience) else {
                    alive.shut();
                    return;
                };
                wait = rest;
            }
        });
        Some(place)
    }
}

impl Place {
    /// A request came.
    pub(super) fn has_request(&self) {
        let since = u64::try_from(self.alive.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.alive.last.store(since.max(1), Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&client);
            }
        }
    }
}

impl Alive {
    #[allow(
        clippy::disallowed_methods,
        reason = "measures how long a connection is silent"
    )]
    fn now(socket: OwnedFd) -> Self {
        Self {
            made: Instant::now(),
            last: AtomicU64::new(0),
            socket,
        }
    }

    /// How much longer; `None`: it has been silent for too long.
    fn may_be_silent_for(&self, patience: Patience) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed);
        let limit = if last == 0 {
            patience.first
        } else {
            patience.next
        };
        let silent = self
            .made
            .elapsed()
            .saturating_sub(Duration::from_millis(last));
        limit.checked_sub(silent).filter(|rest| !rest.is_zero())
    }

    /// Both ways; the server then sees its end. An error: it has ended already.
    fn shut(&self) {
        let _ended = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}
