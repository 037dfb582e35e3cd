//! `/api/v1/backup` and `/api/v1/export`: the whole store, streamed while work goes on.
//!
//! Promise: what is sent is complete or breaks off (the length is announced first), and leaves nothing behind: the file
//! it is sent from has no name any more when the first byte goes out.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::web;
use bytes::Bytes;
use futures_util::stream;
use tokio::io::AsyncReadExt;

use super::AdminParts;
use super::api::{Answer, Failed};
use super::auth::Operator;
use crate::store::StoreError;

/// What is read and sent at a time.
const CHUNK: usize = 64 * 1024;

type Parts = web::Data<AdminParts>;

/// A consistent image in the checkpoint format, for `restore`.
pub(super) async fn backup(_: Operator, parts: Parts) -> Answer {
    let path = scratch(&parts, "backup");
    parts.store.backup(path.clone()).await?;
    send(&path, "application/octet-stream").await
}

/// Everything as JSON Lines (`docs/export.md`).
pub(super) async fn export(_: Operator, parts: Parts) -> Answer {
    let path = scratch(&parts, "export");
    let file = File::options()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(cannot)?;
    let exported = parts.store.export(Box::new(io::BufWriter::new(file))).await;
    if let Err(error) = exported {
        let _also_fails_when_the_disk_does = std::fs::remove_file(&path);
        return Err(error.into());
    }
    send(&path, "application/x-ndjson").await
}

/// A name that nobody else has, beside the store: its disk is the one whose room is watched.
fn scratch(parts: &AdminParts, what: &str) -> PathBuf {
    let id = parts.entropy.bits();
    parts.directory.join(format!("{what}-{id:032x}.tmp"))
}

fn cannot(error: io::Error) -> Failed {
    StoreError::Write(error.into()).into()
}

async fn send(path: &Path, kind: &str) -> Answer {
    let opened = tokio::fs::File::open(path).await;
    // From here on it goes with its last descriptor, however the sending ends.
    let removed = std::fs::remove_file(path);
    let file = opened.map_err(cannot)?;
    removed.map_err(cannot)?;
    let length = file.metadata().await.map_err(cannot)?.len();
    let chunks = stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK];
        let read = file.read(&mut chunk).await?;
        chunk.truncate(read);
        Ok::<_, io::Error>((read > 0).then(|| (Bytes::from(chunk), file)))
    });
    let body = SizedStream::new(length, Box::pin(chunks));
    Ok(HttpResponse::Ok().content_type(kind).body(body))
}
