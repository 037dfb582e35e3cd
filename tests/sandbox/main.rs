//! The simulated Vexora from outside: through real sockets, against the provider's published behaviour.
//!
//! Signs are computed here from the published rule and checked against fixed `md5sum` outputs, never by the project's
//! own signing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, and the helpers of tests"
)]

mod binary;
mod callbacks;
mod control;
mod faults;
mod kit;
mod provider;
