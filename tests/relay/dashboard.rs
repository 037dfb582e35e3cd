//! The dashboard, as a browser without JavaScript meets it: pages over a real socket, forms, cookies. What only a
//! browser can tell is in `browser`.

mod browser;
mod contrast;
mod hostile;
mod large;
mod pages;
mod session;
pub mod visitor;
mod webdriver;
