//! The OpenAPI document is true: every route that it names answers as it says, no other is answered, and a tool of
//! strangers (schemathesis) finds nothing that it does not say.
//!
//! `.ci/run` installs schemathesis into target/; where it is not installed, that test says that it was skipped.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::admin::{Operator, Said, lived};
use crate::kit::MERCHANT;

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// Whether a value is of a schema, as far as our schemas go. Empty: it is.
fn wrong(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(&name[1..]).expect("a schema of this name");
        return wrong(document, schema, value, at);
    }
    if let Some(either) = schema["anyOf"].as_array() {
        let tried: Vec<Vec<String>> = either
            .iter()
            .map(|schema| wrong(document, schema, value, at))
            .collect();
        let fits = tried.iter().any(Vec::is_empty);
        return if fits { vec![] } else { tried.concat() };
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return vec![format!("{at}: {value} is none of {words:?}")];
    }
    let is_so = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        other => panic!("{at}: this test does not know {other:?}"),
    };
    if !is_so {
        return vec![format!("{at}: {value} is no {}", schema["type"])];
    }
    let mut found = Vec::new();
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(wrong(
            document,
            &schema["items"],
            item,
            &format!("{at}/{index}"),
        ));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    let more = &schema["additionalProperties"];
    for (name, field) in value.as_object().into_iter().flatten() {
        let own = &schema["properties"][name];
        let at = format!("{at}/{name}");
        if own.is_object() {
            found.extend(wrong(document, own, field, &at));
        } else if more.is_object() {
            found.extend(wrong(document, more, field, &at));
        } else if *more == json!(false) {
            found.push(format!("{at}: not in the schema"));
        }
    }
    found
}

/// Holds an answer against what the document says of this operation.
fn check(document: &Value, operation: &Value, said: &Said, what: &str) {
    let known = &operation["responses"][said.status.to_string()];
    assert!(
        known.is_object(),
        "{what}: {} is not in the document",
        said.status
    );
    let kind = said.header("content-type").split(';').next().unwrap();
    let content = &known["content"][kind];
    assert!(
        content.is_object(),
        "{what}: {kind:?} of {} is not in the document",
        said.status
    );
    if content["schema"].is_object() {
        let findings = wrong(document, &content["schema"], &said.json(), "");
        assert!(findings.is_empty(), "{what}: {findings:?}");
    }
}

#[tokio::test]
async fn every_route_answers_as_the_document_says_and_no_other_method_is_taken() {
    let (relay, _sink) = lived().await;
    let operator = Operator::of(&relay);
    let document = operator.get("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let event = operator.all("events", "user=taro", 1).await[0]["id"].clone();
    let callback = operator.all("callbacks", "user=taro", 1).await[0]["id"].clone();
    let fill = |path: &str, real: bool| {
        let id = match path.split('/').nth(3) {
            Some("callbacks") if real => callback.as_str().unwrap(),
            Some("callbacks") => "cb_00000000000000000000000000",
            Some("events") if real => event.as_str().unwrap(),
            Some("events") => "evt_00000000000000000000000000",
            _ if real => "1",
            _ => "99",
        };
        path.replace("{merchant}", if real { MERCHANT } else { "9999999999" })
            .replace("{user}", "taro")
            .replace("{event}", event.as_str().unwrap())
            .replace("{endpoint}", if real { "bad" } else { "nobody" })
            .replace("{name}", if real { "bad" } else { "nobody" })
            .replace("{id}", id)
    };
    let bodies = [
        None,
        Some(json!({})),
        Some(json!({"since": "2020-01-01T00:00:00Z", "dry_run": true})),
        Some(json!({"since": "2020-01-01T00:00:00Z"})),
        Some(json!({"users": ["someone"]})),
        Some(json!({"userId": "somebody", "usernameFurigana": "ヤマダ タロウ"})),
    ];
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            for real in [true, false] {
                let filled = fill(path, real);
                for body in &bodies {
                    let what = format!("{method} {filled} {body:?}");
                    let said = operator.ask(&method, &filled, body.as_ref()).await;
                    assert_ne!(said.status, 405, "{what}");
                    check(&document, operation, &said, &what);
                }
            }
            if path.starts_with("/api/") {
                let said = operator.send(&method, &fill(path, true), &[], None).await;
                assert_eq!(said.status, 401, "{method} {path}");
                check(&document, operation, &said, path);
                let unknown = format!("{}?no=such", fill(path, true));
                let said = operator.ask(&method, &unknown, None).await;
                assert_eq!(said.status, 400, "{method} {unknown}");
                check(&document, operation, &said, path);
            }
        }
        for method in METHODS {
            if operations.get(method.to_lowercase()).is_none() {
                let said = operator.ask(method, &fill(path, true), None).await;
                assert_eq!(said.status, 405, "{method} {path}");
                assert!(!said.header("allow").is_empty() && !said.header("allow").contains(method));
                assert_eq!(said.json()["code"], "method_not_allowed");
            }
        }
    }
    for path in [
        "/api/v1",
        "/api/v1/",
        "/api/v2/status",
        "/api/v1/callbacks/a/b",
        "/nothing",
    ] {
        let said = operator.ask("GET", path, None).await;
        assert_eq!(
            (said.status, &said.json()["code"]),
            (404, &json!("not_found")),
            "{path}"
        );
    }
    let large = json!({ "users": ["x".repeat(5 << 20)] });
    let said = operator.ask("POST", "/api/v1/watch", Some(&large)).await;
    assert_eq!(
        (said.status, &said.json()["code"]),
        (413, &json!("body_too_large"))
    );
}

/// The API's routes stand in one table and nowhere else: what the document is made from is what is answered.
#[test]
fn no_route_of_the_api_is_made_outside_of_the_table() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/admin");
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "rs") || path.ends_with("routes.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for made in ["web::resource(\"/api", ".route(\"/api", "web::scope(\"/api"] {
            assert!(!text.contains(made), "{}: {made}", path.display());
        }
        seen += 1;
    }
    assert!(seen > 10);
}

/// Past the capture of output: whoever runs the tests is to know what was not looked at.
fn skipped() {
    assert!(
        std::env::var_os("CI").is_none(),
        "schemathesis is not installed: .ci/run does that"
    );
    let text = "skipped: the OpenAPI document is not checked with schemathesis; `CI=true bash .ci/run` installs it\n";
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_no_5xx_and_no_undocumented_answer() {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    if !tool.exists() {
        return skipped();
    }
    let (relay, _sink) = lived().await;
    let directory = tempfile::tempdir().unwrap();
    let document = Operator::of(&relay).get("/openapi.json").await;
    let file = directory.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let mut command = Command::new(tool);
    command
        .current_dir(directory.path())
        .arg("run")
        .arg(&file)
        .args(["--url", &relay.admin_url()])
        .args(["--header", &format!("Authorization: Bearer {}", relay.admin_token())])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"])
        // The same requests each time; what it finds can be found again.
        .args(["--seed", "1", "--max-examples", "20", "--generation-deterministic", "--no-color"]);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let run = run.await.unwrap();
    assert!(
        run.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
}
