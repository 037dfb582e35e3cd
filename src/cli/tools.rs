//! Small verbs that need no service: `sign`, `secret`, `callback-url`, `completions`, and the hidden `manual`
//! for who makes a package.

use std::path::{Path, PathBuf};

use clap_complete::Shell;
use serde_json::json;

use super::output::Output;
use super::{Failure, load, merchant};
use crate::app;
use crate::clock::{Entropy, OsEntropy};
use crate::signing::vexora;
use crate::signing::webhook::WebhookKey;

pub(super) fn sign(
    file: Option<PathBuf>,
    params: &[String],
    named: Option<String>,
    output: &Output,
) -> Result<(), Failure> {
    let mut pairs = Vec::with_capacity(params.len());
    for param in params {
        let pair = param.split_once('=').filter(|(name, _)| !name.is_empty());
        pairs.push(pair.ok_or_else(|| {
            Failure::Usage("a parameter is written KEY=VALUE, e.g. userId=jp_user_100008".into())
        })?);
    }
    let (_, config) = load(file)?;
    let secret = merchant(&config, named.as_deref())?.app_secret.signing();
    let sign = vexora::sign(pairs, secret);
    output.value(&json!({ "sign": sign }), &sign);
    Ok(())
}

pub(super) fn secret(ed25519: bool, output: &Output) -> Result<(), Failure> {
    let seed = seed();
    if !ed25519 {
        let secret = WebhookKey::symmetric_text(&seed);
        output.value(&json!({ "secret": secret }), &secret);
        return Ok(());
    }
    let (secret, public) = WebhookKey::asymmetric_text(&seed);
    output.value(&json!({ "secret": secret, "public": public }), &secret);
    if !output.json {
        output.note(&format!("for the receivers: {public}"));
    }
    Ok(())
}

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    let (one, two) = seed.split_at_mut(16);
    one.copy_from_slice(&OsEntropy.bits().to_le_bytes());
    two.copy_from_slice(&OsEntropy.bits().to_le_bytes());
    seed
}

pub(super) fn callback_url(
    file: Option<PathBuf>,
    named: Option<String>,
    output: &Output,
) -> Result<(), Failure> {
    let (_, config) = load(file)?;
    let merchant = merchant(&config, named.as_deref())?;
    let url = app::callback_url(&config, merchant).ok_or_else(|| {
        Failure::Config(
            "server.public_url is not set, so the address that Vexora reaches the relay at is not known\n  hint: public_url = \"https://relay.example.com\"".into(),
        )
    })?;
    output.value(&json!({ "url": url }), &url);
    Ok(())
}

/// A shell's completion script.
pub(super) fn completions(shell: Shell, command: &mut clap::Command) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "vexora-relay", &mut script);
    script
}

/// Writes the manual pages.
pub(super) fn manual(command: clap::Command, directory: &Path) -> Result<(), Failure> {
    Ok(clap_mangen::generate_to(command, directory)?)
}
