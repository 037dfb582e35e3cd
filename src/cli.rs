//! The command line: what people and scripts call.
//!
//! Data goes to stdout, everything else to stderr. Exit codes (contract §8): 0, 1 failed, 2 usage, 3 service not
//! reachable, 78 configuration.

mod apply;
mod args;
mod check;
mod client;
mod demo;
mod jobs;
mod lists;
mod logging;
mod maintenance;
mod operator;
mod output;
mod query;
mod reload;
mod rows;
mod serve;
mod status;
mod table;
mod tools;
mod trial;
mod view;
mod watch;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Chosen, Verb};
use lists::List;
use output::Output;

use crate::app::BuildError;
use crate::config::settings::{Config, MerchantSettings};
use crate::config::{self, Problems};
use crate::domain::{EventId, JobKind, MerchantNo};
use crate::store::embedded::{JournalError, MaintenanceError, OpenError};

/// Where the configuration is looked for when `--config` does not say.
const CONFIG_PLACES: [&str; 2] = ["config.toml", "/etc/vexora-relay/config.toml"];

/// `EX_CONFIG` of sysexits.h: systemd is told not to restart on it.
const EXIT_CONFIG: u8 = 78;

/// The running service does not answer.
const EXIT_UNREACHABLE: u8 = 3;

/// What ends a verb before it is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration: exit 78.
    Config(String),
    /// Called wrongly in a way that clap cannot see: exit 2.
    Usage(String),
    /// The running service does not answer: exit 3.
    Unreachable(String),
    /// Anything else: exit 1.
    Failed(anyhow::Error),
    /// The verb has said why itself: exit 1.
    Said,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the program: parses the command line, does it, and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    // What is made from here on holds personal data: it is its owner's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let args = Args::parse();
    let output = Output { json: args.json };
    let result = match args.verb {
        Verb::Serve => serve::run(args.config, &output),
        Verb::Check { online } => check::run(args.config, online, &output),
        Verb::Demo { once } => demo::run(once, &output),
        Verb::Status {
            user,
            merchant,
            watch,
        } => {
            let whom = (user.as_deref(), merchant.as_deref());
            status::run(args.config, whom, watch, &output)
        }
        Verb::Callbacks { state, narrowed } => {
            let asked = lists::Asked::new(List::Callbacks, narrowed).state(state);
            lists::run(args.config, &asked, &output)
        }
        Verb::Events { types, narrowed } => {
            let asked = lists::Asked::new(List::Events, narrowed).types(types);
            lists::run(args.config, &asked, &output)
        }
        Verb::Deliveries {
            endpoint,
            state,
            narrowed,
            watch,
        } => {
            let asked = lists::Asked::new(List::Deliveries, narrowed).state(state);
            let asked = asked.endpoint(endpoint).watch(watch);
            lists::run(args.config, &asked, &output)
        }
        Verb::Watched { state, narrowed } => {
            let asked = lists::Asked::new(List::Watched, narrowed).state(state);
            lists::run(args.config, &asked, &output)
        }
        Verb::Reprocess { callback } => lists::reprocess(args.config, &callback, &output),
        Verb::Apply {
            merchant,
            user,
            furigana,
            file,
            again,
            batch,
        } => {
            let order = apply::Order {
                merchant,
                user,
                furigana,
                file,
                again,
                batch,
            };
            apply::run(args.config, order, &output)
        }
        Verb::Watch {
            users,
            file,
            merchant,
        } => watch::run(
            args.config,
            merchant.as_deref(),
            &users,
            file.as_deref(),
            &output,
        ),
        Verb::Reload => reload::run(args.config, &output),
        Verb::Endpoints => operator::endpoints(args.config, &output),
        Verb::Pause { endpoint } => operator::order(args.config, &endpoint, "pause", &output),
        Verb::Resume { endpoint } => operator::order(args.config, &endpoint, "resume", &output),
        Verb::Test { endpoint, watch } => trial::run(args.config, &endpoint, watch, &output),
        Verb::Retry(chosen) => steer(args.config, JobKind::Retry, chosen, &output),
        Verb::Discard(chosen) => steer(args.config, JobKind::Discard, chosen, &output),
        Verb::Replay {
            endpoint,
            since,
            until,
            types,
            states,
            dry_run,
            yes,
            watch,
        } => {
            let asked = jobs::Asked {
                kind: JobKind::Replay,
                endpoint,
                since: Some(since),
                until,
                types,
                states,
                dry_run,
                yes,
                watch,
            };
            jobs::run(args.config, &asked, &output)
        }
        Verb::Jobs { job, watch, cancel } => match job {
            None => jobs::list(args.config, &output),
            Some(id) => jobs::one(args.config, id, (watch, cancel), &output),
        },
        Verb::Retention => operator::retention(args.config, &output),
        Verb::Query { user, merchant } => query::run(args.config, &user, merchant, &output),
        Verb::Sign { params, merchant } => tools::sign(args.config, &params, merchant, &output),
        Verb::Secret { ed25519 } => tools::secret(ed25519, &output),
        Verb::CallbackUrl { merchant } => tools::callback_url(args.config, merchant, &output),
        Verb::Backup { file } => maintenance::backup(args.config, &file, &output),
        Verb::Export => maintenance::export(args.config, &output),
        Verb::Restore { file } => maintenance::restore(args.config, &file, &output),
        Verb::VerifyStore => maintenance::verify_store(args.config, &output),
        Verb::Compact => maintenance::compact(args.config, &output),
        Verb::Manual { directory } => tools::manual(Args::command(), &directory),
        Verb::Completions { shell } => {
            output.bytes(&tools::completions(shell, &mut Args::command()));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(text)) => {
            output.error(&text);
            ExitCode::from(EXIT_CONFIG)
        }
        Err(Failure::Usage(text)) => {
            output.error(&text);
            ExitCode::from(2)
        }
        Err(Failure::Unreachable(text)) => {
            output.error(&text);
            ExitCode::from(EXIT_UNREACHABLE)
        }
        Err(Failure::Failed(error)) => {
            output.error(&chain(&error));
            if let Some(hint) = other_version(&error) {
                output.note(hint);
                return ExitCode::from(EXIT_CONFIG);
            }
            ExitCode::FAILURE
        }
        Err(Failure::Said) => ExitCode::FAILURE,
    }
}

/// `retry` and `discard`: one delivery, or those of an endpoint.
fn steer(
    file: Option<PathBuf>,
    kind: JobKind,
    chosen: Chosen,
    output: &Output,
) -> Result<(), Failure> {
    if let (Some(event), Some(endpoint)) = (&chosen.event, &chosen.endpoint) {
        return operator::delivery(file, (event, endpoint), kind.as_str(), output);
    }
    let Some(endpoint) = chosen.all_of else {
        return Err(Failure::Usage(which(kind, chosen.event.as_deref())));
    };
    let asked = jobs::Asked {
        kind,
        endpoint,
        since: chosen.since,
        until: chosen.until,
        types: chosen.types,
        states: chosen.states,
        dry_run: chosen.dry_run,
        yes: chosen.yes,
        watch: chosen.watch,
    };
    jobs::run(file, &asked, output)
}

/// What `retry` and `discard` need to know, when they were told too little.
fn which(kind: JobKind, given: Option<&str>) -> String {
    let verb = kind.as_str();
    let (given, all) = match given {
        Some(given) if given.parse::<EventId>().is_ok() => {
            (format!("{verb} {given}: for which endpoint?"), "NAME")
        }
        // Most likely the name of an endpoint.
        Some(given) => (format!("{verb} {given}: that is no event"), given),
        None => (format!("{verb} what?"), "NAME"),
    };
    let shown = if kind == JobKind::Discard {
        "waiting"
    } else {
        "given_up"
    };
    let usual: Vec<&str> = kind
        .usual_standings()
        .iter()
        .map(|one| one.as_str())
        .collect();
    format!(
        "{given}\n  one delivery:            vexora-relay {verb} EVENT ENDPOINT\n  all of one endpoint:     vexora-relay {verb} --endpoint {all}   (those that are {}; it counts and asks first)\n  hint: `vexora-relay deliveries --state {shown}` shows events and endpoints; `vexora-relay {verb} --help` the rest",
        usual.join(" or ")
    )
}

/// What to do about a store that a newer version wrote.
const NEWER_HINT: &str = "  hint: nothing in it was changed; install the newer version again, or restore a backup from before the upgrade into an empty directory";

/// What to do about a backup that a newer version wrote.
const NEWER_BACKUP_HINT: &str =
    "  hint: restore it with the version that took it, or take another backup";

/// What to do about a store that an older version wrote and this one cannot migrate.
const OLDER_HINT: &str = "  hint: nothing in it was changed; install the older version again, or go up by way of a version between the two";

/// What to do if the store, or a backup, is another version's: trying again does not help, so systemd must not.
fn other_version(error: &anyhow::Error) -> Option<&'static str> {
    let open = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(BuildError::Store(open)), _) | (_, Some(MaintenanceError::Open(open))) => open,
        (_, Some(MaintenanceError::Backup(JournalError::Newer { .. }))) => {
            return Some(NEWER_BACKUP_HINT);
        }
        _ => error.downcast_ref::<OpenError>()?,
    };
    match open {
        OpenError::Newer { .. } | OpenError::NewerFormat { .. } => Some(NEWER_HINT),
        OpenError::Older { .. } => Some(OLDER_HINT),
        _ => None,
    }
}

/// An error with its causes, on one line each.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Transparent errors repeat their cause.
        if !text.ends_with(&cause) {
            text.push_str("\n  cause: ");
            text.push_str(&cause);
        }
    }
    text
}

/// The file that `--config` names, or the first place where there is one.
fn config_file(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(file) = named {
        return Ok(file);
    }
    let found = CONFIG_PLACES
        .iter()
        .map(PathBuf::from)
        .find(|file| file.exists());
    found.ok_or_else(|| {
        Failure::Config(format!(
            "no configuration: neither {} exists\n  hint: name it with --config, or try `vexora-relay demo`, which needs none",
            CONFIG_PLACES.join(" nor ")
        ))
    })
}

fn load(named: Option<PathBuf>) -> Result<(PathBuf, Config), Failure> {
    let file = config_file(named)?;
    let config =
        config::load(&file).map_err(|problems: Problems| Failure::Config(problems.to_string()))?;
    Ok((file, config))
}

/// The merchant that was named, or the only one there is.
fn merchant<'a>(config: &'a Config, named: Option<&str>) -> Result<&'a MerchantSettings, Failure> {
    let Some(named) = named else {
        return match config.merchants.as_slice() {
            [only] => Ok(only),
            _ => Err(Failure::Usage(
                "there are several merchants in the configuration: name one with --merchant".into(),
            )),
        };
    };
    let number: MerchantNo = named
        .parse()
        .map_err(|error| Failure::Usage(format!("--merchant: {error}")))?;
    config
        .merchants
        .iter()
        .find(|merchant| merchant.merchant_no == number)
        .ok_or_else(|| Failure::Usage(format!("--merchant: {number} is not in the configuration")))
}

/// What a file holds; `-` is what comes in on stdin.
fn file_or_stdin(file: &Path) -> Result<Vec<u8>, Failure> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(file).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}

/// A runtime for verbs that talk to somebody.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

/// The runtime of a service: two threads for the stages beside those of the listeners and the store.
fn service_runtime() -> actix_rt::SystemRunner {
    actix_rt::System::with_tokio_rt(|| {
        // It fails only where threads cannot be made at all; then there is nothing to go on with.
        #[allow(
            clippy::expect_used,
            reason = "no runtime, no service, and nobody to tell but stderr"
        )]
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    })
}
