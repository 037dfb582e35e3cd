//! `/api/v1`: what operators and the command line ask for and order.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::auth::Operator;
use super::{AdminParts, attention, views};
use crate::domain::{Batch, InvalidId, MerchantNo, Source, Trust, UserId};
use crate::http::problem::Problem;
use crate::store::StoreError;
use crate::verify::{Applied, ApplyError};

pub(super) type Answer = Result<HttpResponse, Failed>;
pub(super) type Parts = web::Data<AdminParts>;

/// A problem as actix wants it: returned by a handler's `?`.
#[derive(Debug)]
pub(super) struct Failed(pub(super) Problem);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.code())
    }
}

impl actix_web::ResponseError for Failed {
    fn error_response(&self) -> HttpResponse {
        self.0.response().map_into_boxed_body()
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Cursor) {
            return invalid(
                "cursor",
                &InvalidId("expected the `next` of this list, asked with the same filter"),
            );
        }
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "an operator's request failed in the store"
        );
        Self(
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_failed",
                "the store could not do it; see the log",
            )
            .retry_after(2),
        )
    }
}

pub(super) fn invalid(what: &str, error: &InvalidId) -> Failed {
    let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid_request", "");
    Failed(problem.detail(format!("{what}: {error}")))
}

pub(super) fn body<T: for<'de> Deserialize<'de>>(bytes: &web::Bytes) -> Result<T, Failed> {
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid_request", "");
        // Where, and of what kind; the words of the error may quote what was sent.
        let (line, column) = (error.line(), error.column());
        Failed(problem.detail(format!(
            "the body is not the JSON object this takes (line {line}, column {column}); see docs/api.md"
        )))
    })
}

/// A merchant that is configured; left out, the only one.
fn merchant(parts: &AdminParts, named: Option<&str>) -> Result<MerchantNo, Failed> {
    let Some(named) = named else {
        let known = parts.applications.merchants.load();
        return match known.as_slice() {
            [only] => Ok(only.merchant.clone()),
            _ => Err(Failed(Problem::new(
                StatusCode::BAD_REQUEST,
                "merchant_needed",
                "there are several merchants: name one as \"merchant\"",
            ))),
        };
    };
    let number: MerchantNo = named.parse().map_err(|error| invalid("merchant", &error))?;
    if parts.knows(&number) {
        return Ok(number);
    }
    Err(Failed(Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_merchant",
        "no merchant with this number is configured",
    )))
}

pub(super) async fn status(_: Operator, parts: Parts) -> Answer {
    Ok(HttpResponse::Ok().json(attention::status(&parts).await?))
}

pub(super) async fn user(_: Operator, parts: Parts, path: web::Path<(String, String)>) -> Answer {
    let (number, user) = path.into_inner();
    let number = merchant(&parts, Some(&number))?;
    let user: UserId = user.parse().map_err(|error| invalid("user", &error))?;
    let story = parts.store.story(&number, &user).await?;
    Ok(HttpResponse::Ok().json(views::story(&number, &user, &story)))
}

pub(super) async fn verify(_: Operator, parts: Parts, path: web::Path<(String, String)>) -> Answer {
    let (number, user) = path.into_inner();
    let number = merchant(&parts, Some(&number))?;
    let user: UserId = user.parse().map_err(|error| invalid("user", &error))?;
    ask_about(&parts, &number, &user).await?;
    Ok(HttpResponse::Accepted().json(json!({ "result": "asked" })))
}

/// Has Vexora asked about a user now.
pub(super) async fn ask_about(
    parts: &AdminParts,
    merchant: &MerchantNo,
    user: &UserId,
) -> Result<(), StoreError> {
    let now = parts.clock.now();
    let store = &parts.store;
    store
        .request_verification(merchant, user, Source::Operator, Trust::Token, now)
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ApplicationBody {
    merchant: Option<String>,
    user_id: String,
    username_furigana: String,
    batch: Option<String>,
}

pub(super) async fn apply(_: Operator, parts: Parts, bytes: web::Bytes) -> Answer {
    let order: ApplicationBody = body(&bytes)?;
    let number = merchant(&parts, order.merchant.as_deref())?;
    let user: UserId = order
        .user_id
        .parse()
        .map_err(|error| invalid("userId", &error))?;
    let name = order.username_furigana.parse();
    let name = name.map_err(|error| invalid("usernameFurigana", &error))?;
    let batch = order.batch.map(|batch| batch.parse()).transpose();
    let batch: Option<Batch> = batch.map_err(|error| invalid("batch", &error))?;
    let applications = &parts.applications;
    let applied = match applications
        .apply(&number, &user, &name, batch.as_ref())
        .await
    {
        Ok(applied) => applied,
        Err(ApplyError::Store(error)) => return Err(error.into()),
        Err(error @ (ApplyError::NoMerchant | ApplyError::NoPublicUrl)) => {
            let problem = Problem::new(StatusCode::CONFLICT, "cannot_apply", "");
            return Err(Failed(problem.detail(error.to_string())));
        }
    };
    let status = match &applied {
        Applied::Accepted | Applied::Already(_) => StatusCode::OK,
        Applied::Unknown(_) => StatusCode::ACCEPTED,
        Applied::Declined(code) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let problem = Problem::new(status, "application_declined", "");
            return Err(Failed(problem.detail(format!(
                "Vexora declined the application with code {code:?}; nothing is out"
            ))));
        }
        Applied::NotSent(class) => {
            let problem = Problem::new(StatusCode::BAD_GATEWAY, "vexora_unreachable", "");
            return Err(Failed(problem.detail(format!(
                "Vexora could not be reached ({}); nothing was sent",
                class.as_str()
            ))));
        }
    };
    Ok(HttpResponse::build(status).json(views::applied(&applied)))
}

pub(super) async fn retention(_: Operator, parts: Parts) -> Answer {
    let (before, would_go) = parts.retention.count().await?;
    let view = views::retention(
        parts.retention.keep(),
        before,
        would_go,
        parts.retention.last(),
    );
    Ok(HttpResponse::Ok().json(view))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchBody {
    merchant: Option<String>,
    users: Vec<String>,
}

pub(super) async fn watch(_: Operator, parts: Parts, bytes: web::Bytes) -> Answer {
    let order: WatchBody = body(&bytes)?;
    let number = merchant(&parts, order.merchant.as_deref())?;
    let mut users = Vec::with_capacity(order.users.len());
    for (index, user) in order.users.iter().enumerate() {
        let place = format!("users[{index}]");
        users.push(user.parse().map_err(|error| invalid(&place, &error))?);
    }
    let fresh = parts.applications.watch(&number, &users).await?;
    Ok(HttpResponse::Ok().json(json!({ "watched": users.len(), "new": fresh })))
}
