//! `/metrics`: what is counted, and what is read when somebody asks, as OpenMetrics text. Without a token: nothing in it
//! is secret, and whoever scrapes should not need to hold one.
//!
//! Promise: one answer is made at a time, whoever asks and however often, and what blocks is done on no executor's
//! thread; so asking costs the callbacks nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, web};

use super::{AdminParts, readiness};
use crate::domain::{Breaker, EndpointName, Timestamp, VerifyLane};
use crate::metrics::{EndpointReading, LaneReading, Reading, StoreReading};
use crate::store::{Lane, StoreError};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The parts of the data directory that grow.
const PARTS: [&str; 3] = ["journal", "sled", "checkpoints"];

pub(super) async fn answer(parts: web::Data<AdminParts>) -> HttpResponse {
    let _one_at_a_time = parts.scraping.lock().await;
    let reading = read(&parts).await;
    let Ok(text) = parts.metrics.text(&reading) else {
        return HttpResponse::InternalServerError().finish();
    };
    let kind = HeaderValue::from_static(OPEN_METRICS);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, kind))
        .body(text)
}

async fn read(parts: &AdminParts) -> Reading {
    let directory = parts.directory.clone();
    let blocking = tokio::task::spawn_blocking(move || {
        let disk = rustix::fs::statvfs(&directory).ok();
        Reading {
            parts: PARTS
                .iter()
                .map(|part| (*part, size(&directory.join(part))))
                .collect(),
            disk_free: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            memory: resident_memory(),
            ..Reading::default()
        }
    });
    let reading = blocking.await.unwrap_or_default();
    let store = match store(parts).await {
        Ok(store) => Some(store),
        Err(StoreError::Stopping) => None,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store could not be read for the metrics"
            );
            None
        }
    };
    // A code, and words after a colon that are for people.
    let reasons = readiness::reasons(parts).await;
    let codes = reasons.iter().filter_map(|reason| reason.split(':').next());
    Reading {
        unready: codes.map(str::to_owned).collect(),
        store,
        min_free: parts.min_free,
        certificate_expires: parts.metrics.certificate_expires(),
        ..reading
    }
}

async fn store(parts: &AdminParts) -> Result<StoreReading, StoreError> {
    let now = parts.clock.now();
    let tallies = parts.store.tallies().await?;
    let mut lanes = Vec::new();
    for known in parts.applications.merchants.load().iter() {
        for lane in [VerifyLane::Main, VerifyLane::Open] {
            let merchant = known.merchant.clone();
            let due = Lane::Verify(merchant.clone(), lane);
            lanes.push(LaneReading {
                overdue: overdue(parts.store.next_due(&due).await?, now),
                merchant,
                lane,
            });
        }
    }
    let routing = parts.routing.load_full();
    let mut names: Vec<EndpointName> = routing.endpoints().cloned().collect();
    // Of one that is gone and has nothing left but what an operator discarded there is nothing to show.
    let left = tallies
        .endpoints
        .iter()
        .filter(|(_, of)| of.pending + of.given_up > 0);
    let others = left.map(|(name, _)| name);
    names.extend(others.filter(|name| !routing.knows(name)).cloned());
    let mut endpoints = Vec::new();
    for name in names {
        let health = parts.store.health(&name).await?;
        let due = parts.store.next_due(&Lane::Deliver(name.clone())).await?;
        let mut found = tallies.endpoints.iter();
        let found = found.find(|(other, _)| *other == name);
        let tally = found.map(|(_, tally)| *tally).unwrap_or_default();
        endpoints.push(EndpointReading {
            orphaned: !routing.knows(&name),
            up: !matches!(health.breaker, Breaker::Open { .. }),
            paused: health.paused.is_some(),
            pending: tally.pending,
            abandoned: tally.given_up,
            overdue: overdue(due, now),
            name,
        });
    }
    Ok(StoreReading {
        verifications: tallies.verifications,
        stuck: tallies.stuck,
        unrecognized: tallies.unrecognized,
        lanes,
        endpoints,
    })
}

fn overdue(due: Option<Timestamp>, now: Timestamp) -> Duration {
    due.map_or(Duration::ZERO, |due| now.since(due))
}

/// Bytes of the files in a directory and beneath. What cannot be read, or goes meanwhile, counts for nothing.
fn size(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => size(&entry.path()),
        Ok(about) => about.len(),
        Err(_gone) => 0,
    });
    sizes.sum()
}

/// As Linux tells it, in kibibytes.
fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
