//! The stylesheet and the script: served from the binary, named after what is in them, so that a browser may keep them
//! and an upgrade is seen at once. Nothing in them is secret; the sign-in page needs them too.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use sha2::{Digest as _, Sha256};

use super::visit::Stop;

const CSS: &str = include_str!("dashboard.css");
const JS: &str = include_str!("dashboard.js");

fn named(text: &str, ending: &str) -> String {
    let hash = hex::encode(Sha256::digest(text));
    let short: String = hash.chars().take(12).collect();
    format!("dashboard-{short}.{ending}")
}

static CSS_NAME: LazyLock<String> = LazyLock::new(|| named(CSS, "css"));
static JS_NAME: LazyLock<String> = LazyLock::new(|| named(JS, "js"));

/// Where the stylesheet is.
pub(super) fn css() -> String {
    format!("/assets/{}", *CSS_NAME)
}

/// Where the script is.
pub(super) fn js() -> String {
    format!("/assets/{}", *JS_NAME)
}

pub(super) async fn serve(name: web::Path<String>) -> Result<HttpResponse, Stop> {
    let (kind, text) = match name.as_str() {
        name if name == *CSS_NAME => ("text/css; charset=utf-8", CSS),
        name if name == *JS_NAME => ("text/javascript; charset=utf-8", JS),
        _ => return Err(Stop::nothing_here()),
    };
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header(("x-content-type-options", "nosniff"));
    Ok(answer.body(text))
}
