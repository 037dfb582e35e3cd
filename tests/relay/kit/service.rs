//! The real program, `vexora-relay serve`, and every line that it logs.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::secs;

pub struct Service {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
    /// What it logged before it said that it is ready, and nobody has waited for yet: its workers are quicker than that.
    early: Vec<String>,
    pub address: SocketAddr,
    pub admin: SocketAddr,
}

impl Service {
    /// Starts it, and waits until it takes callbacks. In whatever format it logs.
    pub fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vexora-relay"))
            .args(["serve", "--config"])
            .arg(config)
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let mut service = Self {
            child,
            lines,
            log: vec![],
            early: vec![],
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let ready = service.wait_for(" ready: callbacks on ");
        service.early.clone_from(&service.log);
        // The message says it in both formats.
        let (_, url) = ready.split_once(" ready: callbacks on http://").unwrap();
        let (address, rest) = url.split_once(", admin on http://").unwrap();
        service.address = address.parse().unwrap();
        let (admin, _) = rest.split_once(',').unwrap();
        service.admin = admin.parse().unwrap();
        service
    }

    /// Waits for a line with this in it.
    pub fn wait_for(&mut self, what: &str) -> String {
        if let Some(at) = self.early.iter().position(|line| line.contains(what)) {
            return self.early.remove(at);
        }
        loop {
            let Ok(line) = self.lines.recv_timeout(secs(30)) else {
                panic!("no {what:?} in\n{}", self.log.join("\n"));
            };
            self.log.push(line.clone());
            if line.contains(what) {
                return line;
            }
        }
    }

    /// Has it read its configuration again.
    pub fn reload(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// As the power fails. Returns all that it had logged.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.whole_log()
    }

    /// Nobody reads its log any more: the pipe breaks at its next line.
    pub fn deaf(&mut self) {
        (_, self.lines) = channel();
    }

    /// As systemd stops it. Returns all that it logged.
    pub fn stop(mut self) -> Vec<String> {
        use rustix::process::{Pid, Signal, kill_process};
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.whole_log()
    }

    fn whole_log(&mut self) -> Vec<String> {
        let rest: Vec<String> = self.lines.iter().collect();
        self.log.extend(rest);
        std::mem::take(&mut self.log)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
