//! How the C library's allocator keeps free memory.
//!
//! As it comes, glibc gives nearly every thread an arena of its own, and lets each keep more and more of what was freed. A
//! relay that holds 50 MiB took up 180 after 25 minutes, and was still growing (decision 0016). glibc reads its settings
//! once, before anything of this program runs, so they must be in the environment then.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Four arenas, and free memory at the end of one goes back beyond 2 MiB. What takes more than 1 MiB is mapped, and goes
/// back at once. Naming the last two also ends their growing by themselves (`mallopt(3)`).
const SETTINGS: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "4"),
    ("MALLOC_TRIM_THRESHOLD_", "2097152"),
    ("MALLOC_MMAP_THRESHOLD_", "1048576"),
];

/// Says that this was done: the loader takes glibc's own variables away from a program with capabilities of its own.
const DONE: &str = "VEXORA_RELAY_STARTED_AGAIN";

/// glibc's own name for all of its settings.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Starts this program again, as the same process, if nobody has said anything about the allocator. Does not return then.
///
/// # Errors
/// It could not be started again: everything works as it is, in more memory, but for SIGPIPE, which is as at the start of any
/// program now (`CommandExt::exec`) and must be handled.
pub(super) fn settle() -> io::Result<()> {
    if !cfg!(all(target_os = "linux", target_env = "gnu"))
        || is_said(|name| env::var_os(name).is_some())
    {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let name = arguments.next();
    let program = env::current_exe()?;
    let mut again = Command::new(&program);
    again.arg0(name.as_deref().unwrap_or(program.as_os_str()));
    again.args(arguments).envs(SETTINGS).env(DONE, "1");
    Err(again.exec())
}

/// Whether somebody has said how the allocator is to be, this program included.
fn is_said(is_there: impl Fn(&OsStr) -> bool) -> bool {
    let names = SETTINGS
        .iter()
        .map(|(name, _)| *name)
        .chain([TUNABLES, DONE]);
    names.map(OsStr::new).any(is_there)
}
