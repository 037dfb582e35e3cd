//! `docs/monitoring`: every metric is documented and every documented one exists; alerts and dashboard name only what a
//! live `/metrics` has; every alert says what to do, with commands that there are.

mod dashboard;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::kit::{Scrape, Setup};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring");
    std::fs::read_to_string(path.join(name)).unwrap()
}

/// All that there can be: with an endpoint, and with TLS.
async fn live() -> Scrape {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert, key) = (
        directory.path().join("c.pem"),
        directory.path().join("k.pem"),
    );
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let relay = Setup::new()
        .server(&format!("tls = {{ cert = {cert:?}, key = {key:?} }}"))
        .endpoint("ledger", "http://127.0.0.1:1/", "")
        .start()
        .await;
    let scrape = relay.metrics().await;
    assert!(scrape.value("tls_certificate_expiry_timestamp_seconds") > 2e9);
    scrape
}

/// The words in a text that look like metrics of ours.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("vexora_relay_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_what_is_documented_exists() {
    let scrape = live().await;
    let types = scrape
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let families: BTreeSet<(String, String)> = types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            (name.to_owned(), kind.to_owned())
        })
        .collect();
    let readme = document("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeSet<(String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
        })
        .collect();
    assert_eq!(documented, families);
    // Words that stand for labels are there too.
    for reason in vexora_relay::metrics::REASONS {
        assert!(readme.contains(&format!("`{reason}`")), "{reason}");
    }
    for refusal in vexora_relay::metrics::REFUSALS {
        assert!(readme.contains(&format!("`{refusal}`")), "{refusal}");
    }
}

#[tokio::test]
async fn alerts_and_dashboard_name_only_series_that_there_are() {
    let scrape = live().await;
    let series = scrape.text.lines().filter(|line| !line.starts_with('#'));
    let series: BTreeSet<&str> = series
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect();
    let dashboard = document("grafana-dashboard.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = parsed["panels"].as_array().unwrap();
    assert!(panels.len() > 20);
    for text in [
        document("alerts.yml"),
        document("alerts.test.yml"),
        dashboard,
    ] {
        let names = named(&text);
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            assert!(
                series.contains(name.as_str()),
                "{name} is not in\n{}",
                scrape.text
            );
        }
    }
}

#[test]
fn every_alert_says_what_to_do_with_commands_that_there_are() {
    let (alerts, readme) = (document("alerts.yml"), document("README.md"));
    let blocks: Vec<&str> = alerts.split("      - alert: ").skip(1).collect();
    assert!(blocks.len() >= 18);
    for block in &blocks {
        let name = block.lines().next().unwrap();
        for key in [
            "expr: '",
            "for: ",
            "severity: ",
            "summary: '",
            "description: '",
        ] {
            assert!(block.contains(&format!(" {key}")), "{name} has no {key}");
        }
        let anchor = format!("runbook: docs/monitoring/README.md#{}", name.to_lowercase());
        assert!(block.contains(&anchor), "{name}");
        let heading = format!("\n### {name}\n");
        let (_, section) = readme
            .split_once(&heading)
            .unwrap_or_else(|| panic!("no {name}"));
        let section = section.split("\n### ").next().unwrap();
        assert!(section.len() > 80, "{name}: {section}");
    }
    let headings = readme.matches("\n### ").count();
    assert_eq!(headings, blocks.len(), "a heading for each alert");
    let mut commands = 0;
    for command in readme
        .split('`')
        .filter(|text| text.starts_with("vexora-relay "))
    {
        let mut words = command.split_whitespace().skip(1);
        let verb = words.next().unwrap();
        let help = Command::new(env!("CARGO_BIN_EXE_vexora-relay"))
            .args([verb, "--help"])
            .output()
            .unwrap();
        assert!(help.status.success(), "{command}");
        let help = String::from_utf8(help.stdout).unwrap();
        for flag in words.filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{command}: no {flag} in\n{help}");
        }
        commands += 1;
    }
    assert!(commands > 20, "{commands}");
}
