//! The ground of the relay: types that cannot hold nonsense, and every decision as a function of values.
//!
//! Promise: nothing in here reads a clock, draws a random number, waits, or touches a disk or a socket. The
//! present time and the jitter arrive as arguments, so a test replays a week of retries in a moment and a store
//! may run a decision again without changing its outcome.

mod application;
mod breaker;
mod callback;
mod delivery;
mod ease;
mod event;
mod furigana;
mod health;
mod ids;
mod job;
mod ordered;
mod pace;
mod retry;
mod routing;
mod secret;
mod stranger;
mod time;
mod user;
mod verdict;
mod verification;

pub use application::{Application, ApplicationState, Batch, Heard};
pub use breaker::{Breaker, BreakerChange, BreakerRule};
pub use callback::{Arrival, Callback, SignCheck, Trust};
pub use delivery::{
    AbandonReason, Attempt, Delivery, DeliveryPolicy, DeliveryState, FailureClass, Outcome,
};
pub use ease::Ease;
pub use event::{Event, EventContent, EventKind, OperationalEvent, ResultEvent, Source};
pub use furigana::Furigana;
pub use health::{Health, HealthChange, Pause, PauseReason, Resumed};
pub use ids::{CallbackId, EndpointName, EventId, InvalidId, MerchantNo, UserId};
pub use job::{Job, JobKind, JobOrder, JobProgress, Standing};
pub use ordered::Ordered;
pub use pace::Pace;
pub use retry::{Jitter, Schedule, ScheduleError};
pub use routing::{EventFilter, Route, Routing, RoutingIdentity};
pub use secret::{Secret, Secrets};
pub use stranger::{Reception, Stranger};
pub use time::Timestamp;
pub use user::{LastVerdict, Observed, UserState};
pub use verdict::{Answer, QueryFailure, Status, Verdict};
pub use verification::{
    Settled, Verification, VerificationState, VerifyLane, VerifyPhase, VerifyPolicy,
};
