//! The provider's two APIs over HTTP: the status query and the application.
//!
//! Promise: what the provider's API layer declines is HTTP 200 with a code, as with the real one; what a web server
//! declines (media type, size, method, path) is an HTTP status. User ids are logged at debug level only, signs and
//! secrets never.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::account::Application;
use super::callback::status_value;
use super::engine::Engine;
use super::faults::Faults;
use super::intake::{self, Code, Refusal};
use super::world::Key;
use crate::domain::{Status, Verdict};

/// As long as any client's patience: a call that is never answered ends here, so that none lives for ever.
const HANG: Duration = Duration::from_secs(120);

/// `POST …/v1/vexora/kycStatusQuery`.
pub(super) async fn query(
    request: HttpRequest,
    body: web::Bytes,
    engine: web::Data<Engine>,
) -> HttpResponse {
    if media_type(&request) != "application/json" {
        return unsupported("application/json");
    }
    let admitted = admit_query(&request, &body, &engine);
    let (key, faults) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return refuse(&engine, "kycStatusQuery", &refusal, &Faults::default()),
    };
    let now = engine.now();
    let verdict = engine.world().query(now, &key);
    if faults.query_hang {
        return hang(&engine).await;
    }
    if faults.query_500 {
        return HttpResponse::InternalServerError().json(json!({"error": "internal server error"}));
    }
    if faults.query_not_json {
        return HttpResponse::Ok()
            .content_type("text/html")
            .body("<html><body>We will be back soon.</body></html>");
    }
    let verdict = match verdict {
        Some(verdict) => verdict,
        None if engine.unknown_pending => Verdict::new(Status::Pending, None),
        None => {
            let refusal = Refusal::new(Code::UserUnknown, "this user has never applied");
            return refuse(&engine, "kycStatusQuery", &refusal, &faults);
        }
    };
    let status = if faults.status_unknown {
        Status::Unknown("4".to_owned())
    } else {
        verdict.status().clone()
    };
    let mut data = json!({"authenticationStatus": status_value(&status, faults.status_number)});
    if let (Some(reason), Some(members)) = (verdict.reason(), data.as_object_mut()) {
        members.insert("failReason".to_owned(), json!(reason));
    }
    let code = if faults.query_wrong_code {
        Code::Wrong
    } else {
        Code::Done
    };
    tracing::debug!(user = %key.1, status = status.code(), "status told");
    answer(&engine, "kycStatusQuery", code, data, &faults)
}

fn admit_query(
    request: &HttpRequest,
    body: &[u8],
    engine: &Engine,
) -> Result<(Key, Faults), Refusal> {
    let (merchant, secret) = intake::merchant(merchant_header(request), &engine.world().merchants)?;
    let fields = intake::from_json(body)?;
    let key = (merchant, intake::check(&fields, &[], &secret)?);
    let faults = engine.world().faults_of(&key).clone();
    Ok((key, faults))
}

/// `POST …/v1/vexora/kycApplyFor`.
pub(super) async fn apply(
    request: HttpRequest,
    body: web::Bytes,
    engine: web::Data<Engine>,
) -> HttpResponse {
    if media_type(&request) != "multipart/form-data" {
        return unsupported("multipart/form-data");
    }
    let (key, application) = match admit_application(&request, body, &engine).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refuse(&engine, "kycApplyFor", &refusal, &Faults::default()),
    };
    let (faults, applied) = {
        let now = engine.now();
        let mut world = engine.world();
        let faults = world.faults_of(&key).clone();
        (faults, world.apply(now, &key, application))
    };
    engine.kick();
    for errand in applied.first {
        let sender = Arc::clone(&engine);
        // On a task of its own: a client that hangs up must not leave the callback half sent.
        let sent = engine
            .tasks
            .spawn(async move { sender.deliver(errand).await });
        if sent.await.is_err() {
            tracing::error!("an early callback ended without a result");
        }
    }
    if faults.apply_hang {
        return hang(&engine).await;
    }
    tracing::debug!(user = %key.1, status = applied.status.code(), "application taken");
    let data = json!({
        "userId": key.1.as_str(),
        "authenticationStatus": status_value(&applied.status, faults.status_number),
        "message": "application accepted",
    });
    answer(&engine, "kycApplyFor", Code::Done, data, &faults)
}

async fn admit_application(
    request: &HttpRequest,
    body: web::Bytes,
    engine: &Engine,
) -> Result<(Key, Application), Refusal> {
    let (merchant, secret) = intake::merchant(merchant_header(request), &engine.world().merchants)?;
    let mut fields = intake::from_multipart(&content_type(request), body).await?;
    let user = intake::check(&fields, &["callBackUrl", "usernameFurigana"], &secret)?;
    let callback_url = fields.remove("callBackUrl").unwrap_or_default();
    intake::callback_url(&callback_url, engine.allow_remote)
        .map_err(|problem| Refusal::new(Code::Value, format!("callBackUrl: {problem}")))?;
    let application = Application {
        at: engine.now(),
        callback_url,
        username_furigana: fields.remove("usernameFurigana").unwrap_or_default(),
    };
    Ok(((merchant, user), application))
}

fn merchant_header(request: &HttpRequest) -> Option<&str> {
    request.headers().get("merchantNo")?.to_str().ok()
}

fn content_type(request: &HttpRequest) -> String {
    let header = request.headers().get(CONTENT_TYPE);
    header
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn media_type(request: &HttpRequest) -> String {
    let whole = content_type(request);
    let essence = whole.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn unsupported(expected: &str) -> HttpResponse {
    HttpResponse::UnsupportedMediaType()
        .json(json!({"error": format!("expected Content-Type {expected}")}))
}

/// No answer for as long as anybody may wait.
async fn hang(engine: &Engine) -> HttpResponse {
    // Either way it is over: time is up, or the sandbox stops.
    let _over = tokio::time::timeout(HANG, engine.stop.cancelled()).await;
    HttpResponse::GatewayTimeout().finish()
}

fn refuse(engine: &Engine, api: &'static str, refusal: &Refusal, faults: &Faults) -> HttpResponse {
    respond(engine, api, refusal.code, &refusal.msg, false, None, faults)
}

fn answer(
    engine: &Engine,
    api: &'static str,
    code: Code,
    data: Value,
    faults: &Faults,
) -> HttpResponse {
    respond(engine, api, code, "success", true, Some(data), faults)
}

fn respond(
    engine: &Engine,
    api: &'static str,
    code: Code,
    msg: &str,
    success: bool,
    data: Option<Value>,
    faults: &Faults,
) -> HttpResponse {
    tracing::info!(api, code = code.as_str(), success, "request answered");
    {
        let mut world = engine.world();
        let counts = if api == "kycApplyFor" {
            &mut world.requests.apply
        } else {
            &mut world.requests.query
        };
        *counts.entry(code.as_str()).or_default() += 1;
    }
    let mut body = json!({
        "msg": msg,
        "code": code.as_str(),
        "timestamp": engine.now().as_millis().to_string(),
        "success": if faults.success_text { json!(success.to_string()) } else { json!(success) },
    });
    if let (Some(data), Some(members)) = (data, body.as_object_mut()) {
        members.insert("data".to_owned(), data);
    }
    HttpResponse::Ok().json(body)
}
