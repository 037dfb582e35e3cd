//! No result is lost: applications, the watch over the waiting, new rounds, lagging queries, a provider that fails,
//! and floods of forgeries, tried from outside on a simulated clock. One file for each concern.

mod api;
mod apply;
mod down;
mod floods;
mod kit;
mod model;
mod rounds;
mod watch;
