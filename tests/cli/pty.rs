//! A terminal in which the program runs, with somebody at its keyboard: a pseudo-terminal that is the program's own.

use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use pty_process::Size;
use pty_process::blocking::{Pty, open};

use super::kit::{Ended, PATIENCE};

/// As a terminal sends them, for which the program's line discipline has a meaning.
pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";

/// Up to the corner and clear.
pub const CLEARED: &str = "\x1b[H\x1b[2J";

/// Half a minute of a screen redrawn every two seconds.
const MOST_DRAWN: usize = 15;

pub struct Terminal {
    pty: Arc<Pty>,
    child: Child,
    shown: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Terminal {
    /// Runs a command in a terminal of this many columns, which can show colours.
    pub fn run(command: Command, columns: u16) -> Self {
        Self::run_with(command, columns, ("LANG", "C.UTF-8"))
    }

    /// The same, with this in its environment.
    pub fn run_with(command: Command, columns: u16, (name, value): (&str, &str)) -> Self {
        let command = pty_process::blocking::Command::from(command)
            .env("TERM", "xterm-256color")
            .env("TZ", "Asia/Tokyo")
            .env(name, value);
        Self::spawned(command, columns)
    }

    /// Spawns what sends some of its streams elsewhere; the others are this terminal's.
    pub fn spawned(command: pty_process::blocking::Command, columns: u16) -> Self {
        let (pty, inside) = open().unwrap();
        pty.resize(Size::new(24, columns)).unwrap();
        Self::started(Arc::new(pty), command.spawn(inside).unwrap())
    }

    /// What is shown is read by a thread, so that the program never waits for us.
    fn started(pty: Arc<Pty>, child: Child) -> Self {
        let (tell, shown) = channel();
        let screen = pty.clone();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            // An error: nobody has the other side any more.
            while let Ok(read @ 1..) = (&*screen).read(&mut part) {
                if tell.send(part[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            pty,
            child,
            shown,
            seen: Vec::new(),
        }
    }

    /// All that was shown until now.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Looks on until this is shown for the `times`th time. A screen that is redrawn for ever is not for ever looked at.
    #[track_caller]
    pub fn wait_for(&mut self, wanted: &str, times: usize) {
        while self.seen().matches(wanted).count() < times {
            let drawn = self.seen().matches(CLEARED).count();
            assert!(
                drawn < MOST_DRAWN,
                "{wanted:?} is not shown, but:\n{}",
                self.seen()
            );
            match self.shown.recv_timeout(PATIENCE) {
                Ok(part) => self.seen.extend(part),
                Err(_) => panic!("{wanted:?} was never shown, but:\n{}", self.seen()),
            }
        }
    }

    pub fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Looks on until it ends. Both streams are shown on the same screen.
    #[track_caller]
    pub fn ended(mut self) -> Ended {
        loop {
            match self.shown.recv_timeout(PATIENCE) {
                Ok(part) => self.seen.extend(part),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it did not end:\n{}", self.seen()),
            }
        }
        // Its end of the terminal is closed, so it has ended or is about to.
        let code = self.child.wait().unwrap().code();
        Ended {
            code,
            out: self.seen().replace("\r\n", "\n"),
            err: String::new(),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // An error: it has ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
