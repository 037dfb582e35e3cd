//! `check`: what is wrong with the configuration, and with `--online`, what cannot be reached.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::output::{Output, counted};
use super::{Failure, block_on, load, query};
use crate::config::settings::{Config, EndpointSettings, MerchantSettings};
use crate::domain::{Answer, QueryFailure, UserId};
use crate::outbound::{Client, ClientSettings, PublicRoots};

/// A user that nobody has: whatever Vexora says of it, it has read our request and checked our sign.
const PROBE_USER: &str = "vexora-relay-check";

/// Somebody waits at a terminal.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One thing that was tried.
struct Finding {
    what: String,
    ok: bool,
    detail: String,
}

pub(super) fn run(file: Option<PathBuf>, online: bool, output: &Output) -> Result<(), Failure> {
    let (file, config) = load(file)?;
    for warning in &config.warnings {
        output.warning(warning);
    }
    let findings = if online {
        block_on(reach(&config))??
    } else {
        Vec::new()
    };
    let failed = findings.iter().filter(|finding| !finding.ok).count();
    let value = json!({
        "config": file.display().to_string(),
        "merchants": config.merchants.len(),
        "endpoints": config.endpoints.len(),
        "warnings": config.warnings,
        "online": findings.iter().map(Finding::json).collect::<Vec<Value>>(),
    });
    let mut text = format!(
        "{}: {}, {}, {}",
        file.display(),
        counted(config.merchants.len(), "merchant"),
        counted(config.endpoints.len(), "endpoint"),
        counted(config.warnings.len(), "warning")
    );
    for finding in &findings {
        let mark = if finding.ok { "ok  " } else { "FAIL" };
        text.push_str(&format!("\n{mark} {}: {}", finding.what, finding.detail));
    }
    output.value(&value, &text);
    if failed > 0 {
        output.error(&format!(
            "{failed} of {} could not be reached",
            findings.len()
        ));
        return Err(Failure::Said);
    }
    Ok(())
}

impl Finding {
    fn json(&self) -> Value {
        json!({ "what": self.what, "ok": self.ok, "detail": self.detail })
    }
}

async fn reach(config: &Config) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for merchant in &config.merchants {
        findings.push(ask_provider(config, merchant).await?);
    }
    for endpoint in &config.endpoints {
        findings.push(connect(endpoint).await);
    }
    Ok(findings)
}

async fn ask_provider(config: &Config, merchant: &MerchantSettings) -> Result<Finding, Failure> {
    let user: UserId = PROBE_USER.parse()?;
    let queried = query::ask(config, merchant, &user).await?;
    let (ok, detail) = match &queried.answer {
        Answer::Verdict(_) => (true, "answered".to_owned()),
        // It has no such user; the code tells a wrong sign from that, but its list is not published.
        Answer::Failed(QueryFailure::Refused(code)) => (
            true,
            format!(
                "answered with code {code:?} for a user that does not exist; if that code speaks of the sign, the app secret is wrong"
            ),
        ),
        Answer::Failed(failure) => (false, failure.to_string()),
    };
    Ok(Finding {
        what: format!("Vexora for merchant {}", merchant.merchant_no),
        ok,
        detail,
    })
}

async fn connect(endpoint: &EndpointSettings) -> Finding {
    let what = format!("endpoint {}", endpoint.name);
    let transport = &endpoint.transport;
    let settings = ClientSettings {
        ca: transport.ca.clone(),
        identity: transport
            .client_identity
            .clone()
            .map(|files| (files.cert, files.key)),
        proxy: transport.proxy.clone(),
        public_only: transport.public_only,
    };
    let client = match Client::new(&settings, &PublicRoots::load()) {
        Ok(client) => client,
        Err(error) => {
            return Finding {
                what,
                ok: false,
                detail: error.to_string(),
            };
        }
    };
    match client
        .head(endpoint.url.as_str(), endpoint.timeout.min(CONNECT_TIMEOUT))
        .await
    {
        Ok(status) => Finding {
            what,
            ok: true,
            detail: format!("reached (HEAD answered {status})"),
        },
        Err(error) => Finding {
            what,
            ok: false,
            detail: format!("{} ({})", error.detail, error.class.as_str()),
        },
    }
}
