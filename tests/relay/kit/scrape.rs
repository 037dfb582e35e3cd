//! `/metrics`, asked as Prometheus does, and held to the form of OpenMetrics 1.0.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::relay::request;

/// What `/metrics` answered.
pub struct Scrape {
    pub text: String,
    /// Each series, as written (name and labels), with its value.
    series: BTreeMap<String, f64>,
}

impl Scrape {
    pub async fn of(admin: SocketAddr) -> Self {
        let (head, text) = request(admin, "GET /metrics HTTP/1.1\r\n", b"").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(head.contains(kind), "{head}");
        Self::parse(text)
    }

    /// Reads it, strictly.
    pub fn parse(text: String) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
        assert!(!body.contains("# EOF"), "one end only");
        let (mut families, mut helped) = (BTreeMap::new(), BTreeSet::new());
        let mut series = BTreeMap::new();
        let mut family = String::new();
        for line in body.lines() {
            if let Some(about) = line.strip_prefix("# ") {
                let (what, rest) = about.split_once(' ').expect(line);
                let (name, value) = rest.split_once(' ').expect(line);
                match what {
                    "HELP" => {
                        assert!(helped.insert(name.to_owned()), "twice: {line}");
                        assert!(value.len() > 8, "says nothing: {line}");
                        name.clone_into(&mut family);
                    }
                    "TYPE" => {
                        assert!(
                            ["counter", "gauge", "histogram", "info"].contains(&value),
                            "{line}"
                        );
                        assert_eq!(name, family, "{line}");
                        families.insert(name.to_owned(), value.to_owned());
                    }
                    "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (name, value) = line.rsplit_once(' ').expect(line);
            let bare = name.split('{').next().unwrap();
            let rest = bare.strip_prefix(family.as_str()).expect(line);
            let suffixes: &[&str] = match families[&family].as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                _ => &["_bucket", "_sum", "_count"],
            };
            assert!(suffixes.contains(&rest), "{line}");
            let value: f64 = value.parse().expect(line);
            assert!(
                series.insert(name.to_owned(), value).is_none(),
                "twice: {line}"
            );
        }
        assert_eq!(helped.len(), families.len());
        Self { text, series }
    }

    /// The value of a series, written as `name{label="value"}` without the prefix.
    pub fn value(&self, series: &str) -> f64 {
        let found = self.series.get(&format!("vexora_relay_{series}"));
        *found.unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }

    /// Whether there is such a series.
    pub fn has(&self, series: &str) -> bool {
        self.series.contains_key(&format!("vexora_relay_{series}"))
    }
}
