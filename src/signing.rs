//! The two signatures of this project: the provider's MD5 and the receivers' Standard Webhooks.

pub mod vexora;
pub mod webhook;
