//! What the tests of the whole relay do to it, named after what a user does.

mod proxy;
mod receiver;
mod relay;
mod scrape;
mod service;
mod setup;
mod signs;
mod sink;

pub use proxy::{Proxy, Speaks};
pub use receiver::Receiver;
pub use relay::{Relay, post, request};
pub use scrape::Scrape;
pub use service::Service;
pub use setup::Setup;
pub use signs::{hmac_signature, own_sign};
pub use sink::{Reply, Request, Sink};

use std::future::Future;
use std::time::Duration;

use vexora_relay::domain::{MerchantNo, UserId};

pub const MERCHANT: &str = "1027749636";
pub const APP_SECRET: &str = "app-secret-of-the-first";
pub const TOKEN: &str = "token-0123456789abcdef";
pub const SECOND_MERCHANT: &str = "2000000002";
pub const SECOND_APP_SECRET: &str = "app-secret-of-the-second";
/// 32 bytes, `0` to `31`.
pub const WHSEC: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// When every simulated clock starts.
pub const START: u64 = 1_732_988_442_913;

pub fn merchant() -> MerchantNo {
    MERCHANT.parse().unwrap()
}

pub fn second_merchant() -> MerchantNo {
    SECOND_MERCHANT.parse().unwrap()
}

pub fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

/// Nothing in these tests takes long: what does is stuck.
pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(secs(60), work)
        .await
        .unwrap_or_else(|_elapsed| panic!("not in time: {what}"))
}
