//! The shapes on disk, version 1, apart from the domain's types: those may change, these are read for ever.
//!
//! What does not parse is refused with its reason, never guessed at; the codec adds the key.

mod callback;
mod delivery;
mod endpoint;
mod event;
mod fanout;
mod job;
mod names;
mod numbers;
mod verification;

#[cfg(test)]
mod tests;
