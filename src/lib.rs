//! `vexora-relay`: takes Vexora's KYC callbacks, makes them durable, verifies them by a signed query, and tells every
//! configured webhook until each has heard.
//!
//! Three stages that never import each other and meet only in the store: [`receive`], [`verify`], [`deliver`].
//! Imports go down only; `tests/tidy.rs` holds them to it.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod domain;
pub mod http;
pub mod metrics;
pub mod outbound;
pub mod receive;
pub mod retention;
pub mod sandbox;
pub mod signing;
pub mod store;
pub mod verify;
pub mod worker;
