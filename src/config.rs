//! The configuration: one TOML file, read whole, refused whole, with every problem at once.
//!
//! The file's shape is private to this module. What comes out are the types of [`settings`], which cannot hold
//! nonsense; each part of the program receives its own, never the whole.

pub mod settings;
