//! `reload`: has the running service read its configuration again.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use super::output::Output;
use super::{Failure, load};
use crate::store::embedded::holder;

pub(super) fn run(file: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    // Read here first: what is wrong with it is said where it was asked for, not only in the service's log.
    let (_, config) = load(file)?;
    let path = &config.store.path;
    let pid = holder(path)?
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Err(Failure::Unreachable(format!(
            "no service has {} open\n  hint: --config must name the file that the service was started with; `vexora-relay serve` starts one",
            path.display()
        )));
    };
    kill_process(pid, Signal::HUP)?;
    let pid = pid.as_raw_nonzero();
    let text = format!("process {pid} reads its configuration again; its log says what came of it");
    output.value(&serde_json::json!({ "pid": pid.get() }), &text);
    Ok(())
}
