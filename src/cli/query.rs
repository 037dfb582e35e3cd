//! `query`: a signed status query, straight to Vexora.

use std::path::PathBuf;

use serde_json::json;

use super::output::Output;
use super::{Failure, block_on, load, merchant};
use crate::clock::{Clock, SystemClock};
use crate::config::settings::{Config, MerchantSettings};
use crate::domain::{Answer, UserId};
use crate::outbound::{Client, ClientSettings, PublicRoots};
use crate::verify::{Queried, QueryClient};

/// Asks with a merchant's address and secret.
pub(super) async fn ask(
    config: &Config,
    merchant: &MerchantSettings,
    user: &UserId,
) -> Result<Queried, Failure> {
    let client = Client::new(&ClientSettings::default(), &PublicRoots::load())?;
    let address = merchant
        .base_url
        .as_ref()
        .unwrap_or(&config.vexora.base_url);
    let client = QueryClient::new(client, address.clone(), config.vexora.timeout);
    let secret = merchant.app_secret.signing();
    Ok(client
        .query(&merchant.merchant_no, secret, user, SystemClock.now())
        .await)
}

pub(super) fn run(
    file: Option<PathBuf>,
    user: &str,
    named: Option<String>,
    output: &Output,
) -> Result<(), Failure> {
    let user: UserId = user
        .parse()
        .map_err(|error| Failure::Usage(format!("the user's id: {error}")))?;
    let (_, config) = load(file)?;
    let merchant = merchant(&config, named.as_deref())?;
    let queried = block_on(ask(&config, merchant, &user))??;
    match queried.answer {
        Answer::Verdict(verdict) => {
            let status = verdict.status();
            let reason = verdict.reason();
            let text = match reason {
                Some(reason) => format!("{} ({}): {reason}", status.word(), status.code()),
                None => format!("{} ({})", status.word(), status.code()),
            };
            let value = json!({
                "merchantNo": merchant.merchant_no.as_str(),
                "userId": user.as_str(),
                "authenticationStatus": status.code(),
                "status": status.word(),
                "failReason": reason,
            });
            output.value(&value, &text);
            Ok(())
        }
        Answer::Failed(failure) => {
            let value = json!({ "error": failure.class(), "detail": failure.to_string() });
            if output.json {
                output.value(&value, "");
            }
            Err(Failure::Failed(anyhow::anyhow!(
                "Vexora gave no verdict: {failure}"
            )))
        }
    }
}
