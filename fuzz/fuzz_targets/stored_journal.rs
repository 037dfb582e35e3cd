//! Whatever a record of the journal holds, and so every stored record, opening ends with a store or a typed error, and
//! so does each use case that reads. The records' own readers are private to the store; this is the way in from outside:
//! a whole store per input, so some tens of inputs a second.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use vexora_relay::domain::{EndpointName, MerchantNo, Timestamp, UserId, VerifyLane};
use vexora_relay::store::embedded::{EmbeddedSettings, SledStore};
use vexora_relay::store::{Lane, Store};

/// Later than anything in the seeds: all of it is due.
const NOW: Timestamp = Timestamp::from_millis(1_900_000_000_000);

/// Whom the seeds speak of.
const MERCHANT: &str = "1027749636";
const USERS: [&str; 2] = ["demo-taro", "demo-reject-hanako"];
const ENDPOINT: &str = "ledger";

fn directory(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vexora-fuzz-{}-{name}", std::process::id()))
}

/// The header of a store's segments as this version writes it: 40 bytes, made once by a store of its own.
fn header() -> &'static [u8] {
    static HEADER: OnceLock<Vec<u8>> = OnceLock::new();
    HEADER.get_or_init(|| {
        let at = directory("header");
        let _none_yet = std::fs::remove_dir_all(&at);
        let (store, _) = SledStore::open(&EmbeddedSettings::at(at.clone(), 0), NOW).expect("opens");
        let runtime = runtime();
        runtime.block_on(store.beat(NOW)).expect("writes");
        drop(store);
        let entries = std::fs::read_dir(at.join("journal")).expect("made");
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        let bytes = std::fs::read(files.first().expect("a segment")).expect("read");
        bytes.get(..40).expect("a header").to_vec()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

/// A journal with one record, number 1, whose payload this is: lengths and checksums are right, so that it is read.
fn segment(payload: &[u8]) -> Vec<u8> {
    let mut bytes = header().to_vec();
    let salt = bytes.get(24..32).expect("a header").to_vec();
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    let sequence = 1_u64.to_le_bytes();
    let mut crc = crc32c::crc32c(&salt);
    for part in [&length[..], &sequence, payload] {
        crc = crc32c::crc32c_append(crc, part);
    }
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&sequence);
    bytes.extend_from_slice(payload);
    bytes
}

/// The files of a store that was opened, never written to, and closed: a journal beside nothing is refused.
fn empty() -> &'static [(PathBuf, Vec<u8>)] {
    static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let at = directory("empty");
        let _none_yet = std::fs::remove_dir_all(&at);
        let (store, _) = SledStore::open(&EmbeddedSettings::at(at.clone(), 0), NOW).expect("opens");
        runtime().block_on(store.close()).expect("closes");
        let mut files = Vec::new();
        collect(&at, &at, &mut files);
        files
    })
}

fn collect(root: &Path, at: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if let (Ok(name), Ok(bytes)) = (path.strip_prefix(root), std::fs::read(&path)) {
            files.push((name.to_owned(), bytes));
        }
    }
}

fn lay_out(at: &Path, payload: &[u8]) {
    let _none_yet = std::fs::remove_dir_all(at);
    std::fs::create_dir_all(at.join("journal")).expect("made");
    for (name, bytes) in empty() {
        let path = at.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(at)).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
    let name = format!("{:010}-{:020}.journal", 1, 1);
    std::fs::write(at.join("journal").join(name), segment(payload)).expect("written");
}

async fn read_everything(store: Arc<SledStore>) {
    let merchant: MerchantNo = MERCHANT.parse().expect("valid");
    let endpoint: EndpointName = ENDPOINT.parse().expect("valid");
    for user in USERS {
        let user: UserId = user.parse().expect("valid");
        let _any = store.story(&merchant, &user).await;
    }
    let _any = store.pending().await;
    let _any = store.unrecognized(10).await;
    let lease = Duration::from_secs(60);
    for lane in [VerifyLane::Main, VerifyLane::Open] {
        let _any = store.next_due(&Lane::Verify(merchant.clone(), lane)).await;
        let _any = store
            .claim_verifications(&merchant, lane, NOW, lease, 10)
            .await;
    }
    let _any = store.next_due(&Lane::Deliver(endpoint.clone())).await;
    let _any = store.claim_deliveries(&endpoint, NOW, lease, 10).await;
    let _any = store.close().await;
}

fuzz_target!(|data: &[u8]| {
    let at = directory("input");
    lay_out(&at, data);
    if let Ok((store, _)) = SledStore::open(&EmbeddedSettings::at(at, 0), NOW) {
        runtime().block_on(read_everything(Arc::new(store)));
    }
});
