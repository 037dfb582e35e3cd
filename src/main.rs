//! The program `vexora-relay`. Everything it does is in the library; see `vexora_relay::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vexora_relay::cli::main()
}
