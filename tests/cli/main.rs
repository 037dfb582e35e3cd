//! The command line from outside: the real binary, its exit codes, and what it says on which stream.
//!
//! Nothing here waits for luck: a service is ready when it says so on stderr, and each wait has a generous end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, and the helpers of tests"
)]

mod check;
mod demo;
mod help;
mod kit;
mod lists;
mod maintenance;
mod operator;
mod pty;
mod query;
mod reload;
mod renewal;
mod serve;
mod service;
mod terminal;
mod tools;
mod upgrade;
