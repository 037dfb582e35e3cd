//! The public listener, from outside: every row of the contract's table (§4) through real sockets.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

#[path = "support/listening.rs"]
mod listening;
#[path = "support/recording_store.rs"]
mod recording_store;
#[path = "support/wire.rs"]
mod wire;

#[path = "listener/connections.rs"]
mod connections;
#[path = "listener/hostile.rs"]
mod hostile;
#[path = "listener/sockets.rs"]
mod sockets;
#[path = "listener/table.rs"]
mod table;
