//! Secrets: where they come from, and that they never come out.
//!
//! Promise: no problem and no warning made here holds a secret's value; at most its length. A list is a rotation: the
//! first signs, all are accepted.

use std::path::{Path, PathBuf};

use super::files;
use super::problems::{Fault, shown};
use super::reader::{Node, Section};
use crate::domain::Secret;

/// The largest secret, in bytes: a JSON web token with room to spare. More is the wrong file.
const LARGEST: u64 = 64 * 1024;

const EXPECTED: &str =
    "a secret: { credential = \"name\" }, { file = \"path\" } or { env = \"NAME\" }";

/// Whether a secret written into the file itself deserves a warning.
#[derive(Clone, Copy)]
pub(super) enum Plain {
    /// It does, unless nothing leaves this machine.
    Warned,
    /// It may as well be no secret.
    Fine,
}

/// One secret.
pub(super) fn secret(node: &Node<'_>, plain: Plain) -> Option<Secret> {
    if let Some(text) = node.as_text() {
        let secret = node.checked(wholesome(text))?;
        if matches!(plain, Plain::Warned) {
            node.warn_if_exposed("the secret stands in the file itself; move it to a credential or a file of its own");
        }
        return Some(secret);
    }
    let section = node.section(EXPECTED)?;
    let sources = [
        section.get("credential"),
        section.get("file"),
        section.get("env"),
    ];
    let count = sources.iter().flatten().count();
    if count > 1 {
        node.fault(Fault::new(format!("names {count} sources"), EXPECTED));
    }
    let [credential, file, env] = sources;
    let secret = if let Some(node) = credential {
        of_credential(&node)
    } else if let Some(node) = file {
        of_file(&node)
    } else if let Some(node) = env {
        of_environment(&node)
    } else {
        if section.entries().is_empty() {
            node.fault(Fault::new("is an empty table", EXPECTED));
        }
        None
    };
    section.finish();
    secret
}

/// One secret, or a list of them in rotation, each of which `check` makes something of. Never empty.
pub(super) fn rotation<T>(
    node: &Node<'_>,
    check: impl Fn(&Node<'_>, &Secret) -> Result<T, Fault>,
) -> Option<Vec<T>> {
    let one = |node: &Node<'_>| {
        let secret = secret(node, Plain::Warned)?;
        node.checked(check(node, &secret))
    };
    if !node.is_list() {
        return Some(vec![one(node)?]);
    }
    let list = node.list(EXPECTED, one)?;
    if list.is_empty() {
        node.fault(Fault::new("is an empty list", EXPECTED));
        return None;
    }
    Some(list)
}

/// What is said of a secret that is not there.
pub(super) fn missing() -> Fault {
    Fault::new("is missing", EXPECTED)
}

/// Text that can be a secret: something, on one line.
fn wholesome(text: &str) -> Result<Secret, Fault> {
    let expected = "a secret";
    if text.is_empty() {
        return Err(Fault::new("is empty", expected));
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::new(
            format!(
                "{} bytes with a line break or another control character among them",
                text.len()
            ),
            "a secret on a single line",
        )
        .hint("only one line break at the very end is dropped"));
    }
    Ok(Secret::new(text))
}

fn of_credential(node: &Node<'_>) -> Option<Secret> {
    let expected = "the name of a credential";
    let name = node.text(expected, |name| {
        let plain =
            !name.is_empty() && !name.contains(['/', '\0']) && !name.contains("..") && name != ".";
        if plain {
            Ok(name)
        } else {
            Err(Fault::text(name, expected)
                .hint("a name, not a path; { file = \"…\" } takes a path"))
        }
    })?;
    let directory = node.reading().vars().get("CREDENTIALS_DIRECTORY");
    let Some(directory) = directory.filter(|directory| !directory.is_empty()) else {
        node.fault(
            Fault::new("$CREDENTIALS_DIRECTORY is not set", EXPECTED).hint(format!(
                "systemd sets it for LoadCredential={name}:…; elsewhere use {{ file = \"…\" }}, or set it to a \
                 directory that holds {}",
                shown(name)
            )),
        );
        return None;
    };
    let path = PathBuf::from(directory).join(name);
    let content = files::read(&path, LARGEST).map_err(|unread| {
        let fault = unread.fault(&path, "the credential's file");
        if unread.is_missing() {
            fault.hint(format!("does the unit have LoadCredential={name}:… ?"))
        } else {
            fault
        }
    });
    let content = node.checked(content)?;
    node.checked(of_bytes(&path, content.bytes))
}

fn of_file(node: &Node<'_>) -> Option<Secret> {
    let expected = "the path of a file that holds the secret";
    let path = node.text(expected, |text| match text {
        "" => Err(Fault::new("is empty", expected)),
        _ => Ok(node.reading().resolve(text)),
    })?;
    let content = files::read(&path, LARGEST).map_err(|unread| unread.fault(&path, expected));
    let content = node.checked(content)?;
    let secret = node.checked(of_bytes(&path, content.bytes))?;
    if content.open_to_all {
        node.warn("the secret's file can be read by everybody on this machine; chmod o= it");
    }
    Some(secret)
}

fn of_environment(node: &Node<'_>) -> Option<Secret> {
    let expected = "the name of an environment variable";
    let name = node.text(expected, |name| {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Fault::text(name, expected));
        }
        Ok(name)
    })?;
    let Some(value) = node.reading().vars().get(name) else {
        let found = format!("${} is not set", name.escape_debug());
        node.fault(Fault::new(found, "a variable that holds the secret"));
        return None;
    };
    let secret = value
        .to_str()
        .ok_or_else(|| Fault::new("its value is not UTF-8", "a secret in UTF-8"))
        .and_then(wholesome);
    node.checked(secret)
}

fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Secret, Fault> {
    let shown = shown(&path.to_string_lossy());
    let text = String::from_utf8(bytes)
        .map_err(|_not_utf8| Fault::new(format!("{shown} is not UTF-8"), "a secret in UTF-8"))?;
    let text = text
        .strip_suffix("\r\n")
        .or_else(|| text.strip_suffix('\n'))
        .unwrap_or(&text);
    if text.is_empty() {
        return Err(Fault::new(format!("{shown} is empty"), "a secret"));
    }
    wholesome(text)
}

/// The `[admin]` token: what a bearer token may be made of, and a word of warning when it can be guessed.
pub(super) fn bearer(section: &Section<'_>, key: &'static str) -> Option<Secret> {
    section.optional(key, |node| {
        let secret = secret(node, Plain::Warned)?;
        let text = secret.expose();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            node.fault(Fault::new(
                format!("{} bytes, some of them not visible ASCII", text.len()),
                "a token without spaces",
            ));
            return None;
        }
        if text.len() < 16 {
            node.warn_if_exposed("the token is shorter than 16 characters; `openssl rand -hex 24` makes one that nobody guesses");
        }
        Some(secret)
    })
}
