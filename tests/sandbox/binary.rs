//! The program `vexora-sandbox`: what it prints, and how it ends.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vexora-sandbox"));
    command
        .args(args)
        .env_remove("VEXORA_SANDBOX_SECRET")
        .env_remove("RUST_LOG");
    command
}

fn fails(command: &mut Command, code: i32) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{stderr}");
    assert!(stdout.is_empty());
    assert!(!stderr.contains("hunter2"), "{stderr}");
    stderr
}

#[cfg(unix)]
#[test]
fn it_prints_its_url_and_ends_well_when_told_to() {
    use rustix::process::{Pid, Signal, kill_process};
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = program(&[
            "--listen",
            "127.0.0.1:0",
            "--merchant",
            "1027749636=hunter2",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(
            line.starts_with("simulated Vexora at http://127.0.0.1:"),
            "{line}"
        );
        assert!(line.ends_with("/japan for merchant 1027749636\n"), "{line}");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(
            !String::from_utf8(output.stderr)
                .unwrap()
                .contains("hunter2")
        );
    }
}

#[test]
fn it_says_why_it_does_not_start_and_never_shows_a_secret() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = fails(&mut program(&["--listen", &address]), 1);
    assert!(
        error.contains(&format!("cannot listen on {address}")),
        "{error}"
    );
    assert!(error.contains("hint: "), "{error}");
    let error = fails(&mut program(&["--listen", "0.0.0.0:0"]), 1);
    assert!(error.contains("--allow-remote"), "{error}");
    let error = fails(&mut program(&["--merchant", "12=hunter2"]), 2);
    assert!(error.contains("ten digits"), "{error}");
    let error = fails(&mut program(&["--merchant", "1027749636"]), 2);
    assert!(error.contains("VEXORA_SANDBOX_SECRET"), "{error}");
    fails(&mut program(&["--time-scale", "-1"]), 2);
}

#[test]
fn help_names_every_fault_and_shows_examples() {
    let output = program(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let faults = serde_json::to_value(vexora_relay::sandbox::Faults::default()).unwrap();
    for fault in faults.as_object().unwrap().keys() {
        let flag = format!("--{}", fault.replace('_', "-"));
        assert!(help.contains(&flag), "{flag} is not in\n{help}");
    }
    assert!(help.contains("Examples:"));
    assert!(!help.contains("hunter2"));
}
