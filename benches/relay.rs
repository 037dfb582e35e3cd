//! What the relay costs, against the least that the same work can cost on the same machine in the same run.
//!
//! ```text
//! cargo bench --bench relay                                    # all parts
//! cargo bench --bench relay -- --quick accepts cost            # some, shorter
//! cargo bench --bench relay -- waiting --backlog 1000000
//! cargo bench --bench relay -- soak --soak 10m                 # only when it is named
//! ```
//!
//! Parts: `accepts`, `latency`, `deliveries`, `waiting`, `cost`, `flood`, `isolation`, `soak`, `pages`. Everything runs on loopback. The relay is the real
//! binary in a process of its own with its default configuration but for the limits of rate, which are off where they
//! would be what is measured; the load, the provider and the receivers share its processors.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a program that measures real time and prints what it found"
)]

#[path = "relay/accepts.rs"]
mod accepts;
#[path = "relay/asking.rs"]
mod asking;
#[path = "relay/bare.rs"]
mod bare;
#[path = "relay/cost.rs"]
mod cost;
#[path = "relay/deliveries.rs"]
mod deliveries;
#[path = "relay/filling.rs"]
mod filling;
#[path = "relay/flood.rs"]
mod flood;
#[path = "relay/hostile.rs"]
mod hostile;
#[path = "relay/isolation.rs"]
mod isolation;
#[path = "relay/latency.rs"]
mod latency;
#[path = "relay/load.rs"]
mod load;
#[path = "relay/machine.rs"]
mod machine;
#[path = "relay/pages.rs"]
mod pages;
#[path = "relay/process.rs"]
mod process;
#[path = "relay/receiver.rs"]
mod receiver;
#[path = "relay/soak.rs"]
mod soak;
#[path = "relay/waiting.rs"]
mod waiting;

use std::time::Duration;

use clap::Parser;

const MERCHANT: &str = "1027749636";
const APP_SECRET: &str = "bench-app-secret";

/// What to measure, and for how long.
#[derive(Clone, Debug, Parser)]
struct Wanted {
    /// Parts; none: all but the soak
    #[arg(value_parser = ["accepts", "latency", "deliveries", "waiting", "cost", "flood", "isolation", "soak", "pages"])]
    parts: Vec<String>,
    /// A second for each figure instead of five
    #[arg(long)]
    quick: bool,
    /// Deliveries that wait in the parts `waiting` and `pages`
    #[arg(long, default_value_t = 1_000_000)]
    backlog: usize,
    /// How long callbacks come in the part `soak` [default: 10m, 60s with --quick]
    #[arg(long, value_parser = humantime::parse_duration)]
    soak: Option<Duration>,
    /// Serve as the bare handler on a free port, or with --post-to as the bare relay, for ourselves
    #[arg(long, hide = true)]
    bare: bool,
    #[command(flatten)]
    posts: bare::Posts,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl Wanted {
    fn part(&self, name: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|part| part == name)
    }

    fn soak_length(&self) -> Duration {
        let usual = Duration::from_secs(if self.quick { 60 } else { 600 });
        self.soak.unwrap_or(usual)
    }

    /// How long one figure is taken.
    const fn length(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 5 })
    }
}

fn main() -> anyhow::Result<()> {
    let wanted = Wanted::parse();
    match (wanted.bare, wanted.posts.to()) {
        (true, None) => return bare::serve(),
        (true, Some(to)) => return bare::relay(to),
        (false, Some(_)) => return wanted.posts.run(),
        (false, None) => {}
    }
    println!("{}", machine::describe());
    println!("load average before: {}", machine::load_average());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if wanted.part("accepts") {
            accepts::run(&wanted).await?;
        }
        if wanted.part("latency") {
            latency::run(&wanted).await?;
        }
        if wanted.part("deliveries") {
            deliveries::run(&wanted).await?;
        }
        if wanted.part("cost") {
            cost::run(&wanted).await?;
        }
        if wanted.part("flood") {
            flood::run(&wanted).await?;
        }
        if wanted.part("isolation") {
            isolation::run(&wanted).await?;
        }
        if wanted.parts.iter().any(|part| part == "soak") {
            soak::run(&wanted).await?;
        }
        if wanted.part("waiting") {
            waiting::run(&wanted).await?;
        }
        if wanted.part("pages") {
            pages::run(&wanted).await?;
        }
        anyhow::Ok(())
    })?;
    println!("\nload average after: {}", machine::load_average());
    Ok(())
}
