//! The words of the command line.

// long because: one enum is the whole program as its user sees it.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::domain::EventKind;
use crate::store::{CallbackState, DeliveryStand};

/// Takes Vexora's KYC callbacks, makes them durable, verifies them by query, and tells every webhook until each has
/// heard.
#[derive(Debug, Parser)]
#[command(name = "vexora-relay", version, about, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 service not reachable, 78 configuration."
)]
pub(super) struct Args {
    /// The configuration file [default: ./config.toml, then /etc/vexora-relay/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Print JSON on stdout
    #[arg(long, global = true)]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the relay until SIGTERM or SIGINT
    #[command(after_help = "Example:\n  vexora-relay serve --config /etc/vexora-relay/config.toml")]
    Serve,

    /// Check the configuration and say all that is wrong with it
    #[command(after_help = "Examples:\n  vexora-relay check\n  vexora-relay check --online")]
    Check {
        /// Also ask Vexora with each merchant's secret, and connect to each endpoint; nothing is delivered
        #[arg(long)]
        online: bool,
    },

    /// See it work: a simulated Vexora, the relay and a receiver on loopback ports
    #[command(after_help = "Examples:\n  vexora-relay demo\n  vexora-relay demo --once")]
    Demo {
        /// Exit after the round trip instead of staying up
        #[arg(long)]
        once: bool,
    },

    /// Show how the service stands, or the whole story of one user
    #[command(
        after_help = "Examples:\n  vexora-relay status\n  vexora-relay status jp_user_100008\n  vexora-relay status jp_user_100008 --json"
    )]
    Status {
        /// The user's id
        user: Option<String>,
        /// The merchant's number; may be left out while there is one
        #[arg(long, value_name = "NUMBER")]
        merchant: Option<String>,
        /// Show it anew every 2 s, on a terminal, until Ctrl-C
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },

    /// List callbacks, newest first
    #[command(
        after_help = "Examples:\n  vexora-relay callbacks --state unrecognized\n  vexora-relay callbacks --user jp_user_100008 --since 1d --json"
    )]
    Callbacks {
        /// How they were taken, or how their sign checked
        #[arg(long, value_parser = CallbackState::ALL.map(CallbackState::as_str))]
        state: Option<String>,
        #[command(flatten)]
        narrowed: Narrowed,
    },

    /// List events, newest first
    #[command(
        after_help = "Examples:\n  vexora-relay events --since 1h\n  vexora-relay events --type kyc.rejected --limit 200"
    )]
    Events {
        /// Of this type; several times for several
        #[arg(long = "type", value_name = "TYPE", value_parser = EventKind::ALL.map(EventKind::as_str))]
        types: Vec<String>,
        #[command(flatten)]
        narrowed: Narrowed,
    },

    /// List deliveries, those of the newest event first
    #[command(
        after_help = "Examples:\n  vexora-relay deliveries --state given_up\n  vexora-relay deliveries --endpoint ledger --state waiting --watch"
    )]
    Deliveries {
        /// To this endpoint
        #[arg(long, value_name = "NAME")]
        endpoint: Option<String>,
        /// Standing so; given_up: abandoned and not discarded by anybody
        #[arg(long, value_parser = DeliveryStand::ALL.map(DeliveryStand::as_str))]
        state: Option<String>,
        #[command(flatten)]
        narrowed: Narrowed,
        /// Show it anew every 2 s, on a terminal, until Ctrl-C
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },

    /// List the users who are asked about until their result is final
    #[command(
        after_help = "Examples:\n  vexora-relay watched\n  vexora-relay watched --state stuck"
    )]
    Watched {
        /// Only those that are stuck
        #[arg(long, value_parser = ["stuck"])]
        state: Option<String>,
        #[command(flatten)]
        narrowed: Narrowed,
    },

    /// Read a callback again and ask about its user
    #[command(after_help = "Example:\n  vexora-relay reprocess cb_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE")]
    Reprocess {
        /// The callback's id, as `callbacks` and the log show it
        callback: String,
    },

    /// Apply for KYC (kycApplyFor), for one user or a file of them; the service then asks until the result is final
    #[command(
        after_help = "A file is CSV with the header userId,usernameFurigana, or JSON Lines with these two names.\nRun again what was interrupted or failed in part: what was accepted is not sent twice,\nnor after its result is out. A file with other ids, or in another order, is another round.\n\nExamples:\n  vexora-relay apply --user jp_user_100008 --furigana 'ヤマダ タロウ'\n  vexora-relay apply --user jp_user_100008 --furigana - < name.txt\n  vexora-relay apply --merchant 1027749636 --file applications.csv\n  vexora-relay apply --file applications.csv --again"
    )]
    Apply {
        /// The merchant's number; may be left out while there is one
        #[arg(long, value_name = "NUMBER")]
        merchant: Option<String>,
        /// The user's id
        #[arg(long, required_unless_present = "file", requires = "furigana")]
        user: Option<String>,
        /// The user's name in katakana; `-` reads it from stdin, which keeps it out of the list of processes
        #[arg(
            long,
            value_name = "NAME",
            required_unless_present = "file",
            requires = "user"
        )]
        furigana: Option<String>,
        /// Many at once; `-` reads stdin
        #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "furigana"])]
        file: Option<PathBuf>,
        /// Apply a second time for those whose results are out: a new round
        #[arg(long, requires = "file")]
        again: bool,
        /// Go on with a round begun by --again; it said its key
        #[arg(long, value_name = "KEY", requires = "file", conflicts_with = "again")]
        batch: Option<String>,
    },

    /// Have users asked about until their results are final, who applied by other ways
    #[command(
        after_help = "Examples:\n  vexora-relay watch jp_user_100008 jp_user_100009\n  vexora-relay watch --file waiting.txt"
    )]
    Watch {
        /// Ids of users
        #[arg(value_name = "USER", required_unless_present = "file")]
        users: Vec<String>,
        /// A file with one id per line; `-` reads stdin
        #[arg(long, value_name = "FILE", conflicts_with = "users")]
        file: Option<PathBuf>,
        /// The merchant's number; may be left out while there is one
        #[arg(long, value_name = "NUMBER")]
        merchant: Option<String>,
    },

    /// Have the running service read its configuration again
    #[command(
        after_help = "Example:\n  vexora-relay reload --config /etc/vexora-relay/config.toml"
    )]
    Reload,

    /// Show every endpoint: up, down or paused, and what is pending
    #[command(after_help = "Example:\n  vexora-relay endpoints")]
    Endpoints,

    /// Hold an endpoint's deliveries until it is resumed
    #[command(after_help = "Example:\n  vexora-relay pause ledger")]
    Pause {
        /// The endpoint's name
        endpoint: String,
    },

    /// Take an endpoint for up again: what was held goes out
    #[command(after_help = "Example:\n  vexora-relay resume ledger")]
    Resume {
        /// The endpoint's name
        endpoint: String,
    },

    /// Send an endpoint a relay.test event
    #[command(
        after_help = "Examples:\n  vexora-relay test ledger\n  vexora-relay test ledger --watch"
    )]
    Test {
        /// The endpoint's name
        endpoint: String,
        /// Wait until it was taken; exit code 1 if an attempt fails or none can come
        #[arg(long)]
        watch: bool,
    },

    /// Try an abandoned delivery again, or a waiting one at once; or all of an endpoint
    #[command(
        override_usage = "vexora-relay retry [OPTIONS] <EVENT> <ENDPOINT>\n       vexora-relay retry [OPTIONS] --endpoint <NAME>",
        after_help = "Examples:\n  vexora-relay retry evt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE ledger\n  vexora-relay retry --endpoint ledger --since 1d --dry-run"
    )]
    Retry(Chosen),

    /// Give a delivery up, or all of an endpoint
    #[command(
        override_usage = "vexora-relay discard [OPTIONS] <EVENT> <ENDPOINT>\n       vexora-relay discard [OPTIONS] --endpoint <NAME>",
        after_help = "Examples:\n  vexora-relay discard evt_01KAJ3ZC0T9Y6Q1N7B5M2X8RWE ledger\n  vexora-relay discard --endpoint ledger --yes"
    )]
    Discard(Chosen),

    /// Tell an endpoint again what it may have missed, or what was made before it was there
    #[command(
        after_help = "Examples:\n  vexora-relay replay ledger --since 1h --dry-run\n  vexora-relay replay ledger --since 2026-11-21T10:00:00Z --state missing --yes"
    )]
    Replay {
        /// The endpoint's name
        endpoint: String,
        /// Events made from then on: RFC 3339, or an age such as 1h
        #[arg(long, value_name = "TIME")]
        since: String,
        /// Events made before then [default: now]
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Of this type; several times for several [default: all that it subscribes to]
        #[arg(long = "type", value_name = "TYPE", value_parser = EventKind::ALL.map(EventKind::as_str))]
        types: Vec<String>,
        /// Standing so; several times for several [default: all]
        #[arg(long = "state", value_name = "STATE", value_parser = ["delivered", "abandoned", "missing"])]
        states: Vec<String>,
        /// Say how many it would be, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Wait until it is done
        #[arg(long)]
        watch: bool,
    },

    /// Show bulk work (replay, retry, discard) and how far it is; watch or cancel it
    #[command(
        after_help = "Examples:\n  vexora-relay jobs\n  vexora-relay jobs 3 --watch\n  vexora-relay jobs 3 --cancel"
    )]
    Jobs {
        /// A job's number
        job: Option<u64>,
        /// Wait until it has ended; exit code 1 if it was cancelled
        #[arg(long, requires = "job")]
        watch: bool,
        /// End it; what was done stays done
        #[arg(long, requires = "job", conflicts_with = "watch")]
        cancel: bool,
    },

    /// Say how much settled work is older than store.retention and would go now; nothing is deleted by this
    #[command(after_help = "Example:\n  vexora-relay retention")]
    Retention,

    /// Ask Vexora about one user, straight and signed; nothing is stored or delivered
    #[command(after_help = "Example:\n  vexora-relay query jp_user_100008")]
    Query {
        /// The user's id
        user: String,
        /// The merchant's number; may be left out while there is one
        #[arg(long, value_name = "NUMBER")]
        merchant: Option<String>,
    },

    /// Compute Vexora's sign over parameters, with a merchant's secret
    #[command(
        after_help = "Example:\n  vexora-relay sign userId=jp_user_100008 timestamp=1732988442913"
    )]
    Sign {
        /// The parameters; empty ones and `sign` itself are left out, as Vexora's rule says
        #[arg(required = true, value_name = "KEY=VALUE")]
        params: Vec<String>,
        /// The merchant's number; may be left out while there is one
        #[arg(long, value_name = "NUMBER")]
        merchant: Option<String>,
    },

    /// Make a fresh webhook secret
    #[command(
        after_help = "Examples:\n  vexora-relay secret > ledger-secret\n  vexora-relay secret --ed25519"
    )]
    Secret {
        /// A key pair (whsk_, and whpk_ for the receivers) instead of a shared secret (whsec_)
        #[arg(long)]
        ed25519: bool,
    },

    /// Print the callBackUrl to give to Vexora; it contains the token
    #[command(
        name = "callback-url",
        after_help = "Example:\n  vexora-relay callback-url --merchant 1027749636"
    )]
    CallbackUrl {
        /// The merchant's number; may be left out while there is one
        #[arg(long, value_name = "NUMBER")]
        merchant: Option<String>,
    },

    /// Copy the whole store to a file while the service runs; it is read back before it has its name
    #[command(after_help = "Example:\n  vexora-relay backup /var/backups/vexora-relay-$(date +%F)")]
    Backup {
        /// Where to; must not be there yet
        file: PathBuf,
    },

    /// Print everything in the store as JSON Lines while the service runs (docs/export.md)
    #[command(after_help = "Example:\n  vexora-relay export | gzip > everything.jsonl.gz")]
    Export,

    /// Make a store from a backup, in an empty data directory; without the service
    #[command(after_help = "Example:\n  vexora-relay restore /var/backups/vexora-relay-2026-11-21")]
    Restore {
        /// The backup
        file: PathBuf,
    },

    /// Read the whole store and say what is wrong with it; without the service
    #[command(
        name = "verify-store",
        after_help = "Example:\n  vexora-relay verify-store"
    )]
    VerifyStore,

    /// Give the room of what was deleted back to the disk; without the service
    #[command(after_help = "Example:\n  vexora-relay compact")]
    Compact,

    /// Write manual pages, one for each verb, into a directory
    #[command(hide = true, after_help = "Example:\n  vexora-relay manual target/man")]
    Manual {
        /// Where to; must be there
        directory: PathBuf,
    },

    /// Print a completion script
    #[command(
        after_help = "Example:\n  vexora-relay completions bash > /etc/bash_completion.d/vexora-relay"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What every list is narrowed by.
#[derive(Debug, clap::Args)]
pub(super) struct Narrowed {
    /// The merchant's number [default: all]
    #[arg(long, value_name = "NUMBER")]
    pub(super) merchant: Option<String>,
    /// The user's id
    #[arg(long)]
    pub(super) user: Option<String>,
    /// From then on: RFC 3339, or an age such as 1h
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Before then
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "NUMBER", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,
}

/// One delivery, or those of an endpoint.
#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    /// The event's id, as in webhook-id
    // Whether there are enough of these is seen to in `steer`, which says both ways.
    pub(super) event: Option<String>,
    /// The endpoint's name
    #[arg(conflicts_with = "all_of")]
    pub(super) endpoint: Option<String>,
    /// All deliveries of this endpoint that stand so
    #[arg(
        id = "all_of",
        long = "endpoint",
        value_name = "NAME",
        conflicts_with = "event"
    )]
    pub(super) all_of: Option<String>,
    /// Standing so; several times for several [default: retry: abandoned, discard: waiting]
    #[arg(long = "state", value_name = "STATE", value_parser = ["abandoned", "waiting"], conflicts_with = "event")]
    pub(super) states: Vec<String>,
    /// Events made from then on: RFC 3339, or an age such as 1h [default: all]
    #[arg(long, value_name = "TIME", conflicts_with = "event")]
    pub(super) since: Option<String>,
    /// Events made before then [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "event")]
    pub(super) until: Option<String>,
    /// Of this type; several times for several [default: all]
    #[arg(long = "type", value_name = "TYPE", value_parser = EventKind::ALL.map(EventKind::as_str), conflicts_with = "event")]
    pub(super) types: Vec<String>,
    /// Say how many it would be, and do nothing
    #[arg(long, conflicts_with = "event")]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "event")]
    pub(super) yes: bool,
    /// Wait until it is done
    #[arg(long, conflicts_with = "event")]
    pub(super) watch: bool,
}
