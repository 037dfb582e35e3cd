//! The machine, and what processes cost it, as Linux tells.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Linux counts CPU time in these: `USER_HZ` is 100 on every architecture there is.
const TICK: Duration = Duration::from_millis(10);

/// Bytes in a MiB.
pub const MIB: f64 = 1_048_576.0;

/// Processor, number, memory, kernel.
pub fn describe() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} x {}, {} memory, Linux {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        kernel.trim()
    )
}

pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// `VmRSS` or `VmHWM` of a process, in MiB.
pub fn memory(process: u32, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

/// The CPU time of a process so far, of all its threads, in user and kernel.
pub fn cpu(process: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The second field is a name in parentheses and may hold anything; utime and stime are the 14th and 15th.
    let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = |index| -> u32 {
        let field = rest.split(' ').nth(index);
        field.and_then(|field| field.parse().ok()).unwrap_or(0)
    };
    TICK * (ticks(11) + ticks(12))
}

/// The bytes under a directory.
pub fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.len(),
            Err(_gone) => 0,
        })
        .sum()
}

/// A row of a table.
pub fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// A table's heading.
pub fn heading(title: &str, cells: &[&str]) {
    println!("\n## {title}\n");
    row(&cells
        .iter()
        .map(|cell| (*cell).to_owned())
        .collect::<Vec<_>>());
    println!("|{}", " --- |".repeat(cells.len()));
}

/// Milliseconds with two digits.
pub fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}
