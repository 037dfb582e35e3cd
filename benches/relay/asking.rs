//! What the relay says of itself, over its admin API.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::load::{Answer, Connection};
use super::process::{ADMIN_TOKEN, Relay};

/// How long an answer took, and the answer, which must be a 200.
pub async fn get(from: SocketAddr, path: &str) -> anyhow::Result<(Duration, serde_json::Value)> {
    let sent = Instant::now();
    let answer = ask(from, path).await?;
    let took = sent.elapsed();
    ensure!(
        answer.status == 200,
        "{path} is answered with {}",
        answer.status
    );
    Ok((took, serde_json::from_slice(&answer.body)?))
}

/// Whether there is such a route.
pub async fn exists(at: SocketAddr, path: &str) -> anyhow::Result<bool> {
    Ok(ask(at, path).await?.status != 404)
}

async fn ask(from: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    );
    let mut connection = Connection::open(from).await?;
    connection.exchange(request.as_bytes()).await
}

/// Verifications under way, and deliveries that wait.
pub async fn pending(relay: &Relay) -> anyhow::Result<(u64, u64)> {
    let (_, status) = get(relay.admin, "/api/v1/status").await?;
    let number = |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_u64);
    let verifications = number(status.pointer("/pending/verifications"));
    let deliveries = status.pointer("/pending/deliveries");
    let deliveries = deliveries.and_then(serde_json::Value::as_object);
    Ok((
        verifications.unwrap_or_default(),
        deliveries
            .into_iter()
            .flat_map(serde_json::Map::values)
            .filter_map(serde_json::Value::as_u64)
            .sum(),
    ))
}
