//! The relay end to end: a callback in through a real socket, the simulated Vexora asked, a signed webhook out to a
//! recording receiver; schedules on a clock that stands still until a test moves it.
//!
//! Signatures are computed and checked here from their published rules, never by the project's own signing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, and the helpers of tests"
)]

mod admin;
mod ahead;
mod breaker;
mod bulk;
mod crash;
mod dashboard;
mod failures;
mod fairness;
mod formats;
mod health;
mod hostile;
mod isolation;
mod kit;
mod lanes;
mod limits;
mod logging;
mod merchants;
mod metrics;
mod monitoring;
mod official;
mod openapi;
mod ordering;
mod probes;
mod readiness;
mod reload;
mod replay;
mod reprocess;
mod resume;
mod retention;
mod retries;
mod secrecy;
mod standby;
mod transport;
mod verification;
mod webhook;
