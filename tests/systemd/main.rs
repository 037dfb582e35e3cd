//! The service as a service manager has it: what it is told, the sockets it hands over, and the units themselves.
//!
//! The test plays the service manager to the real binary. What needs systemd's own tools says so where they are missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests, and the helpers of tests"
)]

#[path = "../cli/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of the command line")]
mod kit;

mod activation;
mod notify;
mod units;
