//! Sockets that the service manager opened for us.
//!
//! A socket named `callbacks` or `admin` (`FileDescriptorName=`) is what it says; others are taken in order, callbacks
//! first. One that nobody can place is an error: it would be open, and never answered.

use listenfd::ListenFd;

use super::Failure;
use crate::app::Sockets;
use crate::http::Opened;

pub(super) fn passed() -> Result<Sockets, Failure> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut passed = ListenFd::from_env();
    let places = places(&names, passed.len()).map_err(Failure::Config)?;
    let mut sockets = Sockets::default();
    for (index, place) in places.into_iter().enumerate() {
        let socket = take(&mut passed, index)?;
        match place {
            Place::Callbacks => sockets.public = Some(socket),
            Place::Admin => sockets.admin = Some(socket),
        }
    }
    Ok(sockets)
}

fn take(passed: &mut ListenFd, index: usize) -> Result<Opened, Failure> {
    if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
        return Ok(Opened::Tcp(socket));
    }
    if let Ok(Some(socket)) = passed.take_unix_listener(index) {
        return Ok(Opened::Unix(socket));
    }
    Err(Failure::Config(format!(
        "socket {} of those passed in listens neither on TCP nor on a Unix stream\n  hint: the socket unit needs ListenStream=",
        index + 1
    )))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Callbacks,
    Admin,
}

/// Which socket is for what.
fn places(names: &str, number: usize) -> Result<Vec<Place>, String> {
    let mut names = names.split(':');
    let named: Vec<Option<Place>> = (0..number)
        .map(|_| match names.next() {
            Some("callbacks") => Some(Place::Callbacks),
            Some("admin") => Some(Place::Admin),
            _ => None,
        })
        .collect();
    let mut free = [Place::Callbacks, Place::Admin]
        .into_iter()
        .filter(|place| !named.contains(&Some(*place)));
    let mut places: Vec<Place> = Vec::with_capacity(number);
    for place in &named {
        let place = place.or_else(|| free.next());
        match place {
            Some(place) if !places.contains(&place) => places.push(place),
            _ => {
                return Err(format!(
                    "{number} sockets were passed in, and one of them is neither for callbacks nor for the admin side\n  hint: one ListenStream= per socket unit, with FileDescriptorName=callbacks or FileDescriptorName=admin"
                ));
            }
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_and_the_order_decides_for_the_rest() {
        use Place::{Admin, Callbacks};
        for (names, number, expected) in [
            ("", 0, vec![]),
            ("", 2, vec![Callbacks, Admin]),
            ("unknown", 1, vec![Callbacks]),
            ("admin:callbacks", 2, vec![Admin, Callbacks]),
            ("admin", 1, vec![Admin]),
            ("admin:vexora-relay.socket", 2, vec![Admin, Callbacks]),
            ("vexora-relay.socket:callbacks", 2, vec![Admin, Callbacks]),
        ] {
            assert_eq!(places(names, number), Ok(expected), "{names}");
        }
        for (names, number) in [("", 3), ("callbacks:callbacks", 2), ("admin:admin", 2)] {
            assert!(places(names, number).is_err(), "{names}");
        }
    }
}
