//! `/api/v1/openapi.json`: the OpenAPI 3.1 document, made from the table of routes.

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

use super::api::Answer;
use super::auth::Operator;
use super::routes::{OPERATIONS, Operation, Shape};
use super::schemas;

pub(super) async fn answer(_: Operator) -> Answer {
    Ok(HttpResponse::Ok().json(document()))
}

/// Problems that any route with a token may answer.
const OF_EVERY_ROUTE: [u16; 4] = [400, 401, 429, 503];

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.word().to_owned(), described(operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "vexora-relay",
            "summary": "What operators ask for and order",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "token": [] }],
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn described(operation: &Operation) -> Value {
    let mut answers = Map::new();
    for (status, shape) in operation.answers {
        let content = match shape {
            Shape::Json(schema) => json!({ "application/json": { "schema": reference(schema) } }),
            Shape::Raw(kind) => json!({ *kind: {} }),
        };
        let about = json!({ "description": said(*status), "content": content });
        answers.insert(status.to_string(), about);
    }
    let shared: &[u16] = if operation.open {
        &[405]
    } else {
        &OF_EVERY_ROUTE
    };
    let of_bodies: &[u16] = if operation.body.is_some() {
        &[413]
    } else {
        &[]
    };
    for status in shared.iter().chain(of_bodies).chain(operation.problems) {
        // A 503 of its own says more.
        answers
            .entry(status.to_string())
            .or_insert_with(|| problem(*status));
    }
    let mut about = json!({
        "operationId": operation.id,
        "summary": operation.about,
        "parameters": parameters(operation),
        "responses": answers,
    });
    if let (Some(schema), Some(about)) = (operation.body, about.as_object_mut()) {
        let body = json!({
            "required": true,
            "content": { "application/json": { "schema": reference(schema) } },
        });
        about.insert("requestBody".to_owned(), body);
    }
    if let (true, Some(about)) = (operation.open, about.as_object_mut()) {
        about.insert("security".to_owned(), json!([]));
    }
    about
}

const fn said(status: u16) -> &'static str {
    match status {
        200 => "Done, or what was asked for",
        202 => "Ordered; it happens soon",
        _ => "Not ready",
    }
}

fn problem(status: u16) -> Value {
    let about = match status {
        400 => "Something in the request is not what it must be; the detail names it",
        401 => "The token is missing or wrong",
        404 => "There is nothing of this name",
        405 => "Another method",
        409 => "It cannot be done as things stand",
        413 => "The body is larger than 4 MiB",
        422 => "Vexora declined it",
        429 => "Too many wrong tokens from this address",
        502 => "Vexora could not be reached; nothing was sent",
        _ => "The store could not do it; try again after Retry-After",
    };
    let mut headers = json!({});
    if let (429 | 503, Some(headers)) = (status, headers.as_object_mut()) {
        let seconds = json!({ "description": "seconds", "schema": { "type": "integer" } });
        headers.insert("Retry-After".to_owned(), seconds);
    }
    json!({
        "description": about,
        "headers": headers,
        "content": { "application/problem+json": { "schema": reference("Problem") } },
    })
}

/// Those of the path, then those of the query.
fn parameters(operation: &Operation) -> Vec<Value> {
    let segments = operation.path.split('/');
    let named = segments.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = named.map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": schemas::of_segment(operation.path, name) })
    });
    let in_query = operation.query.iter().map(|param| {
        json!({
            "name": param.name,
            "in": "query",
            "description": param.about,
            "schema": (param.schema)(),
        })
    });
    in_path.chain(in_query).collect()
}
