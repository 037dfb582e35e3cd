//! `check`: what is wrong with the configuration, and with `--online`, what cannot be reached.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::output::{Output, counted};
use super::{Failure, block_on, config_file, query};
use crate::app;
use crate::config;
use crate::config::settings::{Config, EndpointSettings, MerchantSettings};
use crate::domain::{Answer, QueryFailure, Secret, Secrets, UserId};
use crate::outbound::{Client, PublicRoots};

/// A user that nobody has: whatever Vexora says of it, it has read our request and checked our sign.
const PROBE_USER: &str = "vexora-relay-check";

/// Somebody waits at a terminal.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Ok,
    /// Reached, but it cannot be told whether all is well.
    Unsure,
    Failed,
}

impl Tried {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unsure => "unsure",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was tried.
struct Finding {
    what: String,
    result: Tried,
    detail: String,
}

pub(super) fn run(file: Option<PathBuf>, online: bool, output: &Output) -> Result<(), Failure> {
    let (file, config) = checked(file, output)?;
    for warning in &config.warnings {
        output.warning(warning);
    }
    let findings = if online {
        block_on(reach(&config))??
    } else {
        Vec::new()
    };
    let failed = findings
        .iter()
        .filter(|finding| finding.result == Tried::Failed)
        .count();
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
        let mark = finding.result.word();
        text.push_str(&format!("\n{mark:6} {}: {}", finding.what, finding.detail));
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

/// The configuration; its problems are this verb's data, so with `--json` they are on stdout too.
fn checked(file: Option<PathBuf>, output: &Output) -> Result<(PathBuf, Config), Failure> {
    let file = config_file(file)?;
    match config::load(&file) {
        Ok(config) => Ok((file, config)),
        Err(problems) => {
            if output.json {
                let all = problems.iter().map(|problem| {
                    json!({
                        "file": problem.file,
                        "line": problem.line,
                        "key": problem.key,
                        "found": problem.found,
                        "expected": problem.expected,
                        "hint": problem.hint,
                    })
                });
                output.value(&json!({ "problems": all.collect::<Vec<Value>>() }), "");
            }
            Err(Failure::Config(problems.to_string()))
        }
    }
}

impl Finding {
    fn json(&self) -> Value {
        json!({ "what": self.what, "ok": self.result == Tried::Ok, "result": self.result.word(), "detail": self.detail })
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
    let (result, detail) = match &queried.answer {
        Answer::Verdict(_) => (Tried::Ok, "answered".to_owned()),
        Answer::Failed(QueryFailure::Refused(code)) => doubt(config, merchant, &user, code).await?,
        Answer::Failed(failure) => (Tried::Failed, failure.to_string()),
    };
    let what = format!("Vexora for merchant {}", merchant.merchant_no);
    Ok(Finding {
        what,
        result,
        detail,
    })
}

/// It declined a user that nobody has. Its codes are not published, so whether it did for the user or for the sign is
/// told by asking once more with a secret that is wrong on purpose.
async fn doubt(
    config: &Config,
    merchant: &MerchantSettings,
    user: &UserId,
    code: &str,
) -> Result<(Tried, String), Failure> {
    let wrong = Secrets::new(Secret::new("wrong on purpose"), vec![]);
    let other = MerchantSettings {
        app_secret: wrong,
        ..merchant.clone()
    };
    let queried = query::ask(config, &other, user).await?;
    Ok(match queried.answer {
        Answer::Failed(QueryFailure::Refused(other)) if other != code => (
            Tried::Ok,
            format!("answered; it knows the app secret from a wrong one ({code:?}, not {other:?})"),
        ),
        _ => (
            Tried::Unsure,
            format!(
                "answered with code {code:?}, and the same to a secret that is wrong on purpose: the app secret may be wrong; try `query` with a real user"
            ),
        ),
    })
}

async fn connect(endpoint: &EndpointSettings) -> Finding {
    let what = format!("endpoint {}", endpoint.name);
    let settings = app::client_settings(&endpoint.transport);
    let client = match Client::new(&settings, &PublicRoots::load()) {
        Ok(client) => client,
        Err(error) => {
            return Finding {
                what,
                result: Tried::Failed,
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
            result: Tried::Ok,
            detail: format!("reached (HEAD answered {status})"),
        },
        Err(error) => Finding {
            what,
            result: Tried::Failed,
            detail: format!("{} ({})", error.detail, error.class.as_str()),
        },
    }
}
