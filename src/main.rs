//! The program `vexora-relay`. Everything it does is in the library; see `vexora_relay::cli`.

use std::process::ExitCode;

// Linked for what it defines: `malloc` and its kin, in place of glibc's (decision 0018).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use mimalloc as _;

fn main() -> ExitCode {
    vexora_relay::cli::main()
}
