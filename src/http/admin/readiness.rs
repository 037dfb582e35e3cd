//! `/readyz`: whether callbacks should be sent here, and if not, why.

use std::sync::atomic::{AtomicU8, Ordering};

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::AdminParts;

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const STOPPING: u8 = 2;

/// Whether callbacks should be sent here.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// Everything runs.
    pub fn serving(&self) {
        self.0.store(SERVING, Ordering::Release);
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.0.store(STOPPING, Ordering::Release);
    }

    /// What stands against sending callbacks here; empty: nothing.
    #[must_use]
    pub fn reasons(&self) -> Vec<&'static str> {
        match self.0.load(Ordering::Acquire) {
            STARTING => vec!["starting"],
            SERVING => vec![],
            _ => vec!["stopping"],
        }
    }
}

pub(super) async fn answer(parts: web::Data<AdminParts>) -> HttpResponse {
    let mut reasons = parts.readiness.reasons();
    // Asked anew each time: the store itself looks only when it has something to write.
    let free = rustix::fs::statvfs(&parts.directory);
    let free = free.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if free < parts.min_free.max(1) {
        reasons.push("disk_low");
    }
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    HttpResponse::build(status).json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))
}
