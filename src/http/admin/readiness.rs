//! `/readyz`: whether callbacks should be sent here, and if not, why.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::AdminParts;
use crate::store::StoreError;
use crate::worker::{LATE_AFTER, STUCK_AFTER};

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

    fn reasons(&self) -> Vec<String> {
        match self.0.load(Ordering::Acquire) {
            STARTING => vec!["starting".to_owned()],
            SERVING => vec![],
            _ => vec!["stopping".to_owned()],
        }
    }
}

/// How long the store may take to say how late work is: a person or a load balancer waits for the answer.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// All that stands against sending callbacks here, each as a code and, where there is more to say, a colon and words.
pub(super) async fn reasons(parts: &AdminParts) -> Vec<String> {
    let mut reasons: Vec<String> = parts.readiness.reasons();
    // Asked anew each time: the store itself looks only when it has something to write.
    let free = rustix::fs::statvfs(&parts.directory);
    let free = free.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if free < parts.min_free.max(1) {
        reasons.push("disk_low".to_owned());
    }
    for stuck in parts.beats.silent(STUCK_AFTER) {
        reasons.push(format!(
            "worker_stuck: {} has not turned for {} s",
            stuck.worker,
            stuck.by.as_secs()
        ));
    }
    match tokio::time::timeout(STORE_PATIENCE, parts.beats.latest()).await {
        Ok(Ok(Some(late))) if late.by > LATE_AFTER => reasons.push(format!(
            "work_late: {} is {} s late",
            late.worker,
            late.by.as_secs()
        )),
        Ok(Ok(_)) | Ok(Err(StoreError::Stopping)) => {}
        Ok(Err(_)) | Err(_) => reasons.push("store_failed".to_owned()),
    }
    reasons
}

pub(super) async fn answer(parts: web::Data<AdminParts>) -> HttpResponse {
    let reasons = reasons(&parts).await;
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    HttpResponse::build(status).json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))
}
