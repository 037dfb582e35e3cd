//! The way in from the network: turns requests into calls of the stages, and their errors into answers.
//!
//! Promise: nothing that a client sends can panic, wait without end, or take memory without bound, and no path, body
//! or token is logged. Decisions about callbacks are made in [`crate::receive`]; this module knows only HTTP.

pub mod admin;
mod callback;
pub mod client;
mod crowd;
mod edge;
mod expiry;
mod limit;
pub mod listener;
pub mod problem;
mod reading;
mod reply;
mod request_id;
mod sockets;
mod tls;

pub use edge::Edge;
pub use listener::PublicListener;
pub use sockets::{BindError, Opened};
pub use tls::TlsError;
