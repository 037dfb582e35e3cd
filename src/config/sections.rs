//! The tables that there is one of: `[server]`, `[admin]`, `[store]`, `[vexora]`, `[verify]`, `[log]`.
//!
//! The defaults stand here and nowhere else; a test holds the shipped `config.toml` to them.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::addresses::{self, base_url, network};
use super::problems::Fault;
use super::reader::{Node, Section};
use super::settings::{
    AdminSettings, Listen, LogFormat, LogSettings, OnBadSign, Rate, ServerSettings, StoreSettings,
    TlsFiles, VerifySettings, VexoraSettings,
};
use super::values::{
    DAY, HOUR, LEAST_TIMEOUT, MINUTE, SECOND, choice, count, duration, duration_or_off, line, rate,
    schedule, size,
};
use super::{Vars, files, secrets};
use crate::domain::{Schedule, ScheduleError, VerifyPolicy};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// A hundred years: "never", without a date that arithmetic trips over.
const CENTURY_DAYS: u32 = 36_500;
/// The longest that something is tried for: a year.
const YEAR_DAYS: u32 = 365;
/// The longest window and interval: a month.
const MONTH_DAYS: u32 = 30;

/// `[server]`
pub(super) fn server(section: Section<'_>) -> ServerSettings {
    let settings = ServerSettings {
        listen: section.or("listen", loopback(8080), addresses::listen),
        public_url: section.optional("public_url", base_url),
        tls: section.optional("tls", tls),
        max_body: section.or("max_body", 64 * 1024, |node| {
            usize::try_from(size(node, KIB, MIB)?).ok()
        }),
        request_timeout: section.or("request_timeout", 10 * SECOND, |node| {
            duration(node, LEAST_TIMEOUT, MINUTE)
        }),
        ack: section.or("ack", "OK".to_owned(), |node| line(node, 1024)),
        allow_from: section.or("allow_from", Vec::new(), networks),
        trusted_proxies: section.or("trusted_proxies", Vec::new(), networks),
        rate_limit: section.or("rate_limit", per_second(100), rate),
    };
    section.finish();
    settings
}

/// `[admin]`
pub(super) fn admin(section: Section<'_>, public: &Listen) -> AdminSettings {
    let listen = section.or("listen", loopback(8081), |node| {
        let listen = addresses::listen(node)?;
        if listen == *public && listen.is_fixed() {
            node.fault(Fault::new(
                "is where [server] listens",
                "an address of its own",
            ));
        }
        if !listen.is_loopback() {
            node.warn("the admin listener has no TLS and can be reached from other machines; put a proxy with TLS in front of it");
        }
        Some(listen)
    });
    let settings = AdminSettings {
        listen,
        token: secrets::bearer(&section, "token"),
    };
    section.finish();
    settings
}

/// `[store]`
pub(super) fn store(section: Section<'_>, vars: &dyn Vars) -> StoreSettings {
    let path = section.optional("path", |node| {
        let expected = "a directory";
        node.text(expected, |text| match text {
            "" => Err(Fault::new("is empty", expected)),
            _ => Ok(PathBuf::from(text)),
        })
    });
    let settings = StoreSettings {
        path: path.unwrap_or_else(|| data_directory(vars)),
        retention: section.or("retention", 90 * DAY, |node| {
            duration(node, MINUTE, CENTURY_DAYS * DAY)
        }),
        min_free: section.or("min_free", 256 * MIB, |node| size(node, 0, u64::MAX)),
    };
    section.finish();
    settings
}

/// What systemd made for us, else `./data`.
fn data_directory(vars: &dyn Vars) -> PathBuf {
    let given = vars.get("STATE_DIRECTORY").unwrap_or_default();
    // systemd writes all directories of StateDirectory= into it, with colons between; the first is ours.
    std::env::split_paths(&given)
        .next()
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or_else(|| PathBuf::from("data"))
}

/// `[vexora]`
pub(super) fn vexora(section: Section<'_>) -> VexoraSettings {
    let settings = VexoraSettings {
        base_url: section.or(
            "base_url",
            "https://sandbox-api.vexora.com/japan".to_owned(),
            base_url,
        ),
        timeout: section.or("timeout", 10 * SECOND, |node| {
            duration(node, LEAST_TIMEOUT, 5 * MINUTE)
        }),
        max_in_flight: section.or("max_in_flight", 8, |node| count(node, 1000)),
        rate_limit: section.or("rate_limit", per_second(20), rate),
    };
    section.finish();
    settings
}

/// `[verify]`; fails only if the built-in schedule were not one.
pub(super) fn verify(section: Section<'_>) -> Result<VerifySettings, ScheduleError> {
    let retry = Schedule::new(vec![
        SECOND,
        5 * SECOND,
        30 * SECOND,
        2 * MINUTE,
        10 * MINUTE,
        30 * MINUTE,
        HOUR,
    ])?;
    let least = super::values::MILLI;
    let settings = VerifySettings {
        policy: VerifyPolicy {
            retry: section.or("retry", retry, schedule),
            give_up_after: section.or("give_up_after", 3 * DAY, |node| {
                duration(node, least, YEAR_DAYS * DAY)
            }),
            duplicate_window: section.or("duplicate_window", 12 * HOUR, |node| {
                duration(node, std::time::Duration::ZERO, MONTH_DAYS * DAY)
            }),
            reconcile: section.or("reconcile", Some(15 * MINUTE), |node| {
                duration_or_off(node, SECOND, MONTH_DAYS * DAY)
            }),
        },
        on_bad_sign: section.or("on_bad_sign", OnBadSign::Flag, |node| {
            choice(
                node,
                &[("flag", OnBadSign::Flag), ("refuse", OnBadSign::Refuse)],
            )
        }),
    };
    section.finish();
    Ok(settings)
}

/// `[log]`
pub(super) fn log(section: Section<'_>) -> LogSettings {
    let settings = LogSettings {
        level: section.or("level", "info".to_owned(), level),
        format: section.or("format", LogFormat::Auto, |node| {
            choice(
                node,
                &[
                    ("auto", LogFormat::Auto),
                    ("text", LogFormat::Text),
                    ("json", LogFormat::Json),
                ],
            )
        }),
    };
    section.finish();
    settings
}

fn loopback(port: u16) -> Listen {
    Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn per_second(count: u32) -> Option<Rate> {
    NonZeroU32::new(count).map(|count| Rate { count, per: SECOND })
}

fn networks(node: &Node<'_>) -> Option<Vec<ipnet::IpNet>> {
    node.list("a list of networks such as \"10.0.0.0/8\"", network)
}

fn tls(node: &Node<'_>) -> Option<TlsFiles> {
    let expected = "{ cert = \"…\", key = \"…\" }";
    let section = node.section(expected)?;
    if section.entries().is_empty() {
        node.fault(Fault::new("is an empty table", expected));
    }
    let files = files::identity(&section, "cert", "key");
    section.finish();
    files
}

fn level(node: &Node<'_>) -> Option<String> {
    let expected =
        "error, warn, info, debug, trace or a filter such as \"info,vexora_relay::deliver=debug\"";
    node.text(expected, |text| {
        // A bare word that is no level would be taken for a module's name, and everything else fall silent.
        let meant = text.split(',').map(str::trim).all(|part| {
            part.contains(['=', ':', '['])
                || part.parse::<LevelFilter>().is_ok_and(|_| !part.is_empty())
        });
        if meant && EnvFilter::try_new(text).is_ok() {
            Ok(text.to_owned())
        } else {
            Err(Fault::text(text, expected))
        }
    })
}
