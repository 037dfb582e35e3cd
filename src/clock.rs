//! Time and chance, injected: the only place where either enters the program.
//!
//! Production uses [`SystemClock`] and [`OsEntropy`]; a test uses [`SimClock`] and [`SeededEntropy`] and runs a week
//! of retries in a second. Schedules follow this clock; timeouts of sockets are real time and do not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::{CallbackId, EventId, Timestamp};

/// A future that ends when an instant has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What time it is, and waiting for a time.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Ends at `until` or soon after; may end early by a little, so callers look again.
    fn sleep_until(&self, until: Timestamp) -> Sleep;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The longest single sleep: the wall clock may be set meanwhile, and due times are wall-clock times.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is where the time comes from"
    )]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "this is where waiting comes from"
    )]
    fn sleep_until(&self, until: Timestamp) -> Sleep {
        let wait = until.since(self.now()).min(LONGEST_SLEEP);
        Box::pin(tokio::time::sleep(wait))
    }
}

#[derive(Debug, Default)]
struct SimState {
    now: u64,
    sleepers: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
}

/// A clock that stands still until a test moves it.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<Mutex<SimState>>);

impl SimClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(SimState {
            now: start.as_millis(),
            sleepers: BTreeMap::new(),
        })))
    }

    /// Moves on by `by` and wakes whoever waited for an instant that has come.
    pub fn advance(&self, by: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = Timestamp::from_millis(state.now).plus(by).as_millis();
        let now = state.now;
        let later = state.sleepers.split_off(&now.saturating_add(1));
        for sleeper in std::mem::replace(&mut state.sleepers, later)
            .into_values()
            .flatten()
        {
            // Whoever stopped waiting meanwhile is simply not there.
            let _gone = sleeper.send(());
        }
    }

    /// Moves on to `to`; an instant in the past moves nothing.
    pub fn advance_to(&self, to: Timestamp) {
        self.advance(to.since(self.now()));
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.lock().unwrap_or_else(PoisonError::into_inner).now)
    }

    fn sleep_until(&self, until: Timestamp) -> Sleep {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if until.as_millis() <= state.now {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        state
            .sleepers
            .entry(until.as_millis())
            .or_default()
            .push(wake);
        Box::pin(async move {
            let _dropped_with_the_clock = woken.await;
        })
    }
}

/// Where chance comes from.
pub trait Entropy: Send + Sync + 'static {
    /// 128 random bits.
    fn bits(&self) -> u128;

    /// A random number from -1 to 1.
    fn draw(&self) -> f64 {
        // 32 bits are plenty for a wait's jitter.
        let bits = u32::try_from(self.bits() & u128::from(u32::MAX)).unwrap_or(0);
        f64::from(bits) / f64::from(u32::MAX) * 2.0 - 1.0
    }

    /// A new event id.
    fn event_id(&self, now: Timestamp) -> EventId {
        EventId::new(now, self.bits())
    }

    /// A new callback id.
    fn callback_id(&self, now: Timestamp) -> CallbackId {
        CallbackId::new(now, self.bits())
    }
}

/// The operating system's random numbers, fetched for many draws at once: a call for each cost a twentieth of what a
/// callback costs.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

/// Bytes of one draw.
const DRAW: usize = 16;

/// Random bytes of this thread that nobody has had yet.
struct Fetched {
    bytes: [u8; DRAW * 64],
    left: usize,
}

thread_local! {
    static FETCHED: RefCell<Fetched> = const {
        RefCell::new(Fetched { bytes: [0; DRAW * 64], left: 0 })
    };
}

impl Fetched {
    /// The next sixteen bytes, which are then gone.
    #[allow(clippy::disallowed_methods, reason = "this is where chance comes from")]
    fn take(&mut self) -> Option<[u8; DRAW]> {
        if self.left == 0 {
            getrandom::fill(&mut self.bytes).ok()?;
            self.left = self.bytes.len() / DRAW;
        }
        self.left -= 1;
        let drawn = self.bytes.as_chunks_mut().0.get_mut(self.left)?;
        Some(std::mem::take(drawn))
    }
}

impl Entropy for OsEntropy {
    #[allow(clippy::disallowed_methods, reason = "this is where chance comes from")]
    fn bits(&self) -> u128 {
        let drawn = FETCHED.with_borrow_mut(Fetched::take);
        drawn.map_or_else(
            || {
                // Without the system's entropy an id still has to be unique: time and address are what is left.
                let stack = std::ptr::from_ref(&drawn).addr();
                let nanos = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap_or_default();
                nanos.as_nanos() ^ (u128::try_from(stack).unwrap_or(0) << 64)
            },
            u128::from_le_bytes,
        )
    }
}

/// Random numbers that come out the same every time (`SplitMix64`).
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// A sequence named by its seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn bits(&self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nothing_is_drawn_twice() {
        let drawn = || (0..300).map(|_| OsEntropy.bits()).collect::<Vec<_>>();
        let elsewhere = std::thread::spawn(drawn);
        let mut all: HashSet<u128> = drawn().into_iter().collect();
        all.extend(elsewhere.join().expect("draws"));
        assert_eq!(all.len(), 600);
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_instant_has_come_and_not_before() {
        let clock = SimClock::at(Timestamp::from_millis(1000));
        let sleep = clock.sleep_until(Timestamp::from_millis(2000));
        tokio::pin!(sleep);
        clock.advance(Duration::from_millis(999));
        assert!(futures_util::poll!(&mut sleep).is_pending());
        clock.advance(Duration::from_millis(1));
        assert!(futures_util::poll!(&mut sleep).is_ready());
    }

    #[test]
    fn draws_stay_between_minus_one_and_one() {
        let entropy = SeededEntropy::new(7);
        for _ in 0..1000 {
            let draw = entropy.draw();
            assert!((-1.0..=1.0).contains(&draw), "{draw}");
        }
    }
}
