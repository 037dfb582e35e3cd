//! `vexora-sandbox`: a simulated Vexora on a local port. Everything is in the library; nothing is decided here.

use std::process::ExitCode;

fn main() -> ExitCode {
    vexora_relay::sandbox::cli::run()
}
