//! No result is lost: applications, the watch over the waiting, new rounds, lagging queries, a provider that fails,
//! and floods of forgeries, tried from outside on a simulated clock. One file for each concern.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod api;
mod apply;
#[path = "../support/copying.rs"]
mod copying;
mod down;
mod floods;
mod kit;
mod model;
mod rounds;
mod watch;
