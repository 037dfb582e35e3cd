//! `docs/monitoring/grafana-dashboard.json` as Grafana would read it: by its schema where that is installed, and always
//! by what a schema does not hold: places that do not overlap, and queries about series and labels that there are.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{document, live};

/// Added by Prometheus to everything that it scrapes.
const SCRAPED: [&str; 2] = ["instance", "job"];

fn dashboard() -> Value {
    serde_json::from_str(&document("grafana-dashboard.json")).unwrap()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter()
}

fn number(place: &Value, key: &str) -> u64 {
    place[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key}: {place}"))
}

#[test]
fn every_panel_has_a_place_of_its_own_and_asks_the_chosen_source() {
    let dashboard = dashboard();
    let (mut ids, mut taken) = (HashSet::new(), HashSet::new());
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(
            ids.insert(number(panel, "id")),
            "{title}: its id is another's"
        );
        let place = &panel["gridPos"];
        let (left, top) = (number(place, "x"), number(place, "y"));
        let (width, height) = (number(place, "w"), number(place, "h"));
        assert!(
            width > 0 && height > 0 && left + width <= 24,
            "{title}: {place}"
        );
        for x in left..left + width {
            for y in top..top + height {
                assert!(taken.insert((x, y)), "{title} lies on another");
            }
        }
        let targets = panel["targets"].as_array();
        if panel["type"] == "row" {
            assert!(targets.is_none());
            continue;
        }
        let source = serde_json::json!({ "type": "prometheus", "uid": "${datasource}" });
        assert_eq!(panel["datasource"], source, "{title}");
        let targets = targets.unwrap();
        let letters: HashSet<&Value> = targets.iter().map(|target| &target["refId"]).collect();
        assert!(
            !targets.is_empty() && letters.len() == targets.len(),
            "{title}"
        );
        for target in targets {
            assert_eq!(target["datasource"], source, "{title}");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&Value> = variables.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["datasource", "instance"]);
}

/// The labels that each series of ours has.
fn labels_of(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, inside) = series.split_once('{').unwrap_or((series, ""));
        let known = labels.entry(name.to_owned()).or_default();
        known.extend(before_equals(inside));
    }
    labels
}

/// `a="1",b=~"2"`: a and b. No value of ours holds a quote.
fn before_equals(inside: &str) -> impl Iterator<Item = String> {
    let outside_of_quotes = inside.split('"').step_by(2);
    let names =
        outside_of_quotes.map(|part| part.trim_matches(|c: char| !c.is_alphanumeric() && c != '_'));
    names.filter(|name| !name.is_empty()).map(str::to_owned)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The series that a query is about, each with the labels by which it is narrowed.
fn asked(query: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        rest = &rest[at..];
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        if name.starts_with("vexora_relay_") || name.starts_with("process_") {
            let inside = after
                .strip_prefix('{')
                .and_then(|after| after.split_once('}'));
            let (inside, after) = inside.unwrap_or(("", after));
            found.push((name.to_owned(), before_equals(inside).collect()));
            rest = after;
        }
    }
    found
}

/// The labels in the brackets after each of these words.
fn listed(query: &str, word: &str) -> Vec<String> {
    let lists = query.split(word).skip(1);
    let inside = lists.filter_map(|after| after.trim_start().strip_prefix('(')?.split(')').next());
    inside
        .flat_map(|inside| inside.split(','))
        .map(|label| label.trim().to_owned())
        .collect()
}

#[tokio::test]
async fn every_query_is_about_series_and_labels_that_there_are() {
    let scrape = live().await;
    let labels = labels_of(&scrape.text);
    let dashboard = dashboard();
    let mut queries: Vec<(String, String)> = Vec::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |key: &str| target[key].as_str().unwrap().to_owned();
            queries.push((text("expr"), text("legendFormat")));
        }
    }
    let alerts = document("alerts.yml");
    let alerts = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: '"));
    queries.extend(alerts.map(|query| (query.trim_end_matches('\'').to_owned(), String::new())));
    assert!(queries.len() > 50);
    for (query, legend) in &queries {
        let series = asked(query);
        assert!(!series.is_empty() || query.starts_with("up{"), "{query}");
        let mut of_all: BTreeSet<&str> = SCRAPED.into();
        for (name, narrowed) in &series {
            let known = labels
                .get(name)
                .unwrap_or_else(|| panic!("{name}: {query}"));
            for label in narrowed {
                let is_known = known.contains(label) || SCRAPED.contains(&label.as_str());
                assert!(is_known, "{name} has no {label}: {query}");
            }
            of_all.extend(known.iter().map(String::as_str));
            // Counters and histograms are asked by how fast they grow, gauges are not.
            let grows = ["_total", "_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.ends_with(end));
            let asked_so = |how: &str| query.contains(&format!("{how}({name}"));
            let rated = asked_so("rate") || asked_so("increase");
            assert_eq!(grows, rated, "{query}");
        }
        let kept: Vec<String> = [listed(query, "by"), listed(query, "on")].concat();
        for label in &kept {
            assert!(
                of_all.contains(label.as_str()),
                "nothing has {label}: {query}"
            );
        }
        let shown = legend.split("{{").skip(1);
        for label in shown.map(|after| after.split("}}").next().unwrap().trim()) {
            let is_left = kept.iter().any(|kept| kept == label)
                || (kept.is_empty() && of_all.contains(label));
            assert!(is_left, "{label} is not in what is left of {query}");
        }
        if query.contains("histogram_quantile") {
            assert!(kept.contains(&"le".to_owned()), "{query}");
        }
        let open = query.matches(['(', '{', '[']).count();
        assert_eq!(open, query.matches([')', '}', ']']).count(), "{query}");
    }
}

#[test]
fn grafanas_schema_knows_all_of_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/grafana/bin/python");
    if !python.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "the schema is not installed: .ci/run does that"
        );
        let text = "skipped: the Grafana dashboard is not held against Grafana's schema; `CI=true bash .ci/run` installs it\n";
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    }
    let run = Command::new(python)
        .arg(root.join("tests/relay/monitoring/dashboard.py"))
        .arg(root.join("docs/monitoring/grafana-dashboard.json"))
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
}
