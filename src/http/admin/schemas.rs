//! What the API's JSON looks like, for its OpenAPI document. `tests/relay/openapi.rs` and schemathesis hold every answer
//! against it.

// long because: one schema after the other, each naming the ones before.

use serde_json::{Map, Value, json};

use crate::domain::EventKind;

/// How deliveries stand, as orders of many name it.
const STANDINGS: [&str; 4] = ["waiting", "delivered", "abandoned", "missing"];

fn text() -> Value {
    json!({ "type": "string" })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn words(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

fn a(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// An object with exactly these fields, all of them always there.
fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let fields: Map<String, Value> = fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    json!({
        "type": "object",
        "properties": fields,
        "required": names,
        "additionalProperties": false,
    })
}

/// A number for each endpoint.
fn by_endpoint(of: Value) -> Value {
    json!({ "type": "object", "additionalProperties": of })
}

fn merchant() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]{10}$" })
}

fn user() -> Value {
    let without_control_characters = r"^[^\u0000-\u001F\u007F-\u009F]+$";
    json!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": without_control_characters })
}

fn event_id() -> Value {
    json!({ "type": "string", "pattern": "^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$" })
}

fn callback_id() -> Value {
    json!({ "type": "string", "pattern": "^cb_[0-7][0-9A-HJKMNP-TV-Z]{25}$" })
}

fn endpoint_name() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9-]{1,64}$" })
}

fn kind() -> Value {
    words(&EventKind::ALL.map(EventKind::as_str))
}

/// A parameter that stands in a path.
pub(super) fn of_segment(path: &str, name: &str) -> Value {
    match name {
        "merchant" => merchant(),
        "user" => user(),
        "endpoint" | "name" => endpoint_name(),
        "event" => event_id(),
        "id" if path.contains("/callbacks/") => callback_id(),
        "id" if path.contains("/events/") => event_id(),
        _ => json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
    }
}

fn page_of(name: &str, row: Value) -> Value {
    object(&[(name, list(row)), ("next", or_null(text()))])
}

fn callback_fields() -> Vec<(&'static str, Value)> {
    vec![
        ("id", callback_id()),
        ("at", time()),
        ("merchant", merchant()),
        ("userId", or_null(user())),
        ("state", words(&["accepted", "unrecognized"])),
        ("sign", words(&["valid", "invalid", "missing"])),
        ("token", flag()),
        ("claim", or_null(text())),
        ("peer", or_null(text())),
        ("bytes", count()),
    ]
}

fn event_fields() -> Vec<(&'static str, Value)> {
    vec![
        ("id", event_id()),
        ("at", time()),
        ("type", kind()),
        ("merchant", or_null(merchant())),
        ("userId", or_null(user())),
        ("data", json!({ "type": "object" })),
    ]
}

fn delivery_fields() -> Vec<(&'static str, Value)> {
    let states = ["waiting", "delivering", "delivered", "abandoned"];
    vec![
        ("event", event_id()),
        ("endpoint", endpoint_name()),
        ("sequence", count()),
        ("state", words(&states)),
        ("at", time()),
        ("attempts", count()),
        (
            "reason",
            or_null(words(&["exhausted", "too_old", "discarded"])),
        ),
        ("lastFailure", or_null(text())),
    ]
}

fn verification_fields() -> Vec<(&'static str, Value)> {
    vec![
        ("state", words(&["waiting", "querying"])),
        ("due", time()),
        ("since", time()),
        ("queries", count()),
        ("source", words(&["callback", "reconcile", "operator"])),
        ("stuckSince", or_null(time())),
    ]
}

fn with(mut fields: Vec<(&'static str, Value)>, more: &[(&'static str, Value)]) -> Value {
    fields.extend_from_slice(more);
    object(&fields)
}

fn timeline() -> Value {
    let entry = |kind: &str, fields: &[(&'static str, Value)]| {
        let head = vec![("kind", words(&[kind])), ("at", time())];
        with(head, fields)
    };
    let callback = [
        ("id", callback_id()),
        ("claim", or_null(text())),
        ("sign", words(&["valid", "invalid", "missing"])),
        ("token", flag()),
        ("peer", or_null(text())),
        ("bytes", count()),
    ];
    let query = [
        ("tookMs", count()),
        ("outcome", text()),
        ("authenticationStatus", or_null(text())),
        ("failReason", or_null(text())),
        ("claimed", or_null(text())),
    ];
    list(json!({ "anyOf": [
        entry("callback", &callback),
        entry(
            "application",
            &[("result", words(&["unknown", "accepted", "declined"]))],
        ),
        entry("watch", &[]),
        entry("verify", &[]),
        entry("recognized", &[("callback", callback_id())]),
        entry("query", &query),
        a("EventMade"),
        a("Attempt"),
    ] }))
}

/// All schemas by name.
pub(super) fn all() -> Map<String, Value> {
    let problem = object(&[
        ("type", words(&["about:blank"])),
        ("title", text()),
        ("status", json!({ "type": "integer" })),
        ("code", text()),
        ("detail", text()),
    ]);
    let attention = object(&[
        ("what", text()),
        ("about", or_null(text())),
        ("count", or_null(count())),
        ("since", or_null(time())),
        ("do", text()),
    ]);
    let status = object(&[
        ("version", text()),
        ("now", time()),
        ("ready", flag()),
        ("reasons", list(text())),
        ("attention", list(attention)),
        (
            "pending",
            object(&[
                ("verifications", count()),
                ("deliveries", by_endpoint(count())),
            ]),
        ),
        (
            "counts",
            object(&[
                ("stuck", count()),
                ("unrecognized", count()),
                ("abandoned", by_endpoint(count())),
            ]),
        ),
        (
            "lateMs",
            object(&[
                ("verifications", count()),
                ("deliveries", by_endpoint(count())),
            ]),
        ),
        ("orphaned", list(endpoint_name())),
    ]);
    let event_made = object(&[
        ("kind", words(&["event"])),
        ("at", time()),
        ("id", event_id()),
        ("type", kind()),
        ("sequence", or_null(count())),
    ]);
    let attempt = object(&[
        ("kind", words(&["attempt"])),
        ("at", time()),
        ("tookMs", count()),
        ("event", event_id()),
        ("endpoint", endpoint_name()),
        ("attempt", count()),
        ("outcome", text()),
        ("status", or_null(count())),
        ("detail", or_null(text())),
    ]);
    let application = object(&[("since", time()), ("known", flag())]);
    let story = object(&[
        ("merchant", merchant()),
        ("userId", user()),
        ("sequence", count()),
        ("status", or_null(text())),
        ("failReason", or_null(text())),
        ("application", or_null(application)),
        ("verification", or_null(object(&verification_fields()))),
        ("deliveries", list(a("Delivery"))),
        ("timeline", timeline()),
    ]);
    let endpoint = object(&[
        ("name", endpoint_name()),
        ("state", words(&["up", "down", "paused"])),
        ("since", or_null(time())),
        ("pausedBy", or_null(words(&["operator", "gone"]))),
        ("nextProbe", or_null(time())),
        ("pending", count()),
        ("abandoned", count()),
        ("orphaned", flag()),
    ]);
    let held = object(&[
        ("state", words(&["down", "paused"])),
        ("since", time()),
        ("pausedBy", or_null(words(&["operator", "gone"]))),
        ("nextProbe", or_null(time())),
    ]);
    let sent = object(&[
        ("result", words(&["sent"])),
        ("event", event_id()),
        ("held", or_null(held)),
        ("notBefore", or_null(time())),
    ]);
    let job = object(&[
        ("id", count()),
        ("kind", words(&["replay", "retry", "discard"])),
        ("endpoint", endpoint_name()),
        ("since", or_null(time())),
        ("until", time()),
        ("types", list(kind())),
        ("states", list(words(&STANDINGS))),
        ("ordered", time()),
        ("state", words(&["running", "done", "cancelled"])),
        ("ended", or_null(time())),
        ("total", count()),
        ("done", count()),
    ]);
    let kinds = [
        "events",
        "deliveries",
        "attempts",
        "callbacks",
        "queries",
        "jobs",
    ];
    let bygone = object(&kinds.map(|kind| (kind, count())));
    let pass = object(&[("at", time()), ("gone", a("Bygone"))]);
    let retention = object(&[
        ("keepSeconds", count()),
        ("before", time()),
        ("wouldGo", a("Bygone")),
        ("lastPass", or_null(pass)),
    ]);
    let whole_callback = [
        ("contentType", or_null(text())),
        ("query", or_null(text())),
        ("body", text()),
        ("bodyEncoding", words(&["utf-8", "base64"])),
    ];
    let told = object(&[
        ("delivery", a("Delivery")),
        ("attempts", list(a("Attempt"))),
    ]);
    let listed_delivery = [
        ("type", kind()),
        ("made", time()),
        ("merchant", or_null(merchant())),
        ("userId", or_null(user())),
        ("held", flag()),
    ];
    let mut watched = vec![("merchant", merchant()), ("userId", user())];
    watched.extend(verification_fields());
    let schemas = [
        ("Problem", problem),
        ("Document", json!({ "type": "object" })),
        (
            "Ready",
            object(&[("ready", flag()), ("reasons", list(text()))]),
        ),
        ("Status", status),
        (
            "Callbacks",
            page_of("callbacks", object(&callback_fields())),
        ),
        ("WholeCallback", with(callback_fields(), &whole_callback)),
        (
            "Reprocessed",
            object(&[
                ("result", words(&["asked"])),
                ("merchant", merchant()),
                ("userId", user()),
            ]),
        ),
        ("Story", story),
        ("EventMade", event_made),
        ("Attempt", attempt),
        ("Asked", object(&[("result", words(&["asked"]))])),
        ("Watched", page_of("watched", object(&watched))),
        ("Events", page_of("events", object(&event_fields()))),
        (
            "WholeEvent",
            with(event_fields(), &[("deliveries", list(told))]),
        ),
        ("Delivery", object(&delivery_fields())),
        (
            "Deliveries",
            page_of("deliveries", with(delivery_fields(), &listed_delivery)),
        ),
        (
            "WholeDelivery",
            object(&[
                ("delivery", a("Delivery")),
                ("event", a("EventMade")),
                ("attempts", list(a("Attempt"))),
            ]),
        ),
        ("Endpoint", endpoint),
        ("Endpoints", object(&[("endpoints", list(a("Endpoint")))])),
        ("Sent", sent),
        ("Job", job),
        ("Bygone", bygone),
        ("Retention", retention),
        ("Jobs", object(&[("jobs", list(a("Job")))])),
        (
            "Ordered",
            object(&[("total", count()), ("job", or_null(a("Job")))]),
        ),
        ("JobOrder", job_order()),
        ("Application", application_order()),
        ("Applied", applied()),
        ("Watch", watch_order()),
        (
            "Watching",
            object(&[("watched", count()), ("new", count())]),
        ),
    ];
    schemas
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

fn job_order() -> Value {
    json!({
        "type": "object",
        "properties": {
            "since": or_null(time()),
            "until": or_null(time()),
            "types": list(kind()),
            "states": list(words(&STANDINGS)),
            "dry_run": { "type": "boolean", "default": false },
        },
        "additionalProperties": false,
    })
}

fn application_order() -> Value {
    json!({
        "type": "object",
        "properties": {
            "merchant": or_null(merchant()),
            "userId": user(),
            "usernameFurigana": { "type": "string", "description": "the name in katakana; goes to Vexora and nowhere else" },
            "batch": or_null(json!({
                "type": "string",
                "pattern": "^[!-~]{1,64}$",
                "description": "applies once for each user of a batch, even after the result, unless declined or not sent",
            })),
        },
        "required": ["userId", "usernameFurigana"],
        "additionalProperties": false,
    })
}

fn watch_order() -> Value {
    json!({
        "type": "object",
        "properties": { "merchant": or_null(merchant()), "users": list(user()) },
        "required": ["users"],
        "additionalProperties": false,
    })
}

fn applied() -> Value {
    json!({
        "type": "object",
        "properties": {
            "result": words(&["accepted", "already", "unknown"]),
            "since": time(),
            "known": flag(),
            "cause": text(),
        },
        "required": ["result"],
        "additionalProperties": false,
    })
}
