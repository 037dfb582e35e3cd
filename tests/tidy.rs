//! Holds the tree to what a review would otherwise have to look for: imports that go down only, a header in every
//! file, no file longer than it needs, nothing in it that is true of one machine alone, and dependencies as agreed.
//!
//! Each rule is a function from text to complaints, and is shown to complain about a bad sample. What it cannot see:
//! paths that climb with `super::` out of their module; we write those as `crate::…`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longer files carry a line that begins with [`LONG`] and says why.
const MOST_LINES: usize = 400;
const LONG: &str = "// long because: ";

/// What each module may import beside itself: `main -> cli -> app -> http -> the three stages -> {worker, store,
/// outbound, signing} -> {metrics, clock, domain}`, with `config` beside `http`, and the sandbox apart from all.
const IMPORTS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("vexora-sandbox", &["sandbox"]),
    (
        "cli",
        &[
            "app",
            "http",
            "config",
            "receive",
            "verify",
            "deliver",
            "retention",
            "worker",
            "store",
            "outbound",
            "signing",
            "metrics",
            "clock",
            "domain",
        ],
    ),
    (
        "app",
        &[
            "http",
            "config",
            "receive",
            "verify",
            "deliver",
            "retention",
            "worker",
            "store",
            "outbound",
            "signing",
            "metrics",
            "clock",
            "domain",
        ],
    ),
    (
        "http",
        &[
            "config",
            "receive",
            "verify",
            "deliver",
            "retention",
            "worker",
            "store",
            "outbound",
            "signing",
            "metrics",
            "clock",
            "domain",
        ],
    ),
    ("config", &["signing", "domain"]),
    (
        "receive",
        &[
            "worker", "store", "outbound", "signing", "metrics", "clock", "domain",
        ],
    ),
    (
        "verify",
        &[
            "worker", "store", "outbound", "signing", "metrics", "clock", "domain",
        ],
    ),
    (
        "deliver",
        &[
            "worker", "store", "outbound", "signing", "metrics", "clock", "domain",
        ],
    ),
    (
        "retention",
        &["worker", "store", "metrics", "clock", "domain"],
    ),
    ("worker", &["store", "clock", "domain"]),
    ("store", &["metrics", "clock", "domain"]),
    ("outbound", &["clock", "domain"]),
    ("signing", &["clock", "domain"]),
    ("metrics", &["domain"]),
    ("clock", &["domain"]),
    ("domain", &[]),
    ("sandbox", &["signing", "clock", "domain"]),
];

// --- the rules ---------------------------------------------------------------------------------------------------

/// Which module a file of `src` belongs to, e.g. `store` for `store/embedded/txn.rs`.
fn module_of(file: &str) -> &str {
    let file = file.strip_prefix("bin/").unwrap_or(file);
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The code of a file without its comments.
fn without_comments(text: &str) -> String {
    let code = text
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    code.collect::<Vec<_>>().join("\n")
}

/// The names right after each `root` (`crate::`, or from a binary `vexora_relay::`), groups in braces included.
fn imported(root: &str, text: &str) -> BTreeSet<String> {
    let code = without_comments(text);
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(root) {
        let rest = &code[at + root.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(group_heads(group)),
            None => names.extend([head(rest)]),
        }
    }
    names
}

/// The identifier that a path begins with.
fn head(path: &str) -> String {
    path.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The first names within `{a::b, c::{d, e}}`, whose opening brace is gone already.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut starts = true;
    let mut heads = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts = true,
            c if starts && !c.is_whitespace() => {
                heads.push(head(&group[at..]));
                starts = false;
            }
            _ => {}
        }
    }
    heads
}

/// Imports that go up or sideways. `file` is relative to `src`.
fn wrong_imports(file: &str, text: &str) -> Vec<String> {
    let module = module_of(file);
    // The root only declares, and re-exports nothing.
    if module == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "src/{file}: module {module} has no place in the order of imports; give it one in tests/tidy.rs"
        )];
    };
    let demo = file.starts_with("cli/demo");
    let binary = ["main", "vexora-sandbox"].contains(&module);
    let root = if binary { "vexora_relay::" } else { "crate::" };
    imported(root, text)
        .into_iter()
        .filter(|name| IMPORTS.iter().any(|(module, _)| module == name))
        .filter(|name| name != module && !allowed.contains(&name.as_str()))
        .filter(|name| !(demo && name == "sandbox"))
        .map(|name| format!("src/{file}: {module} must not import {name}"))
        .collect()
}

/// A Rust file that does not say at its top what it is for, or is long without a reason.
fn wrong_shape(file: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.starts_with("//! ") {
        complaints.push(format!("{file}: does not begin with //!"));
    }
    let lines = text.lines().count();
    let reason = text.lines().any(|line| line.trim_start().starts_with(LONG));
    if file.starts_with("src/") && lines > MOST_LINES && !reason {
        complaints.push(format!(
            "{file}: {lines} lines, expected at most {MOST_LINES}, or a line `{LONG}…`"
        ));
    }
    complaints
}

/// Words that are true of one machine or one moment only. Written in two parts, so that they do not stand here.
const PRIVATE: &[(&str, &str)] = &[
    ("/wo", "rk/"),
    ("/tmp", "/wt"),
    ("/ro", "ot/"),
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("py", "pi.org"),
    ("python", "hosted.org"),
    ("registry.npm", "js.org"),
    ("deb.deb", "ian.org"),
];

/// Paths of a build machine and hosts of package registries.
fn private_words(file: &str, text: &str) -> Vec<String> {
    PRIVATE
        .iter()
        .map(|(one, two)| format!("{one}{two}"))
        .filter(|word| text.contains(word))
        .map(|word| format!("{file}: holds {word:?}"))
        .collect()
}

/// Versions and features that were chosen for a reason.
fn wrong_manifest(manifest: &str) -> Vec<String> {
    let manifest: toml_edit::DocumentMut = manifest.parse().expect("Cargo.toml");
    let mut complaints = Vec::new();
    let sled = manifest["dependencies"]["sled"].as_str();
    if sled != Some("=0.34.7") {
        complaints.push(format!(
            "Cargo.toml: sled is {sled:?}, expected \"=0.34.7\": what is known of its failures is known of that one"
        ));
    }
    let actix = &manifest["dependencies"]["actix-web"];
    let features = actix
        .get("features")
        .and_then(|features| features.as_array());
    let features = features.into_iter().flatten();
    for feature in features.filter_map(|feature| feature.as_str()) {
        if feature.starts_with("compress-") {
            complaints.push(format!(
                "Cargo.toml: actix-web has {feature}: bodies from strangers are not inflated"
            ));
        }
    }
    let defaults = actix.get("default-features");
    if defaults.and_then(|defaults| defaults.as_bool()) != Some(false) {
        complaints.push("Cargo.toml: actix-web with its default features inflates bodies".into());
    }
    complaints
}

/// Dependencies that come from elsewhere than the public registry.
fn wrong_sources(lock: &str) -> Vec<String> {
    let expected = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let sources = lock.lines().filter(|line| line.starts_with("source = "));
    sources
        .filter(|line| *line != expected)
        .map(|line| format!("Cargo.lock: {line}"))
        .collect()
}

/// Whether a licence expression can be met with the allowed ones alone.
fn licence_ok(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut ok = all_of(rest, allowed);
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        ok |= all_of(rest, allowed);
    }
    ok
}

fn all_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut ok = one_licence(rest, allowed);
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        ok &= one_licence(rest, allowed);
    }
    ok
}

fn one_licence(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let Some((first, after)) = rest.split_first() else {
        return false;
    };
    *rest = after;
    if *first == "(" {
        let ok = any_of(rest, allowed);
        *rest = rest.split_first().map_or(&[], |(_closing, after)| after);
        return ok;
    }
    if let ["WITH", exception, after @ ..] = *rest {
        let with = format!("{first} WITH {exception}");
        *rest = after;
        return allowed.contains(&with);
    }
    allowed.contains(*first)
}

// --- the tree ----------------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    let bytes = fs::read(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every file of the tree, relative to it; without what git ignores.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = directory.join(entry.file_name());
            let name = path.to_str().expect("a name in UTF-8").to_owned();
            let kind = entry.file_type().expect("a kind");
            if ["target", ".git", "data", "fuzz/target", "fuzz/artifacts"].contains(&&*name) {
                continue;
            }
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() {
                found.push(name);
            }
        }
    }
    found.sort();
    assert!(found.iter().any(|name| name == "src/lib.rs"), "{found:?}");
    found
}

fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn imports_go_down_only() {
    let files = files();
    let sources = files
        .iter()
        .filter(|file| file.ends_with(".rs"))
        .filter_map(|file| file.strip_prefix("src/"));
    let complaints: Vec<String> = sources
        .flat_map(|file| wrong_imports(file, &read(&format!("src/{file}"))))
        .collect();
    none(&complaints);
}

#[test]
fn every_file_says_what_it_is_for_and_is_no_longer_than_it_needs() {
    let complaints: Vec<String> = files()
        .iter()
        .filter(|file| file.ends_with(".rs"))
        .flat_map(|file| wrong_shape(file, &read(file)))
        .collect();
    none(&complaints);
}

#[test]
fn nothing_here_is_true_of_one_machine_alone() {
    let complaints: Vec<String> = files()
        .iter()
        .flat_map(|file| private_words(file, &read(file)))
        .collect();
    none(&complaints);
}

#[test]
fn dependencies_are_as_agreed() {
    let mut complaints = wrong_manifest(&read("Cargo.toml"));
    complaints.extend(wrong_sources(&read("Cargo.lock")));
    none(&complaints);
}

#[test]
fn every_licence_is_one_that_deny_toml_allows() {
    let deny: toml_edit::DocumentMut = read("deny.toml").parse().expect("deny.toml");
    let allowed = deny["licenses"]["allow"].as_array().expect("a list");
    let allowed: BTreeSet<String> = allowed
        .iter()
        .map(|licence| licence.as_str().expect("a text").to_owned())
        .collect();
    // Of this platform alone: what others need was not fetched.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", &platform])
        .current_dir(root())
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100, "only {} packages", packages.len());
    let complaints: Vec<String> = packages
        .iter()
        .filter(|package| !licence_ok(package["license"].as_str().unwrap_or_default(), &allowed))
        .map(|package| format!("{}: licence {}", package["name"], package["license"]))
        .collect();
    none(&complaints);
}

// --- each rule complains about a bad sample ----------------------------------------------------------------------

#[test]
fn an_import_that_goes_up_or_sideways_is_seen_however_it_is_written() {
    let refused = |file, text| assert!(!wrong_imports(file, text).is_empty(), "{file}: {text}");
    let fine = |file, text| none(&wrong_imports(file, text));
    refused("verify.rs", "use crate::deliver::Payload;");
    refused("receive/body.rs", "use crate::verify;");
    refused("store.rs", "fn f() { crate::worker::run() }");
    refused(
        "domain/ids.rs",
        "use crate::{\n    clock::Clock,\n    domain::{UserId, Event},\n};",
    );
    refused(
        "worker.rs",
        "use crate::{domain::{A, B}, outbound::Client};",
    );
    refused("signing.rs", "use crate::store;");
    refused("config/reader.rs", "use crate::http::Edge;");
    refused("app.rs", "use crate::sandbox::Sandbox;");
    refused("cli/serve.rs", "use crate::sandbox::Sandbox;");
    refused("sandbox/api.rs", "use crate::store::Store;");
    refused("main.rs", "vexora_relay::app::App::build()");
    refused("metrics.rs", "use crate::store::Store;");
    refused("tricks.rs", "");
    fine("worker.rs", "use crate::{domain::{A, B}, store::Store};");
    fine("cli/demo/merchant.rs", "use crate::sandbox::Sandbox;");
    fine(
        "bin/vexora-sandbox.rs",
        "vexora_relay::sandbox::cli::main()",
    );
    fine("domain.rs", "//! See [`crate::verify`].");
}

#[test]
fn a_file_without_header_or_long_without_reason_is_seen() {
    assert_eq!(wrong_shape("tests/a.rs", "fn main() {}").len(), 1);
    let long = format!("//! A.\n{}", "\n".repeat(MOST_LINES));
    assert_eq!(wrong_shape("src/a.rs", &long).len(), 1);
    none(&wrong_shape("tests/a.rs", &long));
    none(&wrong_shape("src/a.rs", &format!("{long}{LONG}a table.")));
}

#[test]
fn a_path_of_this_machine_and_a_registry_are_seen() {
    let (path, host) = (
        ["/ro", "ot/.cargo"].concat(),
        ["https://py", "pi.org"].concat(),
    );
    assert_eq!(private_words("a.md", &format!("in {path}")).len(), 1);
    assert_eq!(private_words("a.md", &host).len(), 1);
    none(&private_words(
        "a.md",
        "the network/worker, /etc/vexora-relay",
    ));
}

#[test]
fn another_sled_and_inflating_bodies_are_seen() {
    let manifest = |sled, actix| {
        format!("[dependencies]\nsled = \"{sled}\"\nactix-web = {{ version = \"4\", {actix} }}\n")
    };
    let plain = "default-features = false, features = [\"macros\"]";
    let gzip = "default-features = false, features = [\"compress-gzip\"]";
    none(&wrong_manifest(&manifest("=0.34.7", plain)));
    assert_eq!(wrong_manifest(&manifest("0.34", plain)).len(), 1);
    assert_eq!(wrong_manifest(&manifest("=0.34.7", gzip)).len(), 1);
    let defaults = "features = [\"macros\"]";
    assert_eq!(wrong_manifest(&manifest("=0.34.7", defaults)).len(), 1);
}

#[test]
fn a_source_elsewhere_and_a_licence_that_is_not_allowed_are_seen() {
    let elsewhere = "source = \"git+https://example.com/x#1\"";
    assert_eq!(wrong_sources(elsewhere).len(), 1);
    let allowed = BTreeSet::from(["MIT".to_owned(), "ISC".to_owned()]);
    let ok = |expression| licence_ok(expression, &allowed);
    assert!(ok("MIT") && ok("GPL-3.0 OR MIT") && ok("GPL-3.0/MIT") && ok("MIT AND ISC"));
    assert!(ok("(GPL-3.0 OR MIT) AND ISC") && ok("GPL-3.0 WITH X OR ISC"));
    assert!(!ok("GPL-3.0") && !ok("MIT AND GPL-3.0") && !ok("") && !ok("MIT WITH X"));
    assert!(!ok("(GPL-3.0 OR MIT) AND GPL-3.0"));
}
