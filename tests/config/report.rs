//! What is said of a file that is wrong: all of it, with line, key and advice.

use super::*;

#[test]
fn a_file_full_of_mistakes_is_reported_whole_with_line_key_and_advice() {
    let text = r##"[server]
listen = "localhost:8080"
max_bdoy = "64KiB"
max_body = "2MiB"
request_timeout = 10
rate_limit = "fast"
allow_from = ["10.0.0.0/8", "10.0.0.7/8", "everyone"]

[vexora]
base_url = "http://api.vexora.example/japan"
max_in_flight = 0

[verify]
retry = ["1s", "soon", "0s"]
on_bad_sign = "flagg"

[delivery]
jitter = 1.5

[mystery]

[[merchant]]
merchant_no = 1027749636
app_secret = { credential = "no-such-credential" }
callback_token = "hunter2"

[[endpoint]]
name = "ledger"
url = "http://ledger.example.com/hooks/s3cr3t"
secret = "whsec_hunter2"
events = ["kyc.aproved"]
merchants = ["0000000000"]
headers = { Host = "x", X-Team = "payments" }
client_cert = "nowhere.pem"

[[endpoint]]
name = "ledger"
url = "https://user:hunter2@ledger.example.com/"
allow_private = "no"
"##;
    let place = Place::new();
    let problems = config::parse("config.toml", text, &place.vars()).expect_err("refused");
    let report = problems
        .to_string()
        .replace(&*place.directory.path().to_string_lossy(), "/tmp");
    assert!(
        !report.contains("hunter2") && !report.contains("hooks/s3cr3t"),
        "{report}"
    );
    insta::assert_snapshot!(report, @r##"
    config.toml:2: server.listen: is "localhost:8080", expected an address and port such as "127.0.0.1:8080", or "unix:/path"
      hint: names are not looked up; IPv6 goes in brackets, as in "[::1]:8080"
    config.toml:3: server.max_bdoy: is not a key here, expected one of listen, public_url, tls, max_body, request_timeout, ack, allow_from, trusted_proxies, rate_limit
      hint: did you mean max_body?
    config.toml:4: server.max_body: is "2MiB", expected a size from 1KiB to 1MiB
    config.toml:5: server.request_timeout: is an integer, expected a duration from 100ms to 1m
    config.toml:6: server.rate_limit: is "fast", expected "off" or a rate from "1/h" to "1000000/s"
      hint: so many per second, minute or hour: "50/s", "3000/m", "10000/h"
    config.toml:7: server.allow_from, item 2: is "10.0.0.7/8", expected a network without host bits
      hint: "10.0.0.0/8" is the network, "10.0.0.7" the address alone
    config.toml:7: server.allow_from, item 3: is "everyone", expected a network such as "10.0.0.0/8" or an address
    config.toml:10: vexora.base_url: scheme is "http", expected "https"
      hint: plain http is allowed to loopback only
    config.toml:11: vexora.max_in_flight: is 0, expected a whole number from 1 to 1000
    config.toml:14: verify.retry, item 2: is "soon", expected a duration from 1ms to 30d
      hint: a number and a unit: "500ms", "10s", "2m", "1h", "90d"
    config.toml:14: verify.retry, item 3: is "0s", expected a duration from 1ms to 30d
    config.toml:15: verify.on_bad_sign: is "flagg", expected "flag" or "refuse"
      hint: did you mean "flag"?
    config.toml:18: delivery.jitter: is 1.5, expected a number from 0 to 1
    config.toml:20: mystery: is not a key here, expected one of server, admin, store, vexora, verify, delivery, log, merchant, endpoint
    config.toml:23: merchant 1: merchant_no: is an integer, expected a string of exactly ten digits
      hint: put it in quotes
    config.toml:24: merchant 1: app_secret.credential: cannot read "/tmp/credentials/no-such-credential" (No such file or directory (os error 2)), expected the credential's file
      hint: does the unit have LoadCredential=no-such-credential:… ?
    config.toml:25: merchant 1: callback_token: has 7 characters, expected 16 to 128 characters of A-Z a-z 0-9 - . _ ~
      hint: `openssl rand -hex 24` and `vexora-relay secret` make one
    config.toml:29: endpoint "ledger": url: scheme is "http", expected "https"
      hint: plain http is allowed to loopback only, unless allow_http = true
    config.toml:30: endpoint "ledger": secret: is no signing secret: what follows the prefix is not base 64 (standard alphabet, padded), expected whsec_ or whsk_ and base 64
      hint: `vexora-relay secret` makes one; the receiver must know it too
    config.toml:31: endpoint "ledger": events, item 1: is "kyc.aproved", expected an event type, a family such as "kyc.*", or "*"
      hint: did you mean "kyc.approved"? there are kyc.pending, kyc.under_review, kyc.approved, kyc.rejected, kyc.unknown, relay.endpoint.down, relay.endpoint.recovered, relay.delivery.abandoned, relay.verification.stuck, relay.callback.unrecognized, relay.provider.down, relay.provider.recovered, relay.test
    config.toml:32: endpoint "ledger": merchants, item 1: is "0000000000", expected the merchant_no of a [[merchant]]
    config.toml:33: endpoint "ledger": headers.Host: is a header that is the relay's or the connection's own, expected another header
    config.toml:34: endpoint "ledger": client_key: is missing, expected a file: client_cert is given, and they go together
    config.toml:34: endpoint "ledger": client_cert: cannot read "nowhere.pem" (No such file or directory (os error 2)), expected a PEM file with a certificate
      hint: a relative path starts at the directory of the configuration file
    config.toml:36: endpoint "ledger": secret: is missing, expected a secret: { credential = "name" }, { file = "path" } or { env = "NAME" }
    config.toml:37: endpoint "ledger": name: is that of another endpoint in line 28, expected a name of its own
    config.toml:38: endpoint "ledger": url: has a user name or password in it, expected a URL without
      hint: an endpoint takes them as headers = { Authorization = { credential = "…" } }
    config.toml:39: endpoint "ledger": allow_private: is a string, expected true or false
    28 problems
    "##);
}

#[test]
fn after_a_syntax_error_only_that_is_reported_and_not_the_line() {
    let place = Place::new();
    let problem = place.problem(
        "[server]\nnonsense = 1\n\n[[merchant]]\napp_secret = \"hunter2\nmerchant_no = 1\n",
    );
    assert_eq!(problem.line, Some(5));
    assert!(!problem.to_string().contains("hunter2"));
    let twice = place.problem("[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n");
    assert_eq!(twice.line, Some(3));
}

#[test]
fn an_empty_file_lacks_a_merchant_and_nothing_else() {
    let problem = Place::new().problem("");
    assert_eq!((problem.line, problem.key.as_str()), (None, "merchant"));
}

#[test]
fn a_mistyped_key_is_refused_with_the_key_that_was_meant() {
    let place = Place::new();
    let problem = place.problem(&section("store", "retension = \"1d\""));
    assert_eq!(problem.key, "store.retension");
    assert_eq!(problem.hint.as_deref(), Some("did you mean retention?"));
    let problem = place.problem(&format!("[sever]\n{MERCHANT}"));
    assert_eq!(problem.hint.as_deref(), Some("did you mean server?"));
    let problem = place.problem(&endpoint("\"a key\\n\" = 1"));
    assert_eq!(problem.key, "endpoint \"ledger\": \"a key\\n\"");
    assert_eq!(problem.hint, None);
}

#[test]
fn single_brackets_and_lists_of_tables_are_told_apart() {
    let place = Place::new();
    let problem = &place.refuse("[merchant]\nmerchant_no = \"1027749636\"\n")[0];
    assert_eq!(problem.key, "merchant");
    assert!(problem.expected.contains("[[merchant]]"));
    let problem = place.problem(&format!("{MERCHANT}\n[[server]]\n"));
    assert!(problem.expected.contains("[server]"));
    let inline =
        r#"merchant = [{ merchant_no = "1027749636", app_secret = { env = "APP_SECRET" } }]"#;
    assert_eq!(place.accept(inline).merchants.len(), 1);
}

#[test]
fn each_entry_of_a_list_has_its_own_problems_on_its_own_line() {
    let place = Place::new();
    let text = "[[merchant]]\nmerchant_no = \"1\"\n\n[[merchant]]\napp_secret = \"x\"\n\n[[merchant]]\n\
                merchant_no = \"1027749636\"\napp_secret = \"x\"\n\n[[merchant]]\nmerchant_no = \"1027749636\"\napp_secret = \"\"\n";
    let problems = place.refuse(text);
    let places: Vec<(usize, &str)> = problems
        .iter()
        .map(|p| (p.line.expect("a line"), p.key.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (1, "merchant \"1\": app_secret"),
            (2, "merchant \"1\": merchant_no"),
            (4, "merchant 2: merchant_no"),
            (12, "merchant \"1027749636\": merchant_no"),
            (13, "merchant \"1027749636\": app_secret"),
        ]
    );
    assert!(problems[3].found.contains("line 8"), "{}", problems[3]);
}

#[test]
fn an_endpoint_is_not_blamed_for_the_merchant_it_refers_to() {
    let text = endpoint("merchants = [\"1027749636\"]").replace("\"app-secret\"", "\"gone\"");
    assert_eq!(
        Place::new().problem(&text).key,
        "merchant \"1027749636\": app_secret.credential"
    );
}
