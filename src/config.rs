//! The configuration: one TOML file, read whole, refused whole, with every problem at once.
//!
//! The file's shape is private to this module. What comes out are the types of [`settings`], which cannot hold
//! nonsense; each part of the program receives its own, never the whole.
//!
//! Promises: nothing is changed by reading, so a running service may read again at any time; no text in a file makes
//! it panic; and neither problems nor warnings hold the value of a secret. Paths in the file are relative to the
//! file's own directory, but for `store.path`, which is relative to the working directory like every data directory
//! that is given by hand.

mod addresses;
mod endpoints;
mod files;
mod merchants;
mod problems;
mod reader;
mod reading;
mod secrets;
mod sections;
pub mod settings;
mod spelling;
mod transport;
mod values;

use std::ffi::OsString;
use std::path::Path;

use toml_edit::{Document, TomlError};

pub use addresses::is_loopback;
pub use problems::{Problem, Problems};
pub use settings::Config;

use problems::{Fault, shown};
use reader::Section;
use reading::Reading;

/// The largest configuration, in bytes: a thousand endpoints fit in easily, a log file named by mistake does not.
pub const LARGEST_FILE: u64 = 1024 * 1024;

/// The environment, as far as a configuration looks into it.
pub trait Vars {
    /// The value of a variable; `None` when it is not set.
    fn get(&self, name: &str) -> Option<OsString>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment;

/// The credentials of the unit that is shipped; for root and the service alone to read.
const SERVICE_CREDENTIALS: &str = "/run/credentials/vexora-relay.service";

impl Vars for Environment {
    fn get(&self, name: &str) -> Option<OsString> {
        // Root's verbs beside the service find the service's secrets, where systemd keeps them while it runs.
        std::env::var_os(name).or_else(|| {
            let running =
                name == "CREDENTIALS_DIRECTORY" && Path::new(SERVICE_CREDENTIALS).is_dir();
            running.then(|| SERVICE_CREDENTIALS.into())
        })
    }
}

impl<F: Fn(&str) -> Option<OsString>> Vars for F {
    fn get(&self, name: &str) -> Option<OsString> {
        self(name)
    }
}

/// Reads a configuration file, in this process's environment.
///
/// # Errors
/// All that is wrong with it.
pub fn load(file: &Path) -> Result<Config, Problems> {
    load_with(file, &Environment)
}

/// Reads a configuration file, in the given environment.
///
/// # Errors
/// All that is wrong with it.
pub fn load_with(file: &Path, vars: &dyn Vars) -> Result<Config, Problems> {
    let name = file.to_string_lossy();
    let of_file = |fault| Problems::of_file(&name, fault);
    let content = files::read(file, LARGEST_FILE).map_err(|unread| {
        let fault = unread.fault(file, "a configuration file");
        of_file(if unread.is_missing() {
            fault.hint(
                "--config names the file; config.toml in the source tree is a complete example",
            )
        } else {
            fault
        })
    })?;
    let text = String::from_utf8(content.bytes).map_err(|error| {
        let found = format!("is not UTF-8 at byte {}", error.utf8_error().valid_up_to());
        of_file(Fault::new(found, "TOML, which is UTF-8").hint("save it as UTF-8"))
    })?;
    let base = file.parent().unwrap_or(Path::new(""));
    read(&name, base, &text, vars)
}

/// Reads a configuration from a text. `name` is what problems call it, and what relative paths in it are beside.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(name: &str, text: &str, vars: &dyn Vars) -> Result<Config, Problems> {
    let base = Path::new(name).parent().unwrap_or(Path::new(""));
    read(name, base, text, vars)
}

fn read(name: &str, base: &Path, text: &str, vars: &dyn Vars) -> Result<Config, Problems> {
    if u64::try_from(text.len()).is_ok_and(|length| length > LARGEST_FILE) {
        let found = format!("is larger than {} KiB", LARGEST_FILE / 1024);
        return Err(Problems::of_file(
            name,
            Fault::new(found, "a configuration"),
        ));
    }
    let reading = Reading::new(name, base, text, vars);
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            // What follows a syntax error is guesswork: one problem that is true, not ten that may be.
            let line = error.span().map(|span| reading.line(span.start));
            reading.fault(line, "", syntax(&error));
            return Err(reading.problems().unwrap_or_else(|| unreadable(name)));
        }
    };
    let config = assemble(&reading, Section::root(&reading, document.as_table()));
    if let Some(problems) = reading.problems() {
        return Err(problems);
    }
    let mut config = config.ok_or_else(|| unreadable(name))?;
    config.warnings = reading.warnings(!config.is_loopback_only());
    Ok(config)
}

/// Every section in turn. What comes out is a configuration only if there were no problems.
fn assemble(reading: &Reading<'_>, root: Section<'_>) -> Option<Config> {
    let server = sections::server(root.section("server"));
    let admin = sections::admin(root.section("admin"), &server.listen);
    let store = sections::store(root.section("store"), reading.vars());
    let vexora = sections::vexora(root.section("vexora"));
    let verify = sections::verify(root.section("verify"));
    let delivery = endpoints::Delivery::defaults(root.section("delivery"));
    let log = sections::log(root.section("log"));
    let (merchants, numbers) = merchants::merchants(&root);
    let endpoints = endpoints::endpoints(&root, delivery.as_ref().ok()?, &numbers);
    root.finish();
    Some(Config {
        server,
        admin,
        store,
        vexora,
        verify: verify.ok()?,
        log,
        merchants,
        endpoints,
        warnings: Vec::new(),
    })
}

/// A syntax error, without the line that it is in: that may hold a secret.
fn syntax(error: &TomlError) -> Fault {
    match error.message().split_once(", expected ") {
        Some((found, expected)) => Fault::new(format!("is not TOML: {found}"), expected),
        None => Fault::new(format!("is not TOML: {}", error.message()), "TOML"),
    }
}

fn unreadable(name: &str) -> Problems {
    let found = format!("{} cannot be read", shown(name));
    Problems::of_file(name, Fault::new(found, "a configuration"))
}
