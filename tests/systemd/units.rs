//! The units as shipped: systemd finds nothing wrong with them, and they leave the service little of the machine.

use std::path::Path;
use std::process::Command;

use super::kit::{WEBHOOK_SECRET, program};

const UNITS: [&str; 3] = [
    "vexora-relay.service",
    "vexora-relay.socket",
    "vexora-relay-admin.socket",
];

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("systemd")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

fn analyze(args: &[&str], directory: &Path) -> Option<(bool, String)> {
    let run = Command::new("systemd-analyze")
        .args(args)
        .current_dir(directory)
        .output();
    let Ok(output) = run else {
        println!("SKIPPED: systemd-analyze is not here (Debian: systemd)");
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8(text).unwrap()))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let place = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_vexora-relay");
    for name in UNITS {
        // Where the package puts it, there is nothing yet.
        let text = unit(name).replace("/usr/bin/vexora-relay", binary);
        std::fs::write(place.path().join(name), text).unwrap();
    }
    let mut args = vec!["verify", "--man=no"];
    let paths = UNITS.map(|name| format!("./{name}"));
    args.extend(paths.iter().map(String::as_str));
    let Some((fine, said)) = analyze(&args, place.path()) else {
        return;
    };
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("vexora-relay"))
        .collect();
    assert!(fine && ours.is_empty(), "{said}");
}

#[test]
fn the_service_is_exposed_by_no_more_than_one_and_a_half() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let args = [
        "security",
        "--offline=true",
        "--no-pager",
        "--threshold=15",
        "./vexora-relay.service",
    ];
    let Some((fine, said)) = analyze(&args, &directory) else {
        return;
    };
    if said.contains("unrecognized option") || said.contains("Unknown") {
        println!("SKIPPED: this systemd-analyze is older than 250");
        return;
    }
    let found = said.lines().last().unwrap_or_default();
    assert!(fine, "{found}");
    println!("{found}");
}

#[test]
fn every_credential_of_the_shipped_configurations_is_loaded() {
    let service = unit("vexora-relay.service");
    let credentials = tempfile::tempdir().unwrap();
    for (name, secret) in [
        ("app-secret", "s3cr3t"),
        ("callback-token", "0123456789abcdef"),
        ("ledger-secret", WEBHOOK_SECRET),
    ] {
        std::fs::write(credentials.path().join(name), secret).unwrap();
    }
    for shipped in ["config.toml", "systemd/debian/config.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(shipped);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut named = 0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((_, rest)) = line.split_once("{ credential = \"") else {
                continue;
            };
            let name = rest.split('"').next().unwrap();
            let line = format!("\nLoadCredential={name}:/etc/vexora-relay/credentials/{name}\n");
            assert!(service.contains(&line), "{shipped}: {name} is not loaded");
            named += 1;
        }
        assert!(named > 0, "{shipped} names no credential");
        let checked = program()
            .args(["check", "--config"])
            .arg(&path)
            .env("CREDENTIALS_DIRECTORY", credentials.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{shipped}: {said}");
    }
}

#[test]
fn it_is_not_started_again_when_a_person_is_needed_and_has_time_to_stop() {
    let service = unit("vexora-relay.service");
    for line in [
        "Type=notify",
        "Restart=on-failure",
        "RestartPreventExitStatus=78",
        // Above the 30 s in which it stops by itself.
        "TimeoutStopSec=45s",
        // Above the 20 s within which each worker turns.
        "WatchdogSec=60s",
        "DynamicUser=yes",
    ] {
        assert!(service.lines().any(|found| found == line), "{line}");
    }
}
